//! The numbers of pods: what is aimed at, what the policies of [`crate::scaling`] say, and what people hold. Pure but for the
//! memory of the policies.

use coupon_ledger::redis::Terms;

use k8s_openapi::api::apps::v1::Deployment;

use super::observe::Observation;
use super::pause::Pause;
use super::plan::{Plan, RemainingWork};
use super::scaling_goals::{Floor, ScalingGoal};
use crate::api::conditions::Report;
use crate::api::{ConditionType, CouponCampaign, ScalingFigures, WorkloadStatus};
use crate::scaling::consumers::{self, ConsumerPolicy, Target};
use crate::scaling::estimates::{Capacity, StartUp, rounded};
use crate::scaling::issuers::{self, IssuerPolicy, Load};
use crate::scaling::reading::Reading;
use crate::scaling::useful_counts;
use crate::scaling::{ScalingReason, UTILISATION};

/// The memory of both policies. Losing it costs what was learned since status was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policies {
    consumers: Option<ConsumerPolicy>,
    issuers: Option<IssuerPolicy>,
}

/// Pods of one kind as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaCount {
    /// Pods that should be there until now.
    pub current: i32,
    /// Pods that are ready.
    pub ready: i32,
}

impl ReplicaCount {
    /// As a Deployment says.
    pub fn of(deployment: Option<&Deployment>) -> Self {
        let current = deployment.and_then(|d| d.spec.as_ref()).map_or(0, |spec| spec.replicas.unwrap_or(1));
        let status = deployment.and_then(|d| d.status.as_ref());
        Self { current, ready: status.and_then(|status| status.ready_replicas).unwrap_or(0) }
    }
}

/// What the numbers are found from.
pub struct ScalingInputs<'a> {
    /// The campaign.
    pub campaign: &'a CouponCampaign,
    /// What was decided about it.
    pub plan: &'a Plan,
    /// What is left to store.
    pub work: RemainingWork,
    /// What Kafka said.
    pub reading: Option<&'a Reading>,
    /// Every winner is a row.
    pub complete: bool,
    /// Coupons that were issued, if that is known.
    pub issued: Option<u64>,
    /// What the issuers report.
    pub load: Option<Load>,
    /// The operator's clock that never jumps, in milliseconds.
    pub at_ms: i64,
    /// Issuers.
    pub issuer: ReplicaCount,
    /// Consumers.
    pub consumer: ReplicaCount,
    /// Whether another autoscaler has the issuers' and the consumers' Deployment.
    pub claimed: (Option<&'a str>, Option<&'a str>),
}

impl<'a> ScalingInputs<'a> {
    /// What a pass saw, without any pods.
    pub fn new(
        campaign: &'a CouponCampaign,
        plan: &'a Plan,
        seen: &Observation,
        reading: Option<&'a Reading>,
        at_ms: i64,
    ) -> Self {
        let (ledger, kafka) = (seen.ledger.as_ref().ok(), seen.kafka.as_ref().ok());
        let issued = seen.issued();
        Self {
            campaign,
            plan,
            work: RemainingWork::of(ledger, kafka, issued),
            reading,
            complete: ledger.zip(issued).is_some_and(|(ledger, issued)| ledger.stored >= issued),
            issued,
            load: None,
            at_ms,
            issuer: ReplicaCount::default(),
            consumer: ReplicaCount::default(),
            claimed: (None, None),
        }
    }
}

/// How many pods of one kind, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredReplicas {
    /// Pods.
    pub replicas: i32,
    /// Why, for status and events. Without figures, which change all the time.
    pub reason: String,
    /// The figures behind it.
    pub figures: Option<ScalingFigures>,
    /// The number is left to somebody else.
    pub is_left_alone: bool,
    /// What stops the number from following the work, if anything does.
    pub stopped: Option<(&'static str, String)>,
    /// A partition with more work than a consumer can do, while most others have little.
    pub hot: Option<i32>,
}

/// Both numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingDecision {
    /// Pods that answer users.
    pub issuer: DesiredReplicas,
    /// Pods that store winners.
    pub consumer: DesiredReplicas,
}

impl Policies {
    /// Takes in a moment and finds the numbers.
    pub fn find(&mut self, sight: &ScalingInputs<'_>) -> ScalingDecision {
        let status = sight.campaign.status.as_ref();
        let issuers = self.issuers.get_or_insert_with(|| {
            let (per_pod, start_up) = learned(status.and_then(|s| s.issuer.as_ref()), issuers::CAPACITY_SEED);
            IssuerPolicy::new(per_pod, start_up)
        });
        let consumers = self.consumers.get_or_insert_with(|| {
            let seed = crate::scaling::estimates::CAPACITY_SEED;
            let (per_pod, start_up) = learned(status.and_then(|s| s.consumer.as_ref()), seed);
            ConsumerPolicy::new(per_pod, start_up)
        });
        let issuer = held(sight, follow_load(issuers, sight), sight.issuer, sight.claimed.0);
        let consumer = held(sight, follow_lag(consumers, sight), sight.consumer, sight.claimed.1);
        ScalingDecision { issuer, consumer }
    }
}

