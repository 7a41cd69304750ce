//! Reads what is there: database, Redis, Kafka. Each answers for itself, so that one that is away hides nothing of the others.

use campaign::identity::CampaignId;
use campaign::log::admin::AdminError;
use campaign::log::tail::Range;
use campaign::stock::{self, StockError, StockKeys, StockState};
use campaign::table::{self, CampaignRow, TableError};

use crate::connections::Systems;
use crate::dead::{DeadBarriers, DeadRanks};
use crate::log_view::{LogView, Sighted};

/// What the three systems say of a campaign.
pub struct Observation {
    /// The database.
    pub ledger: Result<LedgerView, TableError>,
    /// Redis.
    pub stock: Result<StockState, StockError>,
    /// Kafka.
    pub log: Result<LogView, AdminError>,
}

/// What the database has for a campaign.
#[derive(Debug, Clone)]
pub struct LedgerView {
    /// Its row; `None` before it was registered.
    pub row: Option<CampaignRow>,
    /// Coupons stored.
    pub stored: u64,
    /// Highest rank stored.
    pub highest: u64,
    /// All ranks up to this one are stored: counting starts above it the next time.
    pub complete_up_to: u64,
}

/// What is known from earlier passes, so that it need not be read again.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// All ranks up to this one are rows.
    pub complete_up_to: u64,
    /// Ranks of dead letters.
    pub dead: DeadRanks,
    /// What they are judged by.
    pub dead_barriers: DeadBarriers,
}

/// Reads all three; of the consumer group its `members` only if they are asked for. Brings `known` up to date.
pub async fn observe(systems: &Systems, campaign: &CampaignId, members: bool, known: &mut Known) -> Observation {
    // Redis after the database: every row that was read had been granted before, so Redis must know its rank.
    let in_order = async { (ledger(systems, campaign, known.complete_up_to).await, stock(systems, campaign).await) };
    let ((ledger, stock), log) = tokio::join!(in_order, systems.log.view(campaign, members));
    if let Ok(ledger) = &ledger {
        known.complete_up_to = ledger.complete_up_to;
    }
    let row = ledger.as_ref().ok().and_then(|ledger| ledger.row.as_ref());
    let log = match log {
        Ok(Sighted { mut view, dead_span }) => {
            view.dead_ranks = match (row, dead_span) {
                (Some(row), Some(span)) => dead_ranks(systems, campaign, row, span, known).await,
                _ => None,
            };
            Ok(view)
        }
        Err(error) => Err(error),
    };
    Observation { ledger, stock, log }
}

/// How many ranks dead letters hold, or grants that are given up, that are no rows.
async fn dead_ranks(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
    span: Range,
    known: &mut Known,
) -> Option<u64> {
    match known.dead_barriers.clone().refresh(&systems.sql, row).await {
        Ok(fresh) => known.dead_barriers = fresh,
        Err(error) => {
            tracing::warn!(%campaign, %error, "the barriers of dead letters could not be read");
            return None;
        }
    }
    let dead = &mut known.dead;
    match std::mem::take(dead).refresh(&systems.settings.operator.kafka, campaign, span, &known.dead_barriers).await {
        Ok(fresh) => *dead = fresh,
        Err(error) => {
            tracing::warn!(%campaign, %error, "dead letters could not be read");
            return None;
        }
    }
    // After the topic: whoever gives up a letter records it before removing it.
    match table::discarded_ranks(&systems.sql, row.id).await {
        Ok(discarded) => *dead = std::mem::take(dead).and_discarded(discarded),
        Err(error) => {
            tracing::warn!(%campaign, %error, "grants that are given up could not be read");
            return None;
        }
    }
    // A rank above the total is no winner's.
    let ranks = || dead.ranks().iter().copied().take_while(|rank| *rank <= row.total);
    match table::count_rows_of(&systems.sql, row.id, ranks()).await {
        Ok(rows) => Some((ranks().count() as u64).saturating_sub(rows)),
        Err(error) => {
            tracing::warn!(%campaign, %error, "dead letters could not be compared with the rows");
            None
        }
    }
}

async fn ledger(systems: &Systems, campaign: &CampaignId, complete_up_to: u64) -> Result<LedgerView, TableError> {
    systems.migrate().await?;
    let Some(row) = table::find(&systems.sql, campaign).await? else {
        return Ok(LedgerView { row: None, stored: 0, highest: 0, complete_up_to: 0 });
    };
    let (above, highest) = table::count_stored(&systems.sql, row.id, complete_up_to).await?;
    let stored = complete_up_to + above;
    let complete_up_to = if stored == highest { highest } else { complete_up_to };
    Ok(LedgerView { row: Some(row), stored, highest, complete_up_to })
}

async fn stock(systems: &Systems, campaign: &CampaignId) -> Result<StockState, StockError> {
    let mut connection = systems.redis().await?;
    let state = stock::observe(&mut connection, &StockKeys::of(campaign)).await;
    if state.is_err() {
        systems.forget_redis().await;
    }
    state
}
