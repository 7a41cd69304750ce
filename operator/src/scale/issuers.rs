//! How many issuers a campaign should have: planned for the window, raised by the pressure that the pods report.
//!
//! The plan is `expectedPeakRps / (0.75 x requests per second of one pod)`. Pressure is a queue that is half full, requests
//! refused for want of room, or a tenth of them delayed in the queue: then as many as answer what comes, at least one more. Down
//! by one after a minute in which fewer would do.

use super::jump::{Jumps, Sight};
use super::learned::{Capacity, StartUp};
use super::{DOWN_MARGIN, STABLE_MS, UTILISATION, Why};

/// Requests per second that one issuer is taken to answer before anything was measured.
pub const CAPACITY_SEED: f64 = 1_500.0;
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
pub struct Moment {
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
pub struct Decision {
    /// Pods.
    pub replicas: i32,
    /// Why.
    pub why: Why,
    /// Out of what; `None`: it could not be read.
    pub load: Option<Load>,
}

/// The memory of one campaign's decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuers {
    capacity: Capacity,
    jumps: Jumps,
    less_since_ms: Option<i64>,
}

impl Default for Issuers {
    fn default() -> Self {
        Self::new(Capacity::of(CAPACITY_SEED), StartUp::default())
    }
}

impl Issuers {
    /// Begins with what was measured in an earlier time.
    pub fn new(capacity: Capacity, start_up: StartUp) -> Self {
        Self { capacity, jumps: Jumps::new(start_up), less_since_ms: None }
    }

    /// Requests per second of one pod.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// How long pods need to start.
    pub fn start_up(&self) -> StartUp {
        self.jumps.start_up()
    }

    /// Pods for so many requests per second.
    pub fn planned(&self, peak_per_second: f64) -> i32 {
        pods(peak_per_second, self.capacity.per_pod())
    }

