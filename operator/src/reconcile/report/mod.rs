//! Says what was found and done: conditions and status. Pure.

mod ledger;
mod open;
mod topic;
mod without_class;
mod workloads;

use campaign::identity::CampaignId;
use campaign::stock::{StockError, Terms};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::epochs::EpochWatch;
use super::numbers::{self, Numbers, Wanted};
use super::observe::Observation;
use super::plan::{Plan, Work};
use super::rollout::Rollouts;
use super::served;
use super::supply::Window;
use crate::api::conditions::{self, Report};
use crate::api::{
    CampaignClass, ConditionType, CouponCampaign, CouponCampaignStatus, Phase, ScalingFigures, TermsStatus,
    WindowStatus, WorkloadStatus,
};
use crate::children::ownership::NotOurs;
use crate::diagnosis::Cause;
use crate::error::{ReconcileError, advice, stock_advice, stock_reason, table_advice, table_reason};
use crate::measure::{Measured, System};
use crate::repair::scan::Looked;
use crate::serving::Service;
use crate::stop::Stop;
pub(super) use ledger::{DEAD_LETTERS, NEWER_RECORD, dead_unread};
pub(super) use topic::unread_text;
pub(super) use without_class::{Leaving, status_while_leaving};
pub use without_class::{status_elsewhere, status_without_class};
pub(super) use workloads::CONSUMERS_STAND_STILL;

/// What a pass knows when it reports.
pub struct Facts<'a> {
    /// The campaign.
    pub campaign: &'a CouponCampaign,
    /// Its class.
    pub class: &'a CampaignClass,
    /// Its identity.
    pub id: &'a CampaignId,
    /// What was read.
    pub seen: &'a Observation,
    /// What was decided.
    pub plan: &'a Plan,
    /// How many pods there should be.
    pub numbers: &'a Numbers,
    /// What stopped the pass, if anything did.
    pub failure: Option<&'a ReconcileError>,
    /// The issuers' Deployment.
    pub issuer: Option<&'a Deployment>,
    /// The consumers' Deployment.
    pub consumer: Option<&'a Deployment>,
    /// Rows that the ledger had when this object first met it.
    pub adopted: Option<u64>,
    /// What the looks for missing winners found.
    pub looked: &'a Looked,
    /// The offsets have been unreadable for long.
    pub offsets_unread: bool,
    /// Consumers have stored nothing for long though records wait: which, and since when.
    pub consumers_still: Option<&'a str>,
    /// What the last look at the class found.
    pub measured: Option<&'a Measured>,
    /// Why no issuer serves, if none does.
    pub nobody_serves: Option<&'a str>,
    /// Whether issuers say that they grant.
    pub service: &'a Service,
    /// Requests to the Service reach an issuer, if one is ready.
    pub users_reach_issuers: bool,
    /// What it leads to besides them.
    pub strays: Option<&'a str>,
    /// Why Redis takes no writes though it can be read.
    pub redis_refusal: Option<&'a StockError>,
    /// Why pods are not ready.
    pub ailing: &'a Ailing,
    /// What became of stopping issuing without Redis, if that was tried.
    pub stop: Option<Stop>,
    /// What became of its epochs.
    pub(crate) epochs: &'a EpochWatch,
    /// What issuers say of a right in Redis that they lack.
    pub right_missing: Option<&'a str>,
    /// What issuers say of a right in Kafka that they lack, as a sentence.
    pub kafka_refuses: Option<String>,
    /// How far pods are that should be replaced.
    pub(crate) rollouts: &'a Rollouts,
}

/// Why pods of each kind are not ready, as far as that is known.
#[derive(Debug, Clone, Default)]
pub struct Ailing {
    /// The issuers.
    pub issuer: Option<Cause>,
    /// The consumers.
    pub consumer: Option<Cause>,
}

