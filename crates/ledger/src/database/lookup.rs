//! Finds the rows that stand where some winners would.

use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use sqlx::mysql::MySqlPool;
use sqlx::{MySql, QueryBuilder};

use super::campaign::{COUPON_COLUMNS, CouponColumns, coupon};
use super::error::DatabaseError;
use super::row::CampaignRowId;

/// Winners in one statement; each takes three placeholders.
const CHUNK: usize = 1_000;

/// All rows that hold the rank, or the user's n-th place, of one of these winners, in no particular order. For each
/// winner there are at most two.
pub async fn rows_in_the_way(
    pool: &MySqlPool,
    campaign: &CampaignId,
    id: CampaignRowId,
    winners: &[&CouponIssued],
) -> Result<Vec<CouponIssued>, DatabaseError> {
    let mut found = Vec::new();
    for chunk in winners.chunks(CHUNK) {
        // Two statements, so that each walks its own unique key.
        let mut by_rank = select(id);
        by_rank.push("issue_rank IN (");
        let mut ranks = by_rank.separated(", ");
        for winner in chunk {
            ranks.push_bind(winner.rank);
        }
        by_rank.push(")");
        let mut by_place = select(id);
        by_place.push("(user_id, user_nth) IN (");
        let mut places = by_place.separated(", ");
        for winner in chunk {
            places.push("(").push_bind_unseparated(winner.user_id.as_str().as_bytes());
            places.push_unseparated(", ").push_bind_unseparated(winner.n).push_unseparated(")");
        }
        by_place.push(")");
        for mut query in [by_rank, by_place] {
            let rows: Vec<CouponColumns> = query.build_query_as().fetch_all(pool).await?;
            for columns in rows {
                found.push(coupon(campaign, columns)?);
            }
        }
    }
    Ok(found)
}

/// Which of these winners are committed rows of the campaign, each with this very rank, user and place. The campaign is found by its name in
/// the same statement, as whoever asks may remember the number of its row from a database that was put back since. At most [`CHUNK`].
///
/// # Errors
/// The database failed.
pub async fn are_rows(
    pool: &MySqlPool,
    campaign: &CampaignId,
    winners: &[CouponIssued],
) -> Result<Vec<bool>, DatabaseError> {
    let winners = &winners[..winners.len().min(CHUNK)];
    if winners.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<MySql>::new(
        "SELECT c.issue_rank, c.user_id, c.user_nth FROM campaign k JOIN issued_coupon c ON c.campaign_id = k.id WHERE k.realm = ",
    );
    query.push_bind(campaign.realm().as_bytes()).push(" AND k.namespace = ");
    query.push_bind(campaign.namespace().as_bytes()).push(" AND k.coupon_id = ");
    query.push_bind(campaign.coupon_id().as_bytes()).push(" AND c.issue_rank IN (");
    let mut ranks = query.separated(", ");
    for winner in winners {
        ranks.push_bind(winner.rank);
    }
    query.push(")");
    let rows: Vec<(u64, Vec<u8>, u32)> = query.build_query_as().fetch_all(pool).await?;
    let is_row = |winner: &CouponIssued| {
        let user = winner.user_id.as_str().as_bytes();
        rows.iter().any(|(rank, of, n)| (*rank, of.as_slice(), *n) == (winner.rank, user, winner.n))
    };
    Ok(winners.iter().map(is_row).collect())
}

fn select(id: CampaignRowId) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COUPON_COLUMNS).push(" FROM issued_coupon WHERE campaign_id = ").push_bind(id.0).push(" AND ");
    query
}
