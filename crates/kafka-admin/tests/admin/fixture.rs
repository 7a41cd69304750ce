//! Topics and groups of a test's own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coupon_kafka_admin::{AdminError, Creation, KafkaAdmin, Topic, TopicSpec, TopicState};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

/// Bound of everything that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn config() -> ClientConfig {
    let Ok(bootstrap) = std::env::var("COUPON_KAFKA") else {
        panic!("COUPON_KAFKA is not set: run the tests through `make test`");
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

pub(crate) fn admin() -> KafkaAdmin {
    KafkaAdmin::new(&config()).unwrap()
}

pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("admin-test.{what}.{nanos}.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn spec(name: &str, partitions: i32, config: &[(&str, &str)]) -> TopicSpec {
    TopicSpec { name: name.into(), partitions, replication_factor: 1, config: map(config) }
}

pub(crate) fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Waits until the topic is there with this many partitions, all led and serving: brokers learn of changes, and of being
/// leader, a moment later. Until then all that is said must be marked as passing.
pub(crate) async fn settled(admin: &KafkaAdmin, name: &str, partitions: usize) -> Topic {
    let start = Instant::now();
    loop {
        let state = admin.describe_topics(&[name]).await.unwrap().remove(name).unwrap().unwrap();
        match state {
            TopicState::Present(topic) if topic.has_leaders() && topic.partitions.len() == partitions => {
                let all: Vec<_> = topic.partitions.iter().map(|partition| (name, partition.id)).collect();
                let ends = admin.end_offsets(&all).await.unwrap();
                match ends.into_values().find_map(Result::err) {
                    None => return topic,
                    Some(AdminError::UnknownTopic { .. }) => {}
                    Some(error) => assert!(error.is_retryable(), "{error:?}"),
                }
            }
            _ => {}
        }
        assert!(start.elapsed() < PATIENCE, "{name} did not settle");
    }
}

pub(crate) async fn gone(admin: &KafkaAdmin, name: &str) {
    let start = Instant::now();
    while admin.describe_topics(&[name]).await.unwrap()[name] != Ok(TopicState::Absent) {
        assert!(start.elapsed() < PATIENCE, "{name} is still there");
    }
}

pub(crate) async fn new_topic(admin: &KafkaAdmin, what: &str, partitions: i32, config: &[(&str, &str)]) -> String {
    let name = unique(what);
    assert_eq!(admin.create_topic(&spec(&name, partitions, config)).await, Ok(Creation::Created));
    settled(admin, &name, usize::try_from(partitions).unwrap()).await;
    name
}

pub(crate) async fn produce(topic: &str, partition: i32, count: usize) {
    let producer: FutureProducer = config().create().unwrap();
    for n in 0..count {
        let record = FutureRecord::to(topic).partition(partition).key("k").payload("v");
        producer.send(record, PATIENCE).await.unwrap_or_else(|(error, _)| panic!("record {n}: {error}"));
    }
}

pub(crate) async fn eventually<T: PartialEq + std::fmt::Debug>(expected: &T, read: &impl AsyncFn() -> T) {
    let start = Instant::now();
    loop {
        let seen = read().await;
        if seen == *expected {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "expected {expected:?}, still {seen:?}");
    }
}