impl Facts<'_> {
    /// What keeps Redis from doing what it is there for.
    fn redis_trouble(&self) -> Option<&StockError> {
        self.seen.stock.as_ref().err().or(self.redis_refusal)
    }

    /// The same as a reason and in words; also what the issuers meet alone.
    fn redis_failure(&self) -> Option<(&'static str, String)> {
        let trouble = self.redis_trouble().map(|error| (stock_reason(error), stock_advice(error)));
        let of_pods = |said| {
            let text = format!(
                "issuers say: {said}; grant it to the pods' user (README, Install, lists what each login needs)"
            );
            ("RedisRightMissing", text)
        };
        trouble.or_else(|| self.right_missing.map(of_pods))
    }
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The status that the campaign should have. `now` is used for conditions whose status changes.
pub fn status(facts: &Facts<'_>, now: Timestamp) -> CouponCampaignStatus {
    let Facts { campaign, class, id, seen, plan, .. } = facts;
    let before = campaign.status.clone().unwrap_or_default();
    let generation = campaign.metadata.generation.unwrap_or(0);
    let ledger = seen.ledger.as_ref().ok();
    let row = ledger.and_then(|ledger| ledger.row.as_ref());
    let log = seen.log.as_ref().ok();
    let issued = seen.issued();
    let stored = ledger.filter(|ledger| ledger.row.is_some()).map(|ledger| ledger.stored);
    let unconfirmed = match Work::of(ledger, log, issued) {
        Work::Gap(gap) => Some(gap),
        Work::None => Some(0),
        // Winners on their way cannot be told from missing ones, but for those that the last look found.
        // What an older look found is history.
        Work::Lag(_) => Some(facts.looked.missing).filter(|missing| *missing > 0),
        Work::Unknown => before.unconfirmed.and_then(|before| u64::try_from(before).ok()),
    };
    let issuer = workload(&facts.numbers.issuer, facts.issuer, before.issuer.as_ref());
    let consumer = workload(&facts.numbers.consumer, facts.consumer, before.consumer.as_ref());
    let mut next = CouponCampaignStatus {
        phase: Some(plan.phase),
        observed_generation: Some(generation),
        class_name: Some(class.name_any()),
        coupon_id: Some(id.coupon_id().to_owned()),
        terms: plan.in_force.and_then(terms_status).or(before.terms),
        issued: issued.map(count).or(before.issued),
        persisted: stored.map(count).or(before.persisted),
        once_persisted: match ledger {
            Some(ledger) => (ledger.row.is_some() && ledger.had > ledger.stored).then(|| count(ledger.had)),
            None => before.once_persisted,
        },
        unserved_seconds: before.unserved_seconds,
        unserved_window_start: before.unserved_window_start,
        redis_keys_removed: match (&seen.ledger, &seen.stock) {
            (Ok(_), Ok(_)) => seen.keys_removed_ms().and_then(|at| Timestamp::from_millisecond(at).ok()).map(Time),
            _ => before.redis_keys_removed,
        },
        lag: log.and_then(|log| log.lag).map(count).or(before.lag),
        dead_letters: log.and_then(|log| log.dead_letters).map(count).or(before.dead_letters),
        unconfirmed: unconfirmed.map(count),
        // Whoever may not go on with a ledger has had no epoch of it.
        epoch: row
            .filter(|_| !plan.is_closed_out)
            .map(|row| count(row.epoch))
            .filter(|epoch| *epoch > 0)
            .or(before.epoch),
        topic: log.and_then(|_| topic::status(facts)).or(before.topic),
        issuer: Some(issuer),
        consumer: Some(consumer),
        rolled_out: facts.rollouts.used().cloned(),
        url: Some(url(campaign, class, id)),
        next_transition: plan.next_ms.and_then(|at| Timestamp::from_millisecond(at).ok()).map(Time),
        conditions: before.conditions,
    };
    let reports = reports(facts, &next);
    conditions::merge(&mut next.conditions, &reports, generation, now);
    next
}

fn terms_status(terms: Terms) -> Option<TermsStatus> {
    let time = |ms| Timestamp::from_millisecond(ms).ok();
    Some(TermsStatus {
        total_quantity: count(terms.total),
        window: WindowStatus { start: time(terms.start_ms)?, end: time(terms.end_ms)? },
        per_user_limit: terms.limit.into(),
        suspended: terms.suspended,
    })
}

