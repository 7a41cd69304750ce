//! Publishes what a pass did and found, as events and status. What was published already is not published again.

use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::changes::{LedgerChanges, WorkloadChanges};
use super::plan::Plan;
use super::reconcile_context::{ReconcileContext, campaigns};
use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus};
use crate::context::Context;
use crate::events;
use crate::metrics::CampaignLabels;
use crate::metrics::campaign_facts::CampaignFacts;
use crate::workloads::apply::MANAGER;

/// Counters alone are written to status at most this often.
const COUNTERS_EVERY: Duration = Duration::from_secs(4);
/// And between the steps of one go nothing is written more often than this, unless the phase changes: the next pass, at once,
/// knows more.
const STEPS_EVERY: Duration = Duration::from_secs(5);

/// Events about what a pass did and found.
pub(crate) async fn events(pass: &ReconcileContext<'_>, plan: &Plan, done: &LedgerChanges, scaled: &WorkloadChanges) {
    let ReconcileContext { context, campaign, .. } = pass;
    // A new campaign is Pending; its creation says so.
    let before = campaign.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
    // The watch may show the phase that was just left for some more passes.
    let told = pass.memory.update(|memory| memory.published.phase.replace(plan.phase));
    // First: what was done was done in it.
    if before != plan.phase && told != Some(plan.phase) {
        events::note(context, campaign, plan.phase.into(), &format!("phase {} after {before}", plan.phase)).await;
    }
    if let Some((opened, reason)) = &done.opened {
        let labels = CampaignLabels::of(campaign);
        context.metrics.epochs_opened.get_or_create(&labels).inc();
        let text = format!(
            "epoch {} opened ({reason}): {} winners, {} of them in Redis only, {} ranks to hand out again; {}",
            opened.epoch,
            opened.winners,
            opened.redis_only,
            opened.free,
            if opened.rebound { "Redis had lost nothing and was bound anew" } else { "Redis was filled" }
        );
        events::note(context, campaign, "EpochOpened", &text).await;
        if let Some(text) = reissued(opened.given_before, opened.winners) {
            events::warn(context, campaign, "RanksReissued", &text).await;
        }
    }
    if let Some(rows) = done.adopted {
        let text = format!("the campaign continues a ledger with {rows} winners; a new sale takes a new couponId");
        events::note(context, campaign, "LedgerAdopted", &text).await;
    }
    for refusal in unreported_refusals(pass, plan) {
        events::warn(context, campaign, refusal.reason, &refusal.message).await;
    }
    for change in &scaled.changes {
        events::note(context, campaign, "Scaled", change).await;
    }
}

/// The text of a warning where an epoch was opened with fewer winners than ranks had been given, `before` as far as is remembered. Most likely
/// nobody was told of those ranks. But where records, or the topic, were removed and Redis lost its history as well, winners are lost; and where
/// somebody had raised the total in Redis, winners above the total are no longer counted.
fn reissued(before: u64, winners: u64) -> Option<String> {
    let unknown = before.checked_sub(winners).filter(|unknown| *unknown > 0)?;
    Some(format!(
        "{before} ranks had been given, and {winners} winners are in Redis, topic or database: the other {unknown} are given again. Nobody was told \
         of them, unless the topic or records in it were removed before they were rows, and then {unknown} winners at most are lost; or unless \
         somebody had raised the total in Redis: their records, above the total, are kept for when totalQuantity is raised, or become dead letters"
    ))
}

/// Refusals for which no event was published before, by this process or by the one before it.
fn unreported_refusals<'a>(pass: &ReconcileContext<'_>, plan: &'a Plan) -> Vec<&'a Report> {
    let status = pass.campaign.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let in_status = conditions::find(status, ConditionType::Stalled).map(|stalled| stalled.message.as_str());
    pass.memory.update(|memory| new_refusals(&plan.refusals, in_status, &mut memory.published.refusals))
}

/// The refusals that are not in `told` or status; `told` becomes the present ones.
fn new_refusals<'a>(refusals: &'a [Report], in_status: Option<&str>, told: &mut Vec<String>) -> Vec<&'a Report> {
    let now: Vec<&Report> = refusals.iter().filter(|each| each.condition == ConditionType::Stalled).collect();
    let before = std::mem::replace(told, now.iter().map(|each| each.message.clone()).collect());
    // Status says all of them in one sentence.
    let is_in_status = |text: &str| in_status.is_some_and(|said| said.contains(text));
    let is_new = |each: &&Report| !is_in_status(&each.message) && !before.contains(&each.message);
    now.into_iter().filter(is_new).collect()
}

/// Says in metrics what the status is, and writes it if it differs and is not about to differ again. `in_between`: the next pass follows at once.
///
/// # Errors
/// The API server refused it. That the campaign is gone is none.
pub(crate) async fn status(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    mut next: CouponCampaignStatus,
    in_between: bool,
) -> Result<(), kube::Error> {
    next.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    context.metrics.campaigns.describe(&CampaignLabels::of(campaign), CampaignFacts::of(campaign, &next));
    let next = as_stored(&next).map_err(kube::Error::SerdeError)?;
    let before = campaign.status.clone().unwrap_or_default();
    let last = context.memory.update(uid, |memory| *memory.published.written.get_or_insert_with(Instant::now));
    if next == before || can_wait(&before, &next, in_between, last.elapsed()) {
        return Ok(());
    }
    let mut patch = serde_json::to_value(&next).map_err(kube::Error::SerdeError)?;
    let old = serde_json::to_value(&before).map_err(kube::Error::SerdeError)?;
    // A merge patch removes a field only where it says null.
    if let (Some(patch), Some(old)) = (patch.as_object_mut(), old.as_object()) {
        for key in old.keys() {
            patch.entry(key.clone()).or_insert(Value::Null);
        }
    }
    let patch = json!({"status": patch});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match campaigns(campaign, context).patch_status(&campaign.name_any(), &parameters, &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        other => other.map(drop)?,
    }
    context.memory.update(uid, |memory| memory.published.written = Some(Instant::now()));
    Ok(())
}

