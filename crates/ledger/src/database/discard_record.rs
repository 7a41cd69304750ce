//! Records that people have given up by their place: what nobody here can read, and letters that are discarded. Whoever reads a topic
//! passes them over.

use std::collections::BTreeSet;

use coupon_core::position::{Position, RecordPlace};
use sqlx::mysql::MySqlPool;

use super::error::DatabaseError;
use super::row::CampaignRowId;

/// Longest reason, in bytes.
const MAX_WHY: usize = 40;

/// Records that the record of this place is given up, and why, in a word. Doing it twice changes nothing.
///
/// # Errors
/// The database failed.
pub async fn discard_record(
    pool: &MySqlPool,
    id: CampaignRowId,
    place: &RecordPlace,
    why: &str,
) -> Result<(), DatabaseError> {
    // Without ON DUPLICATE KEY UPDATE, which asks for the right to change rows.
    let inserted = sqlx::query(
        "INSERT INTO discarded_record (campaign_id, topic_id, partition_id, record_offset, why) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(id.0)
    .bind(place.topic_id.as_bytes())
    .bind(place.at.partition)
    .bind(place.at.offset)
    .bind(&why.as_bytes()[..why.len().min(MAX_WHY)])
    .execute(pool)
    .await;
    match inserted.map_err(DatabaseError::from) {
        Err(error) if !error.is_duplicate() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The records of this topic that are given up.
///
/// # Errors
/// The database failed.
pub async fn discarded_records(
    pool: &MySqlPool,
    id: CampaignRowId,
    topic_id: &str,
) -> Result<BTreeSet<Position>, DatabaseError> {
    let question = "SELECT partition_id, record_offset FROM discarded_record WHERE campaign_id = ? AND topic_id = ?";
    let rows: Vec<(i32, i64)> = sqlx::query_as(question).bind(id.0).bind(topic_id.as_bytes()).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(partition, offset)| Position { partition, offset }).collect())
}

/// Whether the record of this place in the campaign's present topic is given up.
///
/// # Errors
/// The database failed.
pub async fn is_discarded(pool: &MySqlPool, id: CampaignRowId, at: Position) -> Result<bool, DatabaseError> {
    let question = "SELECT COUNT(*) FROM discarded_record JOIN campaign ON campaign.id = campaign_id \
                    AND campaign.topic_id = discarded_record.topic_id \
                    WHERE campaign_id = ? AND partition_id = ? AND record_offset = ?";
    is_counted(pool, question, id, at).await
}

/// Whether a record of this place in any topic of the campaign, one of dead letters too, is given up.
///
/// # Errors
/// The database failed.
pub async fn is_discarded_anywhere(pool: &MySqlPool, id: CampaignRowId, at: Position) -> Result<bool, DatabaseError> {
    let question =
        "SELECT COUNT(*) FROM discarded_record WHERE campaign_id = ? AND partition_id = ? AND record_offset = ?";
    is_counted(pool, question, id, at).await
}

async fn is_counted(
    pool: &MySqlPool,
    question: &'static str,
    id: CampaignRowId,
    at: Position,
) -> Result<bool, DatabaseError> {
    let found: i64 = sqlx::query_scalar(question).bind(id.0).bind(at.partition).bind(at.offset).fetch_one(pool).await?;
    Ok(found > 0)
}
