//! The arithmetic of one bucket. Of a bucket only the moment is kept at which it is full again (GCRA, the generic cell rate algorithm): nothing has
//! to fill it meanwhile, and one that is full is like one that was never used.

use coupon_core::contract::Rate;

/// Nanoseconds since the process began; they last for 584 years.
pub(super) type Nanos = u64;

const SECOND: Nanos = 1_000_000_000;
/// How far those who were refused are spread, at most, beyond the first moment at which one of them could be served.
const LONGEST_LINE: Nanos = 60 * SECOND;

/// How buckets are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filling {
    /// In this time a request comes back.
    each: Nanos,
    /// In this time all do.
    depth: Nanos,
    burst: u32,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// Until the bucket has a request again.
    pub(super) soonest: Nanos,
    /// Until it is this one's turn, were all that have been refused to come back.
    turn: Nanos,
}

/// One bucket. A new one is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at: Nanos,
    /// When the last of those who were refused has its turn.
    line_until: Nanos,
}

impl Filling {
    pub(super) fn new(rate: Rate) -> Self {
        let period = u64::from(rate.per_seconds.get()).saturating_mul(SECOND);
        let each = (period / u64::from(rate.requests.get())).max(1);
        let burst = rate.burst.get();
        Self { each, depth: each.saturating_mul(burst.into()), burst }
    }

    /// What a full bucket holds, and in how many whole seconds an empty one is full again.
    pub(super) fn quota(&self) -> (u32, u64) {
        (self.burst, self.depth.div_ceil(SECOND))
    }
}

impl Bucket {
    /// When it is full again: the later, the emptier it is.
    pub(super) fn full_at(&self) -> Nanos {
        self.full_at
    }

    /// Takes one request out. Who is refused takes nothing, so that asking too often costs no more than what was asked.
    pub(super) fn take(&mut self, filling: &Filling, now: Nanos) -> Result<(), Wait> {
        let lacks = self.full_at.saturating_sub(now).saturating_add(filling.each);
        if lacks <= filling.depth {
            self.full_at = now.saturating_add(lacks);
            return Ok(());
        }
        let soonest = lacks - filling.depth;
        // A place in a line that is as long as many have been refused, and moves as fast as requests come back.
        let turn = self.line_until.saturating_sub(now).clamp(soonest, soonest.saturating_add(LONGEST_LINE));
        self.line_until = now.saturating_add(turn).saturating_add(filling.each);
        Err(Wait { soonest, turn })
    }
}

impl Wait {
    /// The same in whole seconds, rounded up.
    pub(super) fn soonest_seconds(&self) -> u64 {
        self.soonest.div_ceil(SECOND)
    }

