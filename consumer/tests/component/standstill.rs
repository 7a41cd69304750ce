//! A reader that stands still although records wait gets another Kafka client; one that waits for something else does not.
//! librdkafka's own mock brokers do on purpose what real ones do in the wrong moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use consumer::Patience;
use consumer::service::ServiceError;
use coupon_kafka_admin::KafkaAdmin;
use coupon_ledger::kafka::client_config;
use coupon_testing::proxy::{Trouble, Victims};
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::outage::behind_a_proxy;
use crate::stage::{PATIENCE, Running, Stage, eventually};

/// Much shorter than in life: nothing here takes long by itself.
const SHORT: Patience = Patience {
    still: Duration::from_secs(3),
    rebalance: Duration::from_secs(30),
    check_interval: Duration::from_millis(500),
    replacements: 3,
    above_total: Duration::ZERO,
};
/// As if there were no watch.
const ENDLESS: Duration = Duration::from_secs(3600);
/// In this time a reader that stood still would have been replaced, on a busy machine, too.
const LONG: Duration = Duration::from_secs(12);

/// Mock brokers with a campaign's topics.
struct Brokers {
    cluster: MockCluster<'static, DefaultProducerContext>,
    group: String,
    topic: String,
}

impl Brokers {
    /// And a stage whose Kafka they are.
    async fn new(partitions: i32) -> (Self, Stage) {
        let mut stage = Stage::new(partitions).await;
        let cluster = MockCluster::new(3).unwrap();
        for topic in [stage.campaign.topic(), stage.campaign.dead_letter_topic()] {
            cluster.create_topic(&topic, partitions, 3).unwrap();
        }
        stage.connections.kafka.bootstrap_servers = vec![cluster.bootstrap_servers()];
        stage.admin = KafkaAdmin::new(&client_config(&stage.connections.kafka, "test", &[])).unwrap();
        let brokers = Self { cluster, group: stage.campaign.group(), topic: stage.campaign.topic() };
        brokers.coordinator(1);
        (brokers, stage)
    }

    fn coordinator(&self, broker: i32) {
        self.cluster.coordinator(MockCoordinator::Group(self.group.clone()), broker).unwrap();
    }

    /// The coordinator moves just when a member asks from where on to read: librdkafka finds the new one, and never asks it.
    fn coordinator_moves_at_the_wrong_moment(&self, broker: i32) {
        self.coordinator(broker);
        let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
        self.cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[error]);
    }

    fn leader(&self, partition: i32, broker: Option<i32>) {
        self.cluster.partition_leader(&self.topic, partition, broker).unwrap();
    }
}

fn replaced(consumer: &Running) -> u64 {
    ["not_read", "not_in_group", "not_shared_out"].iter().map(|reason| consumer.metrics.clients_replaced(reason)).sum()
}

