//! What brokers say of themselves, and brokers that are not there or forbid something.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coupon_kafka_admin::{AdminError, KafkaAdmin};
use rdkafka::ClientConfig;

use super::fixture::{admin, map, new_topic, settled, spec};

#[tokio::test]
async fn the_cluster_has_an_id_that_stays_and_live_brokers() {
    let first = admin().describe_cluster().await.unwrap();
    assert!(!first.cluster_id.is_empty() && !first.brokers.is_empty(), "{first:?}");
    assert_eq!(admin().describe_cluster().await.unwrap().cluster_id, first.cluster_id);
}

#[tokio::test]
async fn a_wrong_address_is_told_within_the_deadline_in_a_sentence() {
    // A port and a name where nobody is: each fails in its own way.
    tokio::join!(
        unreachable("127.0.0.1:1", "refused"),
        // Resolvers that answer at once say so; where none is reachable, the deadline passes first.
        unreachable("no-such-broker.invalid:9092", "check the bootstrap address"),
    );
}

/// Asks every kind of question, since librdkafka waits for another broker in each of them.
async fn unreachable(address: &str, cause: &str) {
    let admin = KafkaAdmin::new(ClientConfig::new().set("bootstrap.servers", address)).unwrap();
    let admin = admin.within(Duration::from_secs(2));
    let (start, any, offsets) = (Instant::now(), spec("any", 1, &[]), BTreeMap::from([(0, 1)]));
    let set = map(&[("retention.ms", "1000")]);
    let (cluster, topics, ends, committed, groups, config, created, altered, set_offsets, group, topic) = tokio::join!(
        admin.describe_cluster(),
        admin.describe_topics(&["any"]),
        admin.end_offsets(&[("any", 0)]),
        admin.committed_offsets("any", "any", 1),
        admin.describe_groups(&["any"]),
        admin.topic_config("any"),
        admin.create_topic(&any),
        admin.set_config_incremental("any", &set, &[] as &[&str]),
        admin.commit_offsets("any", "any", &offsets),
        admin.delete_group("any"),
        admin.delete_topic("any"),
    );
    // Each that took no heed of this deadline would take at least the one that is set by itself.
    assert!(start.elapsed() < KafkaAdmin::DEADLINE, "took {:?}", start.elapsed());
    let of_group = groups.and_then(|mut groups| groups.remove("any").unwrap());
    for error in [
        cluster.err(),
        topics.err(),
        ends.err(),
        committed.err(),
        of_group.err(),
        config.err(),
        created.err(),
        altered.err(),
        set_offsets.err(),
        group.err(),
        topic.err(),
    ] {
        let error = error.unwrap();
        assert!(matches!(error, AdminError::Unreachable { .. }) && error.is_retryable(), "{error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains(address) && sentence.to_lowercase().contains(cause), "{sentence}");
    }
}

/// Wrong: what such a broker says is not understood, and a campaign is deleted for ever.
#[tokio::test]
async fn a_broker_that_deletes_no_topics_says_so() {
    let starting = tokio::task::spawn_blocking(|| stack::services::Kafka::start_with("delete.topic.enable=false"));
    let broker = starting.await.unwrap().unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.url());
    let admin = KafkaAdmin::new(&config).unwrap();
    let name = new_topic(&admin, "stays", 1, &[]).await;
    let error = admin.delete_topic(&name).await.unwrap_err();
    assert!(error.forbids_deletion(), "{error:?}");
    settled(&admin, &name, 1).await;
}
