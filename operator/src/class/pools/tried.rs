//! What is tried for many campaigns at once.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// What came of the last try, and of what. Callers that ask meanwhile wait for the same try.
#[derive(Debug)]
pub(super) struct Tried<K, T>(Mutex<Option<(K, T, Instant)>>);

impl<K, T> Default for Tried<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + PartialEq, T: Clone> Tried<K, T> {
    /// What came of trying `what`, if that is no older than `fresh`; else it is tried now.
    pub(crate) async fn get(&self, what: &K, fresh: Duration, trying: impl AsyncFnOnce() -> T) -> T {
        let mut last = self.0.lock().await;
        if let Some((of, came, at)) = last.as_ref()
            && of == what
            && at.elapsed() < fresh
        {
            return came.clone();
        }
        let came = trying().await;
        *last = Some((what.clone(), came.clone(), Instant::now()));
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
}
