//! What is scaled: a topic, a consumer group whose pods really store, and a database that may be slow.
//!
//! The same for every scaler. What is left out, for all of them alike: image pulls, the time that a pod takes to end, and that
//! a cooperative rebalance stops only the partitions that move.

use std::collections::BTreeMap;

use operator::scaling::reading::{Membership, PartitionOffsets, Reading};

use crate::arrivals::Curve;

/// From a pod that is wanted to one that is ready and joins the group, in milliseconds.
pub(crate) const START_UP_MS: i64 = 4_000;
/// Nothing is stored for so long when an empty group gets its first members, in milliseconds: the broker waits for others
/// (`group.initial.rebalance.delay.ms`, 3 s by default).
pub(crate) const FIRST_JOIN_MS: i64 = 3_000;
/// Nothing is stored for so long at any other change of members, in milliseconds.
pub(crate) const REBALANCE_MS: i64 = 1_500;
/// How often offsets are committed, in milliseconds.
const COMMIT_MS: i64 = 1_000;
/// When, in milliseconds of each second: just before nobody's look, or there would never seem to be lag.
const COMMIT_PHASE_MS: i64 = 700;

/// What a plant can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    /// Partitions of the topic.
    pub(crate) partitions: usize,
    /// Rows per second that one pod stores.
    pub(crate) per_pod: f64,
    /// Rows per second that the database takes from all pods together; `None`: more than they have.
    pub(crate) database: Option<f64>,
}

/// The state of it.
#[derive(Debug, Clone)]
pub(crate) struct Plant {
    settings: Settings,
    ends: Vec<i64>,
    stored: Vec<f64>,
    committed: Vec<Option<i64>>,
    /// When each pod is ready, in milliseconds; the oldest first.
    pods: Vec<i64>,
    /// How many of them the group knows.
    members: usize,
    paused_until_ms: i64,
    rebalances: u32,
}

impl Plant {
    /// With pods that are at work already.
    pub(crate) fn new(settings: Settings, pods: i32) -> Self {
        let count = settings.partitions;
        let members = usize::try_from(pods).unwrap_or(0);
        Self {
            settings,
            ends: vec![0; count],
            stored: vec![0.0; count],
            committed: vec![None; count],
            pods: vec![0; members],
            members,
            paused_until_ms: 0,
            rebalances: 0,
        }
    }

    /// Lets `tick_ms` go by until `now_ms`; the curve is read at `at_s`.
    pub(crate) fn step(&mut self, now_ms: i64, tick_ms: i64, curve: &Curve, at_s: f64) {
        let count = self.settings.partitions;
        self.ends = (0..count).map(|id| curve.end_offset(at_s, id, count)).collect();
        self.join(now_ms);
        if now_ms >= self.paused_until_ms {
            self.store(tick_ms as f64 / 1000.0);
        }
        if now_ms % COMMIT_MS == COMMIT_PHASE_MS {
            self.commit();
        }
    }

    /// Sets the number of pods. New ones need their time; the youngest go first.
    pub(crate) fn scale(&mut self, now_ms: i64, pods: i32) {
        self.pods.resize(usize::try_from(pods).unwrap_or(0), now_ms + START_UP_MS);
    }

    /// Pods that should be there.
    pub(crate) fn pods(&self) -> i32 {
        self.pods.len() as i32
    }

    /// Pods that are ready.
    pub(crate) fn ready(&self, now_ms: i64) -> i32 {
        self.pods.iter().filter(|ready_at| **ready_at <= now_ms).count() as i32
    }

    /// Records that are not rows yet.
    pub(crate) fn lag(&self) -> u64 {
        let lag = |(end, stored): (&i64, &f64)| u64::try_from(end - stored.floor() as i64).unwrap_or(0);
        self.ends.iter().zip(&self.stored).map(lag).sum()
    }

    /// All records.
    pub(crate) fn records(&self) -> i64 {
        self.ends.iter().sum()
    }

    /// Changes of members that stopped somebody's work.
    pub(crate) fn rebalances(&self) -> u32 {
        self.rebalances
    }

    /// What Kafka says: offsets as committed, and the group.
    pub(crate) fn reading(&self, now_ms: i64) -> Reading {
        let ends = self.ends.iter().zip(&self.committed);
        let partition =
            |(end, committed): (&i64, &Option<i64>)| PartitionOffsets { start: 0, end: *end, committed: *committed };
        let partitions: BTreeMap<i32, PartitionOffsets> = (0..).zip(ends.map(partition)).collect();
        let group = Membership { stable: now_ms >= self.paused_until_ms, holders: self.members as i32 };
        Reading { at_ms: now_ms, partitions, group: Some(group) }
    }

