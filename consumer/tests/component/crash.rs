//! The process dies in the middle of its work, at each of its crash points; and it works without one of its defences.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use coupon_core::failpoints::{CrashPoint, Safeguard};
use coupon_core::identity::UserId;
use coupon_ledger::database::{self, EpochCommit};
use nix::sys::signal::Signal;

use crate::dead_letters::header;
use crate::outage::behind_a_proxy;
use crate::process::Process;
use crate::stage::{Stage, eventually};

/// A process that reaches the point and dies there.
async fn dies_at(stage: &Stage, point: CrashPoint) {
    let process = Process::start_with(&stage.campaign, &stage.connections, &[("COUPON_CRASH_AT", &point.to_string())]);
    assert_eq!(process.ended().await.signal(), Some(Signal::SIGABRT as i32));
    let said = process.said();
    assert!(said.contains(&format!("crash point {point}: ending as by SIGKILL")), "{said}");
}

async fn ranks(stage: &Stage) -> Vec<u64> {
    let rows = database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 10_000).await.unwrap();
    rows.iter().map(|row| row.rank).collect()
}

/// Wrong: an unfinished transaction counts as stored, and its winners are lost.
#[tokio::test(flavor = "multi_thread")]
async fn death_before_the_commit() {
    let stage = Stage::new(2).await;
    stage.publish((1..=200).map(|rank| stage.winner(rank))).await;
    dies_at(&stage, CrashPoint::BeforeCommit).await;
    assert_eq!(stage.stored().await, 0);
    assert!(stage.committed().await.values().all(|offset| *offset == 0));
    let heir = stage.start();
    eventually("the heir stores all", async || stage.stored().await == 200).await;
    stage.all_committed().await;
    heir.stop().await;
    assert_eq!(ranks(&stage).await, (1..=200).collect::<Vec<_>>());
    assert!(stage.dead_letters().await.is_empty());
}

/// Wrong: rows whose offsets were not committed are conflicts when they are read again, or are stored twice.
#[tokio::test(flavor = "multi_thread")]
async fn death_after_the_commit() {
    let stage = Stage::new(2).await;
    stage.publish((1..=200).map(|rank| stage.winner(rank))).await;
    dies_at(&stage, CrashPoint::AfterCommit).await;
    let before = stage.stored().await;
    assert!(before > 0);
    assert!(stage.committed().await.values().all(|offset| *offset == 0));
    let heir = stage.start();
    eventually("the heir stores the rest", async || stage.stored().await == 200).await;
    stage.all_committed().await;
    assert_eq!((heir.metrics.records("duplicate"), heir.metrics.records("stored")), (before, 200 - before));
    heir.stop().await;
    assert_eq!(ranks(&stage).await, (1..=200).collect::<Vec<_>>());
    assert!(stage.dead_letters().await.is_empty());
}

/// Wrong: a record is neither a row nor a dead letter, or takes its neighbours with it. That the same letter is written
/// twice is what at-least-once means.
#[tokio::test(flavor = "multi_thread")]
async fn death_after_a_dead_letter() {
    let stage = Stage::new(1).await;
    let offset = stage.publish_raw(0, Some(b"k"), Some(b"no event"), None, 1).await;
    stage.publish((1..=100).map(|rank| stage.winner(rank))).await;
    dies_at(&stage, CrashPoint::AfterDeadLetter).await;
    assert_eq!(stage.committed().await.get(&0), Some(&0));
    let heir = stage.start();
    stage.all_committed().await;
    heir.stop().await;
    assert_eq!(ranks(&stage).await, (1..=100).collect::<Vec<_>>());
    let letters = stage.dead_letters().await;
    assert_eq!(letters.len(), 2, "one from each process");
    assert!(letters.iter().all(|letter| header(letter, "original_offset") == offset.to_string()));
}

/// Publishes 200 winners while the database is away, kills the consumer that has read them, and says how many become rows.
async fn rows_after_a_kill(environment: &[(&str, &str)]) -> u64 {
    let stage = Stage::new(1).await;
    let (proxy, connections) = behind_a_proxy(&stage).await;
    // Its queue, of two batches, takes all of them.
    let room = [("COUPON_BATCH", "100")];
    let process = Process::start_with(&stage.campaign, &connections, &[&room, environment].concat());
    process.ready().await;
    proxy.cut();
    stage.publish((1..=200).map(|rank| stage.winner(rank))).await;
    process.eventually("it waits for the database", async || process.said().contains("waiting for it")).await;
    if !environment.is_empty() {
        let committed = async || stage.committed().await.get(&0) == Some(&200);
        process.eventually("what was read is committed", committed).await;
    }
    process.signal(Signal::SIGKILL);
    process.ended().await;
    // The last record is behind all others: when it is stored, everything that will be is.
    stage.publish([stage.winner(201)]).await;
    let heir = stage.start();
    stage.all_committed().await;
    heir.stop().await;
    stage.stored().await - 1
}

/// Offsets are committed behind rows. Without that, a crash during an outage loses winners for good.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_run_ahead_of_rows_lose_winners() {
    assert_eq!(rows_after_a_kill(&[]).await, 200);
    let without = Safeguard::FrontierCommit.to_string();
    let left = rows_after_a_kill(&[("COUPON_WITHOUT", &without)]).await;
    assert!(left < 200, "the defence is not needed: all {left} are rows without it");
}

/// A late record of a closed epoch, and then the record of the one who got its rank in the new epoch, and was told so. Says
/// who holds the rank in the end, and how many dead letters there are.
async fn holder_after_a_late_record(environment: &[(&str, &str)]) -> (String, usize) {
    let stage = Stage::new(1).await;
    database::set_topic(&stage.pool, stage.row, "topic-1", "cluster-1").await.unwrap();
    for epoch in [1, 2] {
        assert_eq!(database::allot_epoch(&stage.pool, stage.row, 0).await.unwrap(), epoch);
    }
    let barrier = BTreeMap::from([(0, 0)]);
    let committed = database::commit_barrier(&stage.pool, stage.row, 2, "topic-1", &barrier).await;
    assert_eq!(committed.unwrap(), EpochCommit::Done);
    let late = stage.winner(1);
    let mut rightful = stage.winner(1);
    (rightful.user_id, rightful.epoch) = (UserId::new("rightful").unwrap(), 2);
    stage.publish_to(0, &late).await;
    stage.publish_to(0, &rightful).await;
    let process = Process::start_with(&stage.campaign, &stage.connections, environment);
    process.all_committed(&stage).await;
    process.signal(Signal::SIGTERM);
    process.ended().await;
    let rows = database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 10).await.unwrap();
    (rows[0].user_id.to_string(), stage.dead_letters().await.len())
}

/// Late records of a closed epoch are void. Without that, one takes the rank of somebody who was told that it is theirs.
#[tokio::test(flavor = "multi_thread")]
async fn late_records_that_count_take_ranks_away() {
    assert_eq!(holder_after_a_late_record(&[]).await, ("rightful".to_owned(), 0));
    let without = Safeguard::BarrierRule.to_string();
    let (holder, letters) = holder_after_a_late_record(&[("COUPON_WITHOUT", &without)]).await;
    assert_eq!((holder.as_str(), letters), ("user-1", 1), "the one who was told is a dead letter");
}
