//! What a raised total may give away that is somebody's already: ranks above the old total that were told while somebody had raised the total in
//! Redis by hand. A repair forgets them, as it goes by the total that was asked for; the topic, dead letters or rows still name them.

use super::ReconcileContext;
use super::observe::Observation;
use super::plan::Plan;
use crate::error::ReconcileError;
use crate::events;
use crate::ledger::epoch;

/// The reason of the event, and of the epoch that comes with the raise.
const RANKS_NAMED: &str = "RanksAboveTotalNamed";

/// Where the ledger names ranks above the total in Redis that is about to be raised, the raise comes with a new epoch, which fills Redis with
/// them. Where that cannot be found out, the raise waits if more was given once than the total allows. I/O: reads Kafka and the database.
///
/// # Errors
/// It could not be found out; the raise waits.
pub(super) async fn keep_what_was_told(
    pass: &ReconcileContext<'_>,
    seen: &Observation,
    plan: &mut Plan,
) -> Result<(), ReconcileError> {
    let (Ok(ledger), Ok(redis)) = (&seen.ledger, &seen.redis) else { return Ok(()) };
    let (Some(row), Some(open)) = (&ledger.row, &redis.open) else { return Ok(()) };
    let total = open.terms.total;
    let Some(raised) = plan.raises_above(total).filter(|_| !plan.opens_epoch()) else { return Ok(()) };
    let named = match &seen.kafka {
        Ok(_) => epoch::first_named(pass.systems, pass.id, row, &(total + 1..=raised)).await.map_err(Into::into),
        Err(error) if row.issued_count > total => Err(error.clone().into()),
        Err(_) => Ok(None),
    };
    let rank = match named {
        Ok(Some(rank)) => rank,
        Ok(None) => return Ok(()),
        Err(error) => {
            plan.put_raise_off(total);
            return Err(error);
        }
    };
    let text = format!(
        "the total is raised from {total} to {raised}, and rank {rank} is in the topic, in a dead letter or in the database already: somebody was \
         told it while the total in Redis was higher, or somebody else wrote it there. Redis is filled anew, so that it is given to nobody else"
    );
    tracing::warn!(campaign = %pass.id, "{text}");
    events::warn(pass.context, pass.campaign, RANKS_NAMED, &text).await;
    plan.raise_by_epoch(RANKS_NAMED);
    Ok(())
}