fn workload(wanted: &Wanted, found: Option<&Deployment>, before: Option<&WorkloadStatus>) -> WorkloadStatus {
    let ready = found.and_then(|d| d.status.as_ref()).and_then(|status| status.ready_replicas).unwrap_or(0);
    // What was learned is kept through times in which the number follows nothing: the next window is planned with it.
    let learned = before.and_then(|before| before.figures.clone()).map(|figures| ScalingFigures {
        arrival_per_second: None,
        done_per_second: None,
        ..figures
    });
    let figures = wanted.figures.clone().or(learned);
    WorkloadStatus { wanted: wanted.replicas, ready, reason: wanted.reason.clone(), figures }
}

fn url(campaign: &CouponCampaign, class: &CampaignClass, id: &CampaignId) -> String {
    let (namespace, name) = (id.namespace(), campaign.name_any());
    class
        .spec
        .routing
        .url(namespace, &name, id.coupon_id())
        .unwrap_or_else(|| format!("http://{name}-issuer.{namespace}.svc/api/coupons/{}/issue", id.coupon_id()))
}

/// One report per part, then those over all of them.
fn reports(facts: &Facts<'_>, next: &CouponCampaignStatus) -> Vec<Report> {
    use ConditionType as C;
    let Facts { campaign, class, seen, plan, .. } = facts;
    let mut all = vec![
        Report::yes(C::ClassResolved, "ClassResolved", format!("CampaignClass {}", class.name_any())),
        Report::yes(C::CredentialsReady, "SecretsRead", "the Secrets named in the class hold what is needed"),
        part(
            C::DatabaseReady,
            seen.ledger.as_ref().err().map(|e| (table_reason(e), table_advice(e))),
            "the database answers",
        ),
        part(C::RedisReady, facts.redis_failure(), "Redis answers"),
        part(C::KafkaReady, topic::failure(facts), "Kafka answers"),
        topic::report(facts),
        ledger::stock(facts),
        workloads::report(facts, next),
        numbers::report(facts.numbers, &plan.terms),
        ledger::consistency(facts),
    ];
    if let Some(failure) = facts.failure {
        let report = Report::no(failure.condition(), failure.reason(), advice(failure));
        all.retain(|each| each.condition != report.condition);
        all.push(report);
    }
    // What the class was measured to lack says more than what a campaign trips over, and is true of campaigns that have not yet.
    for system in [System::Kafka, System::Redis, System::Database] {
        if let Some((reason, text)) = facts.measured.and_then(|measured| measured.trouble(system)) {
            all.retain(|each| each.condition != system.condition());
            all.push(Report::no(system.condition(), reason, text));
        }
    }
    all.extend(facts.rollouts.report());
    if let Some(doubt) = &plan.time.doubt {
        all.push(Report::no(C::ClocksAgree, open::clock_reason(plan), doubt));
    }
    let before = campaign.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if let Some(rows) = facts.adopted {
        let text =
            format!("the campaign continues a ledger that had {rows} coupons issued when this object was created");
        all.push(Report::yes(C::LedgerAdopted, "LedgerNotEmpty", text));
    } else if let Some(adopted) = conditions::find(before, C::LedgerAdopted) {
        all.push(Report::yes(C::LedgerAdopted, "LedgerNotEmpty", adopted.message.clone()));
    }
    // Kept as it is said; how long it was is found when all else is known.
    if let Some(served) = conditions::find(before, C::WindowServed) {
        all.push(Report::no(C::WindowServed, served::known_reason(&served.reason), served.message.clone()));
    }
    let open = match plan.phase {
        Phase::Open => open::pending_suspension(facts, open::report(facts, next)),
        Phase::SoldOut => open::pending_suspension(facts, Report::no(C::Open, "SoldOut", "every coupon is issued")),
        Phase::Suspended => open::suspended(facts),
        Phase::Scheduled => Report::no(C::Open, "NotStarted", "the window has not begun"),
        Phase::Repairing => Report::no(C::Open, "Repairing", "Redis is being brought back to what the ledger says"),
        Phase::Draining | Phase::Completed => Report::no(C::Open, "Ended", "the window is over"),
        Phase::Pending => open::not_prepared(Window::of_pass(plan, campaign), plan.now_ms),
    };
    let foreign = facts.failure.map(conflict).unwrap_or_default();
    let refusals = together(plan.refusals.iter().chain(&foreign));
    let stalled = refusals.iter().find(|report| report.condition == C::Stalled);
    all.retain(|each| refusals.iter().all(|report| report.condition != each.condition));
    all.extend(refusals.iter().cloned());
    let for_people = [ledger::ROWS_MISSING, DEAD_LETTERS];
    let lost = |report: &Report| report.condition == C::LedgerConsistent && for_people.contains(&report.reason);
    let broken = PARTS.iter().filter_map(|part| all.iter().find(|report| report.condition == *part));
    let broken: Vec<&Report> = broken.filter(|report| report.status != Some(true)).collect();
    let known = broken.iter().find(|report| report.status == Some(false));
    let broken = known.or(broken.first()).copied().or_else(|| all.iter().find(|report| lost(report))).cloned();
    let why = stalled.or(broken.as_ref()).filter(|why| plan.phase == Phase::Pending && why.status.is_some());
    all.push(match why {
        Some(why) => Report { message: format!("{}: {}", open.message, why.message), ..open },
        None => open,
    });
    match (stalled, broken) {
        (Some(stalled), _) => all.push(Report::no(C::Ready, stalled.reason, stalled.message.clone())),
        (None, Some(broken)) => {
            all.push(Report::no(C::Ready, broken.reason, broken.message.clone()));
            all.push(Report::yes(C::Reconciling, broken.reason, broken.message));
        }
        (None, None) => {
            let warning =
                all.iter().find(|report| report.condition == C::LedgerConsistent && report.reason == NEWER_RECORD);
            let text = match warning {
                None => "all is as it should be at this time".to_owned(),
                Some(warning) => format!("all is as it should be at this time, but {}", warning.message),
            };
            all.push(Report::yes(C::Ready, "AsItShouldBe", text));
        }
    }
    all
}

