//! Connections that are not to be used again, though they work. Two answers of a server tell:
//!
//! - It takes no writes. After a failover the old primary goes on answering: whoever hears that must connect anew, which asks DNS, or
//!   the proxy, where the primary is now.
//! - A table or column is not there. While a backup is put back that is so for a moment; but on MariaDB a prepared statement that met
//!   a table just being made may say so for ever after, and every connection keeps its statements.
//!
//! A failed statement does not say by which connection it went. So every connection that was made before the last such answer is
//! closed instead of being used again, those of other databases too: making one is cheap, and answers like this are rare.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// When a server last answered so.
static LAST: Mutex<Option<Instant>> = Mutex::new(None);

/// A server answered so at this time.
pub(super) fn note(at: Instant) {
    // Nobody panics with it in hand; and if, the value is whole.
    let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *last = (*last).max(Some(at));
}

/// Whether a server has answered so since: its tables may be others than they were.
pub fn has_moved_since(at: Instant) -> bool {
    LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_some_and(|last| last >= at)
}

/// Whether a connection of this age is from before the last such answer.
pub(super) fn is_suspect(age: Duration) -> bool {
    let last = *LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    was_made_before(last, Instant::now(), age)
}

fn was_made_before(last: Option<Instant>, now: Instant, age: Duration) -> bool {
    last.is_some_and(|last| age >= now.saturating_duration_since(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_from_before_the_answer_are_closed() {
        let second = Duration::from_secs(1);
        let now = Instant::now();
        let heard = now.checked_sub(10 * second);
        assert!(heard.is_some());
        for (what, last, age, expected) in [
            ("no server ever said so", None, 100 * second, false),
            ("older", heard, 11 * second, true),
            ("made at that moment", heard, 10 * second, true),
            ("younger", heard, 9 * second, false),
        ] {
            assert_eq!(was_made_before(last, now, age), expected, "{what}");
        }
    }
}
