//! Says what was found and done: conditions and status. Pure.

mod ailing;
mod facts;
mod ledger;
mod open;
mod route;
mod topic;
mod without_class;
mod workloads;

use coupon_core::identity::CampaignId;
use coupon_ledger::redis::Terms;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

pub(super) use self::ailing::Ailing;
pub(super) use self::facts::Facts;
use super::observe::{LedgerView, Observation};
use super::plan::RemainingWork;
use super::plan::terms;
use super::replicas::{self, DesiredReplicas};
use super::served;
use super::supply::WindowMs;
use crate::api::conditions::{self, Report};
use crate::api::{
    CampaignClass, ConditionType, CouponCampaign, CouponCampaignStatus, Phase, ScalingFigures, TermsStatus,
    WindowStatus, WorkloadStatus,
};
use crate::class::measure::System;
use crate::error::{ReconcileError, advice, database_advice, table_reason};
use crate::workloads::ownership::NotOurs;
pub(super) use ledger::{DEAD_LETTERS, NEWER_RECORD, above_total, contradicted, dead_unread};
pub(super) use route::is_refused as route_is_refused;
pub(super) use topic::unread_text;
pub(super) use without_class::{Blind, status_elsewhere, status_without_class};
pub(super) use without_class::{Leaving, status_while_leaving};
pub(super) use workloads::CONSUMERS_STAND_STILL;

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The status that the campaign should have. `now` is used for conditions whose status changes.
pub(super) fn status(facts: &Facts<'_>, now: Timestamp) -> CouponCampaignStatus {
    let Facts { campaign, class, id, seen, plan, .. } = facts;
    let before = campaign.status.clone().unwrap_or_default();
    let generation = campaign.metadata.generation.unwrap_or(0);
    let ledger = seen.ledger.as_ref().ok();
    let row = ledger.and_then(|ledger| ledger.row.as_ref());
    let kafka = seen.kafka.as_ref().ok();
    let issued = seen.issued();
    let stored = ledger.filter(|ledger| ledger.row.is_some()).map(|ledger| ledger.stored);
    let unconfirmed = unconfirmed(facts, before.unconfirmed);
    let issuer = workload(&facts.numbers.issuer, facts.issuer, before.issuer.as_ref());
    let consumer = workload(&facts.numbers.consumer, facts.consumer, before.consumer.as_ref());
    let mut next = CouponCampaignStatus {
        phase: Some(plan.phase),
        observed_generation: Some(generation),
        class_name: Some(class.name_any()),
        realm: row.filter(|_| !plan.is_closed_out).map(|_| id.realm().to_owned()).or(before.realm),
        authentication: facts.issuer.and_then(crate::workloads::authentication_of),
        coupon_id: Some(id.coupon_id().to_owned()),
        terms: plan.in_force.and_then(terms_status).or(before.terms).or_else(|| {
            // Nobody meets any while Redis holds nothing; these are the ledger's, which another object may have opened.
            let recorded = row.and_then(terms::recorded)?;
            terms_status(Terms { suspended: plan.terms.suspended, ..recorded })
        }),
        // While Redis cannot be asked, or has lost them, there are as many as there are rows at least.
        issued: issued
            .filter(|_| !is_lost(seen))
            .map(count)
            .or(before.issued.max(before.issued.and(stored.map(count)))),
        persisted: stored.map(count).or(before.persisted),
        once_persisted: match ledger {
            Some(ledger) => (ledger.row.is_some() && ledger.had > ledger.stored).then(|| count(ledger.had)),
            None => before.once_persisted,
        },
        unserved_seconds: before.unserved_seconds,
        unserved_window_start: before.unserved_window_start,
        unserved_causes: before.unserved_causes,
        unserved_until: before.unserved_until,
        redis_keys_removed: match (&seen.ledger, &seen.redis) {
            (Ok(_), Ok(_)) => seen.keys_removed_ms().and_then(|at| Timestamp::from_millisecond(at).ok()).map(Time),
            _ => before.redis_keys_removed,
        },
        lag: kafka.and_then(|kafka| kafka.lag).map(count).or(before.lag),
        dead_letters: kafka.and_then(|kafka| kafka.dead_letters).map(count).or(before.dead_letters),
        unconfirmed: unconfirmed.map(count),
        // A campaign that may not go on with a ledger has had no epoch of it.
        epoch: row
            .filter(|_| !plan.is_closed_out)
            .map(|row| count(row.epoch))
            .filter(|epoch| *epoch > 0)
            .or(before.epoch),
        topic: kafka.and_then(|_| topic::status(facts)).or(before.topic),
        issuer: Some(issuer),
        consumer: Some(consumer),
        rolled_out: facts.rollouts.used().cloned(),
        accepted_lost_winners: before.accepted_lost_winners,
        url: Some(url(campaign, class, id)),
        next_transition: plan.next_ms.and_then(|at| Timestamp::from_millisecond(at).ok()).map(Time),
        conditions: before.conditions,
    };
    let reports = reports(facts, &next);
    conditions::merge(&mut next.conditions, &reports, generation, now);
    next
}

/// Whether Redis holds nothing of a campaign that had an epoch, and should.
fn is_lost(seen: &Observation) -> bool {
    let had_epoch = |ledger: &LedgerView| ledger.row.as_ref().is_some_and(|row| row.epoch > 0);
    let is_closed = seen.redis.as_ref().is_ok_and(|redis| redis.open.is_none());
    is_closed && seen.ledger.as_ref().is_ok_and(had_epoch) && seen.keys_removed_ms().is_none()
}

