//! Reads barriers, and what is given up beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use coupon_core::position::Position;
use sqlx::mysql::{MySqlConnection, MySqlPool};

use super::barrier::{Barrier, Barriers};
use super::error::DatabaseError;
use super::row::CampaignRowId;

/// Barriers of the campaign's topic, and what is given up of its records at these offsets, read inside a transaction. In one question:
/// it is asked with every batch of winners. To be judged by once they are [`allotted`].
pub(super) async fn read_barriers(
    connection: &mut MySqlConnection,
    id: CampaignRowId,
    topic_id: &[u8],
    among: RangeInclusive<i64>,
) -> Result<Barriers, DatabaseError> {
    let rows: Vec<(Option<u64>, i32, i64)> = sqlx::query_as(
        "SELECT epoch, partition_id, end_offset FROM epoch_barrier WHERE campaign_id = ? AND topic_id = ? \
         UNION ALL SELECT CAST(NULL AS UNSIGNED), partition_id, record_offset FROM discarded_record \
         WHERE campaign_id = ? AND topic_id = ? AND record_offset BETWEEN ? AND ?",
    )
    .bind(id.0)
    .bind(topic_id)
    .bind(id.0)
    .bind(topic_id)
    .bind(*among.start())
    .bind(*among.end())
    .fetch_all(connection)
    .await?;
    let (mut by_epoch, mut discarded) = (BTreeMap::<u64, BTreeMap<i32, i64>>::new(), BTreeSet::new());
    for (epoch, partition, offset) in rows {
        if let Some(epoch) = epoch {
            by_epoch.entry(epoch).or_default().insert(partition, offset);
        } else {
            discarded.insert(Position { partition, offset });
        }
    }
    let all = by_epoch.into_iter().map(|(epoch, ends)| Barrier { epoch, ends }).collect();
    Ok(Barriers::new(all).and_discarded(discarded))
}

/// These barriers, if none is of an epoch above `newest`, the one that was allotted last.
///
/// # Errors
/// [`DatabaseError::BarrierAhead`].
pub(super) fn allotted(barriers: Barriers, id: CampaignRowId, newest: u64) -> Result<Barriers, DatabaseError> {
    none_ahead(barriers.ahead_of(newest), id, newest)?;
    Ok(barriers)
}

fn none_ahead(ahead: Option<u64>, id: CampaignRowId, newest: u64) -> Result<(), DatabaseError> {
    ahead.map_or(Ok(()), |epoch| Err(DatabaseError::BarrierAhead { campaign: id.0, epoch, newest }))
}

/// Before the epoch after `newest` is allotted: its records would be judged by a barrier above it, of whatever topic.
///
/// # Errors
/// [`DatabaseError::BarrierAhead`] among others.
pub(super) async fn refuse_ahead(
    connection: &mut MySqlConnection,
    id: CampaignRowId,
    newest: u64,
) -> Result<(), DatabaseError> {
    let ahead: Option<u64> =
        sqlx::query_scalar("SELECT MIN(epoch) FROM epoch_barrier WHERE campaign_id = ? AND epoch > ?")
            .bind(id.0)
            .bind(newest)
            .fetch_one(connection)
            .await?;
    none_ahead(ahead, id, newest)
}

/// Barriers of the topic with this id, and what is given up of its records.
///
/// # Errors
/// [`DatabaseError::BarrierAhead`] among others.
pub async fn barriers(pool: &MySqlPool, id: CampaignRowId, topic_id: &str) -> Result<Barriers, DatabaseError> {
    let mut connection = pool.acquire().await?;
    let barriers = read_barriers(&mut connection, id, topic_id.as_bytes(), 0..=i64::MAX).await?;
    // After them: an epoch is allotted before it has a barrier.
    let newest = sqlx::query_scalar("SELECT epoch FROM campaign WHERE id = ?").bind(id.0);
    allotted(barriers, id, newest.fetch_one(&mut *connection).await?)
}

/// Barriers by which a dead letter can be judged: it says where its record lay, but not in which topic. So there are none if the
/// campaign ever had another topic than the one with this id.
pub async fn barriers_of_dead_letters(
    pool: &MySqlPool,
    id: CampaignRowId,
    topic_id: &str,
) -> Result<Barriers, DatabaseError> {
    let others: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM epoch_barrier WHERE campaign_id = ? AND topic_id <> ?")
        .bind(id.0)
        .bind(topic_id.as_bytes())
        .fetch_one(pool)
        .await?;
    if others > 0 { Ok(Barriers::default()) } else { barriers(pool, id, topic_id).await }
}
