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

use super::learned::{Capacity, StartUp};
use super::levels;
use super::rates::{FRESH_S, Rate, Rates, Reading, float};

/// How much of its capacity a pod should use when it is sized for.
pub const UTILISATION: f64 = 0.75;
/// Fewer pods must carry this many times the work before one goes down, so that going down never brings going up.
const DOWN_MARGIN: f64 = 1.25;
/// How long less must be enough before it is done, in milliseconds.
pub const STABLE_MS: i64 = 60_000;
/// From ready pods until a jump shows in the rates, in milliseconds: a rebalance and some readings.
const SETTLE_MS: i64 = 8_000;
/// While pods of a jump are not ready, it may still become this many times as high: its first look may have been at the first
/// tenth of a second of a rush. Each time it doubles, so there are few of these, and the group has not grown yet.
const RAISE: i32 = 2;
/// Intervals whose middle one says what the pods do at the moment.
const LATE: usize = 3;
/// A jump that brings less than this part of what it should is in vain.
const EFFECT: f64 = 0.2;
/// How long nothing is added after a jump in vain, in milliseconds.
const FREEZE_MS: i64 = 300_000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Not below it: the spec's minimum, or the plan for the window.
    pub floor: i32,
    /// Not above it.
    pub most: i32,
    /// How fast a backlog should be gone, in seconds.
    pub drain_s: f64,
    /// Somebody on call holds the number down.
    pub hold_out: bool,
    /// Somebody on call holds the number up.
    pub hold_in: bool,
}

/// What is there at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment<'a> {
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

/// Why so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Why {
    /// So many do the work that there is.
    Demand,
    /// The plan for the window, or the least that the spec asks for.
    Floor,
    /// As many as may be, although more work is there.
    AtMost,
    /// Pods of the last jump are not at work yet.
    Settling,
    /// Fewer would do, but there is a backlog: none is taken away.
    Backlog,
    /// Fewer would do, but not for long enough yet.
    Stabilizing,
    /// The last jump brought next to nothing: something behind the consumers is full.
    DownstreamSaturated,
    /// The lag cannot be read.
    LagUnknown,
    /// Somebody on call holds the number.
    Paused,
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
pub struct Decision {
    /// Pods.
    pub replicas: i32,
    /// Why.
    pub why: Why,
    /// Out of what.
    pub figures: Figures,
}

/// A jump up that is not judged yet.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Jump {
    from: i32,
    to: i32,
    at_ms: i64,
    /// Rows per second before it.
    drain: f64,
    ready_at_ms: Option<i64>,
    /// There was a backlog all the time, so the pods had something to do.
    busy: bool,
}

/// The memory of one campaign's decisions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Consumers {
    rates: Rates,
    capacity: Capacity,
    start_up: StartUp,
    jump: Option<Jump>,
    less_since_ms: Option<i64>,
    frozen_until_ms: Option<i64>,
    /// Rows per second in the last intervals.
    drains: VecDeque<f64>,
    /// The number of pods at the last moment.
    pods: i32,
}

impl Consumers {
    /// Begins with what was measured in an earlier time.
    pub fn new(capacity: Capacity, start_up: StartUp) -> Self {
        Self { capacity, start_up, ..Self::default() }
    }

    /// Rows per second of one pod.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// How long pods need to start.
    pub fn start_up(&self) -> StartUp {
        self.start_up
    }

    /// Takes in a moment, and decides.
    pub fn decide(&mut self, moment: &Moment<'_>, target: &Target) -> Decision {
        let Some(reading) = moment.reading else {
            self.less_since_ms = None;
            let (replicas, why) = match moment.current.max(target.floor) {
                replicas if replicas > moment.current => (replicas, Why::Floor),
                replicas => (replicas, Why::LagUnknown),
            };
            return Decision { replicas, why, figures: self.figures_unread() };
        };
        let partitions = i32::try_from(reading.partitions.len()).unwrap_or(i32::MAX);
        self.learn(moment, reading);
        let figures = self.figures(reading, moment.complete, target.drain_s);
        let backlog = !moment.complete && behind(&figures);
        self.judge(moment, backlog, partitions);
        let most = levels::useful(target.most, partitions).max(target.floor);
        let (wanted, why) = match levels::enough(figures.need, partitions) {
            enough if enough <= target.floor => (target.floor, Why::Floor),
            enough if enough > most => (most, Why::AtMost),
            enough => (enough, Why::Demand),
        };
        let (replicas, why) = if moment.current > target.most.max(target.floor) {
            // The spec's maximum was lowered, which is no matter of work.
            (if target.hold_in { moment.current } else { most }, if target.hold_in { Why::Paused } else { Why::AtMost })
        } else if wanted > moment.current {
            self.less_since_ms = None;
            self.up(moment, target, wanted, why)
        } else {
            let less = levels::enough(figures.need * DOWN_MARGIN, partitions).clamp(target.floor, most);
            self.down(moment, target, less, backlog, partitions, why)
        };
        if replicas > moment.current {
            // A jump that is raised is judged as one.
            let (from, drain) = match self.jump.filter(|jump| jump.ready_at_ms.is_none()) {
                Some(jump) => (jump.from, jump.drain),
                None => (moment.current, self.drain()),
            };
            let at_ms = moment.at_ms;
            self.jump = Some(Jump { from, to: replicas, at_ms, drain, ready_at_ms: None, busy: backlog });
        }
        Decision { replicas, why, figures }
    }

