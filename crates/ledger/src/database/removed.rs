//! What is on record of a campaign that is over, and of which Redis holds nothing any more.

use sqlx::mysql::MySqlPool;

use super::campaign::EpochCommit;
use super::error::DatabaseError;
use super::row::CampaignRowId;

/// Puts on record that Redis need not hold these `winners` any more, all of whom are rows, if `epoch` is still the newest and nobody
/// may grant under it.
pub async fn set_keys_removed(
    pool: &MySqlPool,
    id: CampaignRowId,
    epoch: u64,
    winners: u64,
    at_ms: i64,
) -> Result<EpochCommit, DatabaseError> {
    let changed = sqlx::query(
        "UPDATE campaign SET keys_removed_ms = ?, keys_removed_epoch = epoch, issued_count = ? \
         WHERE id = ? AND epoch = ? AND open_epoch IS NULL",
    )
    .bind(at_ms)
    .bind(winners)
    .bind(id.0)
    .bind(epoch)
    .execute(pool)
    .await?
    .rows_affected();
    Ok(if changed == 1 { EpochCommit::Done } else { EpochCommit::Superseded })
}
