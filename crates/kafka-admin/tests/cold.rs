//! `coupon_kafka_admin` against a Kafka that nobody has used yet, and one that comes back.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coupon_kafka_admin::{KafkaAdmin, TopicSpec};
use rdkafka::ClientConfig;
use stack::services::Kafka;

/// On a fresh cluster no broker coordinates the group yet. librdkafka used to crash the process there; it must answer, at
/// first with an error that is worth trying again, then with "nothing committed".
#[tokio::test]
async fn the_first_question_about_a_group_does_not_crash() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap().unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.url());
    let admin = KafkaAdmin::new(&config).unwrap();
    let begin = Instant::now();
    loop {
        match admin.committed_offsets("nobody", "nothing", 1).await {
            Ok(committed) => {
                assert_eq!(committed.get(&0), Some(&None));
                return;
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                assert!(begin.elapsed() < Duration::from_secs(60), "{error}");
            }
        }
    }
}

/// Between attempts to connect librdkafka waits. A call that needed a broker which had been seen before used to make it forget
/// that, so that an outage of Kafka cost a core.
#[tokio::test]
async fn a_broker_that_refuses_connections_is_not_hammered() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap().unwrap();
    let admin = KafkaAdmin::new(ClientConfig::new().set("bootstrap.servers", kafka.url())).unwrap();
    let spec = TopicSpec { name: "seen".to_owned(), partitions: 1, replication_factor: 1, config: BTreeMap::new() };
    admin.create_topic(&spec).await.unwrap();
    let begin = Instant::now();
    while !matches!(admin.end_offsets(&[("seen", 0)]).await.unwrap().remove(&("seen".to_owned(), 0)), Some(Ok(0))) {
        assert!(begin.elapsed() < Duration::from_secs(60), "its leader is not known");
    }
    kafka.kill().unwrap();
    let impatient = admin.within(Duration::from_secs(3));
    let before = ticks_used();
    let (cluster, ends, committed) = tokio::join!(
        impatient.describe_cluster(),
        impatient.end_offsets(&[("seen", 0)]),
        impatient.committed_offsets("nobody", "seen", 1),
    );
    let used = ticks_used() - before;
    let unread = ends.is_ok_and(|all| all.values().all(Result::is_err));
    assert!(cluster.is_err() && unread && committed.is_err(), "nobody is there: {cluster:?} {committed:?}");
    assert!(used < 100, "{used} hundredths of a second of CPU in three seconds of waiting");
}

/// CPU that this process has used, in hundredths of a second: `utime` and `stime` of proc(5).
fn ticks_used() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
