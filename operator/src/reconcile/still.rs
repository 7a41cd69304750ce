//! When consumers that are ready and store nothing become a condition: records wait, and where the group is in them does not move.
//! Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coupon_ledger::kafka::tail::Range;
use jiff::Timestamp;

/// How long no record of a partition may be stored while some wait. Consumers commit every second, and a member that died is out
/// of the group after ten.
const PASSING: Duration = Duration::from_secs(30);
/// The same while other partitions are read: with a long backlog and a slow database, fetched records of one queue behind those of
/// others for minutes.
const PARTLY: Duration = Duration::from_secs(300);
/// After so long something may be wrong: the class is looked at once more, and nothing is said yet.
const SUSPICIOUS: Duration = Duration::from_secs(4);
/// After so long consumers are asked why, also while other partitions are read: what one of them waits for on purpose, it says.
const EXPLAINED: Duration = Duration::from_secs(10);
/// So many partitions are named.
const NAMED: usize = 5;

/// A moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BothClocks {
    /// By the clock that never jumps.
    pub at: Instant,
    /// For people.
    pub time: Timestamp,
}

/// A partition in which nothing is stored though records wait.
#[derive(Debug, Clone)]
struct Stop {
    position: i64,
    since: Timestamp,
    /// For how long it was seen to stand there.
    seen_for: Duration,
    /// When it was last seen, if it was by the last pass.
    last: Option<Instant>,
}

/// What consumers have stored, as long as it does not move.
#[derive(Debug, Clone, Default)]
pub(crate) struct StillWatch {
    stops: BTreeMap<i32, Stop>,
    positions: BTreeMap<i32, i64>,
    /// When some partition was last seen to be read.
    read: Option<Instant>,
    told: bool,
}

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Still {
    /// In words that do not change while nothing moves.
    pub text: String,
    /// This is the first time.
    pub is_new: bool,
}

impl StillWatch {
    /// Takes in what a pass saw: what is unread, by partition, if that is known; and whether consumers are ready that could store it.
    /// Time in which it is not known proves nothing; nor does time in which they could not work.
    pub(crate) fn observe(&mut self, unread: Option<&Range>, can_store: bool, now: BothClocks) -> Option<Still> {
        if !can_store {
            *self = Self::default();
            return None;
        }
        let Some(unread) = unread else {
            self.stops.values_mut().for_each(|stop| stop.last = None);
            return self.finding(now.at);
        };
        let before =
            std::mem::replace(&mut self.positions, unread.iter().map(|(id, (from, _))| (*id, *from)).collect());
        if self.positions.iter().any(|(id, from)| before.get(id).is_some_and(|before| from > before)) {
            self.read = Some(now.at);
        }
        self.stops.retain(|id, stop| unread.get(id).is_some_and(|(from, to)| from < to && *from == stop.position));
        for (id, (from, to)) in unread {
            if from < to {
                let fresh = Stop { position: *from, since: now.time, seen_for: Duration::ZERO, last: None };
                let stop = self.stops.entry(*id).or_insert(fresh);
                stop.seen_for += stop.last.map_or(Duration::ZERO, |last| now.at.saturating_duration_since(last));
                stop.last = Some(now.at);
            }
        }
        self.finding(now.at)
    }

    /// Whether it goes on for longer than it takes consumers to commit, and nothing else is read.
    pub(crate) fn suspects(&self) -> bool {
        let since = self.stops.values().filter(|stop| stop.seen_for >= SUSPICIOUS).filter_map(|stop| stop.last).max();
        since.is_some_and(|last| self.read.is_none_or(|read| last.saturating_duration_since(read) >= SUSPICIOUS))
    }

    /// Whether it was said, and is still so.
    pub(crate) fn is_reported(&self) -> bool {
        self.told
    }

    fn finding(&mut self, now: Instant) -> Option<Still> {
        let others_move = self.read.is_some_and(|read| now.saturating_duration_since(read) < PASSING);
        let patience = if others_move { PARTLY } else { PASSING };
        let Some(text) = self.text(patience) else {
            self.told = false;
            return None;
        };
        Some(Still { text, is_new: !std::mem::replace(&mut self.told, true) })
    }

    /// The same of what has not lasted for long enough to be wrong by itself: something is to be said if a consumer says why.
    pub(crate) fn explicable(&self) -> Option<String> {
        self.text(EXPLAINED)
    }

