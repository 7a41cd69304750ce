//! The campaign's tables, as the consumer uses them.

use std::time::Duration;

use sqlx::mysql::MySqlPool;

use campaign::event::CouponIssued;
use campaign::identity::CampaignId;
use campaign::table::{self, CampaignRowId, Fault, LoggedWinner, StoreMode, Stored, TableError};

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
        if let Err(error) = &stored {
            // After an outage the database may be another one, a restored backup, which numbers its rows differently.
            self.row = None;
            if error.fault() == Fault::Schema {
                self.forget_connections();
            }
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

    /// Closes the connections that nobody uses now. Their prepared statements remember tables as they were: on MariaDB, one
    /// that met a trigger just being made says for ever after that a table does not exist.
    fn forget_connections(&self) {
        // All first: a connection that is given back could be found again.
        let idle: Vec<_> = std::iter::from_fn(|| self.pool.try_acquire()).collect();
        for mut connection in idle {
            connection.close_on_drop();
        }
    }
}

/// Gives up after [`DEADLINE`].
pub async fn in_time<T>(work: impl Future<Output = Result<T, TableError>>) -> Result<T, TableError> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(result) => result,
        Err(_) => Err(TableError::Timeout(DEADLINE.as_secs())),
    }
}