/// What was measured in an earlier process, from status.
fn learned(before: Option<&WorkloadStatus>, seed: f64) -> (Capacity, StartUp) {
    let figures = before.and_then(|pods| pods.figures.as_ref());
    #[expect(clippy::cast_precision_loss, reason = "figures of two digits")]
    let number = |value: Option<i64>| value.map(|value| value as f64);
    let per_pod = number(figures.and_then(|figures| figures.per_pod)).unwrap_or(seed);
    let start_up = number(figures.and_then(|figures| figures.start_up_seconds));
    (Capacity::of(per_pod), start_up.map_or_else(StartUp::default, StartUp::of))
}

fn wanted(replicas: i32, reason: impl Into<String>) -> DesiredReplicas {
    DesiredReplicas { replicas, reason: reason.into(), figures: None, is_left_alone: false, stopped: None, hot: None }
}

fn follow_lag(policy: &mut ConsumerPolicy, sight: &ScalingInputs<'_>) -> DesiredReplicas {
    let (floor, reason) = match sight.plan.goals.consumer {
        ScalingGoal::Hold { reason } => {
            let stopped = (sight.work == RemainingWork::Unknown).then(|| unknown(reason));
            return DesiredReplicas { stopped, ..wanted(sight.consumer.current, reason) };
        }
        ScalingGoal::Exactly { replicas, reason } => return wanted(replicas, reason),
        ScalingGoal::Follow { floor, reason } => (floor, reason),
    };
    let spec = &sight.campaign.spec;
    let (least, most) = (i32::from(spec.consumer.min_replicas).max(1), i32::from(spec.max_consumers()));
    let drain_s = f64::from(spec.consumer.drain_target_seconds);
    let floor = match floor {
        Floor::Least => least,
        Floor::Rush => {
            let left = sight.plan.terms.total.saturating_sub(sight.issued.unwrap_or(0));
            let need = rush(left, spec.expected_peak_rps, drain_s) / (policy.capacity().per_pod() * UTILISATION);
            useful_counts::enough(need, i32::from(spec.partitions)).clamp(least, most.max(least))
        }
    };
    let ReplicaCount { current, ready } = sight.consumer;
    // Without the ledger it cannot be said whether records are work.
    let reading = sight.reading.filter(|_| sight.work != RemainingWork::Unknown);
    let moment = consumers::ConsumerInputs { at_ms: sight.at_ms, reading, complete: sight.complete, current, ready };
    let decision = policy.decide(&moment, &Target { floor, most, drain_s });
    let figures = ScalingFigures {
        arrival_per_second: Some(rounded(decision.figures.rate.arrival)),
        done_per_second: Some(rounded(decision.figures.rate.drain)),
        per_pod: Some(rounded(policy.capacity().per_pod())),
        start_up_seconds: Some(rounded(policy.start_up().seconds())),
        at_work: reading
            .and_then(|reading| reading.group)
            .filter(|group| group.stable)
            .map(|group| group.holders.into()),
    };
    let (text, stopped) = sentence(decision.why, reason, "consumer.maxReplicas, or partitions,", "the database");
    DesiredReplicas { figures: Some(figures), stopped, hot: decision.figures.hot, ..wanted(decision.replicas, text) }
}

/// Rows per second that must be stored for the rush at the beginning of a window: `left` coupons are gone after `left / peak`
/// seconds, and all should be stored `drain_s` seconds later.
fn rush(left: u64, peak: Option<u32>, drain_s: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most ten million")]
    let left = left as f64;
    left / (drain_s + peak.map_or(0.0, |peak| left / f64::from(peak)))
}