    fn join(&mut self, now_ms: i64) {
        let ready = self.ready(now_ms) as usize;
        if ready == self.members {
            return;
        }
        // Who has to give a partition away commits first.
        self.commit();
        if ready > 0 {
            self.rebalances += 1;
            let pause = if self.members == 0 { FIRST_JOIN_MS } else { REBALANCE_MS };
            self.paused_until_ms = now_ms + pause;
        }
        self.members = ready;
    }

    fn commit(&mut self) {
        for (committed, stored) in self.committed.iter_mut().zip(&self.stored) {
            if *stored >= 1.0 {
                *committed = Some(stored.floor() as i64);
            }
        }
    }

    /// Each pod stores what waits in its partitions, as far as it and the database can.
    fn store(&mut self, seconds: f64) {
        let of = |pod: usize| (pod..self.settings.partitions).step_by(self.members.max(1));
        let waiting = |id: usize| self.ends[id] as f64 - self.stored[id];
        let mut shares: Vec<(Vec<usize>, f64)> = (0..self.members)
            .map(|pod| {
                let all: f64 = of(pod).map(waiting).sum();
                let mut ids: Vec<usize> = of(pod).collect();
                ids.sort_by(|a, b| waiting(*a).total_cmp(&waiting(*b)));
                (ids, all.min(self.settings.per_pod * seconds))
            })
            .collect();
        let wanted: f64 = shares.iter().map(|(_, rows)| rows).sum();
        let taken = self.settings.database.map_or(wanted, |most| wanted.min(most * seconds));
        for (ids, rows) in &mut shares {
            let mut left = if wanted > 0.0 { *rows * taken / wanted } else { 0.0 };
            // The smallest first: what it does not need of its even part is left for the others.
            for (index, id) in ids.iter().enumerate() {
                let even = left / (ids.len() - index) as f64;
                let stored = (self.ends[*id] as f64 - self.stored[*id]).min(even);
                // A hair below a whole record would look like one that waits.
                self.stored[*id] = round_up_a_hair(self.stored[*id] + stored);
                left -= stored;
            }
        }
    }
}

/// Rounding errors of many small additions go: within a millionth of a record, it is whole.
fn round_up_a_hair(records: f64) -> f64 {
    let whole = records.round();
    if (records - whole).abs() < 1e-6 { whole } else { records }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { partitions: 4, per_pod: 100.0, database: None };

    /// 4,000 records at once, then so many seconds.
    fn run(plant: &mut Plant, from_s: i64, to_s: i64) {
        let curve = Curve::steps(0.001, &[4_000_000.0]);
        for tick in from_s * 10 + 1..=to_s * 10 {
            plant.step(tick * 100, 100, &curve, 1.0);
        }
    }

    fn stored(plant: &Plant) -> f64 {
        plant.stored.iter().sum()
    }

    #[test]
    fn pods_store_after_start_and_join_and_stop_for_a_rebalance() {
        let mut plant = Plant::new(SETTINGS, 0);
        plant.scale(0, 1);
        run(&mut plant, 0, 7);
        assert!(stored(&plant) < 11.0, "4 s to start, 3 s to join: {plant:?}");
        run(&mut plant, 7, 12);
        assert!((500.0..511.0).contains(&stored(&plant)), "{plant:?}");
        plant.scale(12_000, 2);
        run(&mut plant, 12, 20);
        assert!((1_400.0..1_425.0).contains(&stored(&plant)), "4 s alone, 1.5 s none, 2.5 s two: {plant:?}");
        assert_eq!((plant.rebalances(), plant.pods(), plant.ready(20_000)), (2, 2, 2));
    }

    #[test]
    fn a_partition_has_one_pod_and_the_database_has_its_limit() {
        let mut many = Plant::new(SETTINGS, 9);
        run(&mut many, 0, 5);
        assert!((1_999.0..2_001.0).contains(&stored(&many)), "5 of 9 have no partition: {many:?}");
        let mut slow = Plant::new(Settings { database: Some(150.0), ..SETTINGS }, 4);
        run(&mut slow, 0, 4);
        assert!((599.0..601.0).contains(&stored(&slow)), "{slow:?}");
    }

    #[test]
    fn offsets_lag_behind_rows_by_up_to_a_second() {
        let mut plant = Plant::new(SETTINGS, 4);
        run(&mut plant, 0, 1);
        let curve = Curve::steps(0.001, &[4_000_000.0]);
        plant.step(1_100, 100, &curve, 1.0);
        assert_eq!((plant.reading(1_100).lag(), plant.lag()), (3_720, 3_560));
        assert_eq!(Plant::new(SETTINGS, 4).reading(0).partitions[&0].committed, None, "nobody has committed yet");
    }
}
