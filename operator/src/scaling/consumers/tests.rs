//! The decision as a table, and as scenes with consumers that really store.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::reading::{Membership, PartitionOffsets};
use super::*;

const SECOND: i64 = 1_000;

fn target() -> Target {
    Target { floor: 0, most: 12, drain_s: 30.0 }
}

/// A reading with that lag in each partition.
fn lags(at_ms: i64, lags: &[u64]) -> Reading {
    let partition = |(id, lag): (usize, &u64)| {
        let end = i64::try_from(*lag).unwrap() + 1_000;
        (i32::try_from(id).unwrap(), PartitionOffsets { start: 0, end, committed: Some(1_000) })
    };
    Reading { at_ms, partitions: lags.iter().enumerate().map(partition).collect(), group: None }
}

/// One look at a backlog, with pods that store 500 rows per second each: 375 are counted on.
fn decide(current: i32, per_partition: &[u64], target: &Target) -> ConsumerDecision {
    let reading = lags(0, per_partition);
    let moment = ConsumerInputs { at_ms: 0, reading: Some(&reading), complete: false, current, ready: current };
    ConsumerPolicy::default().decide(&moment, target)
}

#[test]
fn one_look_at_a_backlog() {
    let many = [30_000; 12];
    let at_most = |most| Target { most, ..target() };
    let floor = |floor| Target { floor, ..target() };
    for (scene, lag, current, target, expected) in [
        ("nothing waits", &[0u64; 12][..], 0, target(), (0, ScalingReason::Floor)),
        ("what waits is one pod's work for 30 s", &[900; 12], 0, target(), (1, ScalingReason::Demand)),
        ("four pods' and a little more: the next useful number", &[3_900; 12], 0, target(), (6, ScalingReason::Demand)),
        ("each partition is more than a pod's work", &many, 0, target(), (12, ScalingReason::Demand)),
        (
            "one partition has it all: one pod is all that helps",
            &[360_000, 0, 0, 0],
            1,
            target(),
            (1, ScalingReason::Demand),
        ),
        ("and comes from nothing", &[360_000, 0, 0, 0], 0, target(), (1, ScalingReason::Demand)),
        ("no more than the spec allows", &many, 0, at_most(5), (4, ScalingReason::AtMost)),
        ("no less than planned", &[0; 12], 0, floor(3), (3, ScalingReason::Floor)),
        ("fewer would do, but not while something waits", &[900; 12], 6, target(), (6, ScalingReason::Backlog)),
        ("fewer would do, but it was quiet for a moment only", &[0; 12], 6, target(), (6, ScalingReason::Stabilizing)),
        ("the spec's maximum was lowered", &many, 12, at_most(3), (3, ScalingReason::AtMost)),
        ("a shorter aim needs more", &[900; 12], 0, Target { drain_s: 3.0, ..target() }, (12, ScalingReason::Demand)),
    ] {
        let found = decide(current, lag, &target);
        assert_eq!((found.replicas, found.why), expected, "{scene}: {found:?}");
    }
}

#[test]
fn a_lag_that_cannot_be_read_is_not_zero() {
    let mut consumers = ConsumerPolicy::default();
    for (current, floor, expected) in [(6, 0, 6), (0, 0, 0), (1, 3, 3)] {
        let moment = ConsumerInputs { at_ms: 0, reading: None, complete: false, current, ready: current };
        let found = consumers.decide(&moment, &Target { floor, ..target() });
        assert_eq!(found.replicas, expected, "held, but for the plan of the window: {found:?}");
    }
}

#[test]
fn rows_that_are_complete_make_no_work_of_offsets_that_expired() {
    let reading = lags(0, &[50_000; 12]);
    let moment = ConsumerInputs { at_ms: 0, reading: Some(&reading), complete: true, current: 0, ready: 0 };
    assert_eq!(ConsumerPolicy::default().decide(&moment, &target()).replicas, 0);
}

