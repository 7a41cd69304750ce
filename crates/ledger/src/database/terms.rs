//! Changes of a campaign's terms, in the order of their numbers.
//!
//! Several operators may work at the same time, and each may be delayed between any two steps. So an operator that changes terms, in
//! SQL or in Redis, first allots a number here. It gets one only if number and total in SQL are still those of the row from which it
//! decided the change. SQL accepts a total only with the newest number, and Redis accepts terms only with a higher number than its
//! own. Opening an epoch allots a number as well (`begin_epoch`), as it also writes terms to Redis. Without these numbers an old change
//! could arrive late, and Redis could give ranks above the total in SQL.

use sqlx::mysql::MySqlPool;

use super::campaign::after_known;
use super::error::DatabaseError;
use super::row::{CampaignRow, CampaignRowId};

/// Allots the next number for a change that was decided from this `row`. `known` is the number in Redis. If it is higher than that of the
/// row (the database was restored from a backup), the next number is above both, as Redis accepts no lower one. A number that no database can
/// have forgotten was written into Redis by somebody: it is not believed, and Redis has to be filled anew before it takes terms. Returns `None`,
/// and writes nothing, if the terms have changed since the row was read: read it again and decide anew.
pub async fn allot_terms(pool: &MySqlPool, row: &CampaignRow, known: u64) -> Result<Option<u64>, DatabaseError> {
    let next = after_known("terms_number", row.terms_number, known)?;
    // The total is compared as well: the change with the row's number may have written its total after the row was read.
    let changed =
        sqlx::query("UPDATE campaign SET terms_number = ? WHERE id = ? AND terms_number = ? AND total_quantity = ?")
            .bind(next)
            .bind(row.id.0)
            .bind(row.terms_number)
            .bind(row.total)
            .execute(pool)
            .await?
            .rows_affected();
    Ok((changed == 1).then_some(next))
}

/// The outcome of [`set_total`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalSet {
    /// The total is in force.
    Done,
    /// Nothing was written: a row of a higher rank is stored.
    BelowStored,
    /// Nothing was written: a newer number has been allotted.
    Superseded,
}

/// Sets the total, as a part of the change with this number.
pub async fn set_total(
    pool: &MySqlPool,
    id: CampaignRowId,
    number: u64,
    total: u64,
) -> Result<TotalSet, DatabaseError> {
    let mut tx = pool.begin().await?;
    // The lock waits for inserts that were checked against the old total, and blocks new ones.
    let newest: u64 = sqlx::query_scalar("SELECT terms_number FROM campaign WHERE id = ? FOR UPDATE")
        .bind(id.0)
        .fetch_one(&mut *tx)
        .await?;
    if newest != number {
        return Ok(TotalSet::Superseded);
    }
    let highest: Option<u64> = sqlx::query_scalar("SELECT MAX(issue_rank) FROM issued_coupon WHERE campaign_id = ?")
        .bind(id.0)
        .fetch_one(&mut *tx)
        .await?;
    if highest.unwrap_or(0) > total {
        return Ok(TotalSet::BelowStored);
    }
    sqlx::query("UPDATE campaign SET total_quantity = ? WHERE id = ?").bind(total).bind(id.0).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(TotalSet::Done)
}
