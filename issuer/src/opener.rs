//! Reads the open epoch from SQL while nothing is served.

use std::sync::Arc;
use std::time::Duration;

use campaign::deadlines;
use campaign::identity::CampaignId;
use campaign::stock::{StockKeys, observe};
use campaign::table::{self, CampaignRowId};
use sqlx::MySqlPool;
use tokio::sync::watch;

use crate::gate::{Reason, candidate, stock_serves};
use crate::gatekeeper::Gatekeeper;
use crate::redis_link::{LinkError, RedisLink};

/// Pause between two reads; the real one is between half of it and all of it.
const PAUSE: Duration = deadlines::LOOK_PAUSE;
/// How long one read may take.
const READ_TIMEOUT: Duration = deadlines::LOOK;

/// Why the gate stays closed.
struct Closed {
    reason: Reason,
    /// What the system said that is in the way.
    words: Option<String>,
}

impl From<Reason> for Closed {
    fn from(reason: Reason) -> Self {
        Self { reason, words: None }
    }
}

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
    /// The cluster that this process is in, if it was told.
    pub cluster: Option<String>,
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
                Err(Closed { reason, words }) => {
                    if told != Some(reason) {
                        let (cause, floor) = (words.as_deref().unwrap_or_default(), self.keeper.floor());
                        tracing::info!(reason = reason.name(), floor, cause, "issuing is not open");
                        told = Some(reason);
                    }
                    self.keeper.stay_closed(reason, words);
                }
            }
            // Also after success, so that a Redis that refuses each batch does not make this loop spin.
            tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.5..=1.0))).await;
        }
    }

    /// The epoch that SQL opens and Redis serves.
    async fn open(&self) -> Result<u64, Closed> {
        let away = |reason, error: &dyn std::fmt::Display| Closed { reason, words: Some(error.to_string()) };
        let row = table::within(READ_TIMEOUT, table::find(&self.pool, &self.campaign)).await;
        let row = row.map_err(|error| away(Reason::DatabaseAway, &error))?;
        if let Some(row) = &row {
            self.row.send_replace(Some(row.id));
        }
        let epoch = candidate(row.as_ref(), self.keeper.floor(), self.cluster.as_deref())?;
        let state =
            self.link.read(|mut connection| async move { observe(&mut connection, &self.keys).await }).await.map_err(
                |error| match (error, self.link.why_away()) {
                    (LinkError::Failed(error), _) => away(Reason::RedisAway, &error),
                    (LinkError::Away, Some(cause)) => away(Reason::RedisAway, &cause),
                    (LinkError::Away, None) => Reason::RedisAway.into(),
                },
            )?;
        stock_serves(&state, epoch, self.keeper.seen(epoch)).map_err(Reason::Refused)?;
        Ok(epoch)
    }
}
