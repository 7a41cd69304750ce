//! A defence of the operator is left out, in a story that it is there for. The claim is that the checker sees something lost;
//! and that the same story is good with the defence.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use coupon_core::failpoints::{CrashPoint, Safeguard};
use tokio::time::sleep;

use super::fault_injector::{CRASH_AT, FaultInjector, WITHOUT, flush, orphans, until_rows};
use super::report::Report;
use crate::chaos::REALM;
use crate::chaos::checker::{Breach, Violation, check, count};
use crate::chaos::fault::{Link, Role, Service, Trouble};
use crate::chaos::load::LoadGenerator;
use crate::chaos::test_bed::{OpenSale, TestBed};
use crate::database::open_epoch;
use crate::wait::until;

const REQUEST: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_secs(60);
/// How long an issuer is cut off at most, from its first winner on: a record is given up after 5 s.
const CUT_OFF: Duration = Duration::from_millis(4_200);
/// People whose winners are on their way when the epoch changes. All of them are served at once.
const UNDER_WAY: usize = 50;
/// Three looks of the repair loop, which takes 12 s and some passes for one.
const LOOKS: Duration = Duration::from_secs(50);

/// The story of a defence, without it and with it.
pub async fn left_out(bed: &TestBed, defence: Safeguard) -> Result<Report> {
    let operator = FaultInjector::operator(&bed.kubernetes);
    operator.set(WITHOUT, Some(&defence.to_string())).await?;
    let told = match defence {
        Safeguard::Fence => fence(bed, &operator).await,
        Safeguard::RepairLoop => repair_loop(bed, &operator, By::IssuerKilled, LOOKS).await,
        other => {
            operator.mend().await?;
            anyhow::bail!("{other} is no defence of the operator")
        }
    };
    operator.mend().await.context("the operator could not be mended")?;
    let (without, with) = told?;
    let mut report = Report::new(&format!("without-{defence}"));
    let of = |violations: &[Violation]| {
        [Breach::Lost, Breach::Oversold, Breach::Short].map(|breach| count(violations, breach))
    };
    let [lost, oversold, short] = of(&without);
    report.figure("lost", lost);
    report.figure("oversold", oversold);
    report.figure("short", short);
    report.figure("violations_with_it", with.len());
    for each in without.iter().take(3) {
        println!("  without it: {}: {}", each.breach, each.detail);
    }
    for each in with.iter().take(3) {
        println!("  with it: {}: {}", each.breach, each.detail);
    }
    // What the story of this defence must end in.
    let seen = if defence == Safeguard::Fence { lost } else { short };
    report.claim(seen > 0, "leaving it out was not seen");
    report.claim(with.is_empty(), "the same story is not good with the defence");
    Ok(report)
}

type BothRuns = (Vec<Violation>, Vec<Violation>);

/// An issuer holds winners of the old epoch whose records reach Kafka only after the barrier of the new one.
async fn fence(bed: &TestBed, operator: &FaultInjector) -> Result<BothRuns> {
    println!("without the fence: nobody waits for the issuer");
    let without = late_records(bed).await?;
    println!("with the fence");
    operator.mend().await?;
    let with = late_records(bed).await?;
    Ok((without, with))
}

