//! A repair of many winners: how much memory, how long, and how long Redis is held up. A process of its own, since it measures
//! itself. Needs a stack; `COUPON_REPAIR_WINNERS` sets the size.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coupon_ledger::redis::RedisKeys;
use coupon_testing::{process, rows};
use operator::ledger::epoch::{self, Opened, Remembered};
use redis::AsyncCommands;
use sqlx::AssertSqlSafe;

use common::no_pods::no_issuers;
use common::stage::{Stage, terms};

/// By default. A ledger of so many in memory takes 150 MB.
const WINNERS: u64 = 200_000;
const MIB: u64 = 1024 * 1024;
/// A repair may take so much memory, whatever its size, and two bits for each coupon.
const MAX_GROWTH_MIB: u64 = 40;
/// Nobody may be kept waiting longer for one command of a repair.
const MAX_REDIS_MS: u64 = 50;
/// A repair that held Redis up for longer is done so often in all.
const REPAIRS: usize = 3;
/// For each million, by a build without optimization on a machine that is busy.
const MAX_PER_MILLION: Duration = Duration::from_secs(120);
/// As long as a UUID.
const USER: &str = "00000000-0000-4000-8000-";

async fn store_rows(stage: &Stage, winners: u64) {
    for statement in rows::statements(stage.row.0, 1..=winners, USER) {
        sqlx::query(AssertSqlSafe(statement)).execute(&stage.systems.sql).await.unwrap();
    }
}

/// The longest command. Pages are of one size: what one of many took longer than all others, the machine took and not the page.
fn longest_micros(slow: &[Vec<redis::Value>]) -> u64 {
    let mut kinds: BTreeMap<Vec<String>, Vec<u64>> = BTreeMap::new();
    for entry in slow {
        let micros = redis::from_redis_value(entry[2].clone()).unwrap();
        let words: Vec<Vec<u8>> = redis::from_redis_value(entry[3].clone()).unwrap();
        // The command; of a script also its hash.
        let words = words.iter().map(|word| String::from_utf8_lossy(word).into_owned());
        let kind = words.take(2).filter(|word| !word.contains('{')).collect();
        kinds.entry(kind).or_default().push(micros);
    }
    let of_kind = |micros: &mut Vec<u64>| {
        micros.sort_unstable_by(|a, b| b.cmp(a));
        if micros.len() > 2 { micros[1] } else { micros[0] }
    };
    kinds.values_mut().map(of_kind).max().unwrap_or(0)
}

/// Repairs, prints a line, judges all but Redis and returns for how many milliseconds Redis was held up by one command.
async fn repair(stage: &Stage, winners: u64, mode: &str) -> (Opened, u64) {
    let mut redis = stage.systems.redis().await.unwrap();
    for command in [&["CONFIG", "SET", "slowlog-log-slower-than", "2000"][..], &["SLOWLOG", "RESET"]] {
        let () = redis::cmd(command[0]).arg(&command[1..]).query_async(&mut redis).await.unwrap();
    }
    let own = std::process::id();
    process::forget_peak(own).unwrap();
    let (before, started) = (process::resident(own).unwrap() / MIB, Instant::now());
    let row = stage.row().await;
    let opened = epoch::open(
        &stage.systems,
        &no_issuers(),
        &stage.campaign,
        &row,
        &terms(winners),
        Remembered::default(),
        || {},
    )
    .await
    .unwrap();
    let (seconds, peak) = (started.elapsed(), process::peak(own).unwrap() / MIB);
    let slow: Vec<Vec<redis::Value>> = redis::cmd("SLOWLOG").arg("GET").arg(-1).query_async(&mut redis).await.unwrap();
    let redis_ms = longest_micros(&slow).div_ceil(1000);
    println!(
        "repair: winners={winners} mode={mode} seconds={:.1} peak_rss_mib={peak} redis_longest_ms={redis_ms}",
        seconds.as_secs_f64()
    );
    if redis_ms >= MAX_REDIS_MS {
        println!("slow commands: {slow:?}");
    }
    assert_eq!((opened.winners, opened.free), (winners, 0), "{mode}");
    let growth = peak.saturating_sub(before);
    assert!(growth <= MAX_GROWTH_MIB + winners / 4_000_000, "{mode}: grew by {growth} MiB");
    assert!(seconds < MAX_PER_MILLION.mul_f64((winners as f64 / 1e6).max(1.0)), "{mode}: {seconds:?}");
    (opened, redis_ms)
}

/// One coupon is missing in Redis: all is written afresh, and takes the place of what is there.
async fn refill(stage: &Stage, winners: u64) -> u64 {
    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), RedisKeys::of(&stage.campaign));
    let missing = format!("1:{USER}{:012}", winners / 2);
    assert_eq!(redis.zrem::<_, _, u64>(&keys.issued, missing).await.unwrap(), 1);
    let (opened, redis_ms) = repair(stage, winners, "refill").await;
    assert!(!opened.rebound);
    redis_ms
}

/// Wrong: a repair keeps the ledger in memory and the operator is killed for it, or Redis answers nobody while it frees old keys.
/// The least of three counts for Redis: what a command needs it needs each time, and what a busy machine took from it, it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_of_many_winners_takes_little() {
    let winners = std::env::var("COUPON_REPAIR_WINNERS").map_or(WINNERS, |text| text.parse().unwrap());
    let stage = Stage::new().await;
    store_rows(&stage, winners).await;
    let (filled, fill_ms) = repair(&stage, winners, "fill").await;
    assert!(!filled.rebound);
    let mut times = BTreeMap::from([("fill", vec![fill_ms]), ("bind", Vec::new()), ("refill", Vec::new())]);
    for _ in 0..REPAIRS {
        let (bound, bind_ms) = repair(&stage, winners, "bind").await;
        assert!(bound.rebound);
        times.entry("bind").or_default().push(bind_ms);
        times.entry("refill").or_default().push(refill(&stage, winners).await);
        if times.values().all(|times| times.iter().any(|&ms| ms < MAX_REDIS_MS)) {
            break;
        }
        // A fill is the first half of a refill, and can be had again only with nothing in Redis.
        remove_keys(&stage).await;
        let (filled, fill_ms) = repair(&stage, winners, "fill").await;
        assert!(!filled.rebound);
        times.entry("fill").or_default().push(fill_ms);
    }
    for (mode, times) in times {
        assert!(times.iter().any(|&ms| ms < MAX_REDIS_MS), "{mode}: Redis was held up for {times:?} ms");
    }
    remove_keys(&stage).await;
}

async fn remove_keys(stage: &Stage) {
    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), RedisKeys::of(&stage.campaign));
    let () = redis.unlink(&[&keys.meta, &keys.issued, &keys.count, &keys.request, &keys.free]).await.unwrap();
}
