//! Where a topic ends.

use coupon_kafka_admin::{AdminError, TopicState};

use crate::class::pools::Systems;
use std::collections::BTreeMap;

/// End offset of each partition; an error if one cannot be read.
pub async fn ends(systems: &Systems, topic: &str, partitions: i32) -> Result<BTreeMap<i32, i64>, AdminError> {
    let wanted: Vec<(&str, i32)> = (0..partitions).map(|partition| (topic, partition)).collect();
    let found = systems.kafka.end_offsets(&wanted).await?;
    found.into_iter().map(|((_, partition), offset)| Ok((partition, offset?))).collect()
}

/// Partitions of a topic; 0 when it is absent.
pub async fn partitions(systems: &Systems, topic: &str) -> Result<i32, AdminError> {
    Ok(described(systems, topic).await?.map_or(0, |(_, partitions)| partitions))
}

/// Id and partitions of a topic; `None` when it is absent.
pub(crate) async fn described(systems: &Systems, topic: &str) -> Result<Option<(String, i32)>, AdminError> {
    let mut found = systems.kafka.describe_topics(&[topic]).await?;
    Ok(match found.remove(topic).unwrap_or(Ok(TopicState::Absent))? {
        TopicState::Present(topic) => {
            let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            Some((topic.topic_id, partitions))
        }
        TopicState::Absent => None,
    })
}
