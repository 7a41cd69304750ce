//! Step 7: publishes what only Redis or the database holds, while nothing else is to be done to the ledger.

use std::time::Duration;

use coupon_ledger::database;

use crate::error::ReconcileError;
use crate::ledger::repair;
use crate::reconcile::changes::LedgerChanges;
use crate::reconcile::observe::Observation;
use crate::reconcile::observed::Observed;
use crate::reconcile::plan::{Plan, Step};
use crate::reconcile::raised::to_remember;
use crate::reconcile::reconcile_context::ReconcileContext;

/// The issued count in SQL is written at most this often.
const ISSUED_EVERY: Duration = Duration::from_secs(5);

/// Publishes winners again that only Redis holds, writes records that the topic lacks, and keeps the issued count in the campaign's row. I/O.
///
/// # Errors
/// The first part that failed; the others were tried all the same.
pub(in crate::reconcile) async fn repair(
    pass: &ReconcileContext<'_>,
    observed: &Observed,
    plan: &Plan,
    done: &LedgerChanges,
) -> Result<(), ReconcileError> {
    let seen = &observed.seen;
    if let Some((opened, _)) = &done.opened {
        pass.memory.update(|memory| {
            repair::begin_after_opening(memory, opened, seen, observed.begun.elapsed());
        });
    }
    let counted = record_issued(pass, seen).await;
    let at_rest = !plan.hands_off && plan.steps.iter().all(Step::can_wait);
    let missing = repair::look_for_missing(pass, seen, plan.key_by, at_rest).await;
    let direct = repair::direct::publish_what_is_due(pass, seen, plan.key_by, at_rest).await;
    counted.and(missing).and(direct)
}

/// Keeps the issued count in the campaign's row, some seconds behind, without touching the row per coupon.
async fn record_issued(pass: &ReconcileContext<'_>, seen: &Observation) -> Result<(), ReconcileError> {
    let (Ok(ledger), Ok(redis)) = (&seen.ledger, &seen.redis) else { return Ok(()) };
    let Some(row) = &ledger.row else { return Ok(()) };
    let recent = pass.memory.get().issued_count.is_recent(ISSUED_EVERY);
    let issued = to_remember(row, redis.issued);
    if row.issued_count == issued || recent || redis.open.is_none() {
        return Ok(());
    }
    if database::try_set_issued_count(&pass.systems.sql, row.id, issued).await? {
        pass.memory.update(|memory| memory.issued_count.reset());
    }
    Ok(())
}
