//! How many issuers a campaign should have: planned for the window, raised by the pressure that the pods report.
//!
//! The plan is `expectedPeakRps / (0.75 x requests per second of one pod)`. Pressure is a queue that is half full, requests
//! refused for want of room, or a tenth of them delayed in the queue: then as many as answer what comes, at least one more. Down
//! by one after a minute in which fewer would do.

use super::estimates::{Capacity, StartUp};
use super::scale_up::{Jumps, ScaleUpInputs};
use super::{DOWN_MARGIN, STABLE_MS, ScalingReason, UTILISATION};

/// Requests per second that one issuer is taken to answer before anything was measured.
pub(crate) const CAPACITY_SEED: f64 = 1_500.0;
/// A queue that is fuller than this is pressure.
const PRESSED: f64 = 0.5;
/// More delayed requests than this part of those answered are pressure. Fewer are a hiccup of Redis.
const DELAYED_PART: f64 = 0.1;

/// What the pods report, all together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Requests answered per second, with a rank or a no.
    pub answered: f64,
    /// Requests refused for want of room, per second.
    pub rejected: f64,
    /// Requests that waited too long for their turn, per second.
    pub delayed: f64,
    /// How full the fullest queue is, from 0 to 1.
    pub fill: f64,
}

impl Load {
    fn is_pressed(&self) -> bool {
        self.fill >= PRESSED || self.rejected > 0.0 || self.delayed > self.answered * DELAYED_PART
    }
}

/// What is there at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct IssuerInputs {
    /// In milliseconds of a clock that never jumps.
    pub at_ms: i64,
    /// What the pods report; `None`: nothing, or not all of them.
    pub load: Option<Load>,
    /// Pods that should be there until now.
    pub current: i32,
    /// Pods that are ready.
    pub ready: i32,
}

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct IssuerDecision {
    /// Pods.
    pub replicas: i32,
    /// Why.
    pub why: ScalingReason,
    /// Out of what; `None`: it could not be read.
    pub load: Option<Load>,
}

/// The memory of one campaign's decisions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IssuerPolicy {
    capacity: Capacity,
    jumps: Jumps,
    less_since_ms: Option<i64>,
}

impl Default for IssuerPolicy {
    fn default() -> Self {
        Self::new(Capacity::of(CAPACITY_SEED), StartUp::default())
    }
}

impl IssuerPolicy {
    /// Begins with what was measured in an earlier time.
    pub(crate) fn new(capacity: Capacity, start_up: StartUp) -> Self {
        Self { capacity, jumps: Jumps::new(start_up), less_since_ms: None }
    }

    /// Requests per second of one pod.
    pub(crate) fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// How long pods need to start.
    pub(crate) fn start_up(&self) -> StartUp {
        self.jumps.start_up()
    }

    /// Pods for so many requests per second.
    pub(crate) fn planned(&self, peak_per_second: f64) -> i32 {
        pods(peak_per_second, self.capacity.per_pod())
    }

    /// Takes in a moment, and decides on a number from `floor` to `most`.
    pub(crate) fn decide(&mut self, moment: &IssuerInputs, floor: i32, most: i32) -> IssuerDecision {
        let IssuerInputs { at_ms, current, ready, load } = *moment;
        let decision = |replicas, why| IssuerDecision { replicas, why, load };
        let most = most.max(floor);
        let Some(load) = load else {
            self.less_since_ms = None;
            let why = if current <= floor { ScalingReason::Floor } else { ScalingReason::Unknown };
            return decision(current.clamp(floor, most), why);
        };
        let pressed = load.is_pressed();
        // Only pods that have all they can do show how much that is.
        if pressed && ready == current {
            self.capacity.update(load.answered, ready);
        }
        let sight = ScaleUpInputs { at_ms, current, ready, at_work: ready, rate: load.answered, pressed };
        self.jumps.update(&sight);
        let need = pods(load.answered + load.rejected, self.capacity.per_pod());
        let needed = if pressed { need.max(current + 1) } else { 0 };
        let wanted = needed.clamp(floor, most);
        if wanted > current {
            self.less_since_ms = None;
            let (replicas, why) = match self.jumps.forbid(at_ms, current, wanted) {
                _ if wanted == floor => (floor, ScalingReason::Floor),
                Some(why) if current < floor => (floor, why),
                Some(why) => (current, why),
                None => (wanted, if needed > most { ScalingReason::AtMost } else { ScalingReason::Demand }),
            };
            if replicas > current {
                self.jumps.made(&sight, replicas, why);
            }
            return decision(replicas, why);
        }
        if current > most {
            return decision(most, ScalingReason::AtMost);
        }
        if pressed {
            self.less_since_ms = None;
            return decision(current, ScalingReason::AtMost);
        }
        let less = pods(load.answered * DOWN_MARGIN, self.capacity.per_pod()).max(floor);
        if less >= current {
            self.less_since_ms = None;
            return decision(current, if current <= floor { ScalingReason::Floor } else { ScalingReason::Demand });
        }
        if at_ms - *self.less_since_ms.get_or_insert(at_ms) < STABLE_MS {
            return decision(current, ScalingReason::Stabilizing);
        }
        self.less_since_ms = Some(at_ms);
        decision(current - 1, ScalingReason::Demand)
    }
}

