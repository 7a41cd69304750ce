//! The rows of one campaign, with a deadline for each call.

use std::time::Duration;

use sqlx::mysql::MySqlPool;

use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use coupon_ledger::database::{self, CampaignRowId, DatabaseError, LoggedWinner, StoreMode, Stored};

/// How long a transaction may take. Longer than a lock is waited for, so that a lock timeout is seen as what it is.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The rows of one campaign.
#[derive(Debug, Clone)]
pub struct CampaignRows {
    pool: MySqlPool,
    campaign: CampaignId,
    row: Option<CampaignRowId>,
}

impl CampaignRows {
    /// Asks nothing yet.
    pub fn new(pool: MySqlPool, campaign: CampaignId) -> Self {
        Self { pool, campaign, row: None }
    }

    /// Finds the campaign's row.
    ///
    /// # Errors
    /// [`DatabaseError::NoCampaign`] while the operator has not created it; else whatever keeps the database from answering.
    pub async fn find(&mut self) -> Result<CampaignRowId, DatabaseError> {
        if let Some(row) = self.row {
            return Ok(row);
        }
        let found = within_deadline(database::find(&self.pool, &self.campaign)).await?;
        let row = found.ok_or_else(|| DatabaseError::NoCampaign(self.campaign.to_string()))?.id;
        self.row = Some(row);
        Ok(row)
    }

    /// Stores a batch, within [`DEADLINE`].
    ///
    /// # Errors
    /// As [`database::store`].
    pub async fn store(&mut self, winners: &[LoggedWinner]) -> Result<Stored, DatabaseError> {
        let row = self.find().await?;
        let stored = within_deadline(database::store(&self.pool, row, StoreMode::Logged(winners))).await;
        self.forget_row_after(stored)
    }

    /// Those of these winners that people have given up for good.
    ///
    /// # Errors
    /// As [`database::discarded_among`].
    pub async fn discarded(&mut self, winners: &[&CouponIssued]) -> Result<Vec<CouponIssued>, DatabaseError> {
        let row = self.find().await?;
        within_deadline(database::discarded_among(&self.pool, &self.campaign, row, winners)).await
    }

    /// Whether people have given up the dead letter of this place. One that lay there in another topic counts, too: who is told so writes a
    /// letter more.
    ///
    /// # Errors
    /// As [`database::is_discarded_anywhere`].
    pub async fn is_letter_discarded(&mut self, at: Position) -> Result<bool, DatabaseError> {
        let row = self.find().await?;
        let found = within_deadline(database::is_discarded_anywhere(&self.pool, row, at)).await;
        self.forget_row_after(found)
    }

    /// Whether people have given up the record of this place for good.
    ///
    /// # Errors
    /// As [`database::is_discarded`].
    pub async fn is_discarded(&mut self, at: Position) -> Result<bool, DatabaseError> {
        let row = self.find().await?;
        let found = within_deadline(database::is_discarded(&self.pool, row, at)).await;
        self.forget_row_after(found)
    }

    /// After an outage the database may be another one, a restored backup, which numbers its rows differently.
    fn forget_row_after<T>(&mut self, result: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        if result.is_err() {
            self.row = None;
        }
        result
    }
}

/// Gives up after [`DEADLINE`].
pub async fn within_deadline<T>(work: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, DatabaseError> {
    database::within(DEADLINE, work).await
}
