//! What is on record of a window that has opened, and whose ledger it is.

use sqlx::mysql::MySqlPool;

use super::custody::Heir;
use super::error::DatabaseError;
use super::row::CampaignRow;

/// A window that has opened, with the terms in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedWindow {
    /// Its start, milliseconds since 1970.
    pub start_ms: i64,
    /// Its end, milliseconds since 1970.
    pub end_ms: i64,
    /// Coupons one user may hold.
    pub limit: u32,
}

/// Records the window that has opened, unless an epoch has begun, or the ledger came to another cluster, since it was as in `row`. The first
/// start and the first `key_by` stay; end and limit follow.
pub async fn set_opened(
    pool: &MySqlPool,
    row: &CampaignRow,
    window: OpenedWindow,
    key_by: &str,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE campaign SET opened_start_ms = COALESCE(opened_start_ms, ?), opened_end_ms = ?, opened_user_limit = ?, \
         opened_key_by = COALESCE(opened_key_by, ?) WHERE id = ? AND epoch = ? AND owner_cluster <=> ?",
    )
    .bind(window.start_ms)
    .bind(window.end_ms)
    .bind(window.limit)
    .bind(key_by.as_bytes())
    .bind(row.id.0)
    .bind(row.epoch)
    .bind(row.custody.owner.as_ref().map(|owner| owner.as_bytes()))
    .execute(pool)
    .await?;
    Ok(())
}

/// Makes this object of this cluster the one that the ledger belongs to, as long as the ledger is as in `row` and no other cluster's.
/// `forget_window`: its window counts as not opened from now on, and the ledger as closed. False, and nothing is written: somebody was
/// faster; look again.
pub async fn claim(
    pool: &MySqlPool,
    row: &CampaignRow,
    heir: Heir<'_>,
    forget_window: bool,
) -> Result<bool, DatabaseError> {
    // In this order: what is assigned first is seen by what follows.
    let sql = match forget_window {
        true => {
            "UPDATE campaign SET owner_changes = owner_changes + (owner_cluster IS NULL), owner_cluster = ?, object_uid = ?, \
             opened_start_ms = NULL, opened_end_ms = NULL, opened_user_limit = NULL, open_epoch = NULL \
             WHERE id = ? AND epoch = ? AND object_uid <=> ? AND (owner_cluster IS NULL OR owner_cluster = ?)"
        }
        false => {
            "UPDATE campaign SET owner_changes = owner_changes + (owner_cluster IS NULL), owner_cluster = ?, object_uid = ? \
             WHERE id = ? AND epoch = ? AND object_uid <=> ? AND (owner_cluster IS NULL OR owner_cluster = ?)"
        }
    };
    let claimed = sqlx::query(sql)
        .bind(heir.cluster.as_bytes())
        .bind(heir.uid.as_bytes())
        .bind(row.id.0)
        .bind(row.epoch)
        .bind(row.object_uid.as_ref().map(|uid| uid.as_bytes()))
        .bind(heir.cluster.as_bytes())
        .execute(pool)
        .await?
        .rows_affected();
    Ok(claimed == 1)
}
