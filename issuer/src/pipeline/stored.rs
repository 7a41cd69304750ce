//! Finds winners who are rows already, so that a winner who asks again needs no further record, which would wake a consumer for nothing.
//!
//! Why that is enough: what a user is told must end in the database, with that rank. A row is where every record only leads to, no stored row
//! is ever replaced, and a repair reads it under every epoch; so who is told what a committed row says is told what stays so, whatever
//! is fenced meanwhile and however late it is told. A rank of which the database does not say so, or not at once, is made durable first, as
//! any other is.

use std::time::Duration;

use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_ledger::database;
use sqlx::MySqlPool;
use tokio::sync::Semaphore;

/// How long the database may take. Without its answer a record is written, as if it had not been asked.
const DEADLINE: Duration = Duration::from_millis(200);
/// So many batches may ask at once: in a rush a record is the cheaper way, and the database has rows to store.
const ASKING: usize = 1;
/// So many winners may be asked about at once.
const MOST: usize = 16;

/// Asks which winners are rows.
pub(crate) struct StoredWinners {
    pool: MySqlPool,
    campaign: CampaignId,
    turns: Semaphore,
}

impl StoredWinners {
    /// Connects when first needed.
    pub(crate) fn new(pool: MySqlPool, campaign: CampaignId) -> Self {
        Self { pool, campaign, turns: Semaphore::new(ASKING) }
    }

    /// Which of these are committed rows, each with this rank, user and place. Empty if that cannot be told at once.
    pub(crate) async fn among(&self, winners: &[CouponIssued]) -> Vec<bool> {
        let Ok(_turn) = self.turns.try_acquire() else { return Vec::new() };
        if winners.len() > MOST {
            return Vec::new();
        }
        let asked = database::within(DEADLINE, database::are_rows(&self.pool, &self.campaign, winners));
        asked.await.unwrap_or_default()
    }
}
