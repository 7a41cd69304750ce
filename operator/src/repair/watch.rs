//! When the winners that only Redis holds can be told from those that are on their way. Pure.
//!
//! A winner is in Redis first and in the log, or in SQL, some seconds later. So a look at a campaign that sells finds winners
//! that are in neither, and nothing is wrong. Three moments tell them apart:
//!
//! 1. note Redis' clock and the highest rank: what was granted until then is looked for;
//! 2. [`SETTLE_MS`] later every issuer has written these winners or given them up: note where the log ends;
//! 3. once the group has committed these ends, all of them that were written are rows or dead letters. What is neither,
//!    now, is missing.
//!
//! While the database is away the group commits nothing, so nothing is missing and nothing is published, however long it
//! takes: plain lag is no gap. An issuer that was frozen for longer than step 2 may write a winner that was published in its
//! place; both records say the same, and one row comes of them.

use std::collections::BTreeMap;

/// From a grant to the moment when its issuer has written it or given it up, in milliseconds: a batch's deadline (2 s) and
/// the deadline for becoming durable (8 s), and some time for what lies between.
pub const SETTLE_MS: i64 = 12_000;

/// What a pass sees of a campaign that is open in Redis and SQL.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The open epoch.
    pub epoch: u64,
    /// Redis' clock, milliseconds since 1970.
    pub now_ms: i64,
    /// Highest rank ever given.
    pub highest: u64,
    /// End of each partition of the log.
    pub ends: &'a BTreeMap<i32, i64>,
    /// What the group has committed; `None`: nothing yet.
    pub committed: &'a BTreeMap<i32, Option<i64>>,
}

/// Which winners must be durable by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Ranks up to this one.
    pub up_to: u64,
    /// Granted at or before this time, milliseconds since 1970 by Redis' clock: a free rank may have been handed out again.
    pub granted_by_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Round {
    epoch: u64,
    due: Due,
    /// Where the log ended once all were settled.
    ends: Option<BTreeMap<i32, i64>>,
}

/// The three moments of one campaign. Losing it costs a wait, nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    round: Option<Round>,
}

impl Watch {
    /// Takes in what a pass saw. Answers which winners must be durable by now, if that can be said.
    pub fn see(&mut self, sight: &Sight<'_>) -> Option<Due> {
        let round = match &mut self.round {
            Some(round) if round.epoch == sight.epoch => round,
            // Another epoch was opened: what was granted before it was carried over, under new records.
            _ => self.round.insert(Round {
                epoch: sight.epoch,
                due: Due { up_to: sight.highest, granted_by_ms: sight.now_ms },
                ends: None,
            }),
        };
        if round.ends.is_none() && sight.now_ms >= round.due.granted_by_ms + SETTLE_MS {
            round.ends = Some(sight.ends.clone());
        }
        let ends = round.ends.as_ref()?;
        let passed =
            |(partition, end): (&i32, &i64)| sight.committed.get(partition).copied().flatten().unwrap_or(0) >= *end;
        ends.iter().all(passed).then_some(round.due)
    }

    /// The winners that were due are dealt with, or there is nothing to look for: the next look begins anew.
    pub fn begin_anew(&mut self) {
        self.round = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(offset: i64) -> BTreeMap<i32, i64> {
        BTreeMap::from([(0, offset), (1, 0)])
    }

    struct Scene {
        watch: Watch,
        epoch: u64,
    }

    impl Scene {
        fn look(&mut self, now_ms: i64, highest: u64, end: i64, committed: Option<i64>) -> Option<Due> {
            let (ends, committed) = (offsets(end), BTreeMap::from([(0, committed), (1, None)]));
            self.watch.see(&Sight { epoch: self.epoch, now_ms, highest, ends: &ends, committed: &committed })
        }
    }

    fn scene() -> Scene {
        Scene { watch: Watch::default(), epoch: 1 }
    }

    #[test]
    fn what_was_granted_at_the_first_look_is_due_when_the_group_has_passed_the_ends_of_later() {
        let mut scene = scene();
        assert_eq!(scene.look(1_000, 50, 40, Some(40)), None, "issuers may still be writing");
        assert_eq!(scene.look(12_999, 90, 80, Some(80)), None);
        assert_eq!(scene.look(13_000, 95, 90, Some(80)), None, "some of it waits in the log");
        assert_eq!(scene.look(15_000, 99, 95, Some(89)), None);
        let due = Due { up_to: 50, granted_by_ms: 1_000 };
        assert_eq!(scene.look(17_000, 99, 99, Some(90)), Some(due), "what came later does not count");
        assert_eq!(scene.look(19_000, 99, 99, Some(95)), Some(due), "until it is dealt with");
        scene.watch.begin_anew();
        assert_eq!(scene.look(21_000, 99, 99, Some(99)), None);
        assert_eq!(scene.look(33_000, 99, 99, Some(99)), Some(Due { up_to: 99, granted_by_ms: 21_000 }));
    }

    #[test]
    fn a_database_that_is_away_for_an_hour_makes_nothing_due() {
        let mut scene = scene();
        assert!((0..3_600).all(|second| scene.look(second * 1_000, 100, 100, Some(10)).is_none()));
        assert!(scene.look(3_600_000, 100, 100, Some(100)).is_some());
    }

    #[test]
    fn a_group_that_never_committed_has_passed_an_empty_log_only() {
        let mut scene = scene();
        scene.look(0, 3, 0, None);
        assert!(scene.look(SETTLE_MS, 3, 0, None).is_some(), "Kafka took nothing at all");
        let mut scene = self::scene();
        scene.look(0, 3, 2, None);
        assert!(scene.look(SETTLE_MS, 3, 2, None).is_none());
    }

    #[test]
    fn a_new_epoch_begins_a_new_look() {
        let mut scene = scene();
        scene.look(0, 3, 3, Some(3));
        scene.epoch = 2;
        assert_eq!(scene.look(SETTLE_MS, 3, 3, Some(3)), None);
        assert_eq!(scene.look(2 * SETTLE_MS, 3, 3, Some(3)), Some(Due { up_to: 3, granted_by_ms: SETTLE_MS }));
    }
}
