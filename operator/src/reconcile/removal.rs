//! Removes the keys of a campaign that is over, and says so.

use std::time::Duration;

use coupon_ledger::database::CampaignRow;

use super::ReconcileContext;
use super::issuer_pods::issuers;
use super::observe::Observation;
use super::opening::known_epoch;
use super::plan::Plan;
use super::plan::terms::time;
use crate::error::ReconcileError;
use crate::events;
use crate::ledger::epoch::{self, EpochError, Removal};

/// A try that came to nothing is made again after this long: it reads all rows, and what keeps it needs people.
const AGAIN: Duration = Duration::from_secs(600);

/// Removes the keys, if every winner whom Redis holds is a row. True: they are gone.
pub(super) async fn remove_keys(
    pass: &ReconcileContext<'_>,
    row: &CampaignRow,
    plan: &Plan,
    seen: &Observation,
) -> Result<bool, ReconcileError> {
    let ReconcileContext { context, campaign, uid, systems, id, memory, .. } = pass;
    if memory.get().removal.is_recent(AGAIN) {
        return Ok(false);
    }
    // It reads as much as a repair does. One that is needed comes first.
    let turn = context.repairs.turn(epoch::load(row, row.total, row.total)).await;
    if matches!(turn, Err(EpochError::Queued)) {
        return Ok(false);
    }
    let _turn = turn?;
    let issuers = issuers(context, campaign, uid).await?;
    let known = known_epoch(campaign, seen);
    let removal = epoch::remove_keys(systems, &issuers, id, row, known, plan.now_ms).await;
    if matches!(removal, Err(EpochError::Redis(_))) {
        systems.forget_redis().await;
    }
    match removal? {
        Removal::Done { winners } => {
            let text = format!(
                "the window is over since {}, and {winners} winners are rows: the campaign's keys are removed from Redis (retainForHours: \
                 {})",
                time(plan.terms.end_ms),
                campaign.spec.retain_for_hours.unwrap_or_default()
            );
            tracing::info!(campaign = %id, winners, "keys are removed from Redis");
            events::note(context, campaign, "KeysRemoved", &text).await;
            Ok(true)
        }
        Removal::Later => Ok(false),
        Removal::Differs(why) => {
            memory.update(|memory| memory.removal.reset());
            let text = format!("the campaign's keys stay in Redis, which holds what the rows do not: {why}");
            tracing::warn!(campaign = %id, "{text}");
            events::warn(context, campaign, "KeysKept", &text).await;
            Ok(false)
        }
    }
}
