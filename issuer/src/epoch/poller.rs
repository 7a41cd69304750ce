//! Reads the open epoch from SQL while nothing is served.

use std::sync::Arc;
use std::time::Duration;

use coupon_core::contract::deadlines;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRowId};
use coupon_ledger::redis::{RedisKeys, observe};
use sqlx::MySqlPool;
use tokio::sync::watch;

use crate::epoch::guard::EpochGuard;
use crate::epoch::state::{NotServing, candidate, redis_serves};
use crate::pipeline::redis_link::{LinkError, RedisLink};

/// Pause between two reads; the real one is between half of it and all of it.
const PAUSE: Duration = deadlines::EPOCH_POLL_PAUSE;
/// How long one read may take.
const READ_TIMEOUT: Duration = deadlines::EPOCH_READ;

/// Why no epoch is served yet.
struct Closed {
    reason: NotServing,
    /// What the system that prevents it has said.
    words: Option<String>,
}

impl From<NotServing> for Closed {
    fn from(reason: NotServing) -> Self {
        Self { reason, words: None }
    }
}

/// The task that finds the open epoch.
pub(crate) struct EpochPoller {
    /// The campaign.
    pub(crate) campaign: CampaignId,
    /// Its keys in Redis.
    pub(crate) keys: RedisKeys,
    /// The database.
    pub(crate) pool: MySqlPool,
    /// Redis.
    pub(crate) link: RedisLink,
    /// Which epoch is served.
    pub(crate) epoch_guard: Arc<EpochGuard>,
    /// The cluster that this process is in, if it is configured.
    pub(crate) cluster: Option<String>,
    /// Gets the id of the campaign's row, once it is known.
    pub(crate) row: watch::Sender<Option<CampaignRowId>>,
}

impl EpochPoller {
    /// Works until it is dropped: waits until nothing is served, then asks SQL until something is.
    pub(crate) async fn run(self) {
        let mut logged: Option<NotServing> = None;
        loop {
            self.epoch_guard.unopened().await;
            match self.open().await {
                Ok(epoch) => {
                    if self.epoch_guard.open(epoch) {
                        tracing::info!(epoch, "issuing is open");
                    }
                    logged = None;
                }
                Err(Closed { reason, words }) => {
                    if logged != Some(reason) {
                        let (cause, floor) = (words.as_deref().unwrap_or_default(), self.epoch_guard.floor());
                        tracing::info!(reason = reason.name(), floor, cause, "issuing is not open");
                        logged = Some(reason);
                    }
                    self.epoch_guard.stay_closed(reason, words);
                }
            }
            // Also after success, so that a Redis that refuses each batch does not make this loop spin.
            tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.5..=1.0))).await;
        }
    }

    /// The epoch that SQL opens and Redis serves.
    async fn open(&self) -> Result<u64, Closed> {
        let away = |reason, error: &dyn std::fmt::Display| Closed { reason, words: Some(error.to_string()) };
        let row = database::within(READ_TIMEOUT, database::find(&self.pool, &self.campaign)).await;
        let row = row.map_err(|error| away(NotServing::DatabaseAway, &error))?;
        if let Some(row) = &row {
            self.row.send_replace(Some(row.id));
        }
        let epoch = candidate(row.as_ref(), self.epoch_guard.floor(), self.cluster.as_deref())?;
        let state =
            self.link.read(|mut connection| async move { observe(&mut connection, &self.keys).await }).await.map_err(
                |error| match (error, self.link.why_away()) {
                    (LinkError::Failed(error), _) => away(NotServing::RedisAway, &error),
                    (LinkError::Away, Some(cause)) => away(NotServing::RedisAway, &cause),
                    // Nothing has failed: a connection is being made, the first one unless something was read before.
                    (LinkError::Away, None) if self.epoch_guard.serving() == Err(NotServing::Starting) => {
                        NotServing::Starting.into()
                    }
                    (LinkError::Away, None) => NotServing::RedisAway.into(),
                },
            )?;
        redis_serves(&state, epoch, self.epoch_guard.highest_rank(epoch)).map_err(NotServing::Refused)?;
        Ok(epoch)
    }
}
