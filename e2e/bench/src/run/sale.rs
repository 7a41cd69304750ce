//! A sale from the first request to the last row.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use coupon_core::contract::Acknowledge;

use super::answering::heard;
use super::asking::{Asking, Users};
use super::campaign::Campaign;
use super::drain::drained;
use super::figures::{COUPONS, LAST_ROW, Round, SELL_OUT};
use super::meter::{Meter, Part};
use super::programs::Program;
use super::stage::Stage;

/// Connections of those who ask.
const CONNECTIONS: u64 = 256;
/// Longest time of a sale, in seconds: as if 2,000 were sold in one.
const SLOWEST: f64 = 2_000.0;

/// Sells all coupons of a campaign, and waits until all are rows.
///
/// # Errors
/// Something failed, so that nothing was measured.
pub(crate) async fn run(stage: &Stage, name: &str) -> Result<Round> {
    let total = stage.sizes.sale;
    stage.empty_table().await?;
    let campaign = Campaign::open(stage, name, total).await?;
    let consumer = Program::consumer(stage, &campaign)?;
    consumer.ready(stage).await?;
    let issuer = Program::issuer(stage, &campaign, Acknowledge::Durable).await?;
    let mut users = Users::of(issuer.users()?, campaign.id.coupon_id(), total, &stage.scratch);
    let parts = [(Part::Server, issuer.pid()), (Part::Consumer, consumer.pid())];
    let meter = Meter::begin(stage.pids()?, &parts)?;
    let report = users.ask(CONNECTIONS, Asking::UntilSoldOut { seconds: 60.0 + total as f64 / SLOWEST })?;
    let mut figures = heard(&report);
    let records = campaign.records(stage).await?;
    let drained = drained(stage, &consumer, records, Duration::from_secs(60 + total / 2_000)).await?;
    meter.end(report.answered, &mut figures)?;
    // Another process knows the last rank: times of two are compared by the clock.
    let last_row = now_us().saturating_sub(micros(drained.end().elapsed()));
    let after = last_row.saturating_sub(report.last_rank_unix_us);
    figures.extend([(COUPONS, total as f64), (SELL_OUT, report.last_rank_s), (LAST_ROW, after as f64 / 1e6)]);
    drop((issuer, consumer));
    let issued = campaign.issued(stage).await?;
    let mut wrong = users.faults(Some(issued));
    wrong.extend((issued != total).then(|| format!("{issued} of {total} coupons are sold")));
    wrong.extend(campaign.stored_faults(stage, total).await?);
    campaign.remove(stage).await?;
    stage.empty_table().await?;
    Ok(Round { figures, wrong })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}