/// Winners who are neither rows, nor dead letters, nor on their way. `before`: as status says.
fn unconfirmed(facts: &Facts<'_>, before: Option<i64>) -> Option<u64> {
    let (ledger, kafka) = (facts.seen.ledger.as_ref().ok(), facts.seen.kafka.as_ref().ok());
    match RemainingWork::of(ledger, kafka, facts.seen.issued()) {
        RemainingWork::Gap(gap) => Some(gap),
        RemainingWork::None => Some(0),
        // Winners on their way cannot be told from missing ones, but for those that the last look found. Those of them that were published
        // again wait in the log. What an older look found is history.
        RemainingWork::Lag(_) => Some(facts.scan.redis_only()).filter(|missing| *missing > 0),
        RemainingWork::Unknown => before.and_then(|before| u64::try_from(before).ok()),
    }
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

fn workload(wanted: &DesiredReplicas, found: Option<&Deployment>, before: Option<&WorkloadStatus>) -> WorkloadStatus {
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
    let plan = facts.plan;
    let mut all = part_reports(facts, next);
    all.extend(facts.rollouts.report());
    all.extend(route::report(facts));
    if let Some(doubt) = &plan.time.doubt {
        all.push(Report::no(C::ClocksAgree, open::clock_reason(plan), doubt));
    }
    all.extend(kept_reports(facts));
    let open = open_report(facts, next);
    let foreign = facts.failure.map(conflict).unwrap_or_default();
    let refusals = together(plan.refusals.iter().chain(&foreign));
    let stalled = refusals.iter().find(|report| report.condition == C::Stalled);
    all.retain(|each| refusals.iter().all(|report| report.condition != each.condition));
    all.extend(refusals.iter().cloned());
    let broken = broken(&all);
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
            all.push(Report::yes(C::Ready, "AllChecksPassed", text));
        }
    }
    all
}

/// One report per part: as it was found, then as the pass has met it, then as the class was measured.
fn part_reports(facts: &Facts<'_>, next: &CouponCampaignStatus) -> Vec<Report> {
    use ConditionType as C;
    let Facts { class, seen, plan, .. } = facts;
    let mut all = vec![
        Report::yes(C::ClassResolved, "ClassResolved", format!("CampaignClass {}", class.name_any())),
        Report::yes(C::CredentialsReady, "SecretsRead", "the Secrets named in the class hold what is needed"),
        part(
            C::DatabaseReady,
            seen.ledger.as_ref().err().map(|e| (table_reason(e), database_advice(e))),
            "the database answers",
        ),
        part(C::RedisReady, facts.redis_failure(), "Redis answers"),
        part(C::KafkaReady, topic::failure(facts), "Kafka answers"),
        topic::report(facts),
        ledger::redis(facts),
        workloads::report(facts, next),
        replicas::report(facts.numbers, &plan.terms),
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
    all
}

/// Conditions that stay as they are in status.
fn kept_reports(facts: &Facts<'_>) -> Vec<Report> {
    use ConditionType as C;
    let before = facts.campaign.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut all = Vec::new();
    if let Some(rows) = facts.adopted {
        let text =
            format!("the campaign continues a ledger that had {rows} coupons issued when this object was created");
        all.push(Report::yes(C::LedgerAdopted, "LedgerNotEmpty", text));
    } else if let Some(adopted) = conditions::find(before, C::LedgerAdopted) {
        all.push(Report::yes(C::LedgerAdopted, "LedgerNotEmpty", adopted.message.clone()));
    }
    // How long it was is found when all else is known.
    if let Some(served) = conditions::find(before, C::WindowServed) {
        all.push(Report::no(C::WindowServed, served::known_reason(&served.reason), served.message.clone()));
    }
    all
}

/// Whether coupons can be had.
fn open_report(facts: &Facts<'_>, next: &CouponCampaignStatus) -> Report {
    use ConditionType::Open;
    let plan = facts.plan;
    match plan.phase {
        Phase::Open => open::pending_suspension(facts, open::report(facts, next)),
        Phase::SoldOut => open::pending_suspension(facts, open::sold_out(facts)),
        Phase::Suspended => open::suspended(facts),
        Phase::Scheduled => Report::no(Open, "NotStarted", "the window has not begun"),
        Phase::Repairing => Report::no(Open, "Repairing", "Redis is being brought back to what the ledger says"),
        Phase::Draining | Phase::Completed => Report::no(Open, "Ended", "the window is over"),
        Phase::Pending => open::not_prepared(WindowMs::of_pass(plan, facts.campaign), plan.now_ms),
    }
}

/// The part for which the campaign is not ready: the first that is known to be broken, else the first of which nothing is known; or a
/// loss that waits for people.
fn broken(all: &[Report]) -> Option<Report> {
    let for_people = [ledger::ROWS_MISSING, DEAD_LETTERS];
    let lost =
        |report: &&Report| report.condition == ConditionType::LedgerConsistent && for_people.contains(&report.reason);
    let broken = PARTS.iter().filter_map(|part| all.iter().find(|report| report.condition == *part));
    let broken: Vec<&Report> = broken.filter(|report| report.status != Some(true)).collect();
    let known = broken.iter().find(|report| report.status == Some(false)).copied();
    // That nobody answers for a route is no fault that is known: of an Ingress nobody may ever say anything.
    let refused =
        || all.iter().find(|report| report.condition == ConditionType::RouteReady && report.status == Some(false));
    known.or_else(refused).or(broken.first().copied()).or_else(|| all.iter().find(lost)).cloned()
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
    ConditionType::RedisKeysReady,
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
