//! Asks the issuers what they serve, decides about those that serve nothing, and replaces them.

use std::time::Duration;

use coupon_ledger::redis::RedisError;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};

use super::observe::{LedgerView, Observation};
use super::observed::Observed;
use super::plan::{Plan, Step};
use super::{ReconcileContext, control_token};
use crate::api::CouponCampaign;
use crate::context::Context;
use crate::events;
use crate::issuer_client::pressure;
use crate::issuer_client::serving::{Answers, Epochs, OpenEpoch, Service, Verdict};
use crate::workloads::{self, Component};

/// How long reading the token may hold up a pass that has failed already.
const TOKEN: Duration = Duration::from_secs(2);

/// What the campaign's ready issuers answer. Empty when there is none, or nobody to ask as.
pub(super) async fn ask(pass: &ReconcileContext<'_>) -> Answers {
    ask_issuers(pass.context, pass.campaign, pass.uid).await
}

async fn ask_issuers(context: &Context, campaign: &CouponCampaign, uid: &str) -> Answers {
    let pods = context.pods_of(campaign, Component::Issuer);
    if pods.is_empty() {
        return Answers::new();
    }
    match tokio::time::timeout(TOKEN, control_token::tokens(context, campaign, uid)).await {
        Ok(Ok(Some(tokens))) => pressure::fetch(&context.http, &tokens, &pods).await,
        Ok(Ok(None)) => Answers::new(),
        Ok(Err(error)) => {
            tracing::warn!(campaign = campaign.name_any(), %error, "the token of the issuers' control port could not be read");
            Answers::new()
        }
        Err(_) => Answers::new(),
    }
}

/// Whether they say that they grant.
pub(super) fn service(pass: &ReconcileContext<'_>, observed: &Observed, answers: &Answers) -> Service {
    let at_ms = pass.context.elapsed_ms();
    let open = open_epoch(pass.campaign, &observed.seen);
    let could_grant = could_grant(&observed.seen, observed.redis_refusal.as_deref());
    pass.memory.update(|memory| memory.serving.service(at_ms, open, could_grant, answers))
}

/// Whether issuers find what they need, by what this operator finds: if they grant nothing even so, newer pods may. While it is not there, no pod
/// mends that. `refusal`: why Redis takes no writes though it can be read.
pub(super) fn could_grant(seen: &Observation, refusal: Option<&RedisError>) -> bool {
    seen.served().is_some() && refusal.is_none()
}

/// The same in a pass that could not look at the ledger: issuers are asked all the same.
pub(super) async fn service_of_blind_pass(context: &Context, campaign: &CouponCampaign, uid: &str) -> Service {
    let answers = ask_issuers(context, campaign, uid).await;
    let (at_ms, open) = (context.elapsed_ms(), OpenEpoch::AtLeast(last_epoch(campaign)));
    context.memory.update(uid, |memory| memory.serving.service(at_ms, open, false, &answers))
}

/// What is known of the open epoch. A database in which a campaign that has had an epoch has no row says nothing of those that its issuers
/// found in another one.
fn open_epoch(campaign: &CouponCampaign, seen: &Observation) -> OpenEpoch {
    match (&seen.ledger, last_epoch(campaign)) {
        (Ok(LedgerView { row: Some(row), .. }), _) => OpenEpoch::Recorded(row.open_epoch),
        (Ok(_), 0) => OpenEpoch::Recorded(None),
        (_, last) => OpenEpoch::AtLeast(last),
    }
}

/// The highest epoch that status has seen.
fn last_epoch(campaign: &CouponCampaign) -> u64 {
    let epoch = campaign.status.as_ref().and_then(|status| status.epoch);
    epoch.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or(0)
}

/// Holds what they answer against what is open. Decides, and does nothing.
pub(super) fn decide(pass: &ReconcileContext<'_>, plan: &Plan, seen: &Observation, answers: &Answers) -> Verdict {
    let (at_ms, epochs) = (pass.context.elapsed_ms(), epochs(plan, seen));
    pass.memory.update(|memory| memory.serving.observe(at_ms, epochs, answers))
}

/// Puts what is decided about them into the plan.
pub(super) fn amend(plan: &mut Plan, verdict: &Verdict) {
    match verdict {
        Verdict::Serving | Verdict::Waiting(_) => {}
        Verdict::NewEpoch(_) => plan.reopen(NOT_SERVING),
        Verdict::Replace(uids, _) => plan.replaces.clone_from(uids),
    }
}

