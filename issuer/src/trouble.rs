//! What keeps batches from Redis, as this process meets it: it may serve the open epoch, and be able to grant nothing all the same.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is shorter than this is a reconnect.
pub const LASTS: Duration = Duration::from_secs(1);
/// Without a newer failure it is not known any more: nobody asked since.
const STALE: Duration = Duration::from_secs(10);
/// So much of Redis' words is kept, in bytes.
const MOST_BYTES: usize = 300;

/// Failures since the last success.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failing: Option<Failing>,
    /// When a call ended last, however it did.
    asked: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Failing {
    first: Instant,
    last: Instant,
    /// A right is missing, which does not pass like a reconnect, and stays missing where the server says something else afterwards.
    is_right: bool,
    words: String,
}

impl Trouble {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call failed; `is_right`: as a right is missing.
    pub fn failed(&self, words: &str, is_right: bool, now: Instant) {
        let mut state = self.state();
        let known = state.failing.take().filter(|known| now.saturating_duration_since(known.last) < STALE);
        let first = known.map_or(now, |known| known.first);
        let words = words.get(..words.floor_char_boundary(MOST_BYTES)).unwrap_or_default().to_owned();
        *state = State { failing: Some(Failing { first, last: now, is_right, words }), asked: Some(now) };
    }

    /// Wishes were answered.
    pub fn over(&self, now: Instant) {
        *self.state() = State { failing: None, asked: Some(now) };
    }

    /// Redis was heard, and did nothing: it closes a campaign that a missing right has broken, and that right is the cause.
    pub fn heard(&self, now: Instant) {
        let mut state = self.state();
        state.asked = Some(now);
        state.failing.take_if(|failing| !failing.is_right);
    }

    /// Whether a call ended within this time, however it did.
    pub fn was_asked(&self, within: Duration, now: Instant) -> bool {
        self.state().asked.is_some_and(|asked| now.saturating_duration_since(asked) < within)
    }

    /// Whether the last call failed, if that is not too long ago to be known.
    pub fn is_met(&self, now: Instant) -> bool {
        self.state().failing.as_ref().is_some_and(|failing| now.saturating_duration_since(failing.last) < STALE)
    }

    /// Redis' words, if nothing but failures was met for a while, or a right is missing.
    pub fn lasting(&self, now: Instant) -> Option<String> {
        let failing = self.state().failing.clone()?;
        let lasts = failing.is_right || failing.last.saturating_duration_since(failing.first) >= LASTS;
        let is_known = now.saturating_duration_since(failing.last) < STALE;
        (lasts && is_known).then_some(failing.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_that_last_are_said_and_only_while_they_are_met() {
        let begin = Instant::now();
        let at = |millis: u64| begin + Duration::from_millis(millis);
        let trouble = Trouble::default();
        assert_eq!(trouble.lasting(at(0)), None);
        let failed = |millis| trouble.failed("Connection reset", false, at(millis));
        failed(0);
        assert_eq!(trouble.lasting(at(900)), None, "it may be a reconnect");
        failed(1000);
        assert_eq!(trouble.lasting(at(1000)).as_deref(), Some("Connection reset"));
        assert_eq!(trouble.lasting(at(10_999)).as_deref(), Some("Connection reset"));
        assert_eq!(trouble.lasting(at(11_000)), None, "nobody has asked since");
        failed(30_000);
        assert_eq!(trouble.lasting(at(30_000)), None, "it begins anew");
        failed(31_000);
        trouble.heard(at(31_000));
        assert_eq!(trouble.lasting(at(31_001)), None);
    }

    /// Wrong: the campaign that a missing right has broken is closed by the next call, and nobody knows any more what broke it.
    #[test]
    fn a_right_that_is_missing_is_said_at_once_and_until_it_is_there() {
        let begin = Instant::now();
        let trouble = Trouble::default();
        trouble.failed("NOPERM zadd", true, begin);
        trouble.heard(begin);
        assert_eq!(trouble.lasting(begin).as_deref(), Some("NOPERM zadd"));
        assert_eq!(trouble.lasting(begin + STALE), None, "nobody has asked since");
        trouble.over(begin);
        assert_eq!(trouble.lasting(begin), None);
    }

    /// Wrong: Redis is asked in vain beside every batch; or never, while nobody else asks.
    #[test]
    fn how_long_ago_redis_was_asked_is_known_however_it_answered() {
        let begin = Instant::now();
        let at = |millis: u64| begin + Duration::from_millis(millis);
        let trouble = Trouble::default();
        let asked = |millis| trouble.was_asked(Duration::from_secs(2), at(millis));
        assert!(!asked(0) && !trouble.is_met(at(0)));
        trouble.over(at(1_000));
        assert!(asked(2_999) && !asked(3_000));
        trouble.failed("Connection reset", false, at(3_000));
        assert!(asked(3_000) && trouble.is_met(at(3_000)) && !trouble.is_met(at(13_000)));
        trouble.heard(at(5_000));
        assert!(asked(6_000) && !trouble.is_met(at(6_000)));
    }

    #[test]
    fn words_are_bounded() {
        let trouble = Trouble::default();
        let now = Instant::now();
        trouble.failed(&"é".repeat(1000), false, now);
        trouble.failed(&"é".repeat(1000), false, now + LASTS);
        assert_eq!(trouble.lasting(now + LASTS).map(|words| words.len()), Some(MOST_BYTES));
    }
}