#[test]
fn a_hot_partition_is_named_and_an_even_rush_is_not() {
    assert_eq!(decide(1, &[0, 400_000, 0, 100], &target()).figures.hot, Some(1));
    assert_eq!(decide(1, &[400_000; 4], &target()).figures.hot, None);
    assert_eq!(decide(1, &[900; 4], &target()).figures.hot, None);
}

/// Consumers that really store: pods need some seconds to start, and each stores so much; all of them together may be limited.
#[derive(Debug, Clone)]
struct Plant {
    partitions: Vec<(f64, f64)>,
    per_pod: f64,
    database: f64,
    start_up_s: f64,
    /// How long nothing is stored once pods are ready.
    rebalance_ms: i64,
    now_ms: i64,
    wanted: i32,
    ready: i32,
    ready_at_ms: i64,
    changes: Vec<(i64, i32, ScalingReason)>,
}

impl Plant {
    fn new(partitions: usize, per_pod: f64) -> Self {
        Self {
            partitions: vec![(0.0, 0.0); partitions],
            per_pod,
            database: f64::INFINITY,
            start_up_s: 4.0,
            rebalance_ms: 0,
            now_ms: 0,
            wanted: 0,
            ready: 0,
            ready_at_ms: 0,
            changes: Vec::new(),
        }
    }

    fn shares_out(&self) -> bool {
        self.now_ms < self.ready_at_ms + self.rebalance_ms
    }

    fn lag(&self) -> f64 {
        self.partitions.iter().map(|(end, done)| end - done).sum()
    }

