//! The database goes away.

use std::time::Instant;

use consumer::SESSION;
use coupon_core::connections::Connections;
use coupon_runtime::telemetry::Probes;
use coupon_testing::proxy::{Proxy, Trouble, Victims};

use crate::stage::{Stage, eventually};

pub(crate) async fn behind_a_proxy(stage: &Stage) -> (Proxy, Connections) {
    let mut connections = stage.connections.clone();
    let database = &mut connections.database;
    let proxy = Proxy::to(format!("{}:{}", database.host, database.port)).await;
    (database.host, database.port) = (proxy.address.ip().to_string(), proxy.address.port());
    (proxy, connections)
}

/// Wrong: an outage costs coupons, as dead letters or as gaps.
async fn an_outage_is_waited_out(trouble: Trouble) {
    let stage = Stage::new(2).await;
    let (proxy, connections) = behind_a_proxy(&stage).await;
    let consumer = stage.start_with(connections);
    stage.publish((1..=50).map(|rank| stage.winner(rank))).await;
    eventually("the first are stored", async || stage.stored().await == 50).await;

    let away = Instant::now();
    proxy.begin(Victims::All, trouble);
    // More than the queue holds, so that reading has to pause as well.
    stage.publish((51..=1500).map(|rank| stage.winner(rank))).await;
    eventually("it says so", async || {
        consumer.status.ready().is_err_and(|why| why.starts_with("the database is away"))
    })
    .await;
    // Longer than the whole retry schedule, and than Kafka waits for a consumer that it does not hear from.
    eventually("it keeps trying", async || consumer.metrics.retries("database") >= 4 && away.elapsed() > SESSION).await;
    assert_eq!(consumer.metrics.rebalances("lost") + consumer.metrics.rebalances("revoke"), 0, "it stays in the group");
    assert_eq!(consumer.status.alive(), Ok(()));
    assert_eq!(stage.stored().await, 50);

    proxy.mend();
    eventually("all are stored", async || stage.stored().await == 1500).await;
    stage.all_committed().await;
    assert_eq!(consumer.status.ready(), Ok(()));
    consumer.stop().await;
    assert!(stage.dead_letters().await.is_empty(), "no record is at fault when the database is away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_is_waited_for() {
    an_outage_is_waited_out(Trouble::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_waited_for() {
    an_outage_is_waited_out(Trouble::Silence).await;
}

/// Wrong: a pod that starts during an outage dies, or takes partitions that it cannot store.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_starts_during_an_outage_waits_for_its_end() {
    let stage = Stage::new(1).await;
    stage.publish([stage.winner(1)]).await;
    let (proxy, connections) = behind_a_proxy(&stage).await;
    proxy.cut();
    let consumer = stage.start_with(connections);
    eventually("it says why", async || {
        consumer.status.ready().is_err_and(|why| why.starts_with("the database is away"))
    })
    .await;
    proxy.mend();
    eventually("it is stored", async || stage.stored().await == 1).await;
    eventually("it is ready", async || consumer.status.ready().is_ok()).await;
    consumer.stop().await;
}

/// Wrong: a pod cannot be stopped while the database is away, and is killed with its offsets uncommitted.
#[tokio::test(flavor = "multi_thread")]
async fn stopping_during_an_outage_keeps_what_was_stored() {
    let stage = Stage::new(1).await;
    let (proxy, connections) = behind_a_proxy(&stage).await;
    let consumer = stage.start_with(connections);
    stage.publish((1..=50).map(|rank| stage.winner(rank))).await;
    eventually("the first are stored", async || consumer.metrics.records("stored") == 50).await;
    proxy.cut();
    stage.publish((51..=60).map(|rank| stage.winner(rank))).await;
    eventually("it notices", async || consumer.status.ready().is_err()).await;
    consumer.stop().await;
    assert_eq!(stage.committed().await.get(&0), Some(&50));
    assert!(stage.dead_letters().await.is_empty());
}

/// Wrong: members whose database is away cannot hand over their partitions to one whose database works.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_leave_a_consumer_whose_database_is_away_and_come_back() {
    let stage = Stage::new(2).await;
    let (proxy, connections) = behind_a_proxy(&stage).await;
    let cut_off = stage.start_with(connections);
    eventually("it is ready", async || cut_off.status.ready().is_ok()).await;
    proxy.cut();
    for rank in 1..=100 {
        stage.publish_to((rank % 2) as i32, &stage.winner(rank)).await;
    }
    eventually("it notices", async || cut_off.status.ready().is_err()).await;
    let healthy = stage.start();
    eventually("the healthy one stores its half", async || stage.stored().await == 50).await;
    proxy.mend();
    eventually("all are stored", async || stage.stored().await == 100).await;
    healthy.stop().await;
    stage.publish((101..=150).map(|rank| stage.winner(rank))).await;
    eventually("the first takes over", async || stage.stored().await == 150).await;
    stage.all_committed().await;
    cut_off.stop().await;
    assert!(stage.dead_letters().await.is_empty());
}
