//! Before a campaign goes: every row is counted, and what only Redis holds is stored, straight into the database. Nobody grants
//! any more then, and no consumer runs.

use std::collections::BTreeSet;
use std::time::Duration;

use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRow, RowOutcome, StoreMode};
use coupon_ledger::redis::{self, RedisKeys};

use crate::class::pools::Systems;
use crate::error::ReconcileError;
use crate::ledger::count::Effort;
use crate::ledger::epoch::EpochError;
use crate::reconcile::observation_cache::ObservationCache;
use crate::reconcile::observe::{self, Observation};

/// Winners of one question to Redis.
const PAGE: usize = 5_000;
/// How long the database may take for as many of them.
const PAGE_DEADLINE: Duration = Duration::from_secs(30);

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Winners that only Redis held and that are rows now.
    pub stored: u64,
    /// Winners in whose place another row stands. It goes on standing.
    pub in_the_way: u64,
}

/// Makes sure that every winner whom Redis knows is a row or a dead letter.
///
/// # Errors
/// Some are not, or one of the systems failed; what was stored stays stored.
pub async fn settle(
    systems: &Systems,
    campaign: &CampaignId,
    known: &mut ObservationCache,
) -> Result<Settled, ReconcileError> {
    let mut settled = Settled::default();
    // Rank by rank, also where there are as many rows as winners: one of them may be nobody's.
    let Some((row, _)) = count(systems, campaign, known, settled).await? else { return Ok(settled) };
    let keys = RedisKeys::of(campaign);
    let mut from = 0;
    loop {
        let mut redis = systems.redis().await?;
        let page = match redis::read_winners(&mut redis, &keys, from, PAGE).await {
            Ok(page) => page,
            Err(error) => {
                systems.forget_redis().await;
                return Err(error.into());
            }
        };
        let (Some(first), Some(last)) = (page.first(), page.last()) else { break };
        let span = u32::try_from(last.rank - first.rank + 1).unwrap_or(u32::MAX);
        let reading = database::read_ranks(&systems.sql, row.id, first.rank, last.rank, span);
        let rows = database::within(PAGE_DEADLINE, reading).await?;
        let rows: BTreeSet<u64> = rows.into_iter().collect();
        let dead = known.dead.ranks();
        from = last.rank + 1;
        let missing: Vec<CouponIssued> = page
            .iter()
            .filter(|held| !rows.contains(&held.rank) && !dead.contains(held.rank))
            .map(|held| held.event(campaign, row.epoch, held.rank))
            .collect();
        let storing = database::store(&systems.sql, row.id, StoreMode::Direct(&missing));
        let stored = database::within(PAGE_DEADLINE, storing).await?;
        for outcome in stored.outcomes {
            match outcome {
                RowOutcome::Stored => settled.stored += 1,
                RowOutcome::Conflict | RowOutcome::AboveTotal { .. } => settled.in_the_way += 1,
                RowOutcome::Void => return Err(EpochError::Superseded.into()),
            }
        }
    }
    match count(systems, campaign, known, settled).await? {
        None | Some((_, 0)) => Ok(settled),
        Some((_, missing)) => Err(ReconcileError::WinnersNotStored(missing)),
    }
}

/// Counts all rows, and how many winners are missing. `None`: the campaign has no row.
async fn count(
    systems: &Systems,
    campaign: &CampaignId,
    known: &mut ObservationCache,
    settled: Settled,
) -> Result<Option<(CampaignRow, u64)>, ReconcileError> {
    let mut seen = observe::observe(systems, campaign, false, known).await;
    observe::recount(systems, &mut seen, known, Effort::Whole).await;
    let Observation { ledger, redis, kafka, .. } = seen;
    let (ledger, redis, kafka) = (ledger?, redis?, kafka?);
    let Some(row) = ledger.row else { return Ok(None) };
    // Dead letters that cannot be read hold nothing here: then a winner too many is called missing.
    let found = ledger.stored + kafka.dead_ranks.unwrap_or(0) + settled.in_the_way;
    Ok(Some((row, redis.issued.saturating_sub(found))))
}
