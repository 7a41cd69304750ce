//! Changes of a campaign's terms, in the order of their numbers.
//!
//! Several operators may be at work, each of which may stall between any two steps. So whoever changes terms, in SQL or in
//! Redis, first takes a number here, which is given only if SQL's number and total are still those of the row that he
//! decided from. SQL takes the total of the newest number only, Redis terms of a higher number than its own only. Opening an
//! epoch takes one as well (`begin_epoch`), as it brings terms to Redis too. Else a change that was overtaken could arrive late, and ranks be given
//! above SQL's total.

use sqlx::mysql::MySqlPool;

use super::error::TableError;
use super::row::{CampaignRow, CampaignRowId};

/// Takes the next number for a change that was decided from this `row`. `None`, and nothing is written: somebody has changed
/// terms since; look again.
pub async fn allot_terms(pool: &MySqlPool, row: &CampaignRow) -> Result<Option<u64>, TableError> {
    // The total as well: of the change that took the row's number, SQL may have got its part after the row was read.
    let changed = sqlx::query(
        "UPDATE campaign SET terms_number = terms_number + 1 WHERE id = ? AND terms_number = ? AND total_quantity = ?",
    )
    .bind(row.id.0)
    .bind(row.terms_number)
    .bind(row.total)
    .execute(pool)
    .await?
    .rows_affected();
    Ok((changed == 1).then_some(row.terms_number + 1))
}

/// The outcome of [`set_total`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalSet {
    /// It is in force.
    Done,
    /// Nothing was written: a row of a higher rank is stored.
    BelowStored,
    /// Nothing was written: somebody took a newer number.
    Superseded,
}

/// Sets the total, as part of the change of this number.
pub async fn set_total(pool: &MySqlPool, id: CampaignRowId, number: u64, total: u64) -> Result<TotalSet, TableError> {
    let mut tx = pool.begin().await?;
    // The lock keeps rows out that are being inserted under the old total.
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
