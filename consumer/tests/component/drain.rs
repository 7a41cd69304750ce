//! `coupon_sink::drain`: the same work without a group.

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_sink::drain::{DrainError, Drained, Source, drain};
use sqlx::mysql::MySqlPoolOptions;

use crate::stage::{PATIENCE, Stage};

async fn run(stage: &Stage, range: &coupon_ledger::kafka::tail::Range) -> Drained {
    let source = Source { kafka: &stage.connections.kafka, pool: &stage.pool, campaign: &stage.campaign, range };
    let mut last = Drained::default();
    let drained = drain(source, PATIENCE, |so_far| {
        assert!(so_far.stored >= last.stored, "progress does not go back");
        last = so_far.clone();
    })
    .await
    .unwrap();
    assert_eq!(last.stored, drained.stored, "the last report is the result");
    drained
}

/// Wrong: deleting a campaign loses winners that no consumer had stored yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_is_stored_as_the_consumer_would() {
    let stage = Stage::new(3).await;
    stage.publish((1..=1200).map(|rank| stage.winner(rank))).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    let from = stage.committed().await;
    stage.publish((1201..=2000).map(|rank| stage.winner(rank))).await;
    stage.publish_raw(1, Some(b"k"), Some(b"no event"), None, 1).await;
    let ends = stage.ends(&stage.campaign.topic()).await;
    let range = from.iter().map(|(partition, from)| (*partition, (*from, ends[partition]))).collect();

    let drained = run(&stage, &range).await;
    let expected = Drained { stored: 800, duplicates: 0, void: 0, dead_lettered: 1, next: ends.clone() };
    assert_eq!(drained, expected);
    assert_eq!((stage.stored().await, stage.dead_letters().await.len()), (2000, 1));
    assert_eq!(stage.committed().await, from, "committing is the caller's");
    stage.admin.commit_offsets(&stage.campaign.group(), &stage.campaign.topic(), &drained.next).await.unwrap();

    // From the beginning again: nothing new.
    let again = run(&stage, &stage.whole().await).await;
    assert_eq!(again, Drained { stored: 0, duplicates: 2000, ..expected });
    assert_eq!(stage.stored().await, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_range_is_done_at_once() {
    let stage = Stage::new(1).await;
    let drained = run(&stage, &BTreeMap::from([(0, (0, 0))])).await;
    assert_eq!(drained, Drained { next: BTreeMap::from([(0, 0)]), ..Drained::default() });
}

/// Wrong: the operator hangs on one campaign whose database is away, or takes it for drained.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_ends_at_the_deadline_and_says_so() {
    let stage = Stage::new(1).await;
    stage.publish([stage.winner(1)]).await;
    // The port of `discard`, on which nobody listens, and which nobody is given who asks for a free one.
    let pool = MySqlPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect_lazy("mysql://nobody@127.0.0.1:9/none")
        .unwrap();
    let range = stage.whole().await;
    let source = Source { kafka: &stage.connections.kafka, pool: &pool, campaign: &stage.campaign, range: &range };
    let deadline = Duration::from_secs(3);
    let error = drain(source, deadline, |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, DrainError::Deadline { trouble, .. } if trouble.contains("the database is away")),
        "{error}"
    );
    assert_eq!(error.drained().unwrap().next, BTreeMap::from([(0, 0)]));
    assert!(stage.dead_letters().await.is_empty());
}
