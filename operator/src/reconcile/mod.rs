//! One pass over one campaign: it reads what is there, decides what should be, and brings the one to the other. [`reconcile_campaign`] is the
//! whole of it; each of its steps is a file in `steps`.
//!
//! A pass is level-triggered: it looks at what is there, never at what happened. A pass in which nothing changed writes
//! nothing. After a step on the ledger the pass is repeated at once and reads everything again.

pub(crate) mod admission;
pub(crate) mod adoption;
mod applied;
mod apply;
mod blocking_record;
mod cause_log;
mod changes;
mod cluster;
mod control_token;
mod custody_change;
mod deletion;
mod differs;
mod doubt;
mod elsewhere;
pub(crate) mod epochs;
mod event_log;
mod failed_pass;
mod failure_log;
mod finalizer;
mod handover;
mod issuer_pods;
mod issuers;
mod lasting;
mod lost_winners;
pub mod memory;
pub(crate) mod notices;
pub mod observation_cache;
pub mod observe;
mod observed;
pub(crate) mod opening;
mod outcome;
mod owner;
mod pause;
pub mod plan;
mod pod_connections;
mod pods_left;
pub(crate) mod proven;
pub(crate) mod publish;
mod published;
mod raised;
mod reconcile_context;
mod refused;
mod removal;
pub(crate) mod replicas;
mod report;
mod restraints;
mod retention;
pub(crate) mod rollout;
mod rollout_watch;
mod route_watch;
mod scaling;
mod scaling_goals;
#[cfg(test)]
pub(crate) mod scene;
pub(crate) mod served;
mod size;
mod starting;
pub mod steps;
pub(crate) mod still;
mod stopped;
pub(crate) mod strays;
mod strays_watch;
mod supply;
pub(crate) mod tampering;
mod throttle;
pub(crate) mod unread;
mod unserved;
mod written_children;

use std::sync::Arc;

use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

pub(crate) use self::admission::{resolve, turn};
use self::applied::Applied;
pub use self::cluster::Cluster;
pub use self::finalizer::FINALIZER;
pub use self::handover::{CLUSTER_GONE_ANNOTATION, TAKE_OVER_ANNOTATION};
pub(crate) use self::issuer_pods::issuers as issuers_of;
pub(crate) use self::outcome::{contain, deadline, error_policy};
pub use self::pause::PAUSE_ANNOTATION;
pub use self::reconcile_context::ReconcileContext;
use self::stopped::Stopped;
use crate::api::CouponCampaign;
use crate::context::Context;
use crate::error::ReconcileError;

/// One pass over a campaign, also over one that is being deleted.
///
/// # Errors
/// What went wrong, after status, metrics and events have said it. [`error_policy`] says when it is tried again.
pub async fn reconcile(campaign: Arc<CouponCampaign>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let uid = campaign.uid().unwrap_or_default();
    let pass = async {
        context.watches_filled().await?;
        if campaign.meta().deletion_timestamp.is_some() {
            Ok(deletion::release(&campaign, &context, &uid).await?)
        } else {
            reconcile_campaign(&campaign, &context, &uid).await
        }
    };
    outcome::run_to_end(&campaign, &context, &uid, pass).await
}

/// One pass over a campaign that is to stay.
async fn reconcile_campaign(campaign: &CouponCampaign, context: &Context, uid: &str) -> Result<Action, Stopped> {
    // 1. Resolve. I/O: reads class, Secrets and namespace; writes the finalizers. What is refused or missing ends the pass.
    let resolved = steps::resolve(campaign, context, uid).await?;
    let pass = resolved.context(campaign, context, uid);

    // 2. Observe. I/O: reads database, Redis, Kafka, issuers and pods. What is away hides nothing of the others.
    let mut observed = steps::observe(&pass).await;
    let pass = pass.known_to(observed.row());

    // 3. Plan. No I/O, but where only a count of all rows can tell that a sale is over.
    let mut plan = steps::plan(&pass, &mut observed).await;

    // 4. Hold back. I/O: compares a page of rows with Redis. A ledger that is another cluster's ends the pass.
    let mut held = steps::hold_back(&pass, &observed, &mut plan).await?;

    // 5. Apply to the ledger. I/O: writes database, Kafka and Redis, and deletes issuers that do not serve.
    let (ledger, carried_out) = steps::apply_ledger(&pass, &observed, &held, &mut plan).await;

    // 6. Scale and apply workloads, also where step 5 has failed. I/O: writes objects in Kubernetes.
    let (workloads, written) = steps::apply_workloads(&pass, &observed, &plan, &held).await;

    // 7. Repair. I/O: publishes what only Redis or the database holds.
    let repaired = steps::repair(&pass, &observed, &plan, &ledger).await;

    // 8. Report. I/O: writes events and status. A failure of any step ends the pass here, once status says it.
    let compared = std::mem::replace(&mut held.compared, Ok(()));
    let failure = carried_out.and(written).and(compared).and(repaired).err();
    let applied = Applied { ledger, workloads, failure };
    let reported = steps::report(&pass, observed, &plan, &mut held, applied).await?;

    // 9. Next. No I/O: when the campaign is looked at again.
    Ok(steps::next(&plan, &held, &reported, context.elapsed_ms()))
}