/// Lets time pass in which nothing may be replaced.
async fn nothing_is_replaced(consumer: &Running, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        assert_eq!(replaced(consumer), 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Wrong: the consumer polls nothing until somebody restarts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_was_struck_blind_reads_on_with_another_client() {
    let (brokers, stage) = Brokers::new(1).await;
    stage.publish((1..=50).map(|rank| stage.winner(rank))).await;
    brokers.coordinator_moves_at_the_wrong_moment(2);
    let consumer = stage.start_watched(stage.connections.clone(), SHORT);
    eventually("the records are stored", async || stage.stored().await == 50).await;
    assert_eq!(consumer.metrics.clients_replaced("not_read"), 1);

    stage.publish((51..=80).map(|rank| stage.winner(rank))).await;
    eventually("and those that come after", async || stage.stored().await == 80).await;
    eventually("and committed", async || stage.committed().await == BTreeMap::from([(0, 80)])).await;
    assert_eq!(replaced(&consumer), 1, "once was enough");
    assert_eq!(consumer.metrics.records("duplicate") + consumer.metrics.records("conflict"), 0);
    consumer.stop().await;
    drop(brokers);
}

/// The same without the watch: it is no fault of the test that the reader sees nothing.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_watch_it_stays_blind() {
    let (brokers, stage) = Brokers::new(1).await;
    stage.publish((1..=5).map(|rank| stage.winner(rank))).await;
    brokers.coordinator_moves_at_the_wrong_moment(2);
    let consumer = stage.start_watched(stage.connections.clone(), Patience { still: ENDLESS, ..SHORT });
    eventually("it holds the partition", async || consumer.metrics.rebalances("assign") > 0).await;
    nothing_is_replaced(&consumer, LONG).await;
    assert_eq!(stage.stored().await, 0);
    consumer.stop().await;
    drop(brokers);
}

/// Wrong: a process in which no client ever reads lives on, and is taken for well.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_fresh_clients_do_not_help_ends_with_the_cause() {
    let (brokers, stage) = Brokers::new(1).await;
    stage.publish((1..=5).map(|rank| stage.winner(rank))).await;
    brokers.coordinator_moves_at_the_wrong_moment(2);
    let consumer = stage.start_watched(stage.connections.clone(), Patience { replacements: 0, ..SHORT });
    let error = consumer.ended().await;
    assert!(matches!(error, ServiceError::StandsStill(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with("partition 0 was not read for ") && text.contains(": 5 records wait from offset 0 on"),
        "{text}"
    );
    drop(brokers);
}

/// Wrong: an election costs the group a member; or the reader does not find the new leader.
#[tokio::test(flavor = "multi_thread")]
async fn leaders_and_coordinators_that_move_are_followed_by_the_same_client() {
    let (brokers, stage) = Brokers::new(2).await;
    let consumer = stage.start_watched(stage.connections.clone(), SHORT);
    stage.publish((1..=20).map(|rank| stage.winner(rank))).await;
    eventually("the first are stored", async || stage.stored().await == 20).await;
    for (round, broker) in [(1, 2), (2, 3), (3, 1)] {
        brokers.coordinator(broker);
        (0..2).for_each(|partition| brokers.leader(partition, Some(broker)));
        let last = 20 + round * 20;
        stage.publish((last - 19..=last).map(|rank| stage.winner(rank))).await;
        eventually("those after a move are stored", async || stage.stored().await == last).await;
    }
    assert_eq!(replaced(&consumer), 0);
    consumer.stop().await;
}

/// Wrong: while a partition has no leader the client is replaced again and again, and then the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_leader_is_waited_for() {
    let (brokers, stage) = Brokers::new(2).await;
    stage.publish((1..=20).map(|rank| stage.winner(rank))).await;
    (0..2).for_each(|partition| brokers.leader(partition, None));
    let consumer = stage.start_watched(stage.connections.clone(), SHORT);
    eventually("it holds the partitions", async || consumer.metrics.rebalances("assign") > 0).await;
    nothing_is_replaced(&consumer, LONG).await;
    assert_eq!(stage.stored().await, 0);
    (0..2).for_each(|partition| brokers.leader(partition, Some(3)));
    eventually("all are stored", async || stage.stored().await == 20).await;
    assert_eq!(replaced(&consumer), 0);
    consumer.stop().await;
}

/// Wrong: the same while brokers hang.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_hang_are_waited_for() {
    let (brokers, stage) = Brokers::new(2).await;
    stage.publish((1..=20).map(|rank| stage.winner(rank))).await;
    // Longer than any request may take.
    brokers.cluster.broker_round_trip_time(-1, 2 * PATIENCE).unwrap();
    let consumer = stage.start_watched(stage.connections.clone(), SHORT);
    nothing_is_replaced(&consumer, LONG).await;
    brokers.cluster.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    eventually("all are stored", async || stage.stored().await == 20).await;
    assert_eq!(replaced(&consumer), 0);
    consumer.stop().await;
}

/// Wrong: the consumer is replaced, and in the end restarted, because the database is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_for_the_database_stands_not_still() {
    let stage = Stage::new(1).await;
    let (proxy, connections) = behind_a_proxy(&stage).await;
    let consumer = stage.start_watched(connections, SHORT);
    stage.publish([stage.winner(1)]).await;
    eventually("the first is stored", async || stage.stored().await == 1).await;
    proxy.begin(Victims::All, Trouble::Silence);
    // More than the queue holds.
    stage.publish((2..=1000).map(|rank| stage.winner(rank))).await;
    nothing_is_replaced(&consumer, LONG).await;
    proxy.mend();
    eventually("all are stored", async || stage.stored().await == 1000).await;
    stage.all_committed().await;
    assert_eq!(replaced(&consumer), 0);
    consumer.stop().await;
}

/// Wrong: a consumer that holds no partition is replaced, and in the end restarted, because another one waits for the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_spare_consumer_is_left_alone() {
    let stage = Stage::new(1).await;
    let (proxy, connections) = behind_a_proxy(&stage).await;
    let holder = stage.start_watched(connections, SHORT);
    stage.publish([stage.winner(1)]).await;
    eventually("the first is stored", async || stage.stored().await == 1).await;
    let spare = stage.start_watched(stage.connections.clone(), SHORT);
    eventually("the spare one is in the group", async || spare.metrics.rebalances("assign") > 0).await;
    eventually("one holds the partition", async || {
        stage.publish([stage.winner(2)]).await;
        stage.stored().await == 2
    })
    .await;
    proxy.begin(Victims::All, Trouble::Silence);
    stage.publish((3..=1000).map(|rank| stage.winner(rank))).await;
    nothing_is_replaced(&spare, LONG).await;
    assert_eq!(replaced(&holder), 0);
    proxy.mend();
    eventually("all are stored", async || stage.stored().await == 1000).await;
    assert_eq!(replaced(&holder) + replaced(&spare), 0);
    spare.stop().await;
    holder.stop().await;
}
