//! What comes of a row that Redis does not hold as it is.

use super::ReconcileContext;
use super::observe::Observation;
use super::plan::{Plan, Step};
use crate::error::ReconcileError;
use crate::events;
use crate::ledger::repair::compare::{self, Difference, Holder};

/// The reason of the event, and of the epoch that mends it.
const REDIS_DIFFERS: &str = "RedisDiffers";

/// Compares some of the rows with Redis, and has Redis filled again where it differs from them.
pub(super) async fn repair_what_differs(
    pass: &ReconcileContext<'_>,
    seen: &Observation,
    plan: &mut Plan,
) -> Result<(), ReconcileError> {
    let ReconcileContext { context, campaign, systems, id, memory, .. } = pass;
    let at_rest = !plan.hands_off && plan.steps.iter().all(Step::can_wait);
    let mut known = memory.get();
    let differs = compare::take_turn(systems, id, seen, at_rest, &mut known).await;
    memory.update(|memory| memory.compare = known.compare);
    if let Some(Difference { rank, held }) = differs? {
        let what = match held {
            Holder::Nobody => "which is a row, and nobody's in Redis",
            Holder::Another => "which is one user's in its row, and another's in Redis",
        };
        let text = format!(
            "Redis and the rows in the database differ, at rank {rank} first, {what}: somebody has changed one of them by hand. Redis is \
             filled again, and the rows stand; winners of Redis that are no rows, and whose ranks are free, are published again; somebody may \
             have been told another rank meanwhile"
        );
        tracing::warn!(campaign = %id, "{text}");
        events::warn(context, campaign, REDIS_DIFFERS, &text).await;
        plan.reopen(REDIS_DIFFERS);
    }
    Ok(())
}
