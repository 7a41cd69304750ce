//! Winners that were stored past Kafka, and whose records are still to be written.

use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{MySql, QueryBuilder};

use super::campaign::{CouponColumns, coupon};
use super::error::{DatabaseError, Fault};
use super::row::CampaignRowId;

/// Notes that these winners are rows without a record, in the transaction that makes them rows. Without the table, or the right to
/// write it, they are rows all the same: that is what their users are told.
pub(super) async fn note(
    connection: &mut MySqlConnection,
    id: CampaignRowId,
    winners: &[&CouponIssued],
) -> Result<(), DatabaseError> {
    let mut query = QueryBuilder::<MySql>::new("INSERT INTO direct_coupon (campaign_id, issue_rank) ");
    query.push_values(winners, |mut row, event| {
        row.push_bind(id.0).push_bind(event.rank);
    });
    query.push(" ON DUPLICATE KEY UPDATE issue_rank = VALUES(issue_rank)");
    match query.build().execute(connection).await.map_err(DatabaseError::from) {
        Err(error) if matches!(error.fault(), Fault::Rejected | Fault::Denied | Fault::Schema) => {
            tracing::warn!(%error, "winners that are stored past Kafka cannot be noted; the topic will lack their records");
            Ok(())
        }
        other => other.map(drop),
    }
}

/// Whether there are winners without a record.
///
/// # Errors
/// The database failed.
pub async fn has_unpublished(pool: &MySqlPool, id: CampaignRowId) -> Result<bool, DatabaseError> {
    // Order and index by hand: a server that takes the index of users would go through a whole campaign for each of these winners.
    let question = "SELECT EXISTS (SELECT 1 FROM direct_coupon d STRAIGHT_JOIN issued_coupon c FORCE INDEX (PRIMARY) \
                    ON c.campaign_id = d.campaign_id AND c.issue_rank = d.issue_rank \
                    WHERE d.campaign_id = ? AND NOT d.published)";
    Ok(sqlx::query_scalar::<_, i64>(question).bind(id.0).fetch_one(pool).await? != 0)
}

/// Winners without a record, lowest rank first, at most `count`. The issued count is not stored; the rank stands in.
///
/// # Errors
/// The database failed.
pub async fn unpublished(
    pool: &MySqlPool,
    campaign: &CampaignId,
    id: CampaignRowId,
    count: u32,
) -> Result<Vec<CouponIssued>, DatabaseError> {
    let question = "SELECT c.issue_rank, c.user_id, c.user_nth, c.request_key, c.epoch, c.occurred_at_ms \
                    FROM direct_coupon d STRAIGHT_JOIN issued_coupon c FORCE INDEX (PRIMARY) \
                    ON c.campaign_id = d.campaign_id AND c.issue_rank = d.issue_rank \
                    WHERE d.campaign_id = ? AND NOT d.published ORDER BY d.issue_rank LIMIT ?";
    let rows: Vec<CouponColumns> = sqlx::query_as(question).bind(id.0).bind(count).fetch_all(pool).await?;
    rows.into_iter().map(|columns| coupon(campaign, columns)).collect()
}

/// Notes that the records of these ranks are written, under this epoch. Nothing is noted if that is not the campaign's any more: a
/// record that came behind the next one's barrier is void.
///
/// # Errors
/// The database failed.
pub async fn set_published(
    pool: &MySqlPool,
    id: CampaignRowId,
    epoch: u64,
    ranks: &[u64],
) -> Result<(), DatabaseError> {
    if ranks.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<MySql>::new(
        "UPDATE direct_coupon d JOIN campaign c ON c.id = d.campaign_id SET d.published = TRUE WHERE d.campaign_id = ",
    );
    query.push_bind(id.0).push(" AND c.epoch = ").push_bind(epoch).push(" AND d.issue_rank IN (");
    let mut list = query.separated(", ");
    for rank in ranks {
        list.push_bind(rank);
    }
    query.push(")");
    query.build().execute(pool).await?;
    Ok(())
}