fn follow_load(policy: &mut IssuerPolicy, sight: &ScalingInputs<'_>) -> DesiredReplicas {
    let (floor, reason) = match sight.plan.goals.issuer {
        ScalingGoal::Hold { reason } => return wanted(sight.issuer.current, reason),
        ScalingGoal::Exactly { replicas, reason } => return wanted(replicas, reason),
        ScalingGoal::Follow { floor, reason } => (floor, reason),
    };
    let spec = &sight.campaign.spec;
    let (least, most) = (i32::from(spec.min_issuers()), i32::from(spec.max_issuers()));
    let floor = match (floor, spec.expected_peak_rps) {
        (Floor::Rush, Some(peak)) => policy.planned(f64::from(peak)).clamp(least, most),
        _ => least,
    };
    let ReplicaCount { current, ready } = sight.issuer;
    let moment = issuers::IssuerInputs { at_ms: sight.at_ms, load: sight.load, current, ready };
    let decision = policy.decide(&moment, floor, most);
    let figures = ScalingFigures {
        arrival_per_second: decision.load.map(|load| rounded(load.answered + load.rejected)),
        done_per_second: decision.load.map(|load| rounded(load.answered)),
        per_pod: Some(rounded(policy.capacity().per_pod())),
        start_up_seconds: Some(rounded(policy.start_up().seconds())),
        at_work: None,
    };
    let (text, stopped) = match decision.why {
        // A pod that has just begun has nothing to say yet.
        ScalingReason::Unknown => ("not all issuers say how busy they are".to_owned(), None),
        why => sentence(why, reason, "issuer.maxReplicas", "Redis or Kafka"),
    };
    DesiredReplicas { figures: Some(figures), stopped, ..wanted(decision.replicas, text) }
}

fn unknown(reason: &str) -> (&'static str, String) {
    ("LagUnknown", format!("{reason}; pods stay as they are until it can be read again"))
}

/// A policy's reason in words; and what stops the number from following the work, if anything does.
fn sentence(
    why: ScalingReason,
    floor: &str,
    bound: &str,
    downstream: &str,
) -> (String, Option<(&'static str, String)>) {
    let text = match why {
        ScalingReason::Demand => "as many as the work needs".to_owned(),
        ScalingReason::Floor => floor.to_owned(),
        ScalingReason::AtMost => format!("there is more work, but no more pods may be; raise {bound} for more"),
        ScalingReason::Settling => "pods that were added are not at work yet".to_owned(),
        ScalingReason::Backlog => "fewer will do once the backlog is gone".to_owned(),
        ScalingReason::Stabilizing => "fewer will do if it stays so for a minute".to_owned(),
        ScalingReason::DownstreamSaturated => {
            let text = format!("pods that were added brought next to nothing; {downstream} may be the limit");
            return (text.clone(), Some(("DownstreamSaturated", format!("{text}; trying again after five minutes"))));
        }
        ScalingReason::Unknown => {
            let text = "what there is to do cannot be read".to_owned();
            return (text.clone(), Some(unknown(&text)));
        }
    };
    (text, None)
}

/// What people and other autoscalers have to say about a number.
fn held(
    sight: &ScalingInputs<'_>,
    wanted: DesiredReplicas,
    there: ReplicaCount,
    claimed: Option<&str>,
) -> DesiredReplicas {
    // From nothing it is always brought up: no autoscaler does that before there is a load, and a sale must begin.
    if let Some(autoscaler) = claimed.filter(|_| there.current > 0) {
        let text = format!(
            "HorizontalPodAutoscaler {autoscaler} has this Deployment, so its replicas are left alone; delete it (or the \
             ScaledObject that made it) to let the operator scale"
        );
        return DesiredReplicas {
            replicas: there.current,
            is_left_alone: true,
            stopped: Some(("AnotherAutoscaler", text.clone())),
            reason: text,
            ..wanted
        };
    }
    let Some(pause) = Pause::of(sight.campaign) else { return wanted };
    let text = pause.text();
    let stops = pause.stops(there.current, wanted.replicas);
    let (replicas, reason) = if stops { (there.current, text.clone()) } else { (wanted.replicas, wanted.reason) };
    DesiredReplicas { replicas, reason, stopped: wanted.stopped.or(Some((pause.reason(), text))), ..wanted }
}

/// What the condition `ScalingActive` says.
pub(crate) fn report(numbers: &ScalingDecision, terms: &Terms) -> Report {
    use ConditionType::ScalingActive;
    for (name, wanted) in [("consumer", &numbers.consumer), ("issuer", &numbers.issuer)] {
        if let Some((reason, text)) = &wanted.stopped {
            return Report::no(ScalingActive, reason, format!("{name}: {text}"));
        }
    }
    if let Some(partition) = numbers.consumer.hot {
        let text = format!(
            "partition {partition} has more work than one consumer can do, and most others have little: more consumers would \
             not help; {} spreads over all partitions",
            "keyBy: User"
        );
        return Report::yes(ScalingActive, "PartitionSkew", text);
    }
    if numbers.consumer.figures.is_none() && numbers.issuer.figures.is_none() {
        let text = if terms.suspended {
            "no pods are needed while it is suspended"
        } else {
            "the numbers are fixed at this time"
        };
        return Report::yes(ScalingActive, "Planned", text);
    }
    Report::yes(ScalingActive, "FollowsWork", "the numbers of pods follow the lag and the load of the issuers")
}

#[cfg(test)]
mod tests;
