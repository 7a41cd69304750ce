//! Conditions and status of Kafka and the campaign's topics. Pure.

use coupon_kafka_admin::{AdminError, TopicState};

use super::Facts;
use crate::api::conditions::Report;
use crate::api::{ConditionType, TopicStatus};
use crate::kafka::topics;

/// What keeps Kafka from being read, or parts of it for long.
pub(super) fn failure(facts: &Facts<'_>) -> Option<(&'static str, String)> {
    match &facts.seen.kafka {
        Err(error) => Some((error.reason(), error.to_string())),
        Ok(kafka) if facts.offsets_unread => {
            kafka.unread.as_ref().map(|error| ("OffsetsUnreadable", unread_text(error)))
        }
        Ok(_) => facts.kafka_refuses.clone().map(|text| ("KafkaNotAuthorized", text)),
    }
}

/// Offsets that cannot be read, in words.
pub(in crate::reconcile) fn unread_text(error: &AdminError) -> String {
    format!(
        "the offsets of the topic or of its consumer group cannot be read, so what waits to be stored is not known: {error}"
    )
}

/// The topic as found.
pub(super) fn status(facts: &Facts<'_>) -> Option<TopicStatus> {
    let kafka = facts.seen.kafka.as_ref().ok()?;
    let TopicState::Present(topic) = &kafka.topic.events else { return None };
    let min_in_sync = kafka.topic.events_config.get("min.insync.replicas").and_then(|entry| entry.value.as_ref());
    Some(TopicStatus {
        name: facts.id.topic(),
        dead_letter_topic: facts.id.dead_letter_topic(),
        consumer_group: Some(facts.id.group()),
        topic_id: Some(topic.topic_id.clone()),
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: topics::copies(topic),
        min_in_sync_replicas: min_in_sync.and_then(|text| text.parse().ok()).unwrap_or(0),
    })
}

/// What the condition `TopicReady` says.
pub(super) fn report(facts: &Facts<'_>) -> Report {
    use ConditionType::TopicReady;
    let Ok(kafka) = &facts.seen.kafka else {
        return Report::unknown(TopicReady, "KafkaUnreadable", "Kafka could not be asked about the topic");
    };
    let (TopicState::Present(topic), TopicState::Present(_)) = (&kafka.topic.events, &kafka.topic.dead_letters) else {
        return Report::no(TopicReady, "TopicMissing", "the topic or its dead-letter topic is not there yet");
    };
    if !topic.has_leaders() {
        return Report::no(TopicReady, "NoLeader", "some partition has no leader");
    }
    let asked = i32::from(facts.class.spec.kafka.replication_factor);
    let copies = topics::copies(topic);
    if copies < asked {
        let text = format!(
            "the topic has {copies} copies of each record, the class asks for {asked} and allows fewer; one broken broker can \
             stop or lose what it holds"
        );
        return Report::yes(TopicReady, "ReplicationLowered", text);
    }
    Report::yes(TopicReady, "TopicAsSpecified", "the topic and its dead-letter topic are as the spec says")
}
