//! How fast records come and go, from what Kafka says every two seconds.

use std::collections::BTreeMap;

use super::reading::{PartitionOffsets, Reading};

/// Time constant of the moving averages, in seconds: a step is two thirds visible after it.
const SMOOTHING_S: f64 = 4.0;
/// Readings closer together than this, in milliseconds, say nothing about rates.
const CLOSEST_MS: i64 = 200;
/// Lag that comes or goes in this many seconds is no backlog: commits come once a second.
pub(crate) const FRESH_S: f64 = 3.0;
/// Nor is lag of so few records.
const FEW: f64 = 10.0;
/// A moving average below this many records per second is none: it would take for ever to become 0.
const NOTHING: f64 = 0.01;
/// After a gap longer than this, in milliseconds, averages begin anew.
const STALE_MS: i64 = 60_000;

/// Records per second that come to a partition, and that leave it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rate {
    /// Coming.
    pub arrival: f64,
    /// Stored.
    pub drain: f64,
}

/// The last reading, and moving averages.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rates {
    last: Option<Reading>,
    rates: BTreeMap<i32, Rate>,
}

/// What happened between two readings, for learning what pods can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    /// Records stored per second, in all partitions.
    pub drain: f64,
    /// The part of it in partitions that had a backlog at both ends: more than what is only not committed yet, which there
    /// always is while records come, and says nothing about what a pod can do.
    pub busy_drain: f64,
    /// How many partitions these are.
    pub busy: i32,
}

impl Rates {
    /// Takes in a reading. Answers with what happened since the last one, if that says anything.
    pub(crate) fn update(&mut self, reading: &Reading) -> Option<Interval> {
        let Some(last) = self.last.as_ref().filter(|last| comparable(last, reading)) else {
            self.rates.clear();
            self.last = Some(reading.clone());
            return None;
        };
        let millis = reading.at_ms - last.at_ms;
        if millis < CLOSEST_MS {
            return None;
        }
        // Below a minute, see `comparable`.
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let seconds = millis as f64 / 1000.0;
        let weight = 1.0 - (-seconds / SMOOTHING_S).exp();
        let mut interval = Interval { drain: 0.0, busy_drain: 0.0, busy: 0 };
        let mut rates = BTreeMap::new();
        for (id, now) in &reading.partitions {
            // A partition that was added just now begins empty.
            let before =
                last.partitions.get(id).copied().unwrap_or(PartitionOffsets { start: 0, end: 0, committed: None });
            let arrival = per_second(now.end - before.end, seconds);
            let drain = per_second(now.position() - before.position(), seconds);
            interval.drain += drain;
            let backlog = (arrival.max(drain) * FRESH_S).max(FEW);
            if float(before.lag().min(now.lag())) > backlog {
                interval.busy_drain += drain;
                interval.busy += 1;
            }
            let old = self.rates.get(id).copied();
            let average = |old: Option<f64>, new: f64| {
                Some(old.map_or(new, |old| old + (new - old) * weight)).filter(|rate| *rate >= NOTHING).unwrap_or(0.0)
            };
            let rate = Rate {
                arrival: average(old.map(|rate| rate.arrival), arrival),
                drain: average(old.map(|rate| rate.drain), drain),
            };
            rates.insert(*id, rate);
        }
        (self.rates, self.last) = (rates, Some(reading.clone()));
        Some(interval)
    }

    /// The rates of a partition; zeros before two readings.
    pub(crate) fn of(&self, partition: i32) -> Rate {
        self.rates.get(&partition).copied().unwrap_or_default()
    }

    /// The sums over all partitions.
    pub(crate) fn sum(&self) -> Rate {
        self.rates.values().fold(Rate::default(), |sum, rate| Rate {
            arrival: sum.arrival + rate.arrival,
            drain: sum.drain + rate.drain,
        })
    }
}

/// Records of one campaign are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn float(records: u64) -> f64 {
    records as f64
}

/// Records in a time are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn per_second(records: i64, seconds: f64) -> f64 {
    records.max(0) as f64 / seconds
}

/// Whether rates can be told from these two: same topic, not too long between them.
fn comparable(last: &Reading, now: &Reading) -> bool {
    now.at_ms >= last.at_ms
        && now.at_ms - last.at_ms <= STALE_MS
        && last.partitions.iter().all(|(id, before)| now.partitions.get(id).is_some_and(|now| now.end >= before.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_ms: i64, partitions: &[(i64, Option<i64>)]) -> Reading {
        let partition = |(id, (end, committed)): (usize, &(i64, Option<i64>))| {
            (i32::try_from(id).unwrap(), PartitionOffsets { start: 0, end: *end, committed: *committed })
        };
        Reading { at_ms, partitions: partitions.iter().enumerate().map(partition).collect(), group: None }
    }

    #[test]
    fn rates_follow_a_step_and_need_two_readings() {
        let mut rates = Rates::default();
        assert_eq!(rates.update(&reading(0, &[(0, None)])), None);
        assert_eq!(rates.sum(), Rate::default());
        let interval = rates.update(&reading(2_000, &[(1_000, Some(100))])).unwrap();
        assert_eq!(rates.sum(), Rate { arrival: 500.0, drain: 50.0 }, "the first is taken as it is");
        assert_eq!(interval.busy, 0, "there was no work at the beginning of it");
        let interval = rates.update(&reading(4_000, &[(1_200, Some(300))])).unwrap();
        assert_eq!(interval, Interval { drain: 100.0, busy_drain: 100.0, busy: 1 });
        for second in 3..20 {
            rates.update(&reading(second * 2_000, &[(1_200, Some(1_200))]));
        }
        assert!(rates.sum().arrival < 1.0, "{rates:?}");
    }

    #[test]
    fn what_is_only_not_committed_yet_is_no_backlog() {
        let mut rates = Rates::default();
        for second in 0..20 {
            // 40 records per second, all stored, and half a second of them not committed.
            let busy = rates.update(&reading(second * 2_000, &[(20 + second * 80, Some(second * 80)), (3, None)]));
            assert!(busy.is_none_or(|interval| interval.busy == 0), "{busy:?}");
        }
    }

    #[test]
    fn another_topic_or_a_long_silence_begins_anew() {
        let mut rates = Rates::default();
        rates.update(&reading(0, &[(0, None)]));
        rates.update(&reading(2_000, &[(200, None)]));
        assert_eq!(rates.update(&reading(4_000, &[(10, None)])), None, "a topic whose end went back is another one");
        assert_eq!(rates.sum(), Rate::default());
        rates.update(&reading(6_000, &[(20, None)]));
        assert_eq!(rates.update(&reading(96_000, &[(30, None)])), None);
    }

    #[test]
    fn a_partition_that_was_added_counts_from_its_beginning() {
        let mut rates = Rates::default();
        rates.update(&reading(0, &[(0, None)]));
        rates.update(&reading(2_000, &[(0, None), (50, None)]));
        assert_eq!((rates.of(0).arrival, rates.of(1).arrival), (0.0, 25.0));
    }
}