fn pods(per_second: f64, per_pod: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "saturates; the caller clamps")]
    let pods = (per_second / (per_pod * UTILISATION)).ceil() as i32;
    pods
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUIET: Load = Load { answered: 100.0, rejected: 0.0, delayed: 0.0, fill: 0.0 };

    fn decide(issuers: &mut IssuerPolicy, at_s: i64, current: i32, load: Option<Load>) -> (i32, ScalingReason) {
        let moment = IssuerInputs { at_ms: at_s * 1_000, load, current, ready: current };
        let IssuerDecision { replicas, why, .. } = issuers.decide(&moment, 1, 8);
        (replicas, why)
    }

    #[test]
    fn one_look() {
        let full = |answered, rejected| Some(Load { answered, rejected, delayed: 0.0, fill: 1.0 });
        for (scene, current, load, expected) in [
            ("quiet", 1, Some(QUIET), (1, ScalingReason::Floor)),
            ("not there yet", 0, None, (1, ScalingReason::Floor)),
            ("nothing heard: as they are", 3, None, (3, ScalingReason::Unknown)),
            ("queues fill: one more", 2, Some(Load { fill: 0.6, ..QUIET }), (3, ScalingReason::Demand)),
            ("many wait long: one more", 2, Some(Load { delayed: 11.0, ..QUIET }), (3, ScalingReason::Demand)),
            ("some waited long", 1, Some(Load { delayed: 10.0, ..QUIET }), (1, ScalingReason::Floor)),
            ("many are refused: as many as answer all", 1, full(1_500.0, 4_000.0), (5, ScalingReason::Demand)),
            ("more than may be", 2, full(3_000.0, 90_000.0), (8, ScalingReason::AtMost)),
            ("all that may be are there", 8, full(3_000.0, 90_000.0), (8, ScalingReason::AtMost)),
            ("busy, but nobody waits", 3, Some(Load { answered: 3_200.0, ..QUIET }), (3, ScalingReason::Demand)),
            ("fewer would do, for a moment", 3, Some(QUIET), (3, ScalingReason::Stabilizing)),
            ("the spec's maximum was lowered", 9, Some(QUIET), (8, ScalingReason::AtMost)),
        ] {
            assert_eq!(decide(&mut IssuerPolicy::default(), 0, current, load), expected, "{scene}");
        }
    }

    #[test]
    fn the_plan_divides_the_peak_by_what_a_pod_can_do() {
        let issuers = IssuerPolicy::new(Capacity::of(1_000.0), StartUp::default());
        assert_eq!([0.0, 700.0, 750.0, 751.0, 3_000.0].map(|peak| issuers.planned(peak)), [0, 1, 1, 2, 4]);
    }

    #[test]
    fn quiet_takes_one_away_a_minute() {
        let mut issuers = IssuerPolicy::default();
        let mut current = 3;
        let mut changes = Vec::new();
        for at in (0..400).step_by(2) {
            let (next, _) = decide(&mut issuers, at, current, Some(QUIET));
            if next != current {
                changes.push((at, next));
            }
            current = next;
        }
        assert_eq!(changes, [(60, 2), (120, 1)]);
    }

    #[test]
    fn a_second_jump_waits_until_the_first_shows() {
        let mut issuers = IssuerPolicy::default();
        let pressed = Some(Load { answered: 1_500.0, rejected: 10.0, delayed: 0.0, fill: 1.0 });
        assert_eq!(decide(&mut issuers, 0, 1, pressed), (2, ScalingReason::Demand));
        assert_eq!(decide(&mut issuers, 2, 2, pressed), (2, ScalingReason::Settling));
        assert_eq!(
            decide(&mut issuers, 8, 2, pressed),
            (2, ScalingReason::DownstreamSaturated),
            "twice the pods, no more answers"
        );
    }

    proptest! {
        #[test]
        fn the_number_stays_in_its_bounds(
            answered in 0.0f64..50_000.0, rejected in 0.0f64..50_000.0, fill in 0.0f64..1.0,
            current in 0i32..40, floor in 0i32..8, more in 0i32..20,
        ) {
            let moment = IssuerInputs { at_ms: 0, load: Some(Load { answered, rejected, delayed: 0.0, fill }), current, ready: current };
            let found = IssuerPolicy::default().decide(&moment, floor, floor + more).replicas;
            prop_assert!(found >= floor && found <= (floor + more).max(floor), "{}", found);
        }
    }
}
