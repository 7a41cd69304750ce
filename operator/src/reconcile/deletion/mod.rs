//! Finishes a campaign that is being deleted: closes issuing, stores what is left in the log, then keeps or removes what
//! the deletion policy says. Done in this process: foreground deletion removes the pods first.

mod close;
mod finalizer;
mod remove;
mod topic;

use std::time::Duration;

use coupon_ledger::database::{self, CampaignRow};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use self::close::{Closed, close};
use self::finalizer::remove_finalizer;
use self::remove::remove;
use self::topic::{complete_topic, drain_log};
use super::admission::{identified, resolve};
use super::finalizer::FINALIZER;
use super::handover::{is_this_objects, step_down};
use super::pods_left::pods_left;
use super::publish;
use super::reconcile_context::ReconcileContext;
use super::report::{Leaving, status_while_leaving};
pub(super) use crate::api::annotations::RELEASE_ANNOTATION;
use crate::api::conditions;
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, DeletionPolicy, Phase};
use crate::class;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::ledger::count::QUESTION;
use crate::ledger::epoch::EpochError;
use crate::ledger::repair::settle::{Settled, settle};

/// Pods that have not ended after this are said to be waited for: longer than they take to drain.
const PODS_END: SignedDuration = SignedDuration::from_secs(40);
/// While pods end.
const AGAIN: Duration = Duration::from_millis(500);
/// How long closing may take where the namespace is going.
const LAST_TRY: Duration = Duration::from_secs(5);

/// How far a deletion has come.
enum Step {
    /// The object may go. What became of the ledger, in words.
    Done(String),
    /// Something is waited for.
    Again,
}

/// Does what is left to do before the object may go, and takes its finalizer away then.
///
/// # Errors
/// Something that the deletion needs could not be done; it goes on from there.
pub(super) async fn release(campaign: &CouponCampaign, context: &Context, uid: &str) -> Result<Action, ReconcileError> {
    if !campaign.finalizers().iter().any(|each| each == FINALIZER) {
        return Ok(Action::await_change());
    }
    match prepare(campaign, context, uid).await? {
        Step::Done(text) => remove_finalizer(campaign, context, uid, &text).await,
        Step::Again => Ok(Action::requeue(AGAIN)),
    }
}

/// What is known without the ledger, and then what is done to it.
async fn prepare(campaign: &CouponCampaign, context: &Context, uid: &str) -> Result<Step, ReconcileError> {
    let done = |text: &str| Ok(Step::Done(text.to_owned()));
    if campaign.annotations().get(RELEASE_ANNOTATION).is_some_and(|value| value == "true") {
        return done("released by annotation: topic, Redis keys and rows were left as they are");
    }
    let namespace = campaign.namespace().unwrap_or_default();
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    let terminating =
        namespaces.get_opt(&namespace).await?.is_none_or(|found| found.metadata.deletion_timestamp.is_some());
    // A campaign that never had an epoch has no ledger to close.
    let never_prepared = campaign.status.as_ref().is_none_or(|status| status.epoch.is_none());
    if never_prepared && class::check_coupon_id_unique(campaign, &context.campaigns.state()).is_err() {
        return done("released: the ledger of this couponId is an older campaign's");
    }
    // Once: what the deletion waits for is written as it is found.
    if campaign.status.as_ref().is_none_or(|status| status.phase != Some(Phase::Draining) || !is_deleting(status)) {
        show(campaign, context, uid, &Leaving::Going).await?;
    }
    let found = resolve(campaign, context).await.and_then(|(class, systems)| {
        let id = identified(campaign, &class, &systems)?;
        Ok((class, systems, id))
    });
    let (class, systems, id) = match found {
        Ok(found) => found,
        Err(_) if terminating || never_prepared => {
            return done("released without a usable class: whatever the ledger holds was left as it is");
        }
        Err(error) => return Err(error),
    };
    let cluster = context.cluster()?;
    let pass = ReconcileContext {
        context,
        object: campaign,
        campaign,
        uid,
        memory: &context.memory.of(uid),
        class: &class,
        class_exists: true,
        id: &id,
        cluster: &cluster,
        known_as: cluster.name(),
        systems: &systems,
    };
    if terminating {
        return done(close_with_namespace(&pass).await);
    }
    match close(&pass).await? {
        Closed::Yes(row) => finish(&pass, &row).await,
        Closed::NoLedger => done("there was no ledger of this object"),
        Closed::Elsewhere(row) => leave_elsewhere(&pass, *row).await,
    }
}

