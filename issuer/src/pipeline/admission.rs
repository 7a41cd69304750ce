//! How many may wait, and how long one that comes now would. Pure: times are passed in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coupon_ledger::redis::MAX_BATCH;
use tokio::time::Instant;

/// Who would wait for longer than this hears at once that too many are asking: it could not count on a turn within the queue's deadline, and
/// what has gathered is gone within a second even where half as many go on asking.
const LONGEST: Duration = Duration::from_millis(500);
/// One in so many is the weight of the last batch in the average.
const WEIGHT: u64 = 8;

/// How many requests may wait: as many as is asked for, and no more than leave a quarter of users' `connections` to those who are refused, and to
/// those whose turn has come. Who waits holds a connection; without a free one nobody could hear that too many are asking.
pub(crate) fn waiting(asked: usize, connections: usize) -> usize {
    asked.min(connections / 4 * 3).max(1)
}

/// Nanoseconds that a request of the last full batches took, on average; 0 while nobody waits for more than the batch before. One task writes it.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// A batch of so many was under way for so long. One that was not full left nobody behind.
    pub(crate) fn saw(&self, requests: usize, took: Duration) {
        let each = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / MAX_BATCH as u64;
        let before = self.0.load(Ordering::Relaxed);
        let average = match before {
            _ if requests < MAX_BATCH => 0,
            0 => each,
            // Each part is a fraction of the whole: the sum is no more than the larger.
            before => before - before / WEIGHT + each / WEIGHT,
        };
        self.0.store(average, Ordering::Relaxed);
    }

    /// Whether one that comes behind so many would wait too long.
    pub(crate) fn is_too_slow_for(&self, ahead: usize) -> bool {
        let wait = self.0.load(Ordering::Relaxed).saturating_mul(ahead as u64);
        Duration::from_nanos(wait) > LONGEST
    }
}

/// Who is sent away, so that an issuer that was added is found: one connection in a millisecond at most. All of 5,132 have then gone within
/// seconds, and what it costs to end and to begin connections stays small beside the answers, however many are asking.
#[derive(Debug)]
pub(crate) struct SendingAway {
    begun: Instant,
    /// Milliseconds since then, and one, at which somebody was sent away last.
    last: AtomicU64,
}

impl SendingAway {
    /// Nobody was yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { begun: now, last: AtomicU64::new(0) }
    }

    /// Whether it is the turn of one who is answered now.
    pub(crate) fn takes(&self, now: Instant) -> bool {
        let at = u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX - 1) + 1;
        self.last.fetch_max(at, Ordering::Relaxed) < at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Duration = Duration::from_millis(25);

    /// At 25 ms for a full batch, 5,120 requests are 500 ms.
    const ENOUGH: usize = 5_120;

    #[test]
    fn connections_are_left_to_who_is_refused() {
        for (asked, connections, expected) in [(10_000, 5_132, 3_849), (1_000, 5_132, 1_000), (1, 256, 1), (7, 0, 1)] {
            assert_eq!(waiting(asked, connections), expected, "{asked} of {connections}");
        }
    }

    #[test]
    fn who_would_wait_too_long_is_known_by_the_last_full_batches() {
        let pace = Pace::default();
        assert!(!pace.is_too_slow_for(1_000_000), "nothing is known");
        pace.saw(MAX_BATCH, FULL);
        assert!(!pace.is_too_slow_for(ENOUGH - 10) && pace.is_too_slow_for(ENOUGH + 10));
        (0..100).for_each(|_| pace.saw(MAX_BATCH, 4 * FULL));
        assert!(!pace.is_too_slow_for(ENOUGH / 4 - 10) && pace.is_too_slow_for(ENOUGH / 4 + 10), "slower by now");
        pace.saw(MAX_BATCH - 1, 100 * FULL);
        assert!(!pace.is_too_slow_for(1_000_000), "nobody was left behind");
    }

    /// Wrong: an issuer that is asked for three times what it can do begins a connection for each answer, and does less than it could.
    #[test]
    fn one_connection_in_a_millisecond_is_sent_away() {
        let begun = Instant::now();
        let (sending, at) = (SendingAway::new(begun), |micros| begun + Duration::from_micros(micros));
        let taken = [0, 1, 999, 1_000, 1_001, 5_500, 5_400, 6_000].map(|micros| sending.takes(at(micros)));
        assert_eq!(taken, [true, false, false, true, false, true, false, true]);
    }

    /// Wrong: one batch that had to wait for Redis makes everybody hear that too many are asking.
    #[test]
    fn one_slow_batch_is_forgotten_soon() {
        let pace = Pace::default();
        (0..8).for_each(|_| pace.saw(MAX_BATCH, FULL));
        pace.saw(MAX_BATCH, Duration::from_secs(1));
        assert!(!pace.is_too_slow_for(800));
        (0..16).for_each(|_| pace.saw(MAX_BATCH, FULL));
        assert!(!pace.is_too_slow_for(ENOUGH / 2));
        pace.saw(MAX_BATCH, Duration::MAX);
        assert!(pace.is_too_slow_for(1), "no sum is too large");
    }
}