async fn late_records(bed: &TestBed) -> Result<Vec<Violation>> {
    const COUPONS: u64 = 600;
    const BEFORE: usize = 200;
    let name = format!("fence-{:x}", jiff::Timestamp::now().as_millisecond());
    let open = bed.open(&name, COUPONS, 1).await?;
    let injector = bed.injector(&open);
    let begin = Instant::now();
    let load = LoadGenerator::new(open.issuer(REQUEST)?, begin);
    let names = |prefix: &str, count: usize| (0..count).map(|n| format!("{prefix}-{n:05}")).collect::<Vec<_>>();
    load.arrive(names("early", BEFORE), begin, Duration::from_secs(1), begin + PATIENCE).await;
    until_rows(bed, &open, BEFORE, STEP).await?;

    // Neither Kafka nor SQL hears of the issuer's next winners; what it has sent arrives later.
    let pods = injector.addresses(Role::Issuer).await?;
    let silent = [Service::Kafka, Service::Database].map(|service| {
        bed.links.begin(Link::Inner(Role::Issuer, service), Trouble::Silence, &open.users, pods.clone())
    });
    let now = Instant::now();
    let asking = load.arrive(names("held", UNDER_WAY), now, Duration::ZERO, now + PATIENCE);
    let changing = async {
        let before = epoch(bed, &open).await?;
        until("ranks for those under way", STEP, async || {
            let sources = bed.sources(&open).await.map_err(|e| format!("{e:#}"))?;
            match sources.members(&open.campaign).await {
                Ok(found) if found.len() == BEFORE + UNDER_WAY => Ok(()),
                other => Err(format!("{:?} winners", other.map(|found| found.len()))),
            }
        })
        .await?;
        flush(bed, &open).await?;
        // Whoever waits for the issuer opens nothing meanwhile.
        let opened = until("the next epoch", CUT_OFF.saturating_sub(now.elapsed()), async || {
            match epoch(bed, &open).await.map_err(|e| format!("{e:#}"))? {
                found if found > before => Ok(found),
                found => Err(format!("epoch {found:?}")),
            }
        })
        .await;
        println!(
            "  {}",
            match &opened {
                Ok(epoch) => format!("epoch {epoch:?} was opened while the records of the issuer were on their way"),
                Err(_) => "no epoch was opened while the records of the issuer were on their way".to_owned(),
            }
        );
        for running in silent {
            running.end();
        }
        Ok::<_, anyhow::Error>(())
    };
    let (changed, ()) = tokio::join!(changing, asking);
    changed?;
    let told = load.answers().iter().filter(|each| each.user.starts_with("held") && each.rank.is_some()).count();
    println!("  {told} of them heard a rank");
    let now = Instant::now();
    load.arrive(names("later", usize::try_from(COUPONS)?), now, Duration::from_secs(3), now + PATIENCE).await;
    bed.settle(&open, &load, COUPONS, Duration::from_secs(30)).await?;
    let violations = check(COUPONS, &load.answers(), &bed.ledger(&open).await?);
    bed.close(open).await?;
    Ok(violations)
}

async fn epoch(bed: &TestBed, open: &OpenSale) -> Result<Option<u64>> {
    open_epoch(&bed.sources.pool, REALM, &bed.namespace, &open.sale.name).await
}

/// How winners come to be in Redis only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// An issuer dies at `after-script`, and its users never ask again.
    IssuerKilled,
    /// The same call to Redis, made by the test: takes no new pods.
    Call,
}

/// Winners that only Redis holds, while nobody looks for them (for `looks`), and then while somebody does.
pub async fn repair_loop(bed: &TestBed, operator: &FaultInjector, by: By, looks: Duration) -> Result<BothRuns> {
    const COUPONS: u64 = 300;
    let name = format!("loop-{:x}", jiff::Timestamp::now().as_millisecond());
    let open = bed.open(&name, COUPONS, 1).await?;
    let begin = Instant::now();
    let load = LoadGenerator::new(open.issuer(REQUEST)?, begin);
    load.rush(100, Duration::from_secs(1), begin + PATIENCE).await;
    match by {
        By::Call => orphans(bed, &open, 20).await?,
        By::IssuerKilled => {
            let issuers = FaultInjector::issuers(bed, &open);
            issuers.set(CRASH_AT, Some(&CrashPoint::AfterScript.to_string())).await?;
            // Their first answer is silence, and they leave.
            let leaving = (0..UNDER_WAY).map(|number| {
                let load = load.clone();
                async move { load.ask_once(&format!("leaving-{number:03}")).await }
            });
            futures::future::join_all(leaving).await;
            issuers.died_at(CrashPoint::AfterScript).await?;
            issuers.set(CRASH_AT, None).await?;
        }
    }
    let now = Instant::now();
    let names = (0..usize::try_from(COUPONS)?).map(|number| format!("later-{number:05}")).collect();
    load.arrive(names, now, Duration::from_secs(2), now + PATIENCE).await;
    let orphaned = bed.sources(&open).await?.members(&open.campaign).await?.len();
    ensure!(orphaned as u64 == COUPONS, "{orphaned} winners in Redis, which should be sold out");
    println!("sold out in Redis; looking for {} s whether the rest become rows by themselves", looks.as_secs());
    let deadline = Instant::now() + looks;
    let wanted = usize::try_from(COUPONS)?;
    while Instant::now() < deadline && bed.sources.rows(&open.campaign).await?.len() < wanted {
        sleep(Duration::from_millis(500)).await;
    }
    let without = check(COUPONS, &load.answers(), &bed.ledger(&open).await?);
    println!("{} rows; with the repair loop", bed.sources.rows(&open.campaign).await?.len());
    operator.set(WITHOUT, None).await?;
    until_rows(bed, &open, wanted, STEP).await?;
    let with = check(COUPONS, &load.answers(), &bed.ledger(&open).await?);
    bed.close(open).await?;
    Ok((without, with))
}
