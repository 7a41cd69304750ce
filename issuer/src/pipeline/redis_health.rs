//! How calls to Redis have gone. A process may serve the open epoch, and still be able to grant nothing because calls fail.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures for less than this may be a reconnect.
pub(crate) const LASTS: Duration = Duration::from_secs(1);
/// A failure that is older than this says nothing any more: nobody has asked since.
const STALE: Duration = Duration::from_secs(10);
/// How much of Redis' message is kept, in bytes.
const MAX_MESSAGE: usize = 300;

/// Failures since the last success.
#[derive(Debug, Default)]
pub(crate) struct RedisHealth(Mutex<State>);

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

impl RedisHealth {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call failed; `is_right`: as a right is missing.
    pub(crate) fn failed(&self, words: &str, is_right: bool, now: Instant) {
        let mut state = self.state();
        let known = state.failing.take().filter(|known| now.saturating_duration_since(known.last) < STALE);
        let first = known.map_or(now, |known| known.first);
        let words = words.get(..words.floor_char_boundary(MAX_MESSAGE)).unwrap_or_default().to_owned();
        *state = State { failing: Some(Failing { first, last: now, is_right, words }), asked: Some(now) };
    }

    /// Redis has answered requests.
    pub(crate) fn succeeded(&self, now: Instant) {
        *self.state() = State { failing: None, asked: Some(now) };
    }

    /// Redis has answered that it grants nothing. A missing right stays known: it can be the cause, as Redis closes a campaign whose keys it
    /// has damaged.
    pub(crate) fn refused(&self, now: Instant) {
        let mut state = self.state();
        state.asked = Some(now);
        state.failing.take_if(|failing| !failing.is_right);
    }

    /// Whether a call ended within this time, however it did.
    pub(crate) fn was_asked(&self, within: Duration, now: Instant) -> bool {
        self.state().asked.is_some_and(|asked| now.saturating_duration_since(asked) < within)
    }

    /// Whether the last call failed, if that is not too long ago to be known.
    pub(crate) fn is_failing(&self, now: Instant) -> bool {
        self.state().failing.as_ref().is_some_and(|failing| now.saturating_duration_since(failing.last) < STALE)
    }

    /// Redis' words, if nothing but failures was met for a while, or a right is missing.
    pub(crate) fn lasting(&self, now: Instant) -> Option<String> {
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
        let health = RedisHealth::default();
        assert_eq!(health.lasting(at(0)), None);
        let failed = |millis| health.failed("Connection reset", false, at(millis));
        failed(0);
        assert_eq!(health.lasting(at(900)), None, "it may be a reconnect");
        failed(1000);
        assert_eq!(health.lasting(at(1000)).as_deref(), Some("Connection reset"));
        assert_eq!(health.lasting(at(10_999)).as_deref(), Some("Connection reset"));
        assert_eq!(health.lasting(at(11_000)), None, "nobody has asked since");
        failed(30_000);
        assert_eq!(health.lasting(at(30_000)), None, "it begins anew");
        failed(31_000);
        health.refused(at(31_000));
        assert_eq!(health.lasting(at(31_001)), None);
    }

    /// Wrong: the campaign that a missing right has broken is closed by the next call, and nobody knows any more what broke it.
    #[test]
    fn a_right_that_is_missing_is_said_at_once_and_until_it_is_there() {
        let begin = Instant::now();
        let health = RedisHealth::default();
        health.failed("NOPERM zadd", true, begin);
        health.refused(begin);
        assert_eq!(health.lasting(begin).as_deref(), Some("NOPERM zadd"));
        assert_eq!(health.lasting(begin + STALE), None, "nobody has asked since");
        health.succeeded(begin);
        assert_eq!(health.lasting(begin), None);
    }

    /// Wrong: Redis is asked in vain beside every batch; or never, while nobody else asks.
    #[test]
    fn how_long_ago_redis_was_asked_is_known_however_it_answered() {
        let begin = Instant::now();
        let at = |millis: u64| begin + Duration::from_millis(millis);
        let health = RedisHealth::default();
        let asked = |millis| health.was_asked(Duration::from_secs(2), at(millis));
        assert!(!asked(0) && !health.is_failing(at(0)));
        health.succeeded(at(1_000));
        assert!(asked(2_999) && !asked(3_000));
        health.failed("Connection reset", false, at(3_000));
        assert!(asked(3_000) && health.is_failing(at(3_000)) && !health.is_failing(at(13_000)));
        health.refused(at(5_000));
        assert!(asked(6_000) && !health.is_failing(at(6_000)));
    }

    #[test]
    fn words_are_bounded() {
        let health = RedisHealth::default();
        let now = Instant::now();
        health.failed(&"é".repeat(1000), false, now);
        health.failed(&"é".repeat(1000), false, now + LASTS);
        assert_eq!(health.lasting(now + LASTS).map(|words| words.len()), Some(MAX_MESSAGE));
    }
}
