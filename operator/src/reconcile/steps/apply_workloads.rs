//! Step 6: how many pods there should be, and the objects in Kubernetes.

use crate::error::ReconcileError;
use crate::reconcile::applied::WorkloadsApplied;
use crate::reconcile::apply;
use crate::reconcile::changes::WorkloadChanges;
use crate::reconcile::observed::Observed;
use crate::reconcile::plan::Plan;
use crate::reconcile::reconcile_context::ReconcileContext;
use crate::reconcile::restraints::Restraints;
use crate::reconcile::route_watch::RouteWatch;
use crate::reconcile::{rollout, scaling};
use crate::workloads::Component;

/// Decides how many pods there should be (no I/O), then applies Secret, Service, PodDisruptionBudget, NetworkPolicy and Deployments,
/// and the route to the Service (I/O: Kubernetes). This is also done after a step on the ledger has failed, but not if the pods must stay
/// as they are.
pub(in crate::reconcile) async fn apply_workloads(
    pass: &ReconcileContext<'_>,
    observed: &Observed,
    plan: &Plan,
    held: &Restraints,
) -> (WorkloadsApplied, Result<(), ReconcileError>) {
    let (issuer, consumer) = (pass.deployment(Component::Issuer), pass.deployment(Component::Consumer));
    let (issuer, consumer) = (issuer.as_deref(), consumer.as_deref());
    let numbers = scaling::find(pass, plan, &observed.seen, issuer, consumer, &observed.answers);
    if plan.hands_off {
        // Nobody looks at it, so nothing is said of it.
        pass.memory.update(|memory| memory.route = RouteWatch::default());
        return (WorkloadsApplied { numbers, scaled: WorkloadChanges::default(), compared: false }, Ok(()));
    }
    let memory = pass.memory.get();
    let work = rollout::WorkingPods::of(issuer, consumer, &observed.ailing, &held.serving, &memory);
    let (scaled, result) = apply::workloads(pass, plan, &numbers, work).await;
    apply::route(pass).await;
    (WorkloadsApplied { numbers, scaled, compared: result.is_ok() }, result)
}
