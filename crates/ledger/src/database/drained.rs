//! Up to where the log of a completed campaign was found stored. It outlives the group's committed offsets.

use std::collections::BTreeMap;

use sqlx::mysql::MySqlPool;

use super::error::DatabaseError;
use super::row::CampaignRowId;

/// By partition: everything before this offset of the topic with this id is a row, a dead letter or void.
pub async fn drained(pool: &MySqlPool, id: CampaignRowId, topic_id: &str) -> Result<BTreeMap<i32, i64>, DatabaseError> {
    let rows: Vec<(i32, i64)> =
        sqlx::query_as("SELECT partition_id, end_offset FROM drained WHERE campaign_id = ? AND topic_id = ?")
            .bind(id.0)
            .bind(topic_id.as_bytes())
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().collect())
}

/// Records it. An offset never falls.
pub async fn set_drained(
    pool: &MySqlPool,
    id: CampaignRowId,
    topic_id: &str,
    ends: &BTreeMap<i32, i64>,
) -> Result<(), DatabaseError> {
    let mut tx = pool.begin().await?;
    for (partition, end) in ends {
        sqlx::query(
            "INSERT INTO drained (campaign_id, topic_id, partition_id, end_offset) VALUES (?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE end_offset = GREATEST(end_offset, VALUES(end_offset))",
        )
        .bind(id.0)
        .bind(topic_id.as_bytes())
        .bind(partition)
        .bind(end)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}
