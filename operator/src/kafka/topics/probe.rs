//! The topic on which looks at a class try what a campaign's topic would let them do. Each realm has one. Pure.

use std::collections::BTreeMap;

use coupon_core::names::{KafkaNames, Names};
use coupon_kafka_admin::{ConfigEntry, Topic, TopicSpec, TopicState};

use super::{config, copies, creation, differing, in_sync, replication};
use crate::api;

/// How long what was tried is kept. Set on the topic together with [`SEGMENT_MS`], it tells our topic from somebody else's.
const RETENTION_MS: &str = "3600000";
/// Kafka removes whole segments only.
const SEGMENT_MS: &str = "3600000";

/// What bears the names of looks is called so, in place of a coupon id.
const PROBE: &str = "probe";
/// What is asked for and never made: of a topic that is there Kafka says no more than that it is.
const NEVER: &str = "never";

/// As a campaign's topics and group are called, so that the same ACLs hold; nobody can have them. The group holds an offset of the topic.
pub(crate) fn names(names: &KafkaNames, realm: &str) -> Names {
    names.of_nobody(realm, PROBE)
}

/// The same of topics and a group that never are.
pub(crate) fn never(names: &KafkaNames, realm: &str) -> Names {
    names.of_nobody(realm, NEVER)
}

/// What is set on it: as on a campaign's topic, but for how long it keeps records.
fn settings(kafka: &api::Kafka, min_in_sync: i32) -> BTreeMap<String, String> {
    let mut all = config(kafka, min_in_sync, false);
    all.insert("retention.ms".to_owned(), RETENTION_MS.to_owned());
    all.insert("segment.ms".to_owned(), SEGMENT_MS.to_owned());
    all
}

/// What it is made as.
pub(crate) fn spec(name: &str, kafka: &api::Kafka, brokers: usize) -> TopicSpec {
    let replication = replication(kafka, brokers);
    TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: replication.factor,
        config: creation(settings(kafka, replication.min_in_sync)),
    }
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeTopicState {
    /// It is not there.
    Absent,
    /// Somebody else made a topic of this name.
    NotOurs,
    /// It has fewer copies than the class asks for by now.
    TooFewCopies,
    /// It is ours, and as it should be once these are set.
    Ours(BTreeMap<String, String>),
}

/// How it stands, with the settings that it has.
pub(crate) fn state_of(
    state: &TopicState,
    found: &BTreeMap<String, ConfigEntry>,
    kafka: &api::Kafka,
    wanted: &TopicSpec,
) -> ProbeTopicState {
    let TopicState::Present(topic) = state else { return ProbeTopicState::Absent };
    if !is_ours(topic, found) {
        return ProbeTopicState::NotOurs;
    }
    if copies(topic) < wanted.replication_factor {
        return ProbeTopicState::TooFewCopies;
    }
    ProbeTopicState::Ours(differing(kafka, settings(kafka, in_sync(kafka, topic)), found))
}

/// Kafka lets nobody sign a topic, so it is told by what only we would set on a topic of this name.
fn is_ours(topic: &Topic, found: &BTreeMap<String, ConfigEntry>) -> bool {
    let is = |key: &str, value: &str| {
        found.get(key).is_some_and(|entry| entry.is_set() && entry.value.as_deref() == Some(value))
    };
    topic.partitions.len() == 1 && is("retention.ms", RETENTION_MS) && is("segment.ms", SEGMENT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coupon_kafka_admin::{ConfigSource, Partition};

    fn topic(partitions: i32, copies: i32) -> TopicState {
        let partition = |id| Partition { id, leader: Some(1), replicas: (1..=copies).collect(), isr: vec![1] };
        TopicState::Present(Topic { topic_id: "t".to_owned(), partitions: (0..partitions).map(partition).collect() })
    }

    /// Wrong: a topic that somebody uses is written to, configured, or removed.
    #[test]
    fn ours_is_told_from_a_strangers() {
        let kafka = crate::fixtures::class().spec.kafka;
        let wanted = spec("prod.-.probe.coupon-events", &kafka, 3);
        let entry =
            |value: &str| ConfigEntry { value: Some(value.to_owned()), source: ConfigSource::Topic, read_only: false };
        let all = settings(
            &kafka,
            in_sync(
                &kafka,
                match &topic(1, 3) {
                    TopicState::Present(topic) => topic,
                    TopicState::Absent => panic!(),
                },
            ),
        );
        let ours: BTreeMap<_, _> = all.iter().map(|(key, value)| (key.clone(), entry(value))).collect();
        let with = |key: &str, value: ConfigEntry| {
            let mut changed = ours.clone();
            changed.insert(key.to_owned(), value);
            changed
        };
        let inherited = ConfigEntry { source: ConfigSource::Broker, ..entry(RETENTION_MS) };
        let drifted = BTreeMap::from([("cleanup.policy".to_owned(), "delete".to_owned())]);
        for (what, state, found, expected) in [
            ("not there", TopicState::Absent, BTreeMap::new(), ProbeTopicState::Absent),
            ("as it was made", topic(1, 3), ours.clone(), ProbeTopicState::Ours(BTreeMap::new())),
            (
                "somebody changed a setting",
                topic(1, 3),
                with("cleanup.policy", entry("compact")),
                ProbeTopicState::Ours(drifted),
            ),
            ("the class asks for more copies", topic(1, 1), ours.clone(), ProbeTopicState::TooFewCopies),
            ("more partitions", topic(2, 3), ours.clone(), ProbeTopicState::NotOurs),
            ("another retention", topic(1, 3), with("retention.ms", entry("604800000")), ProbeTopicState::NotOurs),
            ("the brokers' retention", topic(1, 3), with("retention.ms", inherited), ProbeTopicState::NotOurs),
            ("nothing set on it", topic(1, 3), BTreeMap::new(), ProbeTopicState::NotOurs),
        ] {
            assert_eq!(state_of(&state, &found, &kafka, &wanted), expected, "{what}");
        }
    }

    /// Wrong: a class whose names begin as the brokers' owners want is never Ready, as its looks may do nothing.
    #[test]
    fn prefixed_acls_of_campaigns_hold_for_it() {
        let own = coupon_core::names::Templates {
            topic: "acme.coupons.{namespace}.{couponId}.v1".to_owned(),
            dead_letter_topic: "{topic}.dlq".to_owned(),
            consumer_group: "acme.readers.{namespace}.{couponId}".to_owned(),
        };
        for (templates, expected) in [
            (
                Default::default(),
                ["prod.-.probe.coupon-events", "prod.-.probe.coupon-events.DLT", "prod.-.probe.coupon-consumer"],
            ),
            (own, ["acme.coupons.-.probe.v1", "acme.coupons.-.probe.v1.dlq", "acme.readers.-.probe"]),
        ] {
            let kafka_names = KafkaNames::new(templates).unwrap();
            let Names { topic, dead_letter_topic, group } = names(&kafka_names, "prod");
            assert_eq!([topic.as_str(), &dead_letter_topic, &group], expected);
            let never = never(&kafka_names, "prod");
            assert_eq!(never.topic, topic.replace("probe", "never"));
            assert_eq!(never.group, group.replace("probe", "never"));
        }
        assert!(coupon_core::identity::Identity::new("prod", "-", "probe").is_err(), "nobody can have it");
    }
}