/// One report per condition: the first one's reason, and what all of them say.
fn together<'a>(reports: impl Iterator<Item = &'a Report>) -> Vec<Report> {
    let mut all: Vec<Report> = Vec::new();
    for report in reports {
        match all.iter_mut().find(|each| each.condition == report.condition) {
            None => all.push(report.clone()),
            Some(first) => first.message.push_str(&format!("; {}: {}", report.reason, report.message)),
        }
    }
    all
}

/// What an object of somebody else's means, which stands where one of ours belongs: nothing goes on until one of both has
/// another name.
fn conflict(failure: &ReconcileError) -> Vec<Report> {
    let ReconcileError::NotOurs(NotOurs::Foreign { .. }) = failure else { return Vec::new() };
    let (reason, text) = (failure.reason(), advice(failure));
    vec![
        Report::yes(ConditionType::ResourceConflict, reason, text.clone()),
        Report::yes(ConditionType::Stalled, reason, text),
    ]
}

/// The parts that `Ready` sums up, causes before what follows from them: of several, the first is what somebody has to look at.
const PARTS: [ConditionType; 9] = [
    ConditionType::ClassResolved,
    ConditionType::CredentialsReady,
    ConditionType::ClocksAgree,
    ConditionType::DatabaseReady,
    ConditionType::RedisReady,
    ConditionType::KafkaReady,
    ConditionType::TopicReady,
    ConditionType::StockReady,
    ConditionType::WorkloadsReady,
];

fn part(condition: ConditionType, failure: Option<(&'static str, String)>, well: &str) -> Report {
    match failure {
        Some((reason, message)) => Report::no(condition, reason, message),
        None => Report::yes(condition, "Available", well),
    }
}

#[cfg(test)]
mod tests;
