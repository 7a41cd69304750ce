//! The campaign's row: identity, total, epochs, and what is fixed once a window has opened.

use std::collections::BTreeMap;

use coupon_core::event::{CouponIssued, MAX_NUMBER, is_believable};
use coupon_core::identity::{CampaignId, RequestKey, UserId};
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{MySql, QueryBuilder};

use super::barriers::refuse_ahead;
use super::error::DatabaseError;
use super::row::{ANNOUNCED, COLUMNS, CampaignRow, CampaignRowId};

/// Most ranks of one question.
pub(super) const MAX_RANKS: usize = 5_000;

/// The campaign's row, if there is one.
pub async fn find(pool: &MySqlPool, campaign: &CampaignId) -> Result<Option<CampaignRow>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM campaign WHERE realm = ? AND namespace = ? AND coupon_id = ?");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(campaign.realm().as_bytes())
        .bind(campaign.namespace().as_bytes())
        .bind(campaign.coupon_id().as_bytes())
        .fetch_optional(pool)
        .await?)
}

/// Makes sure that the campaign has a row, and returns it. A new one is nobody's; an existing one is left as it is.
pub async fn register(pool: &MySqlPool, campaign: &CampaignId, total: u64) -> Result<CampaignRow, DatabaseError> {
    register_in(pool, campaign, total, None).await
}

/// The same; a new row belongs to this cluster from the beginning.
pub async fn register_in(
    pool: &MySqlPool,
    campaign: &CampaignId,
    total: u64,
    cluster: Option<&str>,
) -> Result<CampaignRow, DatabaseError> {
    sqlx::query(
        "INSERT INTO campaign (realm, namespace, coupon_id, total_quantity, owner_cluster) VALUES (?, ?, ?, ?, ?) \
         ON DUPLICATE KEY UPDATE id = id",
    )
    .bind(campaign.realm().as_bytes())
    .bind(campaign.namespace().as_bytes())
    .bind(campaign.coupon_id().as_bytes())
    .bind(total)
    .bind(cluster.map(str::as_bytes))
    .execute(pool)
    .await?;
    find(pool, campaign).await?.ok_or_else(|| DatabaseError::NoCampaign(campaign.to_string()))
}

/// Records that the campaign's topic is about to be created. Only so can ours be told from somebody else's afterwards.
///
/// # Errors
/// The database failed.
pub async fn announce_topic(pool: &MySqlPool, id: CampaignRowId, cluster_id: &str) -> Result<(), DatabaseError> {
    set_topic(pool, id, ANNOUNCED, cluster_id).await
}

/// Records the id of the topic that is the campaign's.
pub async fn set_topic(
    pool: &MySqlPool,
    id: CampaignRowId,
    topic_id: &str,
    cluster_id: &str,
) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE campaign SET topic_id = ?, kafka_cluster_id = ? WHERE id = ?")
        .bind(topic_id.as_bytes())
        .bind(cluster_id.as_bytes())
        .bind(id.0)
        .execute(pool)
        .await?;
    Ok(())
}

/// Records how many coupons are issued; waits for whoever stores winners.
pub async fn set_issued_count(pool: &MySqlPool, id: CampaignRowId, issued: u64) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE campaign SET issued_count = ? WHERE id = ?").bind(issued).bind(id.0).execute(pool).await?;
    Ok(())
}

/// The same, unless somebody holds the row: whoever stores winners does, for as long as that takes, and behind a slow database
/// the figure would hold up its caller for seconds. Whether it was recorded; if not, it is next time.
pub async fn try_set_issued_count(pool: &MySqlPool, id: CampaignRowId, issued: u64) -> Result<bool, DatabaseError> {
    let mut tx = pool.begin().await?;
    let free = sqlx::query("SELECT 1 FROM campaign WHERE id = ? FOR UPDATE SKIP LOCKED").bind(id.0);
    let is_free = free.fetch_optional(&mut *tx).await?.is_some();
    if is_free {
        sqlx::query("UPDATE campaign SET issued_count = ? WHERE id = ?")
            .bind(issued)
            .bind(id.0)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(is_free)
}

/// Allots the next epoch, above all that SQL knows and above `known`, and closes the campaign to issuers. Whoever changes terms
/// meanwhile is overtaken.
pub async fn allot_epoch(pool: &MySqlPool, id: CampaignRowId, known: u64) -> Result<u64, DatabaseError> {
    let mut tx = pool.begin().await?;
    let newest = LedgerNumbers::lock(&mut tx, id).await?;
    let allotted = newest.next(&mut tx, id, known).await?;
    tx.commit().await?;
    Ok(allotted.epoch)
}

/// The same for an epoch that is to bring terms to Redis, which were decided from this `row`. `None`, and nothing is written:
/// somebody has changed terms since, or the ledger came to another cluster (which takes a number of terms as well), or the issuers of
/// the cluster before are not known to have stopped.
pub async fn begin_epoch(
    pool: &MySqlPool,
    row: &CampaignRow,
    known: u64,
) -> Result<Option<LedgerNumbers>, DatabaseError> {
    let mut tx = pool.begin().await?;
    let newest = LedgerNumbers::lock(&mut tx, row.id).await?;
    let (owner, unfenced): (Option<Vec<u8>>, Option<Vec<u8>>) =
        sqlx::query_as("SELECT owner_cluster, unfenced_cluster FROM campaign WHERE id = ?")
            .bind(row.id.0)
            .fetch_one(&mut *tx)
            .await?;
    let is_same_owner = owner.as_deref() == row.custody.owner.as_ref().map(String::as_bytes);
    if (newest.terms, newest.total) != (row.terms_number, row.total) || !is_same_owner || unfenced.is_some() {
        return Ok(None);
    }
    let allotted = newest.next(&mut tx, row.id, known).await?;
    tx.commit().await?;
    Ok(Some(allotted))
}

/// What epochs and changes of terms go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerNumbers {
    /// The newest epoch.
    pub epoch: u64,
    /// The newest change of terms.
    pub terms: u64,
    /// Coupons in all.
    pub total: u64,
}

