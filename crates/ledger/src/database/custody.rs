//! Which cluster a ledger belongs to. Clusters that share a realm see the same row, and the operator of one of them works on it: a fence
//! reaches the issuers of its own cluster only.
//!
//! A ledger comes to another cluster in one of two ways. Who has closed it for good lets go of it ([`Held::let_go`]). Or it is taken
//! over ([`take_over`]), and then the issuers of the owner before may still grant: no epoch begins before they are known to have
//! stopped ([`note_fenced`]). Taking over takes an epoch and a number of terms, so whatever the owner before had decided is overtaken.

use sqlx::mysql::MySqlPool;
use sqlx::{MySql, Transaction};

use super::barriers::refuse_ahead;
use super::campaign::after_known;
use super::error::DatabaseError;
use super::row::{CampaignRow, CampaignRowId};

/// Who is to have a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heir<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// UID of the object.
    pub uid: &'a str,
}

/// Takes the ledger over from the cluster that has it in `row`. It is closed from then on, under an epoch above all that SQL knows and
/// above `known`, as far as that is believed. `forget_window` as in [`claim`](super::claim). False, and nothing is written: it is not as in
/// `row` any more, or it is still coming from a third cluster.
pub async fn take_over(
    pool: &MySqlPool,
    row: &CampaignRow,
    heir: Heir<'_>,
    known: u64,
    forget_window: bool,
) -> Result<bool, DatabaseError> {
    let epoch = after_known("epoch", row.epoch, known)?;
    let mut tx = pool.begin().await?;
    // In this order: what is assigned first is seen by what follows. An owner that has never got as far as to begin an epoch, as it waited
    // for this very heir, has nobody who grants.
    let sql = format!(
        "UPDATE campaign SET unfenced_epoch = open_epoch, unfenced_closed = FALSE, \
         unfenced_cluster = IF(unfenced_cluster <=> ?, NULL, owner_cluster), owner_changes = owner_changes + 1, owner_cluster = ?, \
         object_uid = ?, epoch = ?, open_epoch = NULL, terms_number = terms_number + 1{} \
         WHERE id = ? AND epoch = ? AND owner_cluster = ? AND owner_changes = ? \
         AND (unfenced_cluster IS NULL OR unfenced_cluster = ?)",
        match forget_window {
            true => ", opened_start_ms = NULL, opened_end_ms = NULL, opened_user_limit = NULL",
            false => "",
        }
    );
    let taken = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(heir.cluster.as_bytes())
        .bind(heir.cluster.as_bytes())
        .bind(heir.uid.as_bytes())
        .bind(epoch)
        .bind(row.id.0)
        .bind(row.epoch)
        .bind(row.custody.owner.as_ref().map(|owner| owner.as_bytes()))
        .bind(row.custody.changes)
        .bind(heir.cluster.as_bytes())
        .execute(&mut *tx)
        .await?
        .rows_affected()
        == 1;
    // After it: of a row that is an old one by now, barriers of later epochs are nothing odd.
    if taken {
        refuse_ahead(&mut tx, row.id, epoch - 1).await?;
    }
    tx.commit().await?;
    Ok(taken)
}

/// Gives the owner of the ledger another name: it is the same cluster, so nothing has changed hands. False, and nothing is written: the ledger
/// is not as in `row` any more, or it is still coming from another cluster.
pub async fn rename_owner(pool: &MySqlPool, row: &CampaignRow, name: &str) -> Result<bool, DatabaseError> {
    let sql = "UPDATE campaign SET owner_cluster = ? \
               WHERE id = ? AND epoch = ? AND owner_cluster = ? AND owner_changes = ? AND unfenced_cluster IS NULL";
    let renamed = sqlx::query(sql)
        .bind(name.as_bytes())
        .bind(row.id.0)
        .bind(row.epoch)
        .bind(row.custody.owner.as_ref().map(|owner| owner.as_bytes()))
        .bind(row.custody.changes)
        .execute(pool)
        .await?
        .rows_affected();
    Ok(renamed == 1)
}

/// Puts on record that Redis grants nothing any more under the epoch of the owner before. False: the ledger is not as in `row` any more.
pub async fn note_closed(pool: &MySqlPool, row: &CampaignRow) -> Result<bool, DatabaseError> {
    let sql = "UPDATE campaign SET unfenced_closed = TRUE \
               WHERE id = ? AND epoch = ? AND owner_changes = ? AND unfenced_cluster <=> ?";
    note(pool, row, sql).await
}

/// Puts on record that no issuer of the owner before grants any more, and none has an answer under way. False: the ledger is not as in
/// `row` any more.
pub async fn note_fenced(pool: &MySqlPool, row: &CampaignRow) -> Result<bool, DatabaseError> {
    let sql = "UPDATE campaign SET unfenced_cluster = NULL, unfenced_epoch = NULL, unfenced_closed = FALSE \
               WHERE id = ? AND epoch = ? AND owner_changes = ? AND unfenced_cluster <=> ?";
    note(pool, row, sql).await
}

async fn note(pool: &MySqlPool, row: &CampaignRow, sql: &'static str) -> Result<bool, DatabaseError> {
    let Some(unfenced) = &row.custody.unfenced else { return Ok(false) };
    let noted = sqlx::query(sql)
        .bind(row.id.0)
        .bind(row.epoch)
        .bind(row.custody.changes)
        .bind(unfenced.cluster.as_bytes())
        .execute(pool)
        .await?
        .rows_affected();
    Ok(noted == 1)
}

/// A ledger that nobody takes over while this is held: what goes with its last owner must not be a new one's.
pub struct Held {
    tx: Transaction<'static, MySql>,
    id: CampaignRowId,
}

/// Holds the ledger, if it is this cluster's.
pub async fn hold(pool: &MySqlPool, id: CampaignRowId, cluster: &str) -> Result<Option<Held>, DatabaseError> {
    let mut tx = pool.begin().await?;
    let owned: Option<(u64,)> = sqlx::query_as("SELECT id FROM campaign WHERE id = ? AND owner_cluster = ? FOR UPDATE")
        .bind(id.0)
        .bind(cluster.as_bytes())
        .fetch_optional(&mut *tx)
        .await?;
    Ok(owned.map(|_| Held { tx, id }))
}

impl Held {
    /// Makes it nobody's: any cluster may go on with it.
    pub async fn let_go(mut self) -> Result<(), DatabaseError> {
        sqlx::query("UPDATE campaign SET owner_cluster = NULL WHERE id = ?")
            .bind(self.id.0)
            .execute(&mut *self.tx)
            .await?;
        self.tx.commit().await?;
        Ok(())
    }
}
