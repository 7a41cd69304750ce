//! This project's policy, as the operator feeds it: a reading every two seconds, the plan of the window as the floor.

use operator::scaling::ScalingReason;
use operator::scaling::consumers::{ConsumerInputs, ConsumerPolicy, Target};

use crate::cases::Case;
use crate::scaler::{BEGIN_MS, Scaler, View, due};

/// How often it looks, in milliseconds.
pub(crate) const LOOK_MS: i64 = 2_000;

/// The policy and what it said.
#[derive(Debug)]
pub(crate) struct Ours {
    consumers: ConsumerPolicy,
    target: Target,
    /// Milliseconds after a multiple of two seconds.
    phase_ms: i64,
    /// Pods for the window and from when on, in milliseconds.
    plan: Option<(i64, i32)>,
    says: Vec<String>,
}

impl Ours {
    /// With nothing learned yet.
    pub(crate) fn new(case: &Case, phase_ms: i64) -> Self {
        let target = Target { floor: case.least, most: case.settings.partitions as i32, drain_s: case.drain_s };
        let plan = case.plan.map(|plan| (BEGIN_MS - (plan.lead_s * 1000.0) as i64, plan.pods));
        Self { consumers: ConsumerPolicy::default(), target, phase_ms, plan, says: Vec::new() }
    }

    fn say(&mut self, what: String) {
        if !self.says.contains(&what) {
            self.says.push(what);
        }
    }
}

impl Scaler for Ours {
    fn decide(&mut self, view: &View<'_>) -> i32 {
        if !due(view.now_ms, LOOK_MS, self.phase_ms) {
            return view.pods;
        }
        // The sale is over and every winner is a row: the plan ends, and nobody waits for a minute without lag.
        if view.complete {
            return self.target.floor;
        }
        let planned = self.plan.filter(|(from_ms, _)| view.now_ms >= *from_ms).map_or(0, |(_, pods)| pods);
        let target = Target { floor: self.target.floor.max(planned), ..self.target };
        let moment = ConsumerInputs {
            at_ms: view.now_ms,
            reading: Some(view.reading),
            complete: false,
            current: view.pods,
            ready: view.ready,
        };
        let decision = self.consumers.decide(&moment, &target);
        if decision.why == ScalingReason::DownstreamSaturated {
            self.say("saturated".to_owned());
        }
        if let Some(partition) = decision.figures.hot {
            self.say(format!("partition {partition} is hot"));
        }
        decision.replicas
    }

    fn says(&self) -> &[String] {
        &self.says
    }
}
