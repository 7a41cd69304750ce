//! What was said in the log already: a cause that lasts is said once, and then every half minute.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often a cause that lasts is said.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// So many causes are told apart; beyond, the one that was said longest ago is forgotten.
const MOST_CAUSES: usize = 16;

/// Causes, and when each was last said.
#[derive(Debug, Default)]
pub(crate) struct Told {
    causes: Mutex<Vec<(String, Instant)>>,
    /// Something was said since all was well.
    is_known: AtomicBool,
}

impl Told {
    /// Whether `cause` is to be said now. Causes that take turns are said as seldom as one.
    pub(crate) fn is_news(&self, cause: &str, now: Instant) -> bool {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = causes.iter().position(|(known, _)| known == cause);
        if let Some(at) = known {
            if now.saturating_duration_since(causes[at].1) < SAY_EVERY {
                return false;
            }
            causes.remove(at);
        } else if causes.len() == MOST_CAUSES {
            causes.remove(0);
        }
        causes.push((cause.to_owned(), now));
        self.is_known.store(true, Ordering::Relaxed);
        true
    }

    /// All is well. Answers whether that is news.
    pub(crate) fn over(&self) -> bool {
        self.is_known.load(Ordering::Relaxed) && self.is_known.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: an issuer without a usable Redis writes some lines a second for ever.
    #[test]
    fn a_cause_is_said_once_and_then_every_half_minute() {
        let told = Told::default();
        let begin = Instant::now();
        let mut said = Vec::new();
        for step in 0..600_u64 {
            // Two causes that take turns, ten times a second.
            let cause = if step % 2 == 0 { "OOM" } else { "timeout" };
            if told.is_news(cause, begin + Duration::from_millis(100 * step)) {
                said.push((step, cause));
            }
        }
        assert_eq!(said, [(0, "OOM"), (1, "timeout"), (300, "OOM"), (301, "timeout")]);
        assert!(told.over() && !told.over(), "that it is over is said once");
        assert!(!told.is_news("OOM", begin + Duration::from_secs(31)), "it was said lately, whatever was between");
        assert!(!told.over(), "nobody has heard of a failure");
        for cause in 0..100 {
            told.is_news(&cause.to_string(), begin);
        }
        assert_eq!(told.causes.lock().unwrap().len(), MOST_CAUSES);
    }
}
