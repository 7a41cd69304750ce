//! The numbers of pods: what is aimed at, what the policies of [`crate::scale`] say, and what people hold. Pure but for the
//! memory of the policies.

use campaign::stock::Terms;

use k8s_openapi::api::apps::v1::Deployment;

use super::aims::{Aim, Floor};
use super::observe::Observation;
use super::pause::Pause;
use super::plan::{Plan, Work};
use crate::api::conditions::Report;
use crate::api::{ConditionType, CouponCampaign, ScalingFigures, WorkloadStatus};
use crate::scale::consumers::{self, Consumers, Target};
use crate::scale::issuers::{self, Issuers, Load};
use crate::scale::learned::{Capacity, StartUp, rounded};
use crate::scale::levels;
use crate::scale::reading::Reading;
use crate::scale::{UTILISATION, Why};

/// The memory of both policies. Losing it costs what was learned since status was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policies {
    consumers: Option<Consumers>,
    issuers: Option<Issuers>,
}

/// Pods of one kind as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct There {
    /// Pods that should be there until now.
    pub current: i32,
    /// Pods that are ready.
    pub ready: i32,
}

impl There {
    /// As a Deployment says.
    pub fn of(deployment: Option<&Deployment>) -> Self {
        let current = deployment.and_then(|d| d.spec.as_ref()).map_or(0, |spec| spec.replicas.unwrap_or(1));
        let status = deployment.and_then(|d| d.status.as_ref());
        Self { current, ready: status.and_then(|status| status.ready_replicas).unwrap_or(0) }
    }
}

/// What the numbers are found from.
pub struct Sight<'a> {
    /// The campaign.
    pub campaign: &'a CouponCampaign,
    /// What was decided about it.
    pub plan: &'a Plan,
    /// What is left to store.
    pub work: Work,
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
    pub issuer: There,
    /// Consumers.
    pub consumer: There,
    /// Whether another autoscaler has the issuers' and the consumers' Deployment.
    pub claimed: (Option<&'a str>, Option<&'a str>),
}

impl<'a> Sight<'a> {
    /// What a pass saw, without any pods.
    pub fn new(
        campaign: &'a CouponCampaign,
        plan: &'a Plan,
        seen: &Observation,
        reading: Option<&'a Reading>,
        at_ms: i64,
    ) -> Self {
        let (ledger, log) = (seen.ledger.as_ref().ok(), seen.log.as_ref().ok());
        let issued = seen.issued();
        Self {
            campaign,
            plan,
            work: Work::of(ledger, log, issued),
            reading,
            complete: ledger.zip(issued).is_some_and(|(ledger, issued)| ledger.stored >= issued),
            issued,
            load: None,
            at_ms,
            issuer: There::default(),
            consumer: There::default(),
            claimed: (None, None),
        }
    }
}

/// How many pods of one kind, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
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
pub struct Numbers {
    /// Pods that answer users.
    pub issuer: Wanted,
    /// Pods that store winners.
    pub consumer: Wanted,
}

