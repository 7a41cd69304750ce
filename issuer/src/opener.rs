//! Reads the open epoch from SQL while nothing is served.

use std::sync::Arc;
use std::time::Duration;

use campaign::identity::CampaignId;
use campaign::stock::{StockKeys, observe};
use campaign::table::{self, CampaignRowId};
use sqlx::MySqlPool;
use tokio::sync::watch;

use crate::gate::{Reason, candidate, stock_serves};
use crate::gatekeeper::Gatekeeper;
use crate::redis_link::RedisLink;

/// Pause between two reads; the real one is between half of it and all of it.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one read may take.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// The task that opens the gate.
pub struct Opener {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its keys in Redis.
    pub keys: StockKeys,
    /// The database.
    pub pool: MySqlPool,
    /// Redis.
    pub link: RedisLink,
    /// The gate.
    pub keeper: Arc<Gatekeeper>,
    /// Where the number of the campaign's row is told, once it is known.
    pub row: watch::Sender<Option<CampaignRowId>>,
}

impl Opener {
    /// Works until it is dropped: waits until nothing is served, then asks SQL until something is.
    pub async fn run(self) {
        let mut told: Option<Reason> = None;
        loop {
            self.keeper.unopened().await;
            match self.open().await {
                Ok(epoch) => {
                    if self.keeper.open(epoch) {
                        tracing::info!(epoch, "issuing is open");
                    }
                    told = None;
                }
                Err(reason) => {
                    self.keeper.stay_closed(reason);
                    if told != Some(reason) {
                        tracing::info!(reason = reason.name(), floor = self.keeper.floor(), "issuing is not open");
                        told = Some(reason);
                    }
                }
            }
            // Also after success, so that a Redis that refuses each batch does not make this loop spin.
            tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.5..=1.0))).await;
        }
    }

    /// The epoch that SQL opens and Redis serves.
    async fn open(&self) -> Result<u64, Reason> {
        let row = match tokio::time::timeout(READ_TIMEOUT, table::find(&self.pool, &self.campaign)).await {
            Ok(Ok(row)) => row,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the open epoch cannot be read");
                return Err(Reason::DatabaseAway);
            }
            Err(_) => return Err(Reason::DatabaseAway),
        };
        if let Some(row) = &row {
            self.row.send_replace(Some(row.id));
        }
        let epoch = candidate(row.as_ref(), self.keeper.floor())?;
        let state = self
            .link
            .read(|mut connection| async move { observe(&mut connection, &self.keys).await })
            .await
            .map_err(|_| Reason::RedisAway)?;
        stock_serves(&state, epoch, self.keeper.seen(epoch)).map_err(Reason::Refused)?;
        Ok(epoch)
    }
}
