//! How many consumers a campaign should have: a pure function of what was read so far and of what is asked for.
//!
//! What is needed, in pods, is the sum over the partitions of
//!
//! ```text
//! min(arrival + (lag + growth until new pods work) / drain target, capacity) / capacity      capacity = 0.75 of the measured
//! ```
//!
//! since a partition has one consumer at a time: one hot partition counts as one pod, one without work as none. The sum is
//! raised to the next useful number ([`levels`]) and clamped. Up goes in one jump, since each jump is a rebalance; down one
//! useful number at a time, after a minute without lag. The shape is that of the Flink operator's autoscaler (required rate =
//! arrival + backlog / catch-up time, a utilisation below one, ineffective scaling recognised); see docs/SCALING.md.

use std::collections::VecDeque;

use super::estimates::{Capacity, StartUp};
use super::rates::{FRESH_S, Rate, Rates, float};
use super::reading::Reading;
use super::scale_up::{Jumps, ScaleUpInputs};
use super::useful_counts;
use super::{DOWN_MARGIN, STABLE_MS, ScalingReason, UTILISATION};

/// Intervals whose middle one says what the pods do at the moment.
const LATE: usize = 3;
/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Not below it: the spec's minimum, or the plan for the window.
    pub floor: i32,
    /// Not above it.
    pub most: i32,
    /// How fast a backlog should be gone, in seconds.
    pub drain_s: f64,
}

/// What is there at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConsumerInputs<'a> {
    /// In milliseconds of a clock that never jumps.
    pub at_ms: i64,
    /// What Kafka said; `None`: nothing, which is not "no lag".
    pub reading: Option<&'a Reading>,
    /// Every winner is a row: what looks like lag is no work (committed offsets expire after days).
    pub complete: bool,
    /// Pods that should be there until now.
    pub current: i32,
    /// Pods that are ready.
    pub ready: i32,
}

/// The figures behind a decision.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Records per second, in and out.
    pub rate: Rate,
    /// Records that wait.
    pub lag: u64,
    /// Rows per second of one pod.
    pub per_pod: f64,
    /// Pods that would do the work, before rounding.
    pub need: f64,
    /// A partition with more work than one consumer can do, while most others have little.
    pub hot: Option<i32>,
}

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConsumerDecision {
    /// Pods.
    pub replicas: i32,
    /// Why.
    pub why: ScalingReason,
    /// Out of what.
    pub figures: Figures,
}

/// The memory of one campaign's decisions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConsumerPolicy {
    rates: Rates,
    capacity: Capacity,
    jumps: Jumps,
    less_since_ms: Option<i64>,
    /// Rows per second in the last intervals.
    drains: VecDeque<f64>,
    /// The number of pods at the last moment.
    pods: i32,
}

impl ConsumerPolicy {
    /// Begins with what was measured in an earlier time.
    pub fn new(capacity: Capacity, start_up: StartUp) -> Self {
        Self { capacity, jumps: Jumps::new(start_up), ..Self::default() }
    }

    /// Rows per second of one pod.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// How long pods need to start.
    pub fn start_up(&self) -> StartUp {
        self.jumps.start_up()
    }

    /// Takes in a moment, and decides.
    pub fn decide(&mut self, moment: &ConsumerInputs<'_>, target: &Target) -> ConsumerDecision {
        let Some(reading) = moment.reading else {
            self.less_since_ms = None;
            let (replicas, why) = match moment.current.max(target.floor) {
                replicas if replicas > moment.current => (replicas, ScalingReason::Floor),
                replicas => (replicas, ScalingReason::Unknown),
            };
            return ConsumerDecision { replicas, why, figures: self.figures_unread() };
        };
        let partitions = i32::try_from(reading.partitions.len()).unwrap_or(i32::MAX);
        self.update_estimates(moment, reading);
        let figures = self.figures(reading, moment.complete, target.drain_s);
        let backlog = !moment.complete && behind(&figures);
        let ConsumerInputs { at_ms, current, ready, .. } = *moment;
        let at_work = reading.at_work(ready);
        let sight = ScaleUpInputs { at_ms, current, ready, at_work, rate: self.drain(), pressed: backlog };
        self.jumps.update(&sight);
        let most = useful_counts::useful(target.most, partitions).max(target.floor);
        let (wanted, why) = match useful_counts::enough(figures.need, partitions) {
            enough if enough <= target.floor => (target.floor, ScalingReason::Floor),
            enough if enough > most => (most, ScalingReason::AtMost),
            enough => (enough, ScalingReason::Demand),
        };
        let (replicas, why) = if moment.current > target.most.max(target.floor) {
            // The spec's maximum was lowered, which is no matter of work.
            (most, ScalingReason::AtMost)
        } else if wanted > moment.current {
            self.less_since_ms = None;
            self.up(moment, target, wanted, why)
        } else {
            let less = useful_counts::enough(figures.need * DOWN_MARGIN, partitions).clamp(target.floor, most);
            self.down(moment, target, less, backlog, partitions, why)
        };
        if replicas > moment.current {
            self.jumps.made(&sight, replicas, why);
        }
        ConsumerDecision { replicas, why, figures }
    }