    fn up(&self, moment: &Moment<'_>, target: &Target, wanted: i32, why: Why) -> (i32, Why) {
        let current = moment.current;
        if target.hold_out {
            return (current, Why::Paused);
        }
        // The plan for the window waits for nothing.
        if wanted <= target.floor {
            return (wanted, Why::Floor);
        }
        let at_least = |why| if current < target.floor { (target.floor, Why::Floor) } else { (current, why) };
        if self.frozen(moment.at_ms) {
            return at_least(Why::DownstreamSaturated);
        }
        let raised = |jump: &Jump| jump.ready_at_ms.is_none() && wanted >= current * RAISE;
        if self.jump.is_some_and(|jump| self.settling(&jump, moment.at_ms) && !raised(&jump)) {
            return at_least(Why::Settling);
        }
        (wanted, why)
    }

    fn down(
        &mut self,
        moment: &Moment<'_>,
        target: &Target,
        less: i32,
        backlog: bool,
        partitions: i32,
        why: Why,
    ) -> (i32, Why) {
        let current = moment.current;
        if current <= target.floor || (less >= current && !backlog) {
            self.less_since_ms = None;
            return (current, why);
        }
        if backlog {
            self.less_since_ms = None;
            return match less < current {
                true => (current, Why::Backlog),
                // At the most, too: who reads that may have more would raise the maximum for nothing.
                false => (current, if self.frozen(moment.at_ms) { Why::DownstreamSaturated } else { why }),
            };
        }
        let since = *self.less_since_ms.get_or_insert(moment.at_ms);
        if moment.at_ms - since < STABLE_MS {
            return (current, Why::Stabilizing);
        }
        if target.hold_in {
            return (current, Why::Paused);
        }
        self.less_since_ms = Some(moment.at_ms);
        (levels::below(current, partitions).max(less).max(target.floor), why)
    }

    fn frozen(&self, at_ms: i64) -> bool {
        self.frozen_until_ms.is_some_and(|until| at_ms < until)
    }

    /// Rows per second of late: the middle one of some intervals. The moving average of a group that has just begun its work
    /// is still too low, and a jump from there would seem to bring something.
    fn drain(&self) -> f64 {
        let mut drains: Vec<f64> = self.drains.iter().copied().collect();
        drains.sort_by(f64::total_cmp);
        drains.get(drains.len() / 2).copied().unwrap_or(0.0)
    }

    /// Whether the pods of a jump are not at work yet. One whose pods do not start is not waited for for ever.
    fn settling(&self, jump: &Jump, at_ms: i64) -> bool {
        match jump.ready_at_ms {
            Some(ready) => at_ms - ready < SETTLE_MS,
            None => seconds(at_ms - jump.at_ms) < 3.0 * self.start_up.seconds() + 10.0,
        }
    }

    fn learn(&mut self, moment: &Moment<'_>, reading: &Reading) {
        if moment.current != self.pods {
            self.capacity.pods_changed();
            self.pods = moment.current;
        }
        let interval = self.rates.see(reading);
        self.drains.extend(interval.map(|interval| interval.drain));
        if self.drains.len() > LATE {
            self.drains.pop_front();
        }
        // Only while the number of pods stands still: else it cannot be said who stored the rows.
        if let Some(interval) = interval.filter(|interval| interval.busy > 0)
            && moment.ready == moment.current
        {
            // With fewer busy partitions than pods, each is taken to have a pod of its own.
            match interval.busy < moment.ready {
                true => self.capacity.see(interval.busy_drain, interval.busy),
                false => self.capacity.see(interval.drain, moment.ready),
            }
        }
    }

    /// Notes when the pods of the last jump are ready; some time later, what the jump has brought.
    fn judge(&mut self, moment: &Moment<'_>, backlog: bool, partitions: i32) {
        let drain = self.drain();
        let Some(jump) = &mut self.jump else { return };
        jump.busy &= backlog;
        if moment.current != jump.to {
            // Somebody else changed the number, or it went down: there is nothing to judge.
            self.jump = None;
            return;
        }
        if jump.ready_at_ms.is_none() && moment.ready >= jump.to {
            jump.ready_at_ms = Some(moment.at_ms);
            self.start_up.see(seconds(moment.at_ms - jump.at_ms));
        }
        let jump = *jump;
        if jump.ready_at_ms.is_none() || self.settling(&jump, moment.at_ms) {
            return;
        }
        self.jump = None;
        let hoped = f64::from(jump.to.min(partitions)) / f64::from(jump.from.max(1)) - 1.0;
        if jump.from > 0 && jump.busy && jump.drain > 0.0 && drain / jump.drain - 1.0 < EFFECT * hoped {
            self.frozen_until_ms = Some(moment.at_ms + FREEZE_MS);
        }
    }

    fn figures(&self, reading: &Reading, complete: bool, drain_s: f64) -> Figures {
        let per_pod = self.capacity.per_pod();
        let usable = per_pod * UTILISATION;
        let work = |id: &i32, lag: u64| {
            let Rate { arrival, drain } = self.rates.of(*id);
            let growth = (arrival - drain).max(0.0) * self.start_up.seconds();
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

#[expect(clippy::cast_precision_loss, reason = "times in a process's life")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
#[path = "consumers_tests.rs"]
mod tests;
