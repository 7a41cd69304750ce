//! How long a rank above the campaign's total is waited for. Pure.
//!
//! Issuers grant no rank above the total in force. So if a record has one, the campaign's row may be that of a backup from before a
//! raise, which the operator corrects within a minute. Only a rank that is above the total even then is a dead letter.

use std::time::{Duration, Instant};

/// Time between two tries of a rank that is waited for.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(1);
/// After so long without such a rank the next one is waited for again.
const FORGET: Duration = Duration::from_secs(600);

/// What was waited for, so that a stranger's records with ranks that no total ever reaches hold up nobody twice.
#[derive(Debug)]
pub(crate) struct Ceiling {
    patience: Duration,
    found: Option<Found>,
}

/// Ranks above a total were found.
#[derive(Debug, Clone, Copy)]
struct Found {
    total: u64,
    first: Instant,
    last: Instant,
}

impl Ceiling {
    /// Nothing was found yet. `patience` is how long a total may stay too low.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, found: None }
    }

    /// Whether a rank above `total` is there to stay. If not, ask again after [`ASK_AGAIN`].
    pub(crate) fn is_final(&mut self, total: u64, now: Instant) -> bool {
        let is_known = |found: &Found| found.total == total && now.saturating_duration_since(found.last) < FORGET;
        let first = self.found.filter(is_known).map_or(now, |found| found.first);
        self.found = Some(Found { total, first, last: now });
        now.saturating_duration_since(first) >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(120);

    #[test]
    fn a_rank_above_the_total_is_final_once_it_was_waited_for() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut ceiling = Ceiling::new(PATIENCE);
        for (seconds, total, expected, why) in [
            (0, 100, false, "the first"),
            (119, 100, false, "not yet"),
            (120, 100, true, "it was waited for"),
            (121, 100, true, "the next one at this total holds up nobody"),
            (130, 200, false, "another total"),
            (250, 200, true, "it was waited for"),
            (260, 100, false, "a row that was put back"),
            (380, 100, true, "it was waited for"),
            (979, 100, true, "one now and then"),
            (1579, 100, false, "long after"),
        ] {
            assert_eq!(ceiling.is_final(total, at(seconds)), expected, "at {seconds} s: {why}");
        }
    }

    #[test]
    fn without_patience_it_is_final_at_once() {
        assert!(Ceiling::new(Duration::ZERO).is_final(1, Instant::now()));
    }
}
