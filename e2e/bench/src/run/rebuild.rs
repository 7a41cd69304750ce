//! Redis is filled from the rows, as after it lost everything.

use std::time::Instant;

use anyhow::Result;
use coupon_testing::rows;
use sqlx::AssertSqlSafe;

use super::campaign::Campaign;
use super::figures::{BYTES, COUPONS, Figures, REBUILD, Round};
use super::meter::{Meter, Part};
use super::stage::Stage;

/// Opens an epoch of a campaign that has rows, and nothing in Redis.
///
/// # Errors
/// Something failed, so that nothing was measured.
pub(crate) async fn run(stage: &Stage, name: &str) -> Result<Round> {
    let winners = stage.sizes.rebuild;
    stage.empty_table().await?;
    let campaign = Campaign::closed(stage, name, winners).await?;
    store_rows(stage, &campaign, winners).await?;
    let memory = stage.redis_memory().await?;
    let (meter, begin) = (Meter::begin(stage.pids()?, &[(Part::Client, std::process::id())])?, Instant::now());
    let opened = campaign.open_epoch(stage).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let each = (stage.redis_memory().await? - memory) / winners as f64;
    let mut figures = Figures::from([(COUPONS, winners as f64), (REBUILD, seconds), (BYTES, each)]);
    meter.end(winners, &mut figures)?;
    let issued = campaign.issued(stage).await?;
    let mut wrong = Vec::new();
    if (opened.winners, opened.free, issued) != (winners, 0, winners) {
        wrong.push(format!("of {winners} winners Redis has {issued}: {opened:?}"));
    }
    campaign.remove(stage).await?;
    stage.empty_table().await?;
    Ok(Round { figures, wrong })
}

/// Users are as long as those of a sale.
async fn store_rows(stage: &Stage, campaign: &Campaign, winners: u64) -> Result<()> {
    for statement in rows::statements(campaign.row.0, 1..=winners, "user") {
        sqlx::query(AssertSqlSafe(statement)).execute(&stage.systems.sql).await?;
    }
    Ok(())
}
