//! Carries out the plan's steps on the ledger.

use std::ops::ControlFlow;

use coupon_ledger::database::{self, CampaignRow, OpenedWindow};
use coupon_ledger::redis::{self, RedisKeys, Terms};

use super::terms::ChangeNumber;
use super::{custody, terms, topic};
use crate::error::ReconcileError;
use crate::events;
use crate::reconcile::changes::LedgerChanges;
use crate::reconcile::observe::Observation;
use crate::reconcile::opening::open_epoch;
use crate::reconcile::plan::{Plan, Step};
use crate::reconcile::reconcile_context::ReconcileContext;
use crate::reconcile::{adoption, handover, removal};

/// Does the ledger steps in order. Stops at the first that fails; the next pass goes on from what is then there. What was `done` by then is
/// the caller's either way: an epoch that was opened is followed up although a later step fails.
pub(in crate::reconcile) async fn ledger(
    pass: &ReconcileContext<'_>,
    plan: &Plan,
    seen: &Observation,
    done: &mut LedgerChanges,
) -> Result<(), ReconcileError> {
    let row = seen.ledger.as_ref().ok().and_then(|ledger| ledger.row.clone());
    let mut steps = LedgerSteps { pass, plan, seen, row, number: ChangeNumber::above(seen) };
    for step in &plan.steps {
        tracing::info!(campaign = %pass.id, ?step, "ledger step");
        if steps.carry_out(step, done).await?.is_break() {
            tracing::info!(campaign = %pass.id, ?step, "the ledger is not what it was; looking again");
            break;
        }
    }
    Ok(())
}

/// The steps of one pass, and what one leaves to the next.
struct LedgerSteps<'a> {
    pass: &'a ReconcileContext<'a>,
    plan: &'a Plan,
    seen: &'a Observation,
    /// The campaign's row, once there is one.
    row: Option<CampaignRow>,
    /// One number for all that this pass changes in the terms.
    number: ChangeNumber,
}

impl LedgerSteps<'_> {
    /// `Break`: somebody else was faster, or there is no row yet. What follows must not be done without this step; the next pass sees it.
    async fn carry_out(&mut self, step: &Step, done: &mut LedgerChanges) -> Result<ControlFlow<()>, ReconcileError> {
        let Self { pass, plan, seen, .. } = *self;
        // What it asks for now, the next pass does, which begins at once: what was asked for before may be what somebody has just stopped.
        if step.follows_the_spec() && pass.context.is_overtaken(pass.object) {
            return Ok(ControlFlow::Break(()));
        }
        let is_taken = match (step, self.row.as_ref()) {
            (Step::Register, _) => {
                self.row = custody::register(pass, plan.terms.total).await?;
                true
            }
            (Step::Suspend, _) => suspend(pass).await?,
            (Step::CorrectTime, _) => correct_time(pass, plan).await?,
            (_, None) => false,
            (Step::Claim { forget_window }, Some(row)) => {
                let is_taken = custody::claim(pass, row, *forget_window).await?;
                self.adopt(is_taken, row, done)
            }
            (Step::TakeOver { forget_window }, Some(row)) => {
                let is_taken = custody::take_over(pass, row, seen, *forget_window).await?;
                self.adopt(is_taken, row, done)
            }
            (Step::FenceOther, Some(row)) => handover::fence_other(pass, row).await.map(|()| true)?,
            (Step::Rename, Some(row)) => custody::rename(pass, row).await.map(|()| true)?,
            (Step::Topic(step), Some(row)) => topic::apply(pass, row, step, seen).await.map(|()| true)?,
            (Step::SetTotal(total), Some(row)) => terms::set_total(pass, row, &mut self.number, *total).await?,
            (Step::Configure(terms), Some(row)) => {
                let is_taken = terms::configure(pass, row, &mut self.number, terms).await?;
                stay_suspended(pass, terms).await?;
                is_taken
            }
            (Step::RecordOpened(terms), Some(row)) => {
                let window = OpenedWindow { start_ms: terms.start_ms, end_ms: terms.end_ms, limit: terms.limit };
                database::set_opened(&pass.systems.sql, row, window, &plan.key_by.to_string()).await?;
                true
            }
            (Step::RemoveKeys, Some(row)) => {
                done.keys_removed = removal::remove_keys(pass, row, plan, seen).await?;
                true
            }
            (Step::OpenEpoch { reason }, Some(row)) => {
                let opened = open_epoch(pass, row, plan, seen).await?;
                stay_suspended(pass, &plan.terms).await?;
                // Redis was closed for that, whatever it looks like.
                let taken_over = pass.memory.update(|memory| memory.custody.end());
                done.opened = Some((opened, if taken_over { "LedgerTakenOver" } else { reason }));
                true
            }
        };
        Ok(if is_taken { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    /// Notes with how many winners the ledger has become this object's.
    fn adopt(&self, is_taken: bool, row: &CampaignRow, done: &mut LedgerChanges) -> bool {
        if is_taken {
            let adopted = adoption::of_claim(self.pass.is_new_to_ledger(), row, self.seen);
            done.adopted = adopted.or(done.adopted);
        }
        is_taken
    }
}

/// Suspension that was asked for while these terms were on their way is in Redis already, and they have undone it.
async fn stay_suspended(pass: &ReconcileContext<'_>, terms: &Terms) -> Result<(), ReconcileError> {
    let is_asked_for = pass.context.present(pass.object).is_some_and(|present| present.spec.suspend);
    if is_asked_for && !terms.suspended {
        suspend(pass).await?;
    }
    Ok(())
}

async fn suspend(pass: &ReconcileContext<'_>) -> Result<bool, ReconcileError> {
    let keys = RedisKeys::of(pass.id);
    pass.memory.update(|memory| memory.terms_seen.stop());
    pass.systems.with_redis(async |redis| redis::suspend(redis, &keys).await).await?;
    Ok(true)
}

async fn correct_time(pass: &ReconcileContext<'_>, plan: &Plan) -> Result<bool, ReconcileError> {
    let keys = RedisKeys::of(pass.id);
    pass.systems.with_redis(async |redis| redis::correct_time(redis, &keys).await).await?;
    let text = plan.time.doubt.as_deref().unwrap_or("the time of the latest grant is corrected");
    events::warn(pass.context, pass.campaign, "TimeCorrected", text).await;
    Ok(true)
}
