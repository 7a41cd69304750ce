//! What a raised total may give away that is somebody's already: ranks above the old total that were told while somebody had raised the total in
//! Redis by hand. A repair forgets them, as it goes by the total that was asked for; the topic, dead letters or rows still name them.

use coupon_ledger::database::CampaignRow;

use super::ReconcileContext;
use super::observe::Observation;
use super::plan::Plan;
use crate::api::MOST_COUPONS;
use crate::error::ReconcileError;
use crate::events;
use crate::ledger::epoch::{self, RecordScope};

/// The reason of the event, and of the epoch that comes with the raise.
const RANKS_NAMED: &str = "RanksAboveTotalNamed";

/// How many coupons the campaign's row is to remember as issued, where Redis has given `issued`. What was given above the total stays: a repair
/// brings Redis back to the total, and whoever raises the total later has to know that ranks were told. A number that no total can come to was
/// written by somebody.
pub(super) fn to_remember(row: &CampaignRow, issued: u64) -> u64 {
    let told_above = row.issued_count > row.total && row.issued_count <= u64::from(MOST_COUPONS);
    if told_above { row.issued_count.max(issued) } else { issued }
}

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
        Ok(_) => {
            let records = if row.issued_count > total { RecordScope::All } else { RecordScope::Unread };
            let ranks = total + 1..=raised;
            epoch::first_named(pass.systems, pass.id, row, &ranks, records).await.map_err(Into::into)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::row;

    /// Wrong: once a repair has brought Redis back to the total, nothing knows that ranks above it were told; or what somebody wrote into the row
    /// stays there for good.
    #[test]
    fn what_was_given_above_the_total_is_remembered_until_the_total_is_above_it() {
        for (what, total, remembered, issued, expected) in [
            ("as Redis says", 10, 7, 8, 8),
            ("a Redis that lost some", 10, 10, 9, 9),
            ("more than the total", 10, 10, 15, 15),
            ("after the repair", 10, 15, 10, 15),
            ("and more still", 10, 15, 17, 17),
            ("the total is raised", 20, 15, 12, 12),
            ("no total is so high", 10, u64::from(MOST_COUPONS) + 1, 10, 10),
            ("nor so high", 10, u64::MAX, 10, 10),
        ] {
            let row = CampaignRow { total, issued_count: remembered, ..row() };
            assert_eq!(to_remember(&row, issued), expected, "{what}");
        }
    }
}