    /// Takes in a moment, and decides on a number from `floor` to `most`.
    pub fn decide(&mut self, moment: &Moment, floor: i32, most: i32) -> Decision {
        let Moment { at_ms, current, ready, load } = *moment;
        let decision = |replicas, why| Decision { replicas, why, load };
        let most = most.max(floor);
        let Some(load) = load else {
            self.less_since_ms = None;
            let why = if current <= floor { Why::Floor } else { Why::Unknown };
            return decision(current.clamp(floor, most), why);
        };
        let pressed = load.is_pressed();
        // Only pods that have all they can do show how much that is.
        if pressed && ready == current {
            self.capacity.see(load.answered, ready);
        }
        let sight = Sight { at_ms, current, ready, at_work: ready, rate: load.answered, pressed };
        self.jumps.see(&sight);
        let need = pods(load.answered + load.rejected, self.capacity.per_pod());
        let needed = if pressed { need.max(current + 1) } else { 0 };
        let wanted = needed.clamp(floor, most);
        if wanted > current {
            self.less_since_ms = None;
            let (replicas, why) = match self.jumps.forbid(at_ms, current, wanted) {
                _ if wanted == floor => (floor, Why::Floor),
                Some(why) if current < floor => (floor, why),
                Some(why) => (current, why),
                None => (wanted, if needed > most { Why::AtMost } else { Why::Demand }),
            };
            if replicas > current {
                self.jumps.made(&sight, replicas, why);
            }
            return decision(replicas, why);
        }
        if current > most {
            return decision(most, Why::AtMost);
        }
        if pressed {
            self.less_since_ms = None;
            return decision(current, Why::AtMost);
        }
        let less = pods(load.answered * DOWN_MARGIN, self.capacity.per_pod()).max(floor);
        if less >= current {
            self.less_since_ms = None;
            return decision(current, if current <= floor { Why::Floor } else { Why::Demand });
        }
        if at_ms - *self.less_since_ms.get_or_insert(at_ms) < STABLE_MS {
            return decision(current, Why::Stabilizing);
        }
        self.less_since_ms = Some(at_ms);
        decision(current - 1, Why::Demand)
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

    fn look(issuers: &mut Issuers, at_s: i64, current: i32, load: Option<Load>) -> (i32, Why) {
        let moment = Moment { at_ms: at_s * 1_000, load, current, ready: current };
        let Decision { replicas, why, .. } = issuers.decide(&moment, 1, 8);
        (replicas, why)
    }

    #[test]
    fn one_look() {
        let full = |answered, rejected| Some(Load { answered, rejected, delayed: 0.0, fill: 1.0 });
        for (scene, current, load, expected) in [
            ("quiet", 1, Some(QUIET), (1, Why::Floor)),
            ("not there yet", 0, None, (1, Why::Floor)),
            ("nothing heard: as they are", 3, None, (3, Why::Unknown)),
            ("queues fill: one more", 2, Some(Load { fill: 0.6, ..QUIET }), (3, Why::Demand)),
            ("many wait long: one more", 2, Some(Load { delayed: 11.0, ..QUIET }), (3, Why::Demand)),
            ("some waited long", 1, Some(Load { delayed: 10.0, ..QUIET }), (1, Why::Floor)),
            ("many are refused: as many as answer all", 1, full(1_500.0, 4_000.0), (5, Why::Demand)),
            ("more than may be", 2, full(3_000.0, 90_000.0), (8, Why::AtMost)),
            ("all that may be are there", 8, full(3_000.0, 90_000.0), (8, Why::AtMost)),
            ("busy, but nobody waits", 3, Some(Load { answered: 3_200.0, ..QUIET }), (3, Why::Demand)),
            ("fewer would do, for a moment", 3, Some(QUIET), (3, Why::Stabilizing)),
            ("the spec's maximum was lowered", 9, Some(QUIET), (8, Why::AtMost)),
        ] {
            assert_eq!(look(&mut Issuers::default(), 0, current, load), expected, "{scene}");
        }
    }

    #[test]
    fn the_plan_divides_the_peak_by_what_a_pod_can_do() {
        let issuers = Issuers::new(Capacity::of(1_000.0), StartUp::default());
        assert_eq!([0.0, 700.0, 750.0, 751.0, 3_000.0].map(|peak| issuers.planned(peak)), [0, 1, 1, 2, 4]);
    }

    #[test]
    fn quiet_takes_one_away_a_minute() {
        let mut issuers = Issuers::default();
        let mut current = 3;
        let mut changes = Vec::new();
        for at in (0..400).step_by(2) {
            let (next, _) = look(&mut issuers, at, current, Some(QUIET));
            if next != current {
                changes.push((at, next));
            }
            current = next;
        }
        assert_eq!(changes, [(60, 2), (120, 1)]);
    }

    #[test]
    fn a_second_jump_waits_until_the_first_shows() {
        let mut issuers = Issuers::default();
        let pressed = Some(Load { answered: 1_500.0, rejected: 10.0, delayed: 0.0, fill: 1.0 });
        assert_eq!(look(&mut issuers, 0, 1, pressed), (2, Why::Demand));
        assert_eq!(look(&mut issuers, 2, 2, pressed), (2, Why::Settling));
        assert_eq!(look(&mut issuers, 8, 2, pressed), (2, Why::DownstreamSaturated), "twice the pods, no more answers");
    }

    proptest! {
        #[test]
        fn the_number_stays_in_its_bounds(
            answered in 0.0f64..50_000.0, rejected in 0.0f64..50_000.0, fill in 0.0f64..1.0,
            current in 0i32..40, floor in 0i32..8, more in 0i32..20,
        ) {
            let moment = Moment { at_ms: 0, load: Some(Load { answered, rejected, delayed: 0.0, fill }), current, ready: current };
            let found = Issuers::default().decide(&moment, floor, floor + more).replicas;
            prop_assert!(found >= floor && found <= (floor + more).max(floor), "{}", found);
        }
    }
}