    /// When to ask again, in whole seconds: not before one's turn, and up to half as long and a second later, by `chance`, as whoever was refused in the
    /// same second would come back in the same one.
    pub(super) fn retry_after(&self, chance: u32) -> u64 {
        let least = self.turn.div_ceil(SECOND).max(1);
        least + u64::from(chance) % (least / 2 + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    fn filling(requests: u32, per_seconds: u32, burst: u32) -> Filling {
        let number = |n| NonZeroU32::new(n).unwrap();
        Filling::new(Rate { requests: number(requests), per_seconds: number(per_seconds), burst: number(burst) })
    }

    const MS: Nanos = SECOND / 1_000;

    #[test]
    fn a_burst_is_served_and_then_as_many_as_come_back() {
        let (filling, mut bucket) = (filling(1, 2, 3), Bucket::default());
        for (at_ms, served) in [
            (0, true),
            (0, true),
            (1, true),
            (1, false),
            (1_000, false),
            (1_999, false),
            // One has come back, for whoever is first.
            (2_000, true),
            (2_000, false),
            (3_999, false),
            (4_000, true),
            (4_000, false),
            // More than a burst does not gather.
            (100_000, true),
            (100_000, true),
            (100_000, true),
            (100_000, false),
        ] {
            assert_eq!(bucket.take(&filling, at_ms * MS).is_ok(), served, "at {at_ms} ms");
        }
    }

    /// Wrong: a page that asks again every second while it may ask every two is never served again.
    #[test]
    fn asking_too_often_costs_no_more_than_what_was_asked() {
        let (filling, mut bucket) = (filling(1, 2, 1), Bucket::default());
        let served = (0..1_000u64).filter(|second| bucket.take(&filling, second * SECOND).is_ok()).count();
        assert_eq!(served, 500);
        assert!(bucket.take(&filling, 1_000 * SECOND).is_ok());
    }

    #[test]
    fn who_was_refused_is_sent_away_for_longer_the_more_were() {
        let (filling, mut bucket) = (filling(2, 1, 1), Bucket::default());
        assert!(bucket.take(&filling, 0).is_ok());
        let mut told = Vec::new();
        for _ in 0..200 {
            let wait = bucket.take(&filling, 0).unwrap_err();
            assert_eq!(wait.soonest, SECOND / 2);
            told.push(wait.turn.div_ceil(SECOND));
        }
        assert_eq!(told[..6], [1, 1, 2, 2, 3, 3], "two a second come back");
        assert_eq!((told[100], told[199]), (51, 61), "there is an end to it");
        let later = bucket.take(&filling, 40 * SECOND);
        assert!(later.is_ok(), "a place in the line is an advice: who comes when there is one is served");
        let wait = bucket.take(&filling, 40 * SECOND).unwrap_err();
        assert_eq!(wait.turn.div_ceil(SECOND), 21, "and the line moves");
        assert!(bucket.take(&filling, 200 * SECOND).is_ok());
        assert_eq!(bucket.take(&filling, 200 * SECOND).unwrap_err().turn, SECOND / 2, "until nobody stands in it");
    }

    #[test]
    fn the_seconds_to_wait_are_whole_spread_and_never_too_few() {
        for (turn, least, most) in
            [(1, 1, 2), (SECOND, 1, 2), (SECOND + 1, 2, 4), (4 * SECOND, 4, 7), (60 * SECOND, 60, 91)]
        {
            let told: Vec<u64> = (0..1_000).map(|chance| Wait { soonest: 1, turn }.retry_after(chance)).collect();
            assert_eq!((told.iter().min(), told.iter().max()), (Some(&least), Some(&most)), "{turn}");
        }
        assert_eq!(Wait { soonest: SECOND + 1, turn: SECOND + 1 }.soonest_seconds(), 2);
    }

    #[test]
    fn a_quota_is_told_as_it_is() {
        for (filling, quota) in [
            (filling(1, 2, 10), (10, 20)),
            (filling(100, 1, 50), (50, 1)),
            (filling(1_000_000, 1, 1_000_000), (1_000_000, 1)),
            (filling(1, 3_600, 1), (1, 3_600)),
        ] {
            assert_eq!(filling.quota(), quota);
        }
    }

    proptest! {
        /// Wrong: somebody gets more than a burst and what comes back in the time, however the asking is spread, or an overflow ends the process.
        #[test]
        fn nobody_gets_more_than_a_burst_and_what_comes_back(
            requests in 1..=1_000_000u32, per_seconds in 1..=3_600u32, burst in 1..=1_000_000u32,
            begun in 0..=u64::MAX / 2, pauses in prop::collection::vec(0..=5 * SECOND, 1..200),
        ) {
            let (filling, mut bucket) = (filling(requests, per_seconds, burst), Bucket::default());
            let (mut now, mut served) = (begun, 0u64);
            for pause in pauses {
                now = now.saturating_add(pause);
                match bucket.take(&filling, now) {
                    Ok(()) => served += 1,
                    Err(wait) => {
                        prop_assert!(wait.soonest > 0 && wait.turn >= wait.soonest && wait.soonest <= filling.each);
                        prop_assert!(wait.retry_after(7) >= wait.soonest_seconds());
                    }
                }
                prop_assert!(served <= u64::from(burst) + (now - begun) / filling.each);
            }
        }
    }
}