impl Policies {
    /// Takes in a moment and finds the numbers.
    pub fn find(&mut self, sight: &Sight<'_>) -> Numbers {
        let status = sight.campaign.status.as_ref();
        let issuers = self.issuers.get_or_insert_with(|| {
            let (per_pod, start_up) = learned(status.and_then(|s| s.issuer.as_ref()), issuers::CAPACITY_SEED);
            Issuers::new(per_pod, start_up)
        });
        let consumers = self.consumers.get_or_insert_with(|| {
            let seed = crate::scale::learned::CAPACITY_SEED;
            let (per_pod, start_up) = learned(status.and_then(|s| s.consumer.as_ref()), seed);
            Consumers::new(per_pod, start_up)
        });
        let issuer = held(sight, follow_load(issuers, sight), sight.issuer, sight.claimed.0);
        let consumer = held(sight, follow_lag(consumers, sight), sight.consumer, sight.claimed.1);
        Numbers { issuer, consumer }
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

fn wanted(replicas: i32, reason: impl Into<String>) -> Wanted {
    Wanted { replicas, reason: reason.into(), figures: None, is_left_alone: false, stopped: None, hot: None }
}

fn follow_lag(policy: &mut Consumers, sight: &Sight<'_>) -> Wanted {
    let (floor, reason) = match sight.plan.aims.consumer {
        Aim::Hold { reason } => {
            let stopped = (sight.work == Work::Unknown).then(|| unknown(reason));
            return Wanted { stopped, ..wanted(sight.consumer.current, reason) };
        }
        Aim::Exactly { replicas, reason } => return wanted(replicas, reason),
        Aim::Follow { floor, reason } => (floor, reason),
    };
    let spec = &sight.campaign.spec;
    let (least, most) = (i32::from(spec.consumer.min_replicas).max(1), i32::from(spec.max_consumers()));
    let drain_s = f64::from(spec.consumer.drain_target_seconds);
    let floor = match floor {
        Floor::Least => least,
        Floor::Rush => {
            let left = sight.plan.terms.total.saturating_sub(sight.issued.unwrap_or(0));
            let need = rush(left, spec.expected_peak_rps, drain_s) / (policy.capacity().per_pod() * UTILISATION);
            levels::enough(need, i32::from(spec.partitions)).clamp(least, most.max(least))
        }
    };
    let There { current, ready } = sight.consumer;
    // Without the ledger it cannot be said whether records are work.
    let reading = sight.reading.filter(|_| sight.work != Work::Unknown);
    let moment = consumers::Moment { at_ms: sight.at_ms, reading, complete: sight.complete, current, ready };
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
    Wanted { figures: Some(figures), stopped, hot: decision.figures.hot, ..wanted(decision.replicas, text) }
}

/// Rows per second that must be stored for the rush at the beginning of a window: `left` coupons are gone after `left / peak`
/// seconds, and all should be stored `drain_s` seconds later.
fn rush(left: u64, peak: Option<u32>, drain_s: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most ten million")]
    let left = left as f64;
    left / (drain_s + peak.map_or(0.0, |peak| left / f64::from(peak)))
}

fn follow_load(policy: &mut Issuers, sight: &Sight<'_>) -> Wanted {
    let (floor, reason) = match sight.plan.aims.issuer {
        Aim::Hold { reason } => return wanted(sight.issuer.current, reason),
        Aim::Exactly { replicas, reason } => return wanted(replicas, reason),
        Aim::Follow { floor, reason } => (floor, reason),
    };
    let spec = &sight.campaign.spec;
    let (least, most) = (i32::from(spec.min_issuers()), i32::from(spec.max_issuers()));
    let floor = match (floor, spec.expected_peak_rps) {
        (Floor::Rush, Some(peak)) => policy.planned(f64::from(peak)).clamp(least, most),
        _ => least,
    };
    let There { current, ready } = sight.issuer;
    let moment = issuers::Moment { at_ms: sight.at_ms, load: sight.load, current, ready };
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
        Why::Unknown => ("not all issuers say how busy they are".to_owned(), None),
        why => sentence(why, reason, "issuer.maxReplicas", "Redis or Kafka"),
    };
    Wanted { figures: Some(figures), stopped, ..wanted(decision.replicas, text) }
}

fn unknown(reason: &str) -> (&'static str, String) {
    ("LagUnknown", format!("{reason}; pods stay as they are until it can be read again"))
}

/// A policy's reason in words; and what stops the number from following the work, if anything does.
fn sentence(why: Why, floor: &str, bound: &str, downstream: &str) -> (String, Option<(&'static str, String)>) {
    let text = match why {
        Why::Demand => "as many as the work needs".to_owned(),
        Why::Floor => floor.to_owned(),
        Why::AtMost => format!("there is more work, but no more pods may be; raise {bound} for more"),
        Why::Settling => "pods that were added are not at work yet".to_owned(),
        Why::Backlog => "fewer will do once the backlog is gone".to_owned(),
        Why::Stabilizing => "fewer will do if it stays so for a minute".to_owned(),
        Why::DownstreamSaturated => {
            let text = format!("pods that were added brought next to nothing; {downstream} may be the limit");
            return (text.clone(), Some(("DownstreamSaturated", format!("{text}; trying again after five minutes"))));
        }
        Why::Unknown => {
            let text = "what there is to do cannot be read".to_owned();
            return (text.clone(), Some(unknown(&text)));
        }
    };
    (text, None)
}

/// What people and other autoscalers have to say about a number.
fn held(sight: &Sight<'_>, wanted: Wanted, there: There, claimed: Option<&str>) -> Wanted {
    // From nothing it is always brought up: no autoscaler does that before there is a load, and a sale must begin.
    if let Some(autoscaler) = claimed.filter(|_| there.current > 0) {
        let text = format!(
            "HorizontalPodAutoscaler {autoscaler} has this Deployment, so its replicas are left alone; delete it (or the \
             ScaledObject that made it) to let the operator scale"
        );
        return Wanted {
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
    Wanted { replicas, reason, stopped: wanted.stopped.or(Some((pause.reason(), text))), ..wanted }
}

/// What the condition `ScalingActive` says.
pub fn report(numbers: &Numbers, terms: &Terms) -> Report {
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
#[path = "numbers_tests.rs"]
mod tests;
