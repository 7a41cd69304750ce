//! Lets issuers grant.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use tokio::time::{Instant, sleep, timeout_at};

use super::campaign::EpochCommit;
use super::error::DatabaseError;
use super::row::CampaignRowId;
use super::session;

/// How long others may take to see what was committed.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Lets issuers grant under `epoch`, if it is still the newest. It counts only once a connection that has nothing to do with the one
/// that wrote it sees it, as issuers will: all else that is committed stands under an open epoch.
///
/// # Errors
/// [`DatabaseError::NotSeen`] if nobody else sees it.
pub async fn open_epoch(pool: &MySqlPool, id: CampaignRowId, epoch: u64) -> Result<EpochCommit, DatabaseError> {
    let changed = sqlx::query("UPDATE campaign SET open_epoch = epoch WHERE id = ? AND epoch = ?")
        .bind(id.0)
        .bind(epoch)
        .execute(pool)
        .await?
        .rows_affected();
    if changed != 1 {
        return Ok(EpochCommit::Superseded);
    }
    let deadline = Instant::now() + SEEN_WITHIN;
    match timeout_at(deadline, seen_by_another(pool, id, epoch)).await {
        Ok(seen) => seen.map(|()| EpochCommit::Done),
        Err(_) => Err(DatabaseError::NotSeen(SEEN_WITHIN.as_secs())),
    }
}

/// Comes back once it is seen.
async fn seen_by_another(pool: &MySqlPool, id: CampaignRowId, epoch: u64) -> Result<(), DatabaseError> {
    // Not one of the pool: it might be the same, or all might be in use by those who wait here.
    let mut other = pool.connect_options().connect().await?;
    session::prepare(&mut other).await?;
    while !is_open(&mut other, id, epoch).await? {
        sleep(LOOK_EVERY).await;
    }
    // Nothing is lost with it.
    let _ = sqlx::Connection::close(other).await;
    Ok(())
}

/// Whether it is open, or over already, which is seen as well.
async fn is_open(connection: &mut MySqlConnection, id: CampaignRowId, epoch: u64) -> Result<bool, DatabaseError> {
    let (newest, open): (u64, Option<u64>) =
        sqlx::query_as("SELECT epoch, open_epoch FROM campaign WHERE id = ?").bind(id.0).fetch_one(connection).await?;
    Ok(newest > epoch || open == Some(epoch))
}
