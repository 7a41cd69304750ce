//! When the winners that only Redis holds can be told from those that are on their way. Pure.
//!
//! A winner is in Redis first and in the log, or in SQL, some seconds later. So a look at a campaign that sells finds winners
//! that are in neither, and nothing is wrong. Three moments tell them apart:
//!
//! 1. note Redis' clock and the highest rank: what was granted until then is looked for;
//! 2. [`SETTLE`] later every issuer has written these winners or given them up: note where the log ends;
//! 3. once the group has committed these ends, all of them that were written are rows or dead letters. What is neither,
//!    now, is missing.
//!
//! The first two lie in the past where nothing was granted for so long, and where an epoch was opened: its fence has heard from
//! every issuer that it is done.
//!
//! How long that is tells a clock of this process that never jumps. Redis' own, which dates the grants, may be set ahead or back at
//! any moment: ahead it would end the wait at once, back it would hold it up for hours.
//!
//! While the database is away the group commits nothing, so nothing is missing and nothing is published, however long it
//! takes: plain lag is no gap. An issuer that was frozen for longer than step 2 may write a winner that was published in its
//! place; both records say the same, and one row comes of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coupon_core::contract::deadlines;

use crate::kafka::view::Offsets;

/// From a grant to the moment when its issuer has written it or given it up.
pub const SETTLE: Duration = deadlines::SETTLE;

/// What a pass has read of a campaign that is open in Redis and SQL.
#[derive(Debug, Clone, Copy)]
pub struct WatchInputs<'a> {
    /// The open epoch.
    pub epoch: u64,
    /// Redis' clock, milliseconds since 1970.
    pub now_ms: i64,
    /// The same moment by a clock that never jumps.
    pub at: Instant,
    /// Highest rank ever given.
    pub highest: u64,
    /// Number of winners.
    pub issued: u64,
    /// Where the log ends, and how far the group is.
    pub offsets: &'a Offsets,
}

/// Which winners must be durable by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueWinners {
    /// Ranks up to this one.
    pub up_to: u64,
    /// Granted at or before this time, milliseconds since 1970 by Redis' clock: a free rank may have been handed out again.
    pub granted_by_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Round {
    epoch: u64,
    due: DueWinners,
    /// When that was all that was granted.
    since: Instant,
    /// All that is due was written or given up when this round began.
    settled: bool,
    /// Where the log ended once all were settled.
    ends: Option<BTreeMap<i32, i64>>,
}

/// Since when nothing was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quiet {
    epoch: u64,
    highest: u64,
    issued: u64,
    since_ms: i64,
    since: Instant,
}

/// The three moments of one campaign. Losing it costs a wait, nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairWatch {
    round: Option<Round>,
    quiet: Option<Quiet>,
    /// The latest time that Redis' clock has said: grants are never dated back behind one that was.
    latest_ms: i64,
}

impl RepairWatch {
    /// A new epoch was opened: the fence has confirmed that every grant of an earlier one was written or given up.
    pub fn opened(&mut self, epoch: u64, due: DueWinners) {
        let due = DueWinners { granted_by_ms: due.granted_by_ms.max(self.latest_ms), ..due };
        self.round = Some(Round { epoch, due, since: Instant::now(), settled: true, ends: None });
    }

    /// Takes what a pass has read. Returns which winners must be durable by now, if that can be said.
    pub fn observe(&mut self, inputs: &WatchInputs<'_>) -> Option<DueWinners> {
        let quiet = self.quiet(inputs);
        let round = match &mut self.round {
            Some(round) if round.epoch == inputs.epoch => round,
            // Another epoch was opened: what was granted before it was carried over, under new records.
            _ => self.round.insert(Round {
                epoch: inputs.epoch,
                due: DueWinners { up_to: inputs.highest, granted_by_ms: quiet.since_ms },
                since: quiet.since,
                settled: false,
                ends: None,
            }),
        };
        let settled = round.settled || inputs.at.saturating_duration_since(round.since) >= SETTLE;
        if round.ends.is_none() && settled {
            round.ends = Some(inputs.offsets.ends.clone());
        }
        let ends = round.ends.as_ref()?;
        ends.iter().all(|(partition, end)| inputs.offsets.position(*partition) >= *end).then_some(round.due)
    }

    /// The same for a pass that looks for nothing: the next look begins anew. `complete`: as there is nothing to look for; else
    /// what was due when an epoch was opened stays so.
    pub fn skip(&mut self, inputs: &WatchInputs<'_>, complete: bool) {
        self.quiet(inputs);
        if complete || !self.round.as_ref().is_some_and(|round| round.settled) {
            self.begin_anew();
        }
    }

