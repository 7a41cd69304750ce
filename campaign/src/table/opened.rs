//! What is on record of a window that has opened, and whose ledger it is.

use sqlx::mysql::MySqlPool;

use super::campaign::{CampaignRow, CampaignRowId};
use super::error::TableError;

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

/// Records the window that has opened. The first start and the first `key_by` stay; end and limit follow.
pub async fn set_opened(
    pool: &MySqlPool,
    id: CampaignRowId,
    window: OpenedWindow,
    key_by: &str,
) -> Result<(), TableError> {
    sqlx::query(
        "UPDATE campaign SET opened_start_ms = COALESCE(opened_start_ms, ?), opened_end_ms = ?, opened_user_limit = ?, \
         opened_key_by = COALESCE(opened_key_by, ?) WHERE id = ?",
    )
    .bind(window.start_ms)
    .bind(window.end_ms)
    .bind(window.limit)
    .bind(key_by.as_bytes())
    .bind(id.0)
    .execute(pool)
    .await?;
    Ok(())
}

/// Makes the object of this UID the one that the ledger belongs to, as long as the ledger is as in `row`. `forget_window`: its
/// window counts as not opened from now on, and the ledger as closed. False, and nothing is written: somebody was faster; look again.
pub async fn claim(pool: &MySqlPool, row: &CampaignRow, uid: &str, forget_window: bool) -> Result<bool, TableError> {
    let sql = match forget_window {
        true => {
            "UPDATE campaign SET object_uid = ?, opened_start_ms = NULL, opened_end_ms = NULL, \
             opened_user_limit = NULL, open_epoch = NULL WHERE id = ? AND epoch = ? AND object_uid <=> ?"
        }
        false => "UPDATE campaign SET object_uid = ? WHERE id = ? AND epoch = ? AND object_uid <=> ?",
    };
    let claimed = sqlx::query(sql)
        .bind(uid.as_bytes())
        .bind(row.id.0)
        .bind(row.epoch)
        .bind(row.object_uid.as_ref().map(|uid| uid.as_bytes()))
        .execute(pool)
        .await?
        .rows_affected();
    Ok(claimed == 1)
}
