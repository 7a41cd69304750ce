//! Topics: created, described, changed and deleted.

use std::collections::BTreeMap;
use std::time::Instant;

use coupon_kafka_admin::{AdminError, ConfigSource, Creation, Deletion, KafkaAdmin, TopicSpec, TopicState};

use super::fixture::{admin, eventually, gone, map, new_topic, settled, spec, unique};

#[tokio::test]
async fn a_topic_is_created_once_described_and_deleted() {
    let (admin, name) = (admin(), unique("life"));
    assert_eq!(admin.describe_topics(&[&name]).await.unwrap()[&name], Ok(TopicState::Absent));
    let wanted = spec(&name, 3, &[("retention.ms", "1000000")]);
    assert_eq!(admin.create_topic(&wanted).await, Ok(Creation::Created));
    let first = settled(&admin, &name, 3).await;
    assert_eq!(first.partitions.iter().map(|partition| partition.id).collect::<Vec<_>>(), [0, 1, 2]);
    let alive = admin.describe_cluster().await.unwrap().brokers;
    for partition in &first.partitions {
        assert_eq!((partition.replicas.len(), &partition.isr), (1, &partition.replicas));
        assert!(alive.contains(&partition.leader.unwrap()));
    }
    // A second creation changes nothing, also with other wishes.
    assert_eq!(admin.create_topic(&spec(&name, 5, &[])).await, Ok(Creation::AlreadyExists));
    assert_eq!(settled(&admin, &name, 3).await, first);

    assert_eq!(admin.delete_topic(&name).await, Ok(Deletion::Deleted));
    gone(&admin, &name).await;
    assert_eq!(admin.delete_topic(&name).await, Ok(Deletion::Absent));
    // The same name again is another topic: records and barriers of the first do not belong to it.
    assert_eq!(admin.create_topic(&wanted).await, Ok(Creation::Created));
    assert_ne!(settled(&admin, &name, 3).await.topic_id, first.topic_id);
    admin.delete_topic(&name).await.unwrap();
}

#[tokio::test]
async fn one_missing_topic_spoils_no_answer_about_another() {
    let admin = admin();
    let (here, missing) = (new_topic(&admin, "here", 2, &[]).await, unique("missing"));
    // Names given twice are asked for once.
    let topics = admin.describe_topics(&[&here, &missing, &here]).await.unwrap();
    assert_eq!(topics.len(), 2);
    assert_eq!(topics[&missing], Ok(TopicState::Absent));
    assert!(matches!(&topics[&here], Ok(TopicState::Present(topic)) if topic.partitions.len() == 2));

    let ends = admin.end_offsets(&[(here.as_str(), 0), (&missing, 0), (&here, 1), (&here, 9)]).await.unwrap();
    assert_eq!(ends[&(here.clone(), 0)], Ok(0));
    assert_eq!(ends[&(here.clone(), 1)], Ok(0));
    assert_eq!(ends[&(missing.clone(), 0)], Err(AdminError::UnknownTopic { topic: missing.clone() }));
    assert!(matches!(ends[&(here.clone(), 9)], Err(AdminError::UnknownTopic { .. })), "{ends:?}");

    // Also when none of them is there, which librdkafka answers in another way.
    let ends = admin.end_offsets(&[(missing.as_str(), 0)]).await.unwrap();
    assert_eq!(ends[&(missing.clone(), 0)], Err(AdminError::UnknownTopic { topic: missing.clone() }));
    assert_eq!(admin.end_offsets(&[] as &[(&str, i32)]).await.unwrap().len(), 0);
    assert_eq!(admin.describe_topics(&[] as &[&str]).await.unwrap().len(), 0);
    let error = admin.topic_config(&missing).await.unwrap_err();
    assert_eq!(error, AdminError::UnknownTopic { topic: missing });
    admin.delete_topic(&here).await.unwrap();
}

/// Wrong: "it leads already" counts as a failure, or a failure of one partition hides inside an answer that succeeds.
#[tokio::test]
async fn preferred_leaders_are_elected_and_a_partition_that_is_not_there_is_named() {
    let admin = admin();
    let name = new_topic(&admin, "elect", 2, &[]).await;
    admin.elect_preferred_leaders(Some(&[(name.clone(), 0), (name.clone(), 1)])).await.unwrap();
    admin.elect_preferred_leaders(None).await.unwrap();
    let missing = unique("nowhere");
    let error = admin.elect_preferred_leaders(Some(&[(name, 0), (missing.clone(), 0)])).await.unwrap_err();
    assert!(matches!(&error, AdminError::UnknownTopic { topic } if *topic == missing), "{error:?}");
}

