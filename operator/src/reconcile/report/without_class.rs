//! The status of a campaign that could not be looked at, or that is on its way out. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, Phase};
use crate::class::ClassError;
use crate::error::{ReconcileError, advice};
use crate::issuer_client::serving::Service;
use crate::reconcile::deletion::RELEASE_ANNOTATION;
use crate::reconcile::report::open::not_prepared;
use crate::reconcile::supply::{self, Supply, WindowMs};

/// What is known in a pass that ended before it could look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blind<'a> {
    /// Issuers that users can reach, as Kubernetes says.
    pub ready: i32,
    /// What these say.
    pub service: &'a Service,
    /// By the operator's own clock, milliseconds since 1970.
    pub now_ms: i64,
}

/// The status of a campaign whose pass ended before all was looked at: counters and what was known to be wrong stay, and what was well
/// is not known to be so any more.
pub(crate) fn status_without_class(
    campaign: &CouponCampaign,
    failure: &ReconcileError,
    known: &Blind<'_>,
    now: Timestamp,
) -> CouponCampaignStatus {
    let mut next = campaign.status.clone().unwrap_or_default();
    next.phase.get_or_insert(Phase::Pending);
    let text = words(campaign, failure);
    let of_failure = match failure.condition() {
        // The reports below say it all when the failure is about no other condition.
        ConditionType::Stalled | ConditionType::Reconciling => None,
        condition @ ConditionType::ResourceConflict => Some(Report::yes(condition, failure.reason(), text.clone())),
        condition => Some(Report::no(condition, failure.reason(), text.clone())),
    };
    let progress = match failure.is_waited_for() {
        // What comes by itself, or with the next object that is applied, is waited for.
        true => ConditionType::Reconciling,
        false => ConditionType::Stalled,
    };
    let reports = [
        of_failure,
        pending(campaign, &next, &text).or_else(|| {
            let supply = supply::of_blind_pass(campaign, failure, known.ready, known.service);
            as_users_see_it(campaign, &next, &supply, known, failure.reason(), &text)
        }),
        Some(Report::no(ConditionType::Ready, failure.reason(), text.clone())),
        Some(Report::yes(progress, failure.reason(), text)),
    ];
    let reports: Vec<Report> = reports.into_iter().flatten().collect();
    let doubts = doubts(&next.conditions, &reports, failure.reason());
    put(campaign, &mut next, reports.into_iter().chain(doubts), now);
    next
}

/// The status of a campaign whose ledger is another cluster's: what was counted of it here once is not known here any more.
pub(crate) fn status_elsewhere(
    campaign: &CouponCampaign,
    failure: &ReconcileError,
    now: Timestamp,
) -> CouponCampaignStatus {
    use ConditionType as C;
    let before = campaign.status.clone().unwrap_or_default();
    let mut next = CouponCampaignStatus {
        phase: Some(Phase::Pending),
        class_name: before.class_name,
        coupon_id: before.coupon_id,
        // Of the time in which it was this cluster's.
        unserved_seconds: before.unserved_seconds,
        unserved_window_start: before.unserved_window_start,
        unserved_causes: before.unserved_causes,
        conditions: before.conditions,
        ..CouponCampaignStatus::default()
    };
    let (reason, text) = (failure.reason(), failure.to_string());
    let reports = [
        Report::no(C::Open, reason, "another cluster gives these coupons"),
        Report::no(C::Ready, reason, text.clone()),
        Report::yes(C::Stalled, reason, text),
    ];
    next.conditions.retain(|each| {
        let stays = |of| of == C::WindowServed || reports.iter().any(|report| report.condition == of);
        each.type_.parse().is_ok_and(stays)
    });
    put(campaign, &mut next, reports.into_iter(), now);
    next
}

/// What `Open` says where nobody could look: what is certain all the same. `None`: what was said stays, and what was well is doubted.
fn as_users_see_it(
    campaign: &CouponCampaign,
    next: &CouponCampaignStatus,
    supply: &Supply,
    known: &Blind<'_>,
    reason: &'static str,
    text: &str,
) -> Option<Report> {
    use ConditionType::Open;
    let (window, now_ms) = (WindowMs::of_blind_pass(campaign), known.now_ms);
    let said = conditions::find(&next.conditions, Open);
    let was_unprepared = next.phase == Some(Phase::Pending);
    match supply {
        Supply::OfOthers => Some(Report::no(Open, reason, "another campaign gives these coupons")),
        Supply::Missed(cause) if window.contains(now_ms) && cause.reason == supply::NOT_SERVING => {
            Some(Report::no(Open, reason, format!("{}; {text}", cause.text)))
        }
        Supply::Missed(_) if window.contains(now_ms) => {
            Some(Report::no(Open, reason, format!("the window is open, and users are turned away: {text}")))
        }
        Supply::Missed(_) | Supply::NotAskedFor if was_unprepared => Some(not_prepared(window, now_ms)),
        // How many are left, nobody reads.
        Supply::Well if window.contains(now_ms) && *known.service == Service::Grants => {
            let granting = "issuers say that they grant, but whether coupons are left is not known";
            Some(Report::unknown(Open, reason, format!("{granting}: {text}")))
        }
        // It has begun meanwhile, or nobody has ever said anything of it.
        Supply::Unknown
            if window.contains(now_ms)
                && said.is_none_or(|said| matches!(said.reason.as_str(), "NotStarted" | "Pending")) =>
        {
            Some(Report::unknown(Open, reason, format!("whether coupons can be had is not known: {text}")))
        }
        _ if said.is_none() => Some(Report::unknown(Open, reason, text)),
        _ => None,
    }
}