    /// Since when this is all that was granted: then the first moment lies in the past.
    fn quiet(&mut self, inputs: &WatchInputs<'_>) -> Quiet {
        let WatchInputs { epoch, highest, issued, now_ms, at, .. } = *inputs;
        self.latest_ms = self.latest_ms.max(now_ms);
        let same = |quiet: &Quiet| (quiet.epoch, quiet.highest, quiet.issued) == (epoch, highest, issued);
        let new = Quiet { epoch, highest, issued, since_ms: self.latest_ms, since: at };
        let quiet = self.quiet.filter(same).unwrap_or(new);
        self.quiet = Some(quiet);
        quiet
    }

    /// The winners that were due are dealt with, or there is nothing to look for: the next look begins anew.
    pub fn begin_anew(&mut self) {
        self.round = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE_MS: i64 = 12_000;

    struct Fixture {
        watch: RepairWatch,
        epoch: u64,
        born: Instant,
        /// What Redis' clock is ahead of the time that passes.
        ahead_ms: i64,
    }

    fn offsets(start: i64, end: i64, committed: Option<i64>) -> Offsets {
        Offsets {
            starts: BTreeMap::from([(0, start), (1, 0)]),
            ends: BTreeMap::from([(0, end), (1, 0)]),
            committed: BTreeMap::from([(0, committed), (1, None)]),
            drained: BTreeMap::new(),
        }
    }

    impl Fixture {
        fn observe(&mut self, now_ms: i64, highest: u64, end: i64, committed: Option<i64>) -> Option<DueWinners> {
            let offsets = offsets(0, end, committed);
            let inputs = self.inputs(now_ms, highest, highest, &offsets);
            self.watch.observe(&inputs)
        }

        fn inputs<'a>(&self, now_ms: i64, highest: u64, issued: u64, offsets: &'a Offsets) -> WatchInputs<'a> {
            let at = self.born + Duration::from_millis(u64::try_from(now_ms).unwrap());
            WatchInputs { epoch: self.epoch, now_ms: now_ms + self.ahead_ms, at, highest, issued, offsets }
        }

