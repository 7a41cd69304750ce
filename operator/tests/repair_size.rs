//! A repair of many winners: how much memory, how long, and how long Redis is held up. A process of its own, since it measures
//! itself. Needs a stack; `COUPON_REPAIR_WINNERS` sets the size.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the stage has more than this test needs")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use campaign::stock::StockKeys;
use operator::epoch::{self, Opened, Remembered};
use redis::AsyncCommands;
use sqlx::AssertSqlSafe;

#[path = "ledger/api.rs"]
mod api;
#[path = "common/memory.rs"]
mod memory;
#[path = "common/servers.rs"]
mod servers;
#[path = "ledger/stage.rs"]
mod stage;

use api::no_issuers;
use stage::{Stage, terms};

/// By default. A ledger of so many in memory takes 150 MB.
const WINNERS: u64 = 200_000;
/// A repair may take so much memory, whatever its size, and two bits for each coupon.
const MAX_GROWTH_MIB: u64 = 40;
/// Nobody may be kept waiting longer for one command of a repair.
const MAX_REDIS_MS: u64 = 50;
/// For each million, by a build without optimization on a machine that is busy.
const MAX_PER_MILLION: Duration = Duration::from_secs(120);
/// Rows of one statement.
const ROWS: u64 = 100_000;

async fn store_rows(stage: &Stage, winners: u64) {
    for from in (1..=winners).step_by(ROWS as usize) {
        let to = (from + ROWS - 1).min(winners);
        let rows = format!(
            "INSERT INTO issued_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms) \
             SELECT id, seq, CONCAT('00000000-0000-4000-8000-', LPAD(seq, 12, '0')), 1, CONCAT('request-key-', seq), 1, 1 \
             FROM seq_{from}_to_{to}, campaign WHERE coupon_id = '{}'",
            stage.campaign.coupon_id()
        );
        sqlx::query(AssertSqlSafe(rows)).execute(&stage.systems.sql).await.unwrap();
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

/// Repairs, judges and prints a line.
async fn repair(stage: &Stage, winners: u64, mode: &str) -> Opened {
    let mut redis = stage.systems.redis().await.unwrap();
    for command in [&["CONFIG", "SET", "slowlog-log-slower-than", "2000"][..], &["SLOWLOG", "RESET"]] {
        let () = redis::cmd(command[0]).arg(&command[1..]).query_async(&mut redis).await.unwrap();
    }
    memory::forget_peak();
    let (before, started) = (memory::mib("VmRSS"), Instant::now());
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
    let (seconds, peak) = (started.elapsed(), memory::mib("VmHWM"));
    let slow: Vec<Vec<redis::Value>> = redis::cmd("SLOWLOG").arg("GET").arg(-1).query_async(&mut redis).await.unwrap();
    let redis_ms = longest_micros(&slow).div_ceil(1000);
    println!(
        "repair: winners={winners} mode={mode} seconds={:.1} peak_rss_mib={peak} redis_longest_ms={redis_ms}",
        seconds.as_secs_f64()
    );
    assert_eq!((opened.winners, opened.free), (winners, 0), "{mode}");
    let growth = peak.saturating_sub(before);
    assert!(growth <= MAX_GROWTH_MIB + winners / 4_000_000, "{mode}: grew by {growth} MiB");
    assert!(redis_ms < MAX_REDIS_MS, "{mode}: {redis_ms} ms: {slow:?}");
    assert!(seconds < MAX_PER_MILLION.mul_f64((winners as f64 / 1e6).max(1.0)), "{mode}: {seconds:?}");
    opened
}

/// Wrong: a repair keeps the ledger in memory and the operator is killed for it, or Redis answers nobody while it frees old keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_of_many_winners_takes_little() {
    let winners = std::env::var("COUPON_REPAIR_WINNERS").map_or(WINNERS, |text| text.parse().unwrap());
    let stage = Stage::new().await;
    store_rows(&stage, winners).await;
    assert!(!repair(&stage, winners, "fill").await.rebound);
    assert!(repair(&stage, winners, "bind").await.rebound);
    // One is missing: all is written afresh, and takes the place of what is there.
    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), StockKeys::of(&stage.campaign));
    let missing = format!("1:00000000-0000-4000-8000-{:012}", winners / 2);
    assert_eq!(redis.zrem::<_, _, u64>(&keys.issued, missing).await.unwrap(), 1);
    assert!(!repair(&stage, winners, "refill").await.rebound);
    let () = redis.unlink(&keys_of(&keys)).await.unwrap();
}

fn keys_of(keys: &StockKeys) -> [&str; 5] {
    [&keys.meta, &keys.issued, &keys.count, &keys.request, &keys.free]
}