/// Suspending, or going on, that is asked for and that nobody could bring into force.
fn pending(campaign: &CouponCampaign, next: &CouponCampaignStatus, cause: &str) -> Option<Report> {
    let is_suspended = next.phase == Some(Phase::Suspended);
    let sells = matches!(next.phase, Some(Phase::Open | Phase::SoldOut));
    let said = conditions::find(&next.conditions, ConditionType::Open)?.reason.as_str();
    match campaign.spec.suspend {
        true if sells => {
            let text = format!("suspension is asked for, and not in force yet, because {cause}");
            Some(Report::unknown(ConditionType::Open, "SuspensionPending", text))
        }
        false if is_suspended && matches!(said, "Suspended" | "SuspendedByFence" | "ResumptionPending") => {
            let text =
                format!("issuing is still suspended: going on is asked for, and not in force yet, because {cause}");
            Some(Report::no(ConditionType::Open, "ResumptionPending", text))
        }
        _ => None,
    }
}

/// What a campaign that is being deleted waits for.
#[derive(Debug)]
pub(in crate::reconcile) enum Leaving<'a> {
    /// Nothing yet: issuing is closed, and what is left is stored.
    Going,
    /// So many pods that have not ended.
    Pods(usize),
    /// Something that failed.
    Failed(&'a ReconcileError),
}

/// The status of a campaign that is being deleted: what it waits for, and how to let it go all the same. `closed`: issuing is.
pub(in crate::reconcile) fn status_while_leaving(
    campaign: &CouponCampaign,
    waits_for: &Leaving<'_>,
    closed: bool,
    now: Timestamp,
) -> CouponCampaignStatus {
    use ConditionType as C;
    let mut next = campaign.status.clone().unwrap_or_default();
    next.phase = Some(Phase::Draining);
    let name = campaign.name_any();
    let (reason, cause) = match waits_for {
        Leaving::Going => ("Deleting", "issuing is being closed, and what is left in the log is stored".to_owned()),
        Leaving::Pods(left) => {
            ("PodsEnding", format!("{left} pods of it have not ended yet; a node that is lost never says so"))
        }
        Leaving::Failed(error) => (error.reason(), words(campaign, error)),
    };
    let mut text = format!("the campaign is being deleted: {cause}");
    if !matches!(waits_for, Leaving::Going) {
        text = format!(
            "{text}; it is tried again by itself; to let the object go at once and leave topic, Redis keys and rows as they are: \
             kubectl annotate couponcampaign {name} {RELEASE_ANNOTATION}=true"
        );
    }
    let open = match closed {
        true => Report::no(C::Open, "Deleting", "the campaign is being deleted, and issuing is closed"),
        false if conditions::is_true(&next.conditions, C::Open) || is_unknown(&next.conditions, C::Open) => {
            Report::unknown(C::Open, reason, "the campaign is being deleted, and issuing is not known to be closed yet")
        }
        false => Report::no(C::Open, "Deleting", "the campaign is being deleted"),
    };
    let mut reports =
        vec![open, Report::no(C::Ready, reason, text.clone()), Report::yes(C::Reconciling, reason, text.clone())];
    if let Leaving::Failed(error) = waits_for
        && !matches!(error.condition(), C::Stalled | C::Reconciling | C::ResourceConflict)
    {
        reports.push(Report::no(error.condition(), reason, words(campaign, error)));
    }
    put(campaign, &mut next, reports.into_iter(), now);
    next
}

fn is_unknown(all: &[Condition], condition: ConditionType) -> bool {
    conditions::find(all, condition).is_some_and(|each| each.status == "Unknown")
}

/// What failed, and what that means for this campaign.
fn words(campaign: &CouponCampaign, failure: &ReconcileError) -> String {
    let has_ledger = campaign.status.as_ref().is_some_and(|status| status.epoch.is_some());
    match failure {
        // Its name was right once.
        ReconcileError::Class(ClassError::NotFound(class)) if has_ledger => format!(
            "CampaignClass `{class}`, which this campaign uses, is gone: apply it again, as it was; until then issuers go on, and nobody \
             repairs, suspends, scales or closes this campaign"
        ),
        _ => advice(failure),
    }
}

/// What is said of a part that was well.
const DOUBT: &str = "this was well when it was last looked at; what Ready says keeps it from being looked at";

/// What was True, and is not known to be so any more.
fn doubts(before: &[Condition], reports: &[Report], reason: &'static str) -> Vec<Report> {
    use ConditionType as C;
    let was_well = |each: &&Condition| each.status == "True" || each.message == DOUBT;
    let known = before.iter().filter(was_well).filter_map(|each| each.type_.parse::<C>().ok());
    known
        .filter(|known| {
            !matches!(known, C::LedgerAdopted | C::WindowServed | C::Stalled | C::Reconciling | C::ResourceConflict)
        })
        .filter(|known| reports.iter().all(|report| report.condition != *known))
        .map(|known| Report::unknown(known, reason, DOUBT))
        .collect()
}

/// Puts reports into a status; what they say nothing of stays, but for what is there only while it is so.
fn put(
    campaign: &CouponCampaign,
    next: &mut CouponCampaignStatus,
    reports: impl Iterator<Item = Report>,
    now: Timestamp,
) {
    let generation = campaign.metadata.generation.unwrap_or(0);
    next.observed_generation = Some(generation);
    let reports: Vec<Report> = reports.collect();
    let passing = [ConditionType::Stalled, ConditionType::Reconciling, ConditionType::ResourceConflict];
    next.conditions.retain(|each| {
        let ours = each.type_.parse::<ConditionType>().ok();
        ours.is_none_or(|ours| !passing.contains(&ours) || reports.iter().any(|report| report.condition == ours))
    });
    for report in &reports {
        conditions::set(&mut next.conditions, report, generation, now);
    }
}