impl LedgerNumbers {
    async fn lock(connection: &mut MySqlConnection, id: CampaignRowId) -> Result<Self, DatabaseError> {
        let (epoch, terms, total) =
            sqlx::query_as("SELECT epoch, terms_number, total_quantity FROM campaign WHERE id = ? FOR UPDATE")
                .bind(id.0)
                .fetch_one(connection)
                .await?;
        Ok(Self { epoch, terms, total })
    }

    async fn next(
        self,
        connection: &mut MySqlConnection,
        id: CampaignRowId,
        known: u64,
    ) -> Result<Self, DatabaseError> {
        let epoch = after_known("epoch", self.epoch, known)?;
        refuse_ahead(connection, id, epoch - 1).await?;
        let next = Self { epoch, terms: after("terms_number", self.terms)?, total: self.total };
        sqlx::query("UPDATE campaign SET epoch = ?, open_epoch = NULL, terms_number = ? WHERE id = ?")
            .bind(next.epoch)
            .bind(next.terms)
            .bind(id.0)
            .execute(connection)
            .await?;
        Ok(next)
    }
}

/// The next number. Scripts in Redis count in doubles, and records above [`MAX_NUMBER`] are refused.
///
/// # Errors
/// There is none.
fn after(column: &'static str, number: u64) -> Result<u64, DatabaseError> {
    if number < MAX_NUMBER { Ok(number + 1) } else { Err(DatabaseError::NumbersUsedUp { column, number }) }
}

/// The next number after the one that SQL has and the one that somebody else knows, as far as that is believed: one beyond what SQL can have
/// forgotten was written into Redis or the topic by somebody, and would use up numbers for good.
///
/// # Errors
/// There is none.
pub(super) fn after_known(column: &'static str, number: u64, known: u64) -> Result<u64, DatabaseError> {
    after(column, if is_believable(known, number) { number.max(known) } else { number })
}

/// The outcome of a step that is bound to an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochCommit {
    /// Committed.
    Done,
    /// A newer epoch was allotted meanwhile: somebody else is at work. Nothing was written.
    Superseded,
}