/// A status as it is read when it was written: times of Kubernetes keep whole seconds. What differs by less would be written again
/// with every pass, and wake the operator each time.
fn as_stored(status: &CouponCampaignStatus) -> serde_json::Result<CouponCampaignStatus> {
    serde_json::from_value(serde_json::to_value(status)?)
}

/// Whether a change may wait, `since` the last write or the first look: a write per coupon, or per step, would help nobody.
fn can_wait(before: &CouponCampaignStatus, next: &CouponCampaignStatus, in_between: bool, since: Duration) -> bool {
    let is_step = in_between && before.phase.unwrap_or_default() == next.phase.unwrap_or_default();
    (is_step && since < STEPS_EVERY) || (since < COUNTERS_EVERY && same_but_counters(before, next))
}

fn same_but_counters(before: &CouponCampaignStatus, next: &CouponCampaignStatus) -> bool {
    let CouponCampaignStatus { issued, persisted, lag, dead_letters, unconfirmed, unserved_seconds, .. } =
        before.clone();
    let mut next =
        CouponCampaignStatus { issued, persisted, lag, dead_letters, unconfirmed, unserved_seconds, ..next.clone() };
    // How far it is counted; that it begins or ends is none.
    if next.unserved_until.is_some() && before.unserved_until.is_some() {
        next.unserved_until = before.unserved_until;
    }
    for (next, before) in next.unserved_causes.iter_mut().zip(&before.unserved_causes) {
        next.seconds = before.seconds;
    }
    for (next, before) in [(&mut next.issuer, &before.issuer), (&mut next.consumer, &before.consumer)] {
        if let (Some(next), Some(before)) = (next, before) {
            next.figures.clone_from(&before.figures);
        }
    }
    next == *before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Phase, TermsStatus, WindowStatus};

    /// Wrong: a topic and Redis that are deleted together take told winners along, and nothing ever says so.
    #[test]
    fn ranks_that_are_given_again_are_told() {
        for (before, winners, expected) in
            [(0, 5, None), (5, 5, None), (5, 9, None), (9, 5, Some("the other 4 are given again"))]
        {
            let said = reissued(before, winners);
            assert_eq!(said.is_some(), expected.is_some(), "{before:?} {winners}");
            assert!(said.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }

    /// Wrong: a refusal is seen by nobody who does not look at conditions; or an event comes with every pass.
    #[test]
    fn each_refusal_is_told_once() {
        let stalled = |text: &str| Report::yes(ConditionType::Stalled, "WindowStartFixed", text);
        let (one, two) = (stalled("one"), stalled("two"));
        let part = Report::no(ConditionType::TopicReady, "TopicNotOurs", "one of the parts");
        let mut told = Vec::new();
        for (what, refusals, in_status, expected) in [
            ("new", vec![one.clone(), part], None, vec!["one"]),
            ("told", vec![one.clone()], None, vec![]),
            ("one more", vec![one.clone(), two.clone()], None, vec!["two"]),
            ("corrected", vec![], None, vec![]),
            ("again", vec![one.clone()], None, vec!["one"]),
            ("told by the process before", vec![two], Some("two"), vec![]),
        ] {
            let new = new_refusals(&refusals, in_status, &mut told);
            assert_eq!(new.iter().map(|each| each.message.as_str()).collect::<Vec<_>>(), expected, "{what}");
        }
    }

    #[test]
    fn a_status_is_compared_as_it_is_kept() {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
        let at = |ms| jiff::Timestamp::from_millisecond(ms).unwrap();
        let window = WindowStatus { start: at(1_001), end: at(2_999) };
        let terms = TermsStatus { total_quantity: 1, window, per_user_limit: 1, suspended: false };
        let next = |ms| CouponCampaignStatus {
            next_transition: Some(Time(at(ms))),
            terms: Some(terms.clone()),
            ..CouponCampaignStatus::default()
        };
        let kept = as_stored(&next(2_999)).unwrap();
        assert_eq!(kept, next(2_000), "whole seconds, and the terms as users meet them");
        assert_eq!(as_stored(&kept).unwrap(), kept);
    }

    #[test]
    fn what_may_wait() {
        let status = |phase, epoch, issued| CouponCampaignStatus {
            phase: Some(phase),
            epoch: Some(epoch),
            issued: Some(issued),
            ..CouponCampaignStatus::default()
        };
        let new = CouponCampaignStatus::default();
        assert!(
            can_wait(&new, &status(Phase::Pending, 0, 0), true, Duration::ZERO),
            "the first step of a new campaign"
        );
        assert!(!can_wait(&new, &status(Phase::Pending, 0, 0), false, Duration::ZERO), "which failed");
        let before = status(Phase::Open, 1, 5);
        for (scene, next, in_between, since_ms, expected) in [
            ("counters, soon after", status(Phase::Open, 1, 9), false, 3_900, true),
            ("counters, later", status(Phase::Open, 1, 9), false, 4_000, false),
            ("anything else, soon after", status(Phase::Open, 2, 9), false, 1, false),
            ("anything else between two steps", status(Phase::Open, 2, 9), true, 4_999, true),
            ("and seconds later", status(Phase::Open, 2, 9), true, 5_000, false),
            ("a phase between two steps", status(Phase::Repairing, 2, 9), true, 1, false),
        ] {
            assert_eq!(can_wait(&before, &next, in_between, Duration::from_millis(since_ms)), expected, "{scene}");
        }
    }
}
