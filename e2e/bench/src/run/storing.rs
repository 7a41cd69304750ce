//! Cases in which winners become rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use coupon_core::contract::KeyBy;
use coupon_core::event::CouponIssued;
use coupon_core::identity::{RequestKey, UserId};
use coupon_ledger::kafka::producer::WinnerProducer;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;

use super::campaign::Campaign;
use super::drain::drained;
use super::figures::{COUPONS, Figures, ROWS, Round};
use super::meter::{Meter, Part};
use super::programs::Program;
use super::stage::Stage;
use crate::load::user_id;

/// Rows of one statement, and of one transaction: a consumer has up to 2,048.
const MANY: usize = 500;
/// Records that wait for their acknowledgement while the topic is filled.
const AT_ONCE: u64 = 20_000;
/// The columns of a row. What is bound follows them in this order.
const COLUMNS: &str = "(campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms)";
const PLACES: &str = "(?, ?, ?, ?, ?, ?, ?)";
/// The epoch of all winners.
const EPOCH: u64 = 1;

/// A consumer drains a topic that is full.
///
/// # Errors
/// Something failed, so that nothing was measured.
pub(crate) async fn consumer(stage: &Stage, name: &str) -> Result<Round> {
    let rows = stage.sizes.rows;
    stage.empty_table().await?;
    let campaign = Campaign::open(stage, name, rows).await?;
    publish(stage, &campaign, rows).await?;
    let consumer = Program::consumer(stage, &campaign)?;
    let meter = Meter::begin(stage.pids()?, &[(Part::Consumer, consumer.pid())])?;
    let drained = drained(stage, &consumer, rows, Duration::from_secs(60 + rows / 2_000)).await?;
    let mut figures = Figures::from([(COUPONS, rows as f64), (ROWS, drained.per_second())]);
    meter.end(rows, &mut figures)?;
    drop(consumer);
    let wrong = campaign.stored_faults(stage, rows).await?;
    campaign.remove(stage).await?;
    stage.empty_table().await?;
    Ok(Round { figures, wrong })
}

/// The same rows, in statements of [`MANY`].
///
/// # Errors
/// As [`consumer`].
pub(crate) async fn many(stage: &Stage, name: &str) -> Result<Round> {
    let rows = stage.sizes.rows;
    let statement = statement(MANY);
    inserting(stage, name, async |connection, campaign| {
        let mut from = 1;
        while from <= rows {
            let to = (from + MANY as u64 - 1).min(rows);
            let text = if to - from + 1 == MANY as u64 {
                Arc::clone(&statement)
            } else {
                self::statement((to - from + 1) as usize)
            };
            insert(connection, campaign, text, from..=to).await?;
            from = to + 1;
        }
        Ok(rows)
    })
    .await
}

/// The same rows, one by one, for some seconds.
///
/// # Errors
/// As [`consumer`].
pub(crate) async fn one_by_one(stage: &Stage, name: &str) -> Result<Round> {
    let statement = statement(1);
    let time = Duration::from_secs_f64(stage.sizes.row_by_row);
    inserting(stage, name, async |connection, campaign| {
        let (begin, mut rows) = (Instant::now(), 0);
        while begin.elapsed() < time && rows < stage.sizes.rows {
            rows += 1;
            insert(connection, campaign, Arc::clone(&statement), rows..=rows).await?;
        }
        Ok(rows)
    })
    .await
}

/// Measures who inserts; answers with how many rows that were.
async fn inserting(
    stage: &Stage,
    name: &str,
    insert: impl AsyncFnOnce(&mut MySqlConnection, &Campaign) -> Result<u64>,
) -> Result<Round> {
    stage.empty_table().await?;
    let campaign = Campaign::closed(stage, name, stage.sizes.rows).await?;
    let mut acquired = stage.systems.sql.acquire().await?;
    let connection: &mut MySqlConnection = &mut acquired;
    let (meter, begin) = (Meter::begin(stage.pids()?, &[(Part::Client, std::process::id())])?, Instant::now());
    let rows = insert(connection, &campaign).await?;
    let per_second = rows as f64 / begin.elapsed().as_secs_f64().max(1e-6);
    let mut figures = Figures::from([(COUPONS, rows as f64), (ROWS, per_second)]);
    meter.end(rows, &mut figures)?;
    drop(acquired);
    let wrong = campaign.stored_faults(stage, rows).await?;
    campaign.remove(stage).await?;
    stage.empty_table().await?;
    Ok(Round { figures, wrong })
}

fn statement(rows: usize) -> Arc<str> {
    format!("INSERT INTO issued_coupon {COLUMNS} VALUES {}", vec![PLACES; rows].join(", ")).into()
}

async fn insert(
    connection: &mut MySqlConnection,
    campaign: &Campaign,
    statement: Arc<str>,
    ranks: std::ops::RangeInclusive<u64>,
) -> Result<()> {
    let mut query = sqlx::query(AssertSqlSafe(statement));
    let now_ms = jiff::Timestamp::now().as_millisecond();
    for rank in ranks {
        query = query.bind(campaign.row.0).bind(rank).bind(user_id(rank).into_bytes()).bind(1_u32);
        query = query.bind(request_key(rank).into_bytes()).bind(EPOCH).bind(now_ms);
    }
    query.execute(connection).await?;
    Ok(())
}

/// As long as those that issuers make.
fn request_key(rank: u64) -> String {
    format!("auto-{rank:032}")
}

/// Writes winners as issuers do.
async fn publish(stage: &Stage, campaign: &Campaign, rows: u64) -> Result<()> {
    let log = WinnerProducer::new(&stage.workload.kafka, &campaign.id, KeyBy::User, "bench")?;
    let mut from = 1;
    while from <= rows {
        let to = (from + AT_ONCE - 1).min(rows);
        let winners = (from..=to).map(|rank| winner(campaign, rank)).collect::<Result<Vec<_>>>()?;
        let records = log.append_all(&winners);
        records.all().await;
        for place in 0..winners.len() {
            records.one(place).await.context("the topic cannot be filled")?;
        }
        from = to + 1;
    }
    Ok(())
}

fn winner(campaign: &Campaign, rank: u64) -> Result<CouponIssued> {
    Ok(CouponIssued {
        coupon_id: campaign.id.coupon_id().to_owned(),
        user_id: UserId::new(user_id(rank))?,
        rank,
        issued_count: rank,
        occurred_at: jiff::Timestamp::now(),
        n: 1,
        epoch: EPOCH,
        request_key: RequestKey::new(request_key(rank))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_a_place_for_each_column_of_each_row() {
        assert_eq!(COLUMNS.split(',').count(), PLACES.split(',').count());
        assert_eq!(statement(3).matches('?').count(), 21);
        assert!(statement(2).ends_with("VALUES (?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?)"));
    }
}