/// Commits where the log ends as the barrier of `epoch`, if that epoch is still the newest.
pub async fn commit_barrier(
    pool: &MySqlPool,
    id: CampaignRowId,
    epoch: u64,
    topic_id: &str,
    ends: &BTreeMap<i32, i64>,
) -> Result<EpochCommit, DatabaseError> {
    let mut tx = pool.begin().await?;
    let newest: u64 =
        sqlx::query_scalar("SELECT epoch FROM campaign WHERE id = ? FOR UPDATE").bind(id.0).fetch_one(&mut *tx).await?;
    if newest != epoch {
        return Ok(EpochCommit::Superseded);
    }
    for (partition, end) in ends {
        sqlx::query(
            "INSERT INTO epoch_barrier (campaign_id, epoch, topic_id, partition_id, end_offset) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(id.0)
        .bind(epoch)
        .bind(topic_id.as_bytes())
        .bind(partition)
        .bind(end)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(EpochCommit::Done)
}

/// How many rows have a rank above `above`, and the highest rank. Counting only the tail keeps this cheap for big campaigns.
pub async fn count_stored(pool: &MySqlPool, id: CampaignRowId, above: u64) -> Result<(u64, u64), DatabaseError> {
    let (count, highest): (i64, Option<u64>) =
        sqlx::query_as("SELECT COUNT(*), MAX(issue_rank) FROM issued_coupon WHERE campaign_id = ? AND issue_rank > ?")
            .bind(id.0)
            .bind(above)
            .fetch_one(pool)
            .await?;
    Ok((count.unsigned_abs(), highest.unwrap_or(above)))
}

/// Ranks of rows from `from` to `up_to`, lowest first, at most `count`.
pub async fn read_ranks(
    pool: &MySqlPool,
    id: CampaignRowId,
    from: u64,
    up_to: u64,
    count: u32,
) -> Result<Vec<u64>, DatabaseError> {
    Ok(sqlx::query_scalar(
        "SELECT issue_rank FROM issued_coupon WHERE campaign_id = ? AND issue_rank BETWEEN ? AND ? \
         ORDER BY issue_rank LIMIT ?",
    )
    .bind(id.0)
    .bind(from)
    .bind(up_to)
    .bind(count)
    .fetch_all(pool)
    .await?)
}

/// How many of these ranks are rows.
pub async fn count_rows_of(
    pool: &MySqlPool,
    id: CampaignRowId,
    ranks: impl IntoIterator<Item = u64>,
) -> Result<u64, DatabaseError> {
    let (mut ranks, mut sum) = (ranks.into_iter(), 0);
    loop {
        let chunk: Vec<u64> = ranks.by_ref().take(MAX_RANKS).collect();
        if chunk.is_empty() {
            return Ok(sum);
        }
        let mut query = QueryBuilder::<MySql>::new("SELECT COUNT(*) FROM issued_coupon WHERE campaign_id = ");
        query.push_bind(id.0).push(" AND issue_rank IN (");
        let mut list = query.separated(", ");
        for rank in chunk {
            list.push_bind(rank);
        }
        query.push(")");
        let count: i64 = query.build_query_scalar().fetch_one(pool).await?;
        sum += count.unsigned_abs();
    }
}

/// What [`coupon`] reads, in this order.
pub(super) const COUPON_COLUMNS: &str = "issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms";

pub(super) type CouponColumns = (u64, Vec<u8>, u32, Vec<u8>, u64, i64);

pub(super) fn coupon(campaign: &CampaignId, columns: CouponColumns) -> Result<CouponIssued, DatabaseError> {
    let (rank, user, n, key, epoch, occurred_at_ms) = columns;
    let decode = |e: Box<dyn std::error::Error + Send + Sync>| DatabaseError::Sql(sqlx::Error::Decode(e));
    Ok(CouponIssued {
        coupon_id: campaign.coupon_id().to_owned(),
        user_id: UserId::new(String::from_utf8(user).map_err(|e| decode(e.into()))?).map_err(|e| decode(e.into()))?,
        rank,
        issued_count: rank,
        occurred_at: time(occurred_at_ms),
        n,
        epoch,
        request_key: RequestKey::new(String::from_utf8(key).map_err(|e| decode(e.into()))?)
            .map_err(|e| decode(e.into()))?,
    })
}

/// A time in a row. One that is none, which only somebody else can have written, is 1970 or the last one: the rank is somebody's all the same, and a
/// row that could not be read would keep the whole campaign closed.
fn time(ms: i64) -> jiff::Timestamp {
    let instead = if ms < 0 { jiff::Timestamp::UNIX_EPOCH } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_millisecond(ms).unwrap_or(instead)
}

/// Stored winners with ranks above `above`, lowest first, at most `count`. The issued count is not stored; the rank stands in.
pub async fn read_rows(
    pool: &MySqlPool,
    campaign: &CampaignId,
    id: CampaignRowId,
    above: u64,
    count: u32,
) -> Result<Vec<CouponIssued>, DatabaseError> {
    let rows: Vec<CouponColumns> = sqlx::query_as(
        "SELECT issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms FROM issued_coupon \
         WHERE campaign_id = ? AND issue_rank > ? ORDER BY issue_rank LIMIT ?",
    )
    .bind(id.0)
    .bind(above)
    .bind(count)
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|columns| coupon(campaign, columns)).collect()
}

/// Stored coupons of one user, lowest n first.
pub async fn held_by(
    pool: &MySqlPool,
    campaign: &CampaignId,
    id: CampaignRowId,
    user: &UserId,
) -> Result<Vec<CouponIssued>, DatabaseError> {
    let rows: Vec<CouponColumns> = sqlx::query_as(
        "SELECT issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms FROM issued_coupon \
         WHERE campaign_id = ? AND user_id = ? ORDER BY user_nth",
    )
    .bind(id.0)
    .bind(user.as_str().as_bytes())
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|columns| coupon(campaign, columns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: one row with a time that is none keeps its campaign closed.
    #[test]
    fn every_time_in_a_row_is_some_time() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_796_086_800_123, "2026-12-01T01:00:00.123Z"),
            (i64::MAX, "9999-12-30T22:00:00.999999999Z"),
            (i64::MIN, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(time(ms).to_string(), expected, "{ms}");
        }
    }
}