/// Says what is decided about them.
pub(super) async fn warn(pass: &ReconcileContext<'_>, plan: &Plan, verdict: &Verdict) {
    let (reason, text) = match verdict {
        Verdict::Serving | Verdict::Waiting(_) => return,
        Verdict::Replace(..) if plan.replaces.is_empty() => return,
        Verdict::NewEpoch(cause) => (NOT_SERVING, format!("{cause}; a new epoch is opened")),
        Verdict::Replace(uids, cause) => ("IssuersReplaced", format!("{cause}; {} are replaced", uids.len())),
    };
    tracing::warn!(campaign = %pass.id, ?verdict, "{text}");
    events::warn(pass.context, pass.campaign, reason, &text).await;
}

/// The reason of the event, and of the epoch that mends it.
const NOT_SERVING: &str = "IssuersNotServing";

/// What is open, if it is served by Redis as well and nothing is to be done to the ledger.
fn epochs(plan: &Plan, seen: &Observation) -> Option<Epochs> {
    let (Ok(ledger), Ok(redis)) = (&seen.ledger, &seen.redis) else { return None };
    let row = ledger.row.as_ref()?;
    let open = row.open_epoch.filter(|epoch| redis.serves(*epoch))?;
    let at_rest = !plan.hands_off && plan.steps.iter().all(Step::can_wait);
    at_rest.then_some(Epochs { allotted: row.epoch, open })
}

/// Deletes the pods that are to be replaced; their Deployment makes others. One that could not be deleted is found again.
pub(super) async fn replace(pass: &ReconcileContext<'_>, plan: &Plan) {
    if plan.replaces.is_empty() {
        return;
    }
    let pods: Api<Pod> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
    for pod in pass.context.pods_of(pass.campaign, Component::Issuer) {
        if !pod.uid().is_some_and(|uid| plan.replaces.contains(&uid)) {
            continue;
        }
        if let Err(error) = workloads::apply::delete(&pods, &*pod, DeleteParams::default()).await {
            tracing::warn!(pod = pod.name_any(), %error, "an issuer that does not serve could not be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;

    /// Wrong: users hear 503, says status, for good, while they are given coupons by issuers that found their epoch elsewhere.
    #[test]
    fn a_database_without_the_campaigns_row_says_nothing_of_its_issuers() {
        let epoch = |epoch| move |s: &mut Scene| s.campaign.status.get_or_insert_default().epoch = epoch;
        let without_row = |s: &mut Scene| s.ledger = Some(LedgerView::unregistered());
        for (what, scene, expected) in [
            ("as it should be", Scene::open().with(epoch(Some(1))), OpenEpoch::Recorded(Some(1))),
            (
                "closed",
                Scene::open().with(epoch(Some(1))).with(|s| s.row().open_epoch = None),
                OpenEpoch::Recorded(None),
            ),
            ("the row is elsewhere", Scene::open().with(epoch(Some(3))).with(without_row), OpenEpoch::AtLeast(3)),
            ("there never was one", Scene::new_campaign(), OpenEpoch::Recorded(None)),
            ("nobody knows", Scene::open().with(epoch(Some(3))).database_away(), OpenEpoch::AtLeast(3)),
        ] {
            assert_eq!(open_epoch(&scene.campaign, &scene.observation()), expected, "{what}");
        }
    }

    /// Wrong: a decision has deleted pods before anybody knew what else is done in this pass.
    #[test]
    fn what_is_found_of_issuers_is_planned_and_gives_way_to_a_new_epoch() {
        let (mut plan, uids) = (Scene::open().plan(), vec!["a".to_owned()]);
        let before = plan.clone();
        amend(&mut plan, &Verdict::Waiting(Some("1 RedisAway".to_owned())));
        assert_eq!(plan, before);
        amend(&mut plan, &Verdict::Replace(uids.clone(), "1 RedisKeysBroken".to_owned()));
        assert_eq!(plan, Plan { replaces: uids, ..before.clone() });
        // Rows and Redis were found to differ, after that.
        plan.reopen("RedisDiffers");
        assert_eq!((plan.opens_epoch(), plan.replaces.len()), (true, 0));
        let mut plan = before;
        amend(&mut plan, &Verdict::NewEpoch("1 RedisKeysBroken".to_owned()));
        assert_eq!(plan.steps, [Step::OpenEpoch { reason: NOT_SERVING }]);
    }
}
