//! From the topic to rows.

use std::collections::BTreeMap;

use coupon_ledger::database::{self, EpochCommit};
use coupon_runtime::telemetry::Probes;
use rdkafka::message::Message;

use crate::stage::{Stage, eventually};

/// Wrong: a coupon that was promised is no row, or is two.
#[tokio::test(flavor = "multi_thread")]
async fn every_winner_becomes_one_row() {
    let stage = Stage::new(3).await;
    stage.publish((1..=2500).map(|rank| stage.winner(rank))).await;
    let consumer = stage.start();
    eventually("all are stored", async || stage.stored().await == 2500).await;
    assert_eq!(consumer.status.ready(), Ok(()));
    assert_eq!(consumer.status.alive(), Ok(()));
    stage.all_committed().await;
    // A quiet topic still takes what comes later.
    stage.publish([stage.winner(2501)]).await;
    eventually("the late one is stored", async || stage.stored().await == 2501).await;
    eventually("it is counted", async || consumer.metrics.records("stored") == 2501).await;
    consumer.stop().await;
    assert_eq!(stage.committed().await, stage.ends(&stage.campaign.topic()).await, "stopping commits");
    let rows = database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 5000).await.unwrap();
    assert!(rows.iter().zip(1..).all(|(row, rank)| row.rank == rank && row.user_id.as_str() == format!("user-{rank}")));
    assert!(stage.dead_letters().await.is_empty());
}

/// Wrong: Kafka removes a grant that is published long after it was made, or whose time Redis has lost, as too old before a
/// consumer has read it.
#[tokio::test(flavor = "multi_thread")]
async fn a_winner_of_long_ago_is_a_fresh_record() {
    let stage = Stage::new(1).await;
    let mut winner = stage.winner(1);
    winner.occurred_at = jiff::Timestamp::UNIX_EPOCH;
    let before = jiff::Timestamp::now().as_millisecond();
    stage.publish([winner]).await;
    let records = stage.records(&stage.campaign.topic()).await;
    assert!(records[0].timestamp().to_millis().unwrap() >= before);
}

/// Wrong: a consumer that died before its commit makes conflicts of its own rows.
#[tokio::test(flavor = "multi_thread")]
async fn reading_everything_again_changes_nothing() {
    let stage = Stage::new(2).await;
    stage.publish((1..=300).map(|rank| stage.winner(rank))).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    let before = database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 1000).await.unwrap();
    let (group, topic) = (stage.campaign.group(), stage.campaign.topic());
    stage.admin.commit_offsets(&group, &topic, &BTreeMap::from([(0, 0), (1, 0)])).await.unwrap();
    let consumer = stage.start();
    eventually("all are read again", async || consumer.metrics.records("duplicate") == 300).await;
    stage.all_committed().await;
    consumer.stop().await;
    assert_eq!(database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 1000).await.unwrap(), before);
    assert!(stage.dead_letters().await.is_empty());
}

/// Wrong: scaling down loses what the leaving member had in hand, or rewinds what the other committed.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_between_consumers_without_loss() {
    let stage = Stage::new(4).await;
    stage.publish((1..=400).map(|rank| stage.winner(rank))).await;
    let first = stage.start();
    eventually("the first stores", async || first.metrics.records("stored") > 0).await;
    let second = stage.start();
    eventually("both have partitions", async || {
        let groups = stage.admin.describe_groups(&[stage.campaign.group()]).await.unwrap();
        let Some(Ok(group)) = groups.get(&stage.campaign.group()) else { return false };
        group.members.len() == 2 && group.members.iter().all(|member| member.assignment.len() == 2)
    })
    .await;
    stage.publish((401..=800).map(|rank| stage.winner(rank))).await;
    eventually("both store", async || second.metrics.records("stored") > 0).await;
    first.stop().await;
    stage.publish((801..=1200).map(|rank| stage.winner(rank))).await;
    eventually("all are stored", async || stage.stored().await == 1200).await;
    stage.all_committed().await;
    second.stop().await;
    assert!(stage.dead_letters().await.is_empty());
}

/// Wrong: a member without a partition is never ready, and a rollout of more pods than partitions never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_without_partitions_is_ready() {
    let stage = Stage::new(1).await;
    let first = stage.start();
    eventually("the first is ready", async || first.status.ready().is_ok()).await;
    let second = stage.start();
    eventually("the second is ready", async || second.status.ready().is_ok()).await;
    second.stop().await;
    first.stop().await;
}

/// Wrong: a record of a dead issuer that arrives after the ledger was read takes somebody's place.
#[tokio::test(flavor = "multi_thread")]
async fn void_records_are_skipped() {
    let stage = Stage::new(1).await;
    database::set_topic(&stage.pool, stage.row, "topic-1", "cluster-1").await.unwrap();
    assert_eq!(database::allot_epoch(&stage.pool, stage.row, 0).await.unwrap(), 1);
    stage.publish([stage.winner(1)]).await;
    assert_eq!(database::allot_epoch(&stage.pool, stage.row, 0).await.unwrap(), 2);
    let committed = database::commit_barrier(&stage.pool, stage.row, 2, "topic-1", &BTreeMap::from([(0, 1)])).await;
    assert_eq!(committed.unwrap(), EpochCommit::Done);
    let mut late = stage.winner(2);
    late.epoch = 1;
    let mut current = stage.winner(3);
    current.epoch = 2;
    stage.publish([late, current]).await;
    let consumer = stage.start();
    stage.all_committed().await;
    assert_eq!((consumer.metrics.records("stored"), consumer.metrics.records("void")), (2, 1));
    consumer.stop().await;
    let rows = database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.rank).collect::<Vec<_>>(), [1, 3]);
    assert!(stage.dead_letters().await.is_empty());
}
