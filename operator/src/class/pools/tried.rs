//! What is tried for many campaigns at once.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// What came of the last try, and of what. Callers that ask meanwhile wait for the same try.
#[derive(Debug)]
pub(super) struct Tried<K, T>(Mutex<Option<(K, T, Instant)>>);

impl<K, T> Default for Tried<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + PartialEq, T: Clone> Tried<K, T> {
    /// What came of trying `what`, if that try began no longer ago than `fresh`; else it is tried now.
    pub(crate) async fn get(&self, what: &K, fresh: Duration, trying: impl AsyncFnOnce() -> T) -> T {
        let mut last = self.0.lock().await;
        if let Some((of, came, at)) = last.as_ref()
            && of == what
            && at.elapsed() < fresh
        {
            return came.clone();
        }
        let began = Instant::now();
        let came = trying().await;
        *last = Some((what.clone(), came.clone(), began));
        came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: each campaign of a class tries for itself, or what was found with one login is said of another.
    #[tokio::test]
    async fn what_was_tried_a_moment_ago_is_not_tried_again() {
        const HOUR: Duration = Duration::from_secs(3600);
        let tried = Tried::default();
        for (what, fresh, tries, expected) in
            [("a", HOUR, 1, 1), ("a", HOUR, 2, 1), ("b", HOUR, 3, 3), ("a", HOUR, 4, 4), ("a", Duration::ZERO, 5, 5)]
        {
            assert_eq!(tried.get(&what, fresh, async || tries).await, expected, "{tries}: {what}");
        }
    }

    /// Wrong: what was changed while a slow try went on is taken as tried.
    #[tokio::test(start_paused = true)]
    async fn a_try_is_as_old_as_its_begin() {
        let (tried, slow) = (Tried::default(), Duration::from_secs(3));
        let slowly = async || {
            tokio::time::sleep(slow).await;
            1
        };
        assert_eq!(tried.get(&"a", slow * 2, slowly).await, 1);
        assert_eq!(tried.get(&"a", slow * 2, async || 2).await, 1);
        assert_eq!(tried.get(&"a", slow, async || 3).await, 3);
    }
}