        fn find_complete(&mut self, now_ms: i64, highest: u64, issued: u64) {
            let offsets = offsets(0, 0, None);
            let inputs = self.inputs(now_ms, highest, issued, &offsets);
            self.watch.skip(&inputs, true);
        }
    }

    fn fixture() -> Fixture {
        Fixture { watch: RepairWatch::default(), epoch: 1, born: Instant::now(), ahead_ms: 0 }
    }

    #[test]
    fn what_was_granted_at_the_first_look_is_due_when_the_group_has_passed_the_ends_of_later() {
        let mut fixture = fixture();
        assert_eq!(fixture.observe(1_000, 50, 40, Some(40)), None, "issuers may still be writing");
        assert_eq!(fixture.observe(12_999, 90, 80, Some(80)), None);
        assert_eq!(fixture.observe(13_000, 95, 90, Some(80)), None, "some of it waits in the log");
        assert_eq!(fixture.observe(15_000, 99, 95, Some(89)), None);
        let due = DueWinners { up_to: 50, granted_by_ms: 1_000 };
        assert_eq!(fixture.observe(17_000, 99, 99, Some(90)), Some(due), "what came later does not count");
        assert_eq!(fixture.observe(19_000, 99, 99, Some(95)), Some(due), "until it is dealt with");
        fixture.watch.begin_anew();
        assert_eq!(fixture.observe(21_000, 100, 99, Some(99)), None);
        assert_eq!(fixture.observe(33_000, 100, 99, Some(99)), Some(DueWinners { up_to: 100, granted_by_ms: 21_000 }));
    }

    #[test]
    fn a_database_that_is_away_for_an_hour_makes_nothing_due() {
        let mut fixture = fixture();
        assert!((0..3_600).all(|second| fixture.observe(second * 1_000, 100, 100, Some(10)).is_none()));
        assert!(fixture.observe(3_600_000, 100, 100, Some(100)).is_some());
    }

    #[test]
    fn a_group_that_never_committed_has_passed_an_empty_log_only() {
        let mut fixture = fixture();
        fixture.observe(0, 3, 0, None);
        assert!(fixture.observe(SETTLE_MS, 3, 0, None).is_some(), "Kafka took nothing at all");
        let mut fixture = self::fixture();
        fixture.observe(0, 3, 2, None);
        assert!(fixture.observe(SETTLE_MS, 3, 2, None).is_none());
    }

    #[test]
    fn a_new_epoch_begins_a_new_look() {
        let mut fixture = fixture();
        fixture.observe(0, 3, 3, Some(3));
        fixture.epoch = 2;
        assert_eq!(fixture.observe(SETTLE_MS, 3, 3, Some(3)), None);
        assert_eq!(
            fixture.observe(2 * SETTLE_MS, 3, 3, Some(3)),
            Some(DueWinners { up_to: 3, granted_by_ms: SETTLE_MS })
        );
    }

    /// Wrong: what an opening found in Redis only waits as if an issuer could still write it.
    #[test]
    fn what_was_granted_before_an_epoch_was_opened_is_due_once_the_group_is_at_the_end() {
        let mut fixture = fixture();
        fixture.observe(0, 9, 9, Some(9));
        let due = DueWinners { up_to: 9, granted_by_ms: 700 };
        fixture.epoch = 2;
        fixture.watch.opened(2, due);
        assert_eq!(fixture.observe(720, 9, 12, Some(9)), None, "rows of some of them may wait in the log");
        assert_eq!(fixture.observe(2_000, 11, 14, Some(12)), Some(due), "what the new epoch grants is not due");
        fixture.watch.begin_anew();
        assert_eq!(fixture.observe(4_000, 11, 14, Some(14)), None);
        fixture.epoch = 3;
        assert_eq!(fixture.observe(5_000, 11, 14, Some(14)), None, "another epoch, which somebody else opened");

        fixture.watch.opened(3, due);
        let offsets = offsets(0, 0, None);
        let inputs = fixture.inputs(5_000, 11, 11, &offsets);
        fixture.watch.skip(&inputs, false);
        let due = DueWinners { granted_by_ms: 5_000, ..due };
        assert_eq!(fixture.observe(5_000, 11, 0, None), Some(due), "a step that came first makes nothing undue");
    }

    #[test]
    fn where_nothing_was_granted_for_long_all_of_it_is_due_at_once() {
        let mut fixture = fixture();
        fixture.find_complete(0, 9, 9);
        fixture.find_complete(SETTLE_MS - 1, 9, 9);
        assert_eq!(fixture.observe(SETTLE_MS, 9, 9, Some(9)), Some(DueWinners { up_to: 9, granted_by_ms: 0 }));
        for (what, highest, issued, epoch) in
            [("a rank", 10, 10, 1), ("a free rank", 10, 11, 1), ("an epoch", 10, 11, 2)]
        {
            fixture.find_complete(SETTLE_MS, 10, 9);
            fixture.epoch = epoch;
            let offsets = offsets(0, 9, Some(9));
            let inputs = fixture.inputs(3 * SETTLE_MS, highest, issued, &offsets);
            assert_eq!(fixture.watch.observe(&inputs), None, "{what} is new");
            fixture.watch.begin_anew();
        }
    }

    /// Wrong: a clock of Redis that is set ahead has winners published that are being written, and one that is set back hides missing
    /// ones for hours.
    #[test]
    fn a_clock_of_redis_that_jumps_neither_hurries_nor_holds_up_a_look() {
        const HOURS: i64 = 2 * 3_600_000;
        for ahead_ms in [HOURS, -HOURS] {
            let mut fixture = fixture();
            fixture.observe(HOURS, 9, 9, Some(9));
            fixture.ahead_ms = ahead_ms;
            assert_eq!(
                fixture.observe(HOURS + SETTLE_MS - 1, 9, 9, Some(9)),
                None,
                "{ahead_ms}: issuers may still be writing"
            );
            let due = fixture.observe(HOURS + SETTLE_MS, 9, 9, Some(9));
            assert_eq!(due, Some(DueWinners { up_to: 9, granted_by_ms: HOURS }), "{ahead_ms}");
            fixture.watch.begin_anew();
            // The script dates no grant back behind one that it has made: what was granted before the step is due after it as well.
            fixture.observe(HOURS + SETTLE_MS, 10, 10, Some(10));
            let due = fixture.observe(HOURS + 2 * SETTLE_MS, 10, 10, Some(10)).unwrap();
            assert!(due.granted_by_ms >= HOURS, "{ahead_ms}: {due:?}");
        }
    }

    proptest::proptest! {
        /// Wrong: a partition whose records retention removed, and that gets no new one, is waited for without end.
        #[test]
        fn removed_records_are_not_waited_for(
            start in 0..30i64, length in 0..30i64, committed in proptest::option::of(0..60i64),
        ) {
            let offsets = offsets(start, start + length, committed);
            let mut fixture = fixture();
            let (early, late) = (fixture.inputs(0, 3, 3, &offsets), fixture.inputs(SETTLE_MS, 3, 3, &offsets));
            fixture.watch.observe(&early);
            let passed = committed.unwrap_or(0).max(start) >= start + length;
            proptest::prop_assert_eq!(fixture.watch.observe(&late).is_some(), passed);
        }
    }
}
