//! Step 5: carries out the plan's steps on the ledger: database, Kafka and Redis.

use crate::error::ReconcileError;
use crate::reconcile::apply;
use crate::reconcile::changes::LedgerChanges;
use crate::reconcile::issuers;
use crate::reconcile::observed::Observed;
use crate::reconcile::plan::Plan;
use crate::reconcile::reconcile_context::ReconcileContext;
use crate::reconcile::restraints::Restraints;

/// Carries out the plan's steps in order; the first that fails ends them. What was done by then counts either way. Issuers that do not serve
/// are deleted afterwards. I/O.
pub(in crate::reconcile) async fn apply_ledger(
    pass: &ReconcileContext<'_>,
    observed: &Observed,
    held: &Restraints,
    plan: &mut Plan,
) -> (LedgerChanges, Result<(), ReconcileError>) {
    issuers::warn(pass, plan, &held.serving).await;
    let adopted =
        pass.memory.update(|memory| memory.adoption.observe(pass.is_new_to_ledger(), pass.uid, &observed.seen));
    let mut done = LedgerChanges { adopted, ..LedgerChanges::default() };
    let result = apply::ledger(pass, plan, &observed.seen, &mut done).await;
    issuers::replace(pass, plan).await;
    if done.opened.is_none() {
        plan.goals = plan.goals.after_the_fence(plan.phase, observed.issuers.current);
    }
    (done, result)
}