    /// Lets `seconds` go by, with `arrival(partition)` records per second, and a decision every two.
    fn run(&mut self, consumers: &mut ConsumerPolicy, target: &Target, seconds: i64, arrival: impl Fn(usize) -> f64) {
        for _ in 0..seconds * 10 {
            self.now_ms += 100;
            if self.now_ms >= self.ready_at_ms {
                self.ready = self.wanted;
            }
            let count = self.partitions.len();
            let pods = if self.shares_out() { 0 } else { usize::try_from(self.ready).unwrap() };
            let per_pod = self.per_pod.min(self.database / f64::from(self.ready.max(1))) / 10.0;
            for (id, partition) in self.partitions.iter_mut().enumerate() {
                partition.0 += arrival(id) / 10.0;
            }
            for pod in 0..pods {
                let mut left = per_pod;
                for id in (pod..count).step_by(pods) {
                    let (end, done) = &mut self.partitions[id];
                    let stored = (*end - *done).min(left);
                    *done += stored;
                    left -= stored;
                }
            }
            if self.now_ms % 2_000 == 0 {
                self.decide(consumers, target);
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "records")]
    fn decide(&mut self, consumers: &mut ConsumerPolicy, target: &Target) {
        let partitions: BTreeMap<i32, PartitionOffsets> = (0..)
            .zip(&self.partitions)
            .map(|(id, (end, done))| {
                (id, PartitionOffsets { start: 0, end: *end as i64, committed: Some(*done as i64) })
            })
            .collect();
        let group = Some(Membership { stable: !self.shares_out(), holders: self.ready });
        let reading = Reading { at_ms: self.now_ms, partitions, group };
        let (current, ready) = (self.wanted, self.ready);
        let moment = ConsumerInputs { at_ms: self.now_ms, reading: Some(&reading), complete: false, current, ready };
        let found = consumers.decide(&moment, target);
        if found.replicas != current {
            self.changes.push((self.now_ms, found.replicas, found.why));
            self.ready_at_ms =
                if found.replicas > current { self.now_ms + (self.start_up_s * 1000.0) as i64 } else { self.now_ms };
            self.ready = self.ready.min(found.replicas);
        }
        self.wanted = found.replicas;
    }

    fn numbers(&self) -> Vec<i32> {
        self.changes.iter().map(|(_, pods, _)| *pods).collect()
    }
}

#[test]
fn a_rush_brings_one_jump_and_quiet_brings_them_down_one_by_one() {
    let (mut plant, mut consumers) = (Plant::new(12, 500.0), ConsumerPolicy::default());
    plant.run(&mut consumers, &target(), 20, |_| 0.0);
    plant.run(&mut consumers, &target(), 10, |_| 500.0);
    plant.run(&mut consumers, &target(), 50, |_| 0.0);
    assert!(plant.lag() < 1.0, "{plant:?}");
    let ups = plant.numbers().windows(2).filter(|pair| pair[1] > pair[0]).count() + 1;
    assert!(ups <= 2, "{:?}", plant.changes);
    assert!(plant.changes[0].0 <= 22_000, "decided within two seconds: {:?}", plant.changes);
    plant.run(&mut consumers, &target(), 600, |_| 0.0);
    let top = plant.numbers().iter().copied().max().unwrap();
    let down: Vec<i32> = plant.numbers().into_iter().skip_while(|pods| *pods != top).collect();
    assert!(down.windows(2).all(|pair| pair[1] == useful_counts::below(pair[0], 12)), "{down:?}");
    assert_eq!(plant.wanted, 0);
}

#[test]
fn a_steady_stream_ends_at_one_number() {
    for per_second in [20.0, 100.0, 400.0] {
        let (mut plant, mut consumers) = (Plant::new(12, 500.0), ConsumerPolicy::default());
        plant.run(&mut consumers, &target(), 1_200, |_| per_second);
        let last = plant.changes.last().unwrap();
        assert!(last.0 < 600 * SECOND, "{:?}", plant.changes);
        assert!(plant.lag() < 12.0 * per_second * 3.0, "{plant:?}");
    }
}

#[test]
fn a_database_that_is_full_is_not_scaled_against() {
    let (mut plant, mut consumers) = (Plant::new(24, 500.0), ConsumerPolicy::default());
    let target = Target { most: 24, drain_s: 600.0, ..target() };
    plant.run(&mut consumers, &target, 100, |_| 20.0);
    plant.database = 600.0;
    plant.run(&mut consumers, &target, 60, |_| 50.0);
    let before = plant.wanted;
    plant.run(&mut consumers, &target, 120, |_| 100.0);
    assert_eq!(plant.wanted, before, "what comes is twice as much, and nothing is added: {:?}", plant.changes);
    assert!(before < 12, "{:?}", plant.changes);
    let lag = lags(plant.now_ms + 2_000, &[90_000; 24]);
    let (at_ms, current, ready) = (plant.now_ms + 2_000, plant.wanted, plant.ready);
    let moment = ConsumerInputs { at_ms, reading: Some(&lag), complete: false, current, ready };
    assert_eq!(consumers.decide(&moment, &target).why, ScalingReason::DownstreamSaturated);
    plant.run(&mut consumers, &target, 300, |_| 100.0);
    assert!(plant.wanted > before, "after five minutes it is tried again: {:?}", plant.changes);
}

#[test]
fn a_jump_from_pods_that_have_just_begun_is_judged_by_what_they_do_now() {
    let (mut plant, mut consumers) = (Plant::new(24, 500.0), ConsumerPolicy::default());
    plant.database = 1_500.0;
    let at_most = |most| Target { most, ..target() };
    plant.run(&mut consumers, &at_most(2), 15, |_| 1_900.0 / 24.0);
    assert_eq!(plant.numbers(), [1, 2], "{:?}", plant.changes);
    plant.run(&mut consumers, &at_most(24), 60, |_| 1_900.0 / 24.0);
    // 1,000 rows per second with two pods, 1,500 with eight. Eight seconds after they began, the average of the two is still 860.
    assert_eq!(plant.numbers(), [1, 2, 8], "{:?}", plant.changes);
}

#[test]
fn pods_that_have_no_partitions_yet_are_waited_for_and_not_judged() {
    let (mut plant, mut consumers) = (Plant::new(24, 500.0), ConsumerPolicy::default());
    plant.run(&mut consumers, &Target { most: 2, ..target() }, 20, |_| 1_900.0 / 24.0);
    let learned = consumers.capacity().per_pod();
    plant.rebalance_ms = 15_000;
    plant.run(&mut consumers, &Target { most: 24, ..target() }, 18, |_| 1_900.0 / 24.0);
    assert_eq!(plant.numbers(), [1, 2, 12], "one jump: {:?}", plant.changes);
    assert_eq!(consumers.capacity().per_pod(), learned, "nobody works, so there is nothing to learn");
    plant.run(&mut consumers, &Target { most: 24, ..target() }, 30, |_| 8_000.0 / 24.0);
    assert!(plant.wanted > 12, "twelve were not in vain, so more may come: {:?}", plant.changes);
}

#[test]
fn a_database_that_is_full_is_said_at_the_most_too() {
    let (mut plant, mut consumers) = (Plant::new(12, 500.0), ConsumerPolicy::default());
    plant.run(&mut consumers, &Target { most: 3, ..target() }, 20, |_| 1_000.0);
    plant.database = 1_500.0;
    plant.run(&mut consumers, &target(), 40, |_| 1_000.0);
    assert_eq!(plant.wanted, 12, "{:?}", plant.changes);
    let lag = lags(plant.now_ms + 2_000, &[90_000; 12]);
    let at_ms = plant.now_ms + 2_000;
    let moment = ConsumerInputs { at_ms, reading: Some(&lag), complete: false, current: 12, ready: 12 };
    assert_eq!(consumers.decide(&moment, &target()).why, ScalingReason::DownstreamSaturated);
}

#[test]
fn a_jump_that_was_much_too_small_is_raised_before_its_pods_are_ready() {
    let (mut plant, mut consumers) = (Plant::new(12, 500.0), ConsumerPolicy::default());
    plant.run(&mut consumers, &target(), 2, |_| 100.0);
    plant.run(&mut consumers, &target(), 2, |_| 2_000.0);
    assert_eq!(plant.changes, [(2_000, 1, ScalingReason::Demand), (4_000, 12, ScalingReason::Demand)]);
}

#[test]
fn what_pods_can_do_is_learned() {
    let (mut plant, mut consumers) = (Plant::new(12, 2_000.0), ConsumerPolicy::default());
    plant.run(&mut consumers, &target(), 4, |_| 0.0);
    plant.run(&mut consumers, &target(), 40, |_| 1_800.0);
    let learned = consumers.capacity().per_pod();
    assert!((1_500.0..2_500.0).contains(&learned), "{learned}: {:?}", plant.changes);
}

proptest! {
    #[test]
    fn more_lag_never_wants_fewer(
        lag in prop::collection::vec(0u64..100_000, 1..24),
        more in 0u64..100_000,
        current in 0i32..24,
        floor in 0i32..4,
    ) {
        let target = Target { floor, most: 24, ..target() };
        let mut higher = lag.clone();
        higher[0] += more;
        prop_assert!(decide(current, &higher, &target).replicas >= decide(current, &lag, &target).replicas);
    }

    #[test]
    fn the_number_stays_in_its_bounds(
        lag in prop::collection::vec(0u64..1_000_000, 1..24),
        current in 0i32..40,
        floor in 0i32..6,
        most in 1i32..30,
    ) {
        let partitions = i32::try_from(lag.len()).unwrap();
        let (floor, most) = (floor.min(most).min(partitions), most.min(partitions));
        let found = decide(current, &lag, &Target { floor, most, ..target() });
        prop_assert!((floor..=most).contains(&found.replicas), "{:?}", found);
    }

    #[test]
    fn a_number_is_left_and_come_back_to_once_at_most_under_a_steady_stream(
        // One record in minutes is no stream: there, a pod comes for each and goes again.
        per_second in 1.0f64..800.0,
        per_pod in 100.0f64..3_000.0,
        partitions in 1usize..24,
    ) {
        let (mut plant, mut consumers) = (Plant::new(partitions, per_pod), ConsumerPolicy::default());
        let target = Target { most: 24, ..target() };
        plant.run(&mut consumers, &target, 1_200, |_| per_second);
        let numbers = plant.numbers();
        let turns = numbers.windows(3).filter(|n| (n[1] > n[0]) != (n[2] > n[1])).count();
        // What a pod can do is only known once one had a backlog. If that was less than taken for, down went too far.
        prop_assert!(turns <= 2, "up, down to what is enough, and up once if it was not: {:?}", plant.changes);
    }
}
