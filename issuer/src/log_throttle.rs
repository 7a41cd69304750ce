//! Keeps the log short: a cause that lasts is logged once, and then every half minute.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often a cause that lasts is logged.
const REPEAT_EVERY: Duration = Duration::from_secs(30);
/// How many causes are remembered. Beyond, the one that was logged longest ago is forgotten.
const MAX_CAUSES: usize = 16;

/// Causes, and when each was last logged.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle {
    causes: Mutex<Vec<(String, Instant)>>,
    /// Something was logged since the last success.
    has_logged: AtomicBool,
}

impl LogThrottle {
    /// Whether to log `cause` now. Causes that alternate are logged as seldom as a single one.
    pub(crate) fn should_log(&self, cause: &str, now: Instant) -> bool {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = causes.iter().position(|(known, _)| known == cause);
        if let Some(at) = known {
            if now.saturating_duration_since(causes[at].1) < REPEAT_EVERY {
                return false;
            }
            causes.remove(at);
        } else if causes.len() == MAX_CAUSES {
            causes.remove(0);
        }
        causes.push((cause.to_owned(), now));
        self.has_logged.store(true, Ordering::Relaxed);
        true
    }

    /// All is well again. Returns whether a failure was logged before.
    pub(crate) fn recovered(&self) -> bool {
        self.has_logged.load(Ordering::Relaxed) && self.has_logged.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: an issuer without a usable Redis writes some lines a second for ever.
    #[test]
    fn a_cause_is_said_once_and_then_every_half_minute() {
        let throttle = LogThrottle::default();
        let begin = Instant::now();
        let mut said = Vec::new();
        for step in 0..600_u64 {
            // Two causes that take turns, ten times a second.
            let cause = if step % 2 == 0 { "OOM" } else { "timeout" };
            if throttle.should_log(cause, begin + Duration::from_millis(100 * step)) {
                said.push((step, cause));
            }
        }
        assert_eq!(said, [(0, "OOM"), (1, "timeout"), (300, "OOM"), (301, "timeout")]);
        assert!(throttle.recovered() && !throttle.recovered(), "that it is over is said once");
        assert!(
            !throttle.should_log("OOM", begin + Duration::from_secs(31)),
            "it was said lately, whatever was between"
        );
        assert!(!throttle.recovered(), "nobody has heard of a failure");
        for cause in 0..100 {
            throttle.should_log(&cause.to_string(), begin);
        }
        assert_eq!(throttle.causes.lock().unwrap().len(), MAX_CAUSES);
    }
}
