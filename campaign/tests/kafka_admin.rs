//! `campaign::log::admin` against a real Kafka. Every test has topics and groups of its own, so they run side by side.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use campaign::log::admin::{
    AdminError, ConfigSource, Creation, Deletion, GroupState, KafkaAdmin, Topic, TopicSpec, TopicState,
};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Bound of everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

fn config() -> ClientConfig {
    let Ok(bootstrap) = std::env::var("COUPON_KAFKA") else {
        panic!("COUPON_KAFKA is not set: run the tests through `make test`");
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

fn admin() -> KafkaAdmin {
    KafkaAdmin::new(&config()).unwrap()
}

fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("admin-test.{what}.{nanos}.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn spec(name: &str, partitions: i32, config: &[(&str, &str)]) -> TopicSpec {
    TopicSpec { name: name.into(), partitions, replication_factor: 1, config: map(config) }
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Waits until the topic is there with this many partitions, all led and serving: brokers learn of changes, and of being
/// leader, a moment later. Until then all that is said must be marked as passing.
async fn settled(admin: &KafkaAdmin, name: &str, partitions: usize) -> Topic {
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

async fn gone(admin: &KafkaAdmin, name: &str) {
    let start = Instant::now();
    while admin.describe_topics(&[name]).await.unwrap()[name] != Ok(TopicState::Absent) {
        assert!(start.elapsed() < PATIENCE, "{name} is still there");
    }
}

async fn new_topic(admin: &KafkaAdmin, what: &str, partitions: i32, config: &[(&str, &str)]) -> String {
    let name = unique(what);
    assert_eq!(admin.create_topic(&spec(&name, partitions, config)).await, Ok(Creation::Created));
    settled(admin, &name, usize::try_from(partitions).unwrap()).await;
    name
}

async fn produce(topic: &str, partition: i32, count: usize) {
    let producer: FutureProducer = config().create().unwrap();
    for n in 0..count {
        let record = FutureRecord::to(topic).partition(partition).key("k").payload("v");
        producer.send(record, PATIENCE).await.unwrap_or_else(|(error, _)| panic!("record {n}: {error}"));
    }
}

#[tokio::test]
async fn the_cluster_has_an_id_that_stays_and_live_brokers() {
    let first = admin().describe_cluster().await.unwrap();
    assert!(!first.cluster_id.is_empty() && !first.brokers.is_empty(), "{first:?}");
    assert_eq!(admin().describe_cluster().await.unwrap().cluster_id, first.cluster_id);
}

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

async fn eventually<T: PartialEq + std::fmt::Debug>(expected: &T, read: &impl AsyncFn() -> T) {
    let start = Instant::now();
    loop {
        let seen = read().await;
        if seen == *expected {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "expected {expected:?}, still {seen:?}");
    }
}

#[tokio::test]
async fn offsets_follow_what_is_written_and_purged() {
    let admin = admin();
    let (one, two) = (new_topic(&admin, "offsets", 2, &[]).await, new_topic(&admin, "offsets", 1, &[]).await);
    produce(&one, 0, 5).await;
    produce(&two, 0, 2).await;
    let all = [(one.clone(), 0), (one.clone(), 1), (two.clone(), 0)];
    let offsets = |found: [i64; 3]| -> BTreeMap<_, _> { all.iter().cloned().zip(found.map(Ok)).collect() };
    assert_eq!(admin.end_offsets(&all).await.unwrap(), offsets([5, 0, 2]));
    assert_eq!(admin.start_offsets(&all).await.unwrap(), offsets([0, 0, 0]));

    let purge: AdminClient<DefaultClientContext> = config().create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&one, 0, Offset::Offset(3)).unwrap();
    let purged = purge.delete_records(&before, &AdminOptions::new()).await.unwrap();
    purged.elements()[0].error().unwrap();
    assert_eq!(admin.start_offsets(&all).await.unwrap(), offsets([3, 0, 0]));
    assert_eq!(admin.end_offsets(&all).await.unwrap(), offsets([5, 0, 2]));
    admin.delete_topic(&one).await.unwrap();
    admin.delete_topic(&two).await.unwrap();
}

/// More partitions than one request takes: the answer must be whole.
#[tokio::test]
async fn offsets_of_many_partitions_are_asked_for_in_several_requests() {
    let admin = admin();
    let name = new_topic(&admin, "many", 3, &[]).await;
    produce(&name, 1, 1).await;
    let wanted: Vec<_> = (0..1200).map(|partition| (name.as_str(), partition)).collect();
    let ends = admin.end_offsets(&wanted).await.unwrap();
    assert_eq!(ends.len(), 1200);
    assert_eq!((0..3).map(|id| ends[&(name.clone(), id)].clone().unwrap()).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(ends.values().filter(|end| end.is_err()).count(), 1197);
    admin.delete_topic(&name).await.unwrap();
}

#[tokio::test]
async fn committed_offsets_are_read_and_written_without_joining() {
    let admin = admin();
    let (name, group) = (new_topic(&admin, "commits", 3, &[]).await, unique("group"));
    produce(&name, 0, 4).await;
    let nothing: BTreeMap<_, _> = (0..3).map(|partition| (partition, None)).collect();
    assert_eq!(admin.committed_offsets(&group, &name, 3).await.unwrap(), nothing);
    assert_eq!(admin.describe_groups(&[&group]).await.unwrap()[&group].as_ref().unwrap().state, GroupState::Absent);

    admin.commit_offsets(&group, &name, &BTreeMap::from([(0, 4), (2, 0)])).await.unwrap();
    let committed = admin.committed_offsets(&group, &name, 3).await.unwrap();
    assert_eq!(committed, BTreeMap::from([(0, Some(4)), (1, None), (2, Some(0))]), "zero is not the same as nothing");
    let described = admin.describe_groups(&[&group]).await.unwrap().remove(&group).unwrap().unwrap();
    assert_eq!((described.state, described.members.len()), (GroupState::Empty, 0));

    assert_eq!(admin.delete_group(&group).await, Ok(Deletion::Deleted));
    assert_eq!(admin.delete_group(&group).await, Ok(Deletion::Absent));
    assert_eq!(admin.committed_offsets(&group, &name, 3).await.unwrap(), nothing);

    let missing = unique("missing");
    let error = admin.commit_offsets(&group, &missing, &BTreeMap::from([(0, 1)])).await.unwrap_err();
    assert_eq!(error, AdminError::UnknownTopic { topic: missing });
    admin.delete_topic(&name).await.unwrap();
}

#[tokio::test]
async fn a_group_with_members_is_described_and_left_alone() {
    let admin = admin();
    let (name, group) = (new_topic(&admin, "members", 2, &[]).await, unique("group"));
    let idle = unique("idle");
    let consumer: BaseConsumer = config()
        .set("group.id", &group)
        .set("client.id", "tester")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[&name]).unwrap();
    let start = Instant::now();
    let described = loop {
        if let Some(event) = consumer.poll(Duration::from_millis(50)) {
            event.unwrap();
        }
        let mut groups = admin.describe_groups(&[&group, &idle]).await.unwrap();
        assert_eq!(groups[&idle].as_ref().unwrap().state, GroupState::Absent);
        let described = groups.remove(&group).unwrap().unwrap();
        if described.state == GroupState::Stable && !described.members[0].assignment.is_empty() {
            break described;
        }
        assert!(start.elapsed() < PATIENCE, "the group did not settle: {described:?}");
    };
    assert_eq!(described.members.len(), 1);
    let member = &described.members[0];
    assert_eq!((member.client_id.as_str(), member.instance_id.as_deref()), ("tester", None));
    assert!(!member.member_id.is_empty() && !member.host.is_empty());
    let mut assignment = member.assignment.clone();
    assignment.sort();
    assert_eq!(assignment, [(name.clone(), 0), (name.clone(), 1)]);

    for error in [
        admin.commit_offsets(&group, &name, &BTreeMap::from([(0, 1)])).await.unwrap_err(),
        admin.delete_group(&group).await.unwrap_err(),
    ] {
        assert!(matches!(error, AdminError::GroupActive { .. }) && error.to_string().contains(&group), "{error:?}");
    }
    let committed = admin.committed_offsets(&group, &name, 2).await.unwrap();
    assert_eq!(committed, BTreeMap::from([(0, None), (1, None)]), "nothing was changed under its feet");

    // The consumer goes before the topic: see `delete_topic`.
    consumer.unsubscribe();
    drop(consumer);
    let state = async || admin.describe_groups(&[&group]).await.unwrap()[&group].as_ref().unwrap().state;
    let start = Instant::now();
    while !matches!(state().await, GroupState::Empty | GroupState::Absent) {
        assert!(start.elapsed() < PATIENCE, "the member did not leave");
    }
    admin.delete_group(&group).await.unwrap();
    admin.delete_topic(&name).await.unwrap();
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

/// One client serves all campaigns of a class at once.
#[tokio::test]
async fn many_calls_share_one_client() {
    let admin = admin();
    let name = new_topic(&admin, "shared", 2, &[]).await;
    let groups: Vec<_> = (0..40).map(|_| unique("group")).collect();
    let calls = groups.iter().map(|group| {
        let (admin, name) = (admin.clone(), name.clone());
        async move {
            admin.commit_offsets(group, &name, &BTreeMap::from([(1, 7)])).await?;
            admin.committed_offsets(group, &name, 2).await
        }
    });
    for committed in futures::future::join_all(calls).await {
        assert_eq!(committed.unwrap(), BTreeMap::from([(0, None), (1, Some(7))]));
    }
    let described = admin.describe_groups(&groups).await.unwrap();
    assert!(described.values().all(|group| group.as_ref().unwrap().state == GroupState::Empty), "{described:?}");
    for group in &groups {
        admin.delete_group(group).await.unwrap();
    }
    admin.delete_topic(&name).await.unwrap();
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