/// The namespace must not hang because of us. One try to close; the log keeps what is not stored.
async fn close_with_namespace(pass: &ReconcileContext<'_>) -> &'static str {
    match tokio::time::timeout(LAST_TRY, close(pass)).await {
        Ok(Ok(Closed::Elsewhere(row))) if is_this_objects(&row, pass.campaign) => {
            "the namespace is going; the ledger bears another name of this cluster and was left as it is"
        }
        Ok(Ok(Closed::Elsewhere(_))) => {
            "the namespace is going; the ledger belongs to another cluster and was left as it is"
        }
        Ok(Ok(_)) => "the namespace is going: issuing is closed; topic, Redis keys and rows were left as they are",
        _ => {
            "the namespace is going and issuing could not be closed in time; topic, Redis keys and rows were left as they are"
        }
    }
}

/// A ledger of another cluster is left as it is. It may have been here before: then the new owner waits for the issuers of this one.
async fn leave_elsewhere(pass: &ReconcileContext<'_>, row: CampaignRow) -> Result<Step, ReconcileError> {
    if step_down(pass, &row).await? > 0 {
        return Ok(Step::Again);
    }
    let whose = match is_this_objects(&row, pass.campaign) {
        true => "bears another name of this cluster",
        false => "belongs to another cluster",
    };
    let owner = row.custody.owner.unwrap_or_default();
    Ok(Step::Done(format!("the ledger {whose} ({owner}) and was left as it is")))
}

/// Once issuing is closed: waits for the pods, stores what is left, and keeps or removes what the deletion policy says.
async fn finish(pass: &ReconcileContext<'_>, row: &CampaignRow) -> Result<Step, ReconcileError> {
    let ReconcileContext { context, campaign, uid, id, cluster, systems, .. } = *pass;
    let left = pods_left(pass).await?;
    if left > 0 {
        let since = campaign.metadata.deletion_timestamp.as_ref().map(|time| Timestamp::now().duration_since(time.0));
        if since.is_some_and(|since| since > PODS_END) {
            show(campaign, context, uid, &Leaving::Pods(left)).await?;
        }
        return Ok(Step::Again);
    }
    let mut left = drain_log(pass).await?;
    let mut known = context.memory.get(uid).cache;
    let Settled { stored, in_the_way } = settle(systems, id, &mut known).await?;
    if stored > 0 {
        left = format!("{left}; {stored} winners that only Redis held are stored");
    }
    if in_the_way > 0 {
        left = format!("{left}; {in_the_way} winners that Redis holds are not, as other rows stand in their places");
    }
    // Held meanwhile: what is removed must not be that of a cluster which takes the ledger over in this moment.
    let held = database::within(QUESTION, database::hold(&systems.sql, row.id, cluster.in_row(row))).await?;
    let held = held.ok_or(EpochError::Superseded)?;
    let text = match campaign.spec.deletion_policy {
        DeletionPolicy::Retain => {
            if !complete_topic(pass).await? {
                return Ok(Step::Again);
            }
            format!("{left}; topic, Redis keys and rows stay")
        }
        DeletionPolicy::Delete => format!("{left}; {}", remove(pass).await?),
    };
    // From here on it is anybody's: pods of ours are gone, and nothing is under way.
    database::within(QUESTION, held.let_go()).await?;
    Ok(Step::Done(text))
}

/// Says in status that the campaign is on its way out, and what it waits for.
async fn show(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    waits_for: &Leaving<'_>,
) -> Result<(), kube::Error> {
    let closed = context.memory.get(uid).closed;
    let status = status_while_leaving(campaign, waits_for, closed, Timestamp::now());
    publish::status(campaign, context, uid, status, false).await
}

/// Whether this status is one of a campaign that is being deleted.
fn is_deleting(status: &CouponCampaignStatus) -> bool {
    let ready = conditions::find(&status.conditions, ConditionType::Ready);
    ready.is_some_and(|ready| ready.message.starts_with("the campaign is being deleted"))
}
