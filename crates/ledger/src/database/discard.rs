//! Grants that people have given up for good. Each keeps its rank: nobody publishes it again, and nobody else gets it.

use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use sqlx::mysql::MySqlPool;
use sqlx::{MySql, QueryBuilder};

use super::campaign::{COUPON_COLUMNS, CouponColumns, MAX_RANKS, coupon};
use super::error::DatabaseError;
use super::forgotten::pseudonyms;
use super::row::CampaignRowId;

/// Longest reason that is kept, in characters.
const MAX_WHY: usize = 300;

/// Records that this grant is given up, and why. Doing it twice changes nothing.
///
/// # Errors
/// The database failed.
pub async fn discard(
    pool: &MySqlPool,
    id: CampaignRowId,
    grant: &CouponIssued,
    why: &str,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO discarded_coupon \
         (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms, why) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE issue_rank = VALUES(issue_rank)",
    )
    .bind(id.0)
    .bind(grant.rank)
    .bind(grant.user_id.as_str().as_bytes())
    .bind(grant.n)
    .bind(grant.request_key.as_str().as_bytes())
    .bind(grant.epoch)
    .bind(grant.occurred_at.as_millisecond())
    .bind(why.chars().take(MAX_WHY).collect::<String>())
    .execute(pool)
    .await?;
    Ok(())
}

/// Ranks above `above` of grants that are given up, lowest first, at most `count`.
///
/// # Errors
/// The database failed.
pub async fn discarded_ranks(
    pool: &MySqlPool,
    id: CampaignRowId,
    above: u64,
    count: u32,
) -> Result<Vec<u64>, DatabaseError> {
    let question =
        "SELECT issue_rank FROM discarded_coupon WHERE campaign_id = ? AND issue_rank > ? ORDER BY issue_rank LIMIT ?";
    Ok(sqlx::query_scalar(question).bind(id.0).bind(above).bind(count).fetch_all(pool).await?)
}

/// Grants of ranks above `above` that are given up, lowest rank first, at most `count`. The issued count is not stored; the rank
/// stands in.
///
/// # Errors
/// The database failed.
pub async fn discarded(
    pool: &MySqlPool,
    campaign: &CampaignId,
    id: CampaignRowId,
    above: u64,
    count: u32,
) -> Result<Vec<CouponIssued>, DatabaseError> {
    let mut query = select(id);
    query.push(" AND issue_rank > ").push_bind(above).push(" ORDER BY issue_rank LIMIT ").push_bind(count);
    let rows: Vec<CouponColumns> = query.build_query_as().fetch_all(pool).await?;
    rows.into_iter().map(|columns| coupon(campaign, columns)).collect()
}

/// Those of these grants that are given up, also where their users were forgotten since.
///
/// # Errors
/// The database failed.
pub async fn discarded_among(
    pool: &MySqlPool,
    campaign: &CampaignId,
    id: CampaignRowId,
    grants: &[&CouponIssued],
) -> Result<Vec<CouponIssued>, DatabaseError> {
    let mut found = Vec::new();
    for chunk in grants.chunks(MAX_RANKS) {
        let mut query = select(id);
        query.push(" AND issue_rank IN (");
        let mut ranks = query.separated(", ");
        for grant in chunk {
            ranks.push_bind(grant.rank);
        }
        query.push(")");
        let rows: Vec<CouponColumns> = query.build_query_as().fetch_all(pool).await?;
        if rows.is_empty() {
            continue;
        }
        let pseudonyms = pseudonyms(pool, id, chunk.iter().map(|grant| grant.rank)).await?;
        for columns in rows {
            let row = coupon(campaign, columns)?;
            let is_meant = |grant: &&&CouponIssued| {
                let mut named = (**grant).clone();
                pseudonyms.rename(&mut named);
                row.same_grant(&named)
            };
            found.extend(chunk.iter().find(is_meant).map(|grant| (*grant).clone()));
        }
    }
    Ok(found)
}

fn select(id: CampaignRowId) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COUPON_COLUMNS).push(" FROM discarded_coupon WHERE campaign_id = ").push_bind(id.0);
    query
}
