//! Removes the keys of a campaign that is over, and says so.

use std::time::{Duration, Instant};

use campaign::table::CampaignRow;

use super::Pass;
use super::apply::issuers;
use super::observe::Observation;
use super::opening::known_epoch;
use super::plan::Plan;
use super::terms::time;
use crate::epoch::{self, EpochError, Removal};
use crate::error::ReconcileError;
use crate::events;

/// A try that came to nothing is made again after this long: it reads all rows, and what keeps it needs people.
const AGAIN: Duration = Duration::from_secs(600);

/// Removes the keys, if every winner whom Redis holds is a row. True: they are gone.
pub(super) async fn remove_keys(
    pass: &Pass<'_>,
    row: &CampaignRow,
    plan: &Plan,
    seen: &Observation,
) -> Result<bool, ReconcileError> {
    let Pass { context, campaign, uid, systems, id, .. } = pass;
    if context.memory.get(uid).removal_tried.is_some_and(|at| at.elapsed() < AGAIN) {
        return Ok(false);
    }
    // It reads as much as a repair does. One that is needed comes first.
    let turn = context.repairs.turn(epoch::load(row, row.total, row.total)).await;
    if matches!(turn, Err(EpochError::Queued)) {
        return Ok(false);
    }
    let _turn = turn?;
    let issuers = issuers(context, campaign, uid).await?;
    let known = known_epoch(pass, seen);
    let removal = epoch::remove_keys(systems, &issuers, id, row, known, plan.now_ms).await;
    if matches!(removal, Err(EpochError::Stock(_))) {
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
            context.memory.update(uid, |memory| memory.removal_tried = Some(Instant::now()));
            let text = format!("the campaign's keys stay in Redis, which holds what the rows do not: {why}");
            tracing::warn!(campaign = %id, "{text}");
            events::warn(context, campaign, "KeysKept", &text).await;
            Ok(false)
        }
    }
}
