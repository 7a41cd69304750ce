//! Redis' primary is killed while its replica lags behind: what the promoted replica lacks is read back from the ledger.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stack::control::Action;

use super::figures::{codes, failed, p99_ms, waits};
use super::report::{Report, seconds, whole_ms};
use super::scenario::{Scenario, TestCase, play};
use crate::chaos::load::time_to_issue_again;
use crate::chaos::test_bed::{TestBed, millis};
use crate::redis_cli::redis;
use crate::wait::until;

/// Coupons.
const COUPONS: u64 = 20_000;
/// Winners before the replica is cut off, and those that it must lack when the primary dies.
const BEFORE: usize = 7_000;
const LACKING: usize = 3_000;
/// Fewer than that would not be a lost history.
const WORTH_IT: usize = 300;
/// The claim: from the promotion until somebody hears a new rank.
const AGAIN: Duration = Duration::from_secs(5);
/// How long each step may take.
const STEP: Duration = Duration::from_secs(120);

struct Failover {
    lacked: usize,
    killed_ms: u64,
    /// The replica calls itself primary.
    promoted_ms: u64,
    /// Sentinels name it (`+switch-master`).
    named_ms: u64,
}

/// 20,000 coupons, the primary killed in the middle.
pub async fn failover(bed: &TestBed, evidence: &Path) -> Result<Report> {
    ensure!(bed.topology.sentinel, "this needs a stack with Sentinels: make outages REDIS=sentinel");
    let scenario = Scenario {
        name: "redis-failover".to_owned(),
        coupons: COUPONS,
        users: 22_000,
        stretch: Duration::from_secs(44),
        issuers: 2,
    };
    let played = play(bed, &scenario, evidence, act).await?;
    let Failover { lacked, killed_ms, promoted_ms, named_ms } = played.acted;
    let (answers, mut report) = (&played.answers, played.report);
    let again_ms = time_to_issue_again(answers, promoted_ms).map(millis);
    let waits = waits(answers);
    report.figure("replica_lacked", lacked);
    report.figure("kill_to_promotion", seconds(Some(promoted_ms - killed_ms)));
    report.figure("promotion_to_switch", seconds(Some(named_ms.saturating_sub(promoted_ms))));
    report.figure("promotion_to_new_rank", seconds(again_ms));
    report.figure("kill_to_new_rank", seconds(again_ms.map(|again| promoted_ms + again - killed_ms)));
    report.figure("p99", whole_ms(p99_ms(&waits, &(0..u64::MAX))));
    report.figure("codes", codes(answers));
    report.figure("failed", failed(answers));
    report.claim(lacked >= WORTH_IT, format!("the replica lacked only {lacked} winners"));
    report.claim(
        again_ms.is_some_and(|ms| ms <= millis(AGAIN)),
        format!("the first new rank came {} after the promotion", seconds(again_ms)),
    );
    Ok(report)
}

async fn act(case: &TestCase<'_>) -> Result<Failover> {
    let injector = case.injector;
    let primary = injector.primary().await?;
    let (primary_url, primary_part) = (injector.redis_url(&primary)?, injector.redis_part(&primary)?);
    let replica = injector.replica(&primary_url).await?;
    let replica_url = injector.redis_url(&replica)?;
    let key = coupon_ledger::redis::RedisKeys::of(&case.open.campaign).issued;
    let winners = async |url: &str| -> Result<usize> { Ok(redis(url, &["ZCARD", &key]).await?.trim().parse()?) };

    until("half of the sale", STEP, async || match winners(&primary_url).await {
        Ok(count) if count >= BEFORE => Ok(()),
        seen => Err(format!("{seen:?} winners")),
    })
    .await?;
    // Where nobody listens. Data on its way to a frozen replica would still arrive after the primary's death; and Sentinels
    // would lead it back only after their failover timeout of 10 s.
    let host = replica.split(':').next().context("the replica has no host")?;
    redis(&replica_url, &["REPLICAOF", host, "1"]).await?;
    let has = winners(&replica_url).await?;
    case.say(&format!("the replica {replica} is cut off with {has} winners"));
    until("the replica lags behind", STEP, async || match winners(&primary_url).await {
        Ok(count) if count >= has + LACKING => Ok(()),
        seen => Err(format!("{seen:?} winners, and the replica has {has}")),
    })
    .await?;
    let had = winners(&primary_url).await?;
    injector.act(&primary_part, Action::Kill).await?;
    let killed_ms = case.now_ms();
    case.say(&format!("the primary is killed with at least {had} winners"));

    until("the promotion", STEP, async || match redis(&replica_url, &["ROLE"]).await {
        Ok(role) if role.starts_with("master") => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await?;
    let promoted_ms = case.now_ms();
    // Read at once: as soon as the operator has filled it, it lacks nothing.
    let promoted_with = winners(&replica_url).await?;
    case.say(&format!("the replica is primary, with {promoted_with} winners"));
    until("the Sentinels' new primary", STEP, async || match injector.primary().await {
        Ok(now) if now == replica => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await?;
    let named_ms = case.now_ms();
    case.say("the Sentinels name it");
    Ok(Failover { lacked: had.saturating_sub(promoted_with), killed_ms, promoted_ms, named_ms })
}