    /// What stands still for so long, in words.
    fn text(&self, patience: Duration) -> Option<String> {
        let long: Vec<(&i32, &Stop)> = self.stops.iter().filter(|(_, stop)| stop.seen_for >= patience).collect();
        let since = long.iter().map(|(_, stop)| stop.since).min()?;
        let named: Vec<String> =
            long.iter().take(NAMED).map(|(id, stop)| format!("{id} (offset {})", stop.position)).collect();
        let more = match long.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "consumers are ready, and since {since:.0} they have stored nothing of partitions {}{more}, though records wait there",
            named.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a pass sees at a second.
    type See<'a> = &'a dyn Fn(u64) -> (Option<Range>, bool);

    struct Clock(Instant);

    impl Clock {
        fn at(&self, second: u64) -> BothClocks {
            let time = Timestamp::from_second(1_764_338_400 + i64::try_from(second).unwrap()).unwrap();
            BothClocks { at: self.0 + Duration::from_secs(second), time }
        }
    }

    fn unread(partitions: &[(i32, i64, i64)]) -> Range {
        partitions.iter().map(|(id, from, to)| (*id, (*from, *to))).collect()
    }

    /// Wrong: a blind consumer is seen by nobody; or one that works, or cannot, is called blind.
    #[test]
    fn a_partition_stands_still_when_records_wait_and_none_is_stored_for_long() {
        let waits = || Some(unread(&[(0, 5, 9)]));
        let cases: [(&str, See<'_>, Option<u64>); 9] = [
            ("records wait", &|_| (waits(), true), Some(30)),
            ("more and more records wait", &|at| (Some(unread(&[(0, 5, 9 + at as i64)])), true), Some(30)),
            ("nothing waits", &|_| (Some(unread(&[(0, 9, 9)])), true), None),
            ("they are stored slowly", &|at| (Some(unread(&[(0, at as i64 / 28, 99)])), true), None),
            ("no consumer is ready", &|_| (waits(), false), None),
            ("consumers come and go", &|at| (waits(), at % 20 > 2), None),
            ("offsets cannot be read", &|_| (None, true), None),
            ("and could not, for a while", &|at| (waits().filter(|_| !(10..60).contains(&at)), true), Some(82)),
            ("another log", &|at| (Some(unread(&[(0, if at < 20 { 5 } else { 3 }, 9)])), true), Some(50)),
        ];
        for (what, see, first) in cases {
            let (mut watch, clock) = (StillWatch::default(), Clock(Instant::now()));
            let said = (0..=120).step_by(2).find(|second| {
                let (unread, can_store) = see(*second);
                watch.observe(unread.as_ref(), can_store, clock.at(*second)).is_some()
            });
            assert_eq!(said, first, "{what}");
        }
    }

    #[test]
    fn it_is_said_in_the_same_words_as_long_as_it_lasts_and_an_event_is_made_once() {
        let (mut watch, clock) = (StillWatch::default(), Clock(Instant::now()));
        let mut said = Vec::new();
        for second in (0..200).step_by(2) {
            // Partition 1 has nothing to read, 2 is not read, and 3 has records from second 100 on.
            let end = 50 + second as i64;
            let unread = unread(&[(1, 7, 7), (2, 7, end), (3, 150, end.max(150))]);
            said.extend(watch.observe(Some(&unread), true, clock.at(second)).map(|still| (second, still)));
        }
        let texts: Vec<&str> = said.iter().map(|(_, still)| still.text.as_str()).collect();
        assert!(
            texts[0].contains("since 2025-11-28T14:00:00Z they have stored nothing of partitions 2 (offset 7), "),
            "{}",
            texts[0]
        );
        let changes: Vec<u64> =
            said.windows(2).filter(|two| two[0].1.text != two[1].1.text).map(|two| two[1].0).collect();
        assert_eq!((said[0].0, changes), (30, vec![132]), "when the third joins them, and not before or after");
        assert_eq!(said.iter().filter(|(_, still)| still.is_new).count(), 1);

        // It ends, and comes again.
        let moved = unread(&[(2, 8, 90), (3, 200, 200)]);
        assert_eq!(watch.observe(Some(&moved), true, clock.at(200)), None);
        assert!(watch.observe(Some(&moved), true, clock.at(230)).is_some_and(|still| still.is_new));
    }

    #[test]
    fn while_other_partitions_are_read_one_is_given_more_time() {
        let (mut watch, clock) = (StillWatch::default(), Clock(Instant::now()));
        let said = (0..600).step_by(2).find(|second| {
            let read = unread(&[(1, *second as i64, 5000), (2, 7, 90)]);
            watch.observe(Some(&read), true, clock.at(*second)).is_some()
        });
        assert_eq!(said, Some(300));
    }

    /// Wrong: a forged record holds up one partition for two minutes, the consumer says so, and status is green.
    #[test]
    fn a_consumer_is_asked_about_a_partition_that_waits_while_others_are_read() {
        let (mut watch, clock) = (StillWatch::default(), Clock(Instant::now()));
        let asked = (0..600).step_by(2).find(|second| {
            let read = unread(&[(1, *second as i64, 5000), (2, 7, 90)]);
            let said = watch.observe(Some(&read), true, clock.at(*second));
            assert!(said.is_none() || *second >= 300);
            watch.explicable().is_some()
        });
        assert_eq!(asked, Some(10));
    }

    /// Wrong: a right that consumers have lost is named half a minute later; or a class is looked at again for each sale that is slow.
    #[test]
    fn whoever_stores_nothing_for_some_seconds_is_suspicious() {
        let cases: [(&str, See<'_>, Option<u64>); 4] = [
            ("records wait", &|_| (Some(unread(&[(0, 5, 9)])), true), Some(4)),
            ("they are stored slowly", &|at| (Some(unread(&[(0, at as i64 / 3, 99)])), true), None),
            ("others are stored", &|at| (Some(unread(&[(0, 5, 9), (1, at as i64, 99)])), true), None),
            ("nobody is there to store them", &|_| (Some(unread(&[(0, 5, 9)])), false), None),
        ];
        for (what, see, first) in cases {
            let (mut watch, clock) = (StillWatch::default(), Clock(Instant::now()));
            let suspicious = (0..=28).step_by(2).find(|second| {
                let (unread, can_store) = see(*second);
                let _ = watch.observe(unread.as_ref(), can_store, clock.at(*second));
                watch.suspects()
            });
            assert_eq!(suspicious, first, "{what}");
        }
    }

    #[test]
    fn a_few_of_many_are_named() {
        let (mut watch, clock) = (StillWatch::default(), Clock(Instant::now()));
        let all: Range = (0..12).map(|id| (id, (0, 5))).collect();
        watch.observe(Some(&all), true, clock.at(0));
        let still = watch.observe(Some(&all), true, clock.at(30)).unwrap();
        assert!(still.text.contains("4 (offset 0) and 7 more, "), "{}", still.text);
    }
}