#[tokio::test]
async fn partitions_grow_and_never_shrink() {
    let admin = admin();
    let name = new_topic(&admin, "grow", 2, &[]).await;
    let before = settled(&admin, &name, 2).await;
    admin.grow_partitions(&name, 4).await.unwrap();
    let after = settled(&admin, &name, 4).await;
    assert_eq!(after.topic_id, before.topic_id, "it is still the same topic");
    for total in [4, 3] {
        let error = admin.grow_partitions(&name, total).await.unwrap_err();
        assert!(matches!(error, AdminError::InvalidPartitions { .. }), "{error:?}");
        assert!(error.to_string().contains(&name) && !error.is_retryable(), "{error}");
    }
    settled(&admin, &name, 4).await;
    let missing = unique("missing");
    let error = admin.grow_partitions(&missing, 4).await.unwrap_err();
    assert_eq!(error, AdminError::UnknownTopic { topic: missing });
    admin.delete_topic(&name).await.unwrap();
}

/// The point of this module: rdkafka's own call would reset `segment.ms` and `max.message.bytes` here.
#[tokio::test]
async fn altering_one_key_leaves_every_other_key_as_it_was() {
    let admin = admin();
    let dynamic = [("retention.ms", "1000000"), ("segment.ms", "60000"), ("max.message.bytes", "65536")];
    let name = new_topic(&admin, "config", 1, &dynamic).await;
    let set_keys = async || -> BTreeMap<String, String> {
        let config = admin.topic_config(&name).await.unwrap();
        let set = config.into_iter().filter(|(_, entry)| entry.is_set());
        set.map(|(key, entry)| (key, entry.value.unwrap())).collect()
    };
    assert_eq!(set_keys().await, map(&dynamic));

    let change = map(&[("retention.ms", "2000000"), ("cleanup.policy", "delete")]);
    admin.set_config_incremental(&name, &change, &["segment.ms"]).await.unwrap();
    let expected = map(&[("retention.ms", "2000000"), ("cleanup.policy", "delete"), ("max.message.bytes", "65536")]);
    eventually(&expected, &set_keys).await;

    // A key taken off falls back to its default, and says so.
    let segment = admin.topic_config(&name).await.unwrap().remove("segment.ms").unwrap();
    assert_eq!((segment.source, segment.value.as_deref()), (ConfigSource::Default, Some("604800000")));
    assert!(!segment.is_set() && !segment.read_only);

    // One bad value, and nothing of the request is done.
    let bad = map(&[("retention.ms", "3000000"), ("segment.ms", "soon")]);
    let error = admin.set_config_incremental(&name, &bad, &[] as &[&str]).await.unwrap_err();
    assert!(matches!(error, AdminError::InvalidConfig { .. }), "{error:?}");
    assert!(error.to_string().contains("segment.ms"), "the key is named: {error}");
    assert_eq!(set_keys().await, expected);
    let error = admin.create_topic(&spec(&unique("bad"), 1, &[("no.such.key", "1")])).await.unwrap_err();
    assert!(matches!(error, AdminError::InvalidConfig { .. }), "{error:?}");

    let missing = unique("missing");
    let error = admin.set_config_incremental(&missing, &change, &[] as &[&str]).await.unwrap_err();
    assert_eq!(error, AdminError::UnknownTopic { topic: missing });
    admin.set_config_incremental("nothing to do is no request", &map(&[]), &[] as &[&str]).await.unwrap();
    admin.delete_topic(&name).await.unwrap();
}

#[tokio::test]
async fn more_replicas_than_brokers_are_refused_with_both_numbers() {
    let admin = admin();
    let live = admin.describe_cluster().await.unwrap().brokers.len();
    let asked = i32::try_from(live).unwrap() + 2;
    let wanted = TopicSpec { replication_factor: asked, ..spec(&unique("replicas"), 1, &[]) };
    assert_eq!(admin.create_topic(&wanted).await, Err(AdminError::InvalidReplication { asked, live }));
    assert_eq!(admin.describe_topics(&[&wanted.name]).await.unwrap()[&wanted.name], Ok(TopicState::Absent));
}

/// Left to librdkafka, such a name crashes one call and keeps another waiting until its deadline.
#[tokio::test]
async fn names_that_kafka_cannot_hold_are_refused_at_once() {
    let admin = admin();
    let start = Instant::now();
    for name in ["has a\0 byte", "has a space", "", "..", &"long".repeat(63)] {
        for error in [
            admin.create_topic(&spec(name, 1, &[])).await.unwrap_err(),
            admin.describe_topics(&[name]).await.unwrap_err(),
            admin.end_offsets(&[(name, 0)]).await.unwrap_err(),
            admin.committed_offsets("group", name, 1).await.unwrap_err(),
            admin.topic_config(name).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains("is no topic name") && !error.is_retryable(), "{error}");
        }
    }
    admin.committed_offsets("group\0", "topic", 1).await.unwrap_err();
    assert!(start.elapsed() < KafkaAdmin::DEADLINE, "took {:?}", start.elapsed());
}