    fn up(
        &self,
        moment: &ConsumerInputs<'_>,
        target: &Target,
        wanted: i32,
        why: ScalingReason,
    ) -> (i32, ScalingReason) {
        let current = moment.current;
        // The plan for the window waits for nothing.
        if wanted <= target.floor {
            return (wanted, ScalingReason::Floor);
        }
        let at_least = |why| if current < target.floor { (target.floor, ScalingReason::Floor) } else { (current, why) };
        match self.jumps.forbid(moment.at_ms, current, wanted) {
            Some(why) => at_least(why),
            None => (wanted, why),
        }
    }

    fn down(
        &mut self,
        moment: &ConsumerInputs<'_>,
        target: &Target,
        less: i32,
        backlog: bool,
        partitions: i32,
        why: ScalingReason,
    ) -> (i32, ScalingReason) {
        let current = moment.current;
        if current <= target.floor || (less >= current && !backlog) {
            self.less_since_ms = None;
            return (current, why);
        }
        if backlog {
            self.less_since_ms = None;
            return match less < current {
                true => (current, ScalingReason::Backlog),
                // At the most, too: who reads that may have more would raise the maximum for nothing.
                false => {
                    (current, if self.jumps.frozen(moment.at_ms) { ScalingReason::DownstreamSaturated } else { why })
                }
            };
        }
        let since = *self.less_since_ms.get_or_insert(moment.at_ms);
        if moment.at_ms - since < STABLE_MS {
            return (current, ScalingReason::Stabilizing);
        }
        self.less_since_ms = Some(moment.at_ms);
        (useful_counts::below(current, partitions).max(less).max(target.floor), why)
    }

    /// Recent rows per second: the middle one of some intervals. The moving average of a group that has just begun its work
    /// is still too low, and a jump from there would seem to bring something.
    fn drain(&self) -> f64 {
        let mut drains: Vec<f64> = self.drains.iter().copied().collect();
        drains.sort_by(f64::total_cmp);
        drains.get(drains.len() / 2).copied().unwrap_or(0.0)
    }

    fn update_estimates(&mut self, moment: &ConsumerInputs<'_>, reading: &Reading) {
        if moment.current != self.pods {
            self.capacity.pods_changed();
            self.pods = moment.current;
        }
        let interval = self.rates.update(reading);
        self.drains.extend(interval.map(|interval| interval.drain));
        if self.drains.len() > LATE {
            self.drains.pop_front();
        }
        // Only while the same pods work: else it cannot be said who stored the rows.
        if let Some(interval) = interval.filter(|interval| interval.busy > 0)
            && reading.at_work(moment.ready) == moment.current
        {
            // With fewer busy partitions than pods, each is taken to have a pod of its own.
            match interval.busy < moment.ready {
                true => self.capacity.update(interval.busy_drain, interval.busy),
                false => self.capacity.update(interval.drain, moment.ready),
            }
        }
    }

    fn figures(&self, reading: &Reading, complete: bool, drain_s: f64) -> Figures {
        let per_pod = self.capacity.per_pod();
        let usable = per_pod * UTILISATION;
        let work = |id: &i32, lag: u64| {
            let Rate { arrival, drain } = self.rates.of(*id);
            let growth = (arrival - drain).max(0.0) * self.start_up().seconds();
            arrival + (float(lag) + growth) / drain_s.max(1.0)
        };
        let mut all: Vec<(i32, f64)> = match complete {
            true => Vec::new(),
            false => reading.partitions.iter().map(|(id, each)| (*id, work(id, each.lag()))).collect(),
        };
        let need = all.iter().map(|(_, work)| (work / usable).min(1.0)).sum();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        let middle = all.get(all.len() / 2).map_or(0.0, |(_, work)| *work);
        let hot = all.first().filter(|(_, work)| all.len() > 2 && *work > per_pod && middle < usable / 2.0);
        Figures { rate: self.rates.sum(), lag: reading.lag(), per_pod, need, hot: hot.map(|(id, _)| *id) }
    }

    fn figures_unread(&self) -> Figures {
        Figures { per_pod: self.capacity.per_pod(), ..Figures::default() }
    }
}

/// Whether more waits than comes in a moment.
fn behind(figures: &Figures) -> bool {
    float(figures.lag) > figures.rate.arrival * FRESH_S
}

#[cfg(test)]
mod tests;
