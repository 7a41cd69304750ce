//! The campaign's tables, as the consumer uses them.

use std::time::Duration;

use sqlx::mysql::MySqlPool;

use campaign::event::CouponIssued;
use campaign::identity::CampaignId;
use campaign::table::{self, CampaignRowId, LoggedWinner, Position, StoreMode, Stored, TableError};

/// How long a transaction may take. Longer than a lock is waited for, so that a lock timeout is seen as what it is.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The rows of one campaign.
#[derive(Debug)]
pub struct Ledger {
    pool: MySqlPool,
    campaign: CampaignId,
    row: Option<CampaignRowId>,
}

impl Ledger {
    /// Asks nothing yet.
    pub fn new(pool: MySqlPool, campaign: CampaignId) -> Self {
        Self { pool, campaign, row: None }
    }

    /// Finds the campaign's row.
    ///
    /// # Errors
    /// [`TableError::NoCampaign`] while the operator has not created it; else whatever keeps the database from answering.
    pub async fn find(&mut self) -> Result<CampaignRowId, TableError> {
        if let Some(row) = self.row {
            return Ok(row);
        }
        let found = in_time(table::find(&self.pool, &self.campaign)).await?;
        let row = found.ok_or_else(|| TableError::NoCampaign(self.campaign.to_string()))?.id;
        self.row = Some(row);
        Ok(row)
    }

    /// Stores a batch, within [`DEADLINE`].
    ///
    /// # Errors
    /// As [`table::store`].
    pub async fn store(&mut self, winners: &[LoggedWinner]) -> Result<Stored, TableError> {
        let row = self.find().await?;
        let stored = in_time(table::store(&self.pool, row, StoreMode::Logged(winners))).await;
        if stored.is_err() {
            // After an outage the database may be another one, a restored backup, which numbers its rows differently.
            self.row = None;
        }
        stored
    }

    /// Those of these winners that people have given up for good.
    ///
    /// # Errors
    /// As [`table::discarded_among`].
    pub async fn discarded(&mut self, winners: &[&CouponIssued]) -> Result<Vec<CouponIssued>, TableError> {
        let row = self.find().await?;
        in_time(table::discarded_among(&self.pool, &self.campaign, row, winners)).await
    }

    /// Whether people have given up the record of this place for good.
    ///
    /// # Errors
    /// As [`table::is_discarded`].
    pub async fn is_discarded(&mut self, at: Position) -> Result<bool, TableError> {
        let row = self.find().await?;
        let found = in_time(table::is_discarded(&self.pool, row, at)).await;
        if found.is_err() {
            self.row = None;
        }
        found
    }
}

/// Gives up after [`DEADLINE`].
pub async fn in_time<T>(work: impl Future<Output = Result<T, TableError>>) -> Result<T, TableError> {
    table::within(DEADLINE, work).await
}
