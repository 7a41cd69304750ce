//! Reads answers. Copies everything, so that nothing outlives its event, and finds the failures inside.

#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka_sys as sys;

use super::error::Failure;
use super::event::Event;
use super::model::{ClusterState, ConfigEntry, ConfigSource, Group, GroupMember, GroupState, Partition, Topic};
use super::native::{array, failure, failure_of, text};

/// Something named in an answer, and what became of it.
pub(super) type Named<T> = (String, Result<T, Failure>);

fn outcome<T>(failure: Option<Failure>, value: T) -> Result<T, Failure> {
    failure.map_or(Ok(value), Err)
}

/// An answer of another kind than its request cannot happen; if it does, nothing may be taken as done.
pub(super) fn as_kind<T>(result: *const T) -> Result<*const T, Failure> {
    match result.is_null() {
        false => Ok(result),
        true => Err(Failure { code: Code::Fail, message: "the answer is not of the kind asked for".into() }),
    }
}

/// The only element of an answer to a request about one thing.
pub(super) fn only<T>(mut answers: Vec<Named<T>>) -> Result<T, Failure> {
    match (answers.pop(), answers.is_empty()) {
        (Some((_, result)), true) => result,
        _ => Err(Failure { code: Code::Fail, message: "the answer does not hold exactly one result".into() }),
    }
}

// Below, every pointer comes from the event and lives as long as it does; each function copies before it returns.

pub(super) fn cluster(event: &Event) -> Result<ClusterState, Failure> {
    // SAFETY: as said above.
    unsafe {
        let result = as_kind(sys::rd_kafka_event_DescribeCluster_result(event.as_ptr()))?;
        let nodes = array(|count| sys::rd_kafka_DescribeCluster_result_nodes(result, count));
        Ok(ClusterState {
            cluster_id: text(sys::rd_kafka_DescribeCluster_result_cluster_id(result)),
            brokers: nodes.iter().map(|node| sys::rd_kafka_Node_id(*node)).collect::<BTreeSet<_>>(),
        })
    }
}

pub(super) fn topics(event: &Event) -> Result<Vec<Named<Topic>>, Failure> {
    // SAFETY: as said above.
    unsafe {
        let result = as_kind(sys::rd_kafka_event_DescribeTopics_result(event.as_ptr()))?;
        let topics = array(|count| sys::rd_kafka_DescribeTopics_result_topics(result, count));
        Ok(topics.iter().map(|topic| named_topic(*topic)).collect())
    }
}

/// # Safety
/// `topic` is valid.
unsafe fn named_topic(topic: *const sys::rd_kafka_TopicDescription_t) -> Named<Topic> {
    // SAFETY: valid as the caller says, and all parts live as long.
    unsafe {
        let name = text(sys::rd_kafka_TopicDescription_name(topic));
        if let Some(failure) = failure_of(sys::rd_kafka_TopicDescription_error(topic)) {
            return (name, Err(failure));
        }
        let mut partitions = Vec::new();
        for partition in array(|count| sys::rd_kafka_TopicDescription_partitions(topic, count)) {
            let leader = sys::rd_kafka_TopicPartitionInfo_leader(*partition);
            partitions.push(Partition {
                id: sys::rd_kafka_TopicPartitionInfo_partition(*partition),
                leader: (!leader.is_null()).then(|| sys::rd_kafka_Node_id(leader)).filter(|id| *id >= 0),
                replicas: nodes(array(|count| sys::rd_kafka_TopicPartitionInfo_replicas(*partition, count))),
                isr: nodes(array(|count| sys::rd_kafka_TopicPartitionInfo_isr(*partition, count))),
            });
        }
        partitions.sort_by_key(|partition| partition.id);
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let topic_id = if id.is_null() { String::new() } else { text(sys::rd_kafka_Uuid_base64str(id)) };
        (name, Ok(Topic { topic_id, partitions }))
    }
}

/// # Safety
/// All nodes are valid or null.
unsafe fn nodes(nodes: &[*const sys::rd_kafka_Node_t]) -> Vec<i32> {
    // SAFETY: not null, so valid as the caller says.
    nodes.iter().filter(|node| !node.is_null()).map(|node| unsafe { sys::rd_kafka_Node_id(*node) }).collect()
}

/// The outcome of creating, growing or deleting topics.
pub(super) fn topic_results(event: &Event) -> Result<Vec<Named<()>>, Failure> {
    // SAFETY: as said above.
    unsafe {
        let results = match sys::rd_kafka_event_type(event.as_ptr()) {
            sys::RD_KAFKA_EVENT_CREATETOPICS_RESULT => {
                let result = as_kind(sys::rd_kafka_event_CreateTopics_result(event.as_ptr()))?;
                array(|count| sys::rd_kafka_CreateTopics_result_topics(result, count))
            }
            sys::RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT => {
                let result = as_kind(sys::rd_kafka_event_CreatePartitions_result(event.as_ptr()))?;
                array(|count| sys::rd_kafka_CreatePartitions_result_topics(result, count))
            }
            _ => {
                let result = as_kind(sys::rd_kafka_event_DeleteTopics_result(event.as_ptr()))?;
                array(|count| sys::rd_kafka_DeleteTopics_result_topics(result, count))
            }
        };
        let read = |topic| {
            let message = text(sys::rd_kafka_topic_result_error_string(topic));
            let failed = failure(sys::rd_kafka_topic_result_error(topic).into(), message);
            (text(sys::rd_kafka_topic_result_name(topic)), outcome(failed, ()))
        };
        Ok(results.iter().map(|topic| read(*topic)).collect())
    }
}

/// The outcome of describing or altering configurations; an altered resource has no entries.
pub(super) fn configs(event: &Event) -> Result<Vec<Named<BTreeMap<String, ConfigEntry>>>, Failure> {
    // SAFETY: as said above.
    unsafe {
        let resources = match sys::rd_kafka_event_type(event.as_ptr()) {
            sys::RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT => {
                let result = as_kind(sys::rd_kafka_event_DescribeConfigs_result(event.as_ptr()))?;
                array(|count| sys::rd_kafka_DescribeConfigs_result_resources(result, count))
            }
            _ => {
                let result = as_kind(sys::rd_kafka_event_IncrementalAlterConfigs_result(event.as_ptr()))?;
                array(|count| sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, count))
            }
        };
        let read = |resource| {
            let message = text(sys::rd_kafka_ConfigResource_error_string(resource));
            let failed = failure(sys::rd_kafka_ConfigResource_error(resource).into(), message);
            let entries = array(|count| sys::rd_kafka_ConfigResource_configs(resource, count));
            let entries = entries.iter().map(|entry| config_entry(*entry)).collect();
            (text(sys::rd_kafka_ConfigResource_name(resource)), outcome(failed, entries))
        };
        Ok(resources.iter().map(|resource| read(*resource)).collect())
    }
}

/// # Safety
/// `entry` is valid.
unsafe fn config_entry(entry: *const sys::rd_kafka_ConfigEntry_t) -> (String, ConfigEntry) {
    use sys::rd_kafka_ConfigSource_t as source;
    // SAFETY: valid as the caller says. Kafka gives a topic's keys only sources that the enum has.
    unsafe {
        let source = match sys::rd_kafka_ConfigEntry_source(entry) {
            source::RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG => ConfigSource::Topic,
            source::RD_KAFKA_CONFIG_SOURCE_DYNAMIC_BROKER_CONFIG
            | source::RD_KAFKA_CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER_CONFIG
            | source::RD_KAFKA_CONFIG_SOURCE_STATIC_BROKER_CONFIG => ConfigSource::Broker,
            source::RD_KAFKA_CONFIG_SOURCE_DEFAULT_CONFIG => ConfigSource::Default,
            _ => ConfigSource::Unknown,
        };
        let value = sys::rd_kafka_ConfigEntry_value(entry);
        let value = (!value.is_null()).then(|| text(value));
        let read_only = sys::rd_kafka_ConfigEntry_is_read_only(entry) == 1;
        (text(sys::rd_kafka_ConfigEntry_name(entry)), ConfigEntry { value, source, read_only })
    }
}

/// One partition of an answer: topic, partition, and its raw offset (negative: none) or failure.
pub(super) type PartitionOffset = (String, i32, Result<i64, Failure>);

/// # Safety
/// `partition` is valid.
unsafe fn partition_offset(partition: *const sys::rd_kafka_topic_partition_t) -> PartitionOffset {
    // SAFETY: valid as the caller says.
    unsafe {
        let partition = &*partition;
        let failed = failure(partition.err.into(), String::new());
        (text(partition.topic), partition.partition, outcome(failed, partition.offset))
    }
}

/// # Safety
/// `list` is null or valid.
pub(super) unsafe fn partition_offsets(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<PartitionOffset> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the list holds `cnt` elements from `elems` on.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        (0..count).map(|i| partition_offset((*list).elems.add(i))).collect()
    }
}

/// What became of a partition in an answer that holds no offsets.
///
/// # Safety
/// `result` is valid.
pub(super) unsafe fn partition_error(result: *const sys::rd_kafka_topic_partition_result_t) -> PartitionOffset {
    // SAFETY: valid as the caller says, and its parts live as long.
    unsafe {
        let partition = &*sys::rd_kafka_topic_partition_result_partition(result);
        let failed = failure_of(sys::rd_kafka_topic_partition_result_error(result));
        (text(partition.topic), partition.partition, outcome(failed, partition.offset))
    }
}

pub(super) fn listed_offsets(event: &Event) -> Result<Vec<PartitionOffset>, Failure> {
    // SAFETY: as said above.
    unsafe {
        let result = as_kind(sys::rd_kafka_event_ListOffsets_result(event.as_ptr()))?;
        let infos = array(|count| sys::rd_kafka_ListOffsets_result_infos(result, count));
        let read = |info| partition_offset(sys::rd_kafka_ListOffsetsResultInfo_topic_partition(info));
        Ok(infos.iter().map(|info| read(*info)).collect())
    }
}

/// The outcome of reading or writing a group's offsets, or of deleting groups (then without offsets).
pub(super) fn group_results(event: &Event) -> Result<Vec<Named<Vec<PartitionOffset>>>, Failure> {
    // SAFETY: as said above.
    unsafe {
        let results = match sys::rd_kafka_event_type(event.as_ptr()) {
            sys::RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT => {
                let result = as_kind(sys::rd_kafka_event_ListConsumerGroupOffsets_result(event.as_ptr()))?;
                array(|count| sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, count))
            }
            sys::RD_KAFKA_EVENT_ALTERCONSUMERGROUPOFFSETS_RESULT => {
                let result = as_kind(sys::rd_kafka_event_AlterConsumerGroupOffsets_result(event.as_ptr()))?;
                array(|count| sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, count))
            }
            _ => {
                let result = as_kind(sys::rd_kafka_event_DeleteGroups_result(event.as_ptr()))?;
                array(|count| sys::rd_kafka_DeleteGroups_result_groups(result, count))
            }
        };
        let read = |group| {
            let failed = failure_of(sys::rd_kafka_group_result_error(group));
            let offsets = partition_offsets(sys::rd_kafka_group_result_partitions(group));
            (text(sys::rd_kafka_group_result_name(group)), outcome(failed, offsets))
        };
        Ok(results.iter().map(|group| read(*group)).collect())
    }
}

pub(super) fn groups(event: &Event) -> Result<Vec<Named<Group>>, Failure> {
    // SAFETY: as said above.
    unsafe {
        let result = as_kind(sys::rd_kafka_event_DescribeConsumerGroups_result(event.as_ptr()))?;
        let groups = array(|count| sys::rd_kafka_DescribeConsumerGroups_result_groups(result, count));
        Ok(groups.iter().map(|group| named_group(*group)).collect())
    }
}

/// # Safety
/// `group` is valid.
unsafe fn named_group(group: *const sys::rd_kafka_ConsumerGroupDescription_t) -> Named<Group> {
    use sys::rd_kafka_consumer_group_state_t as state;
    // SAFETY: valid as the caller says; librdkafka makes the state from a name, so it is one that the enum has.
    unsafe {
        let name = text(sys::rd_kafka_ConsumerGroupDescription_group_id(group));
        if let Some(failure) = failure_of(sys::rd_kafka_ConsumerGroupDescription_error(group)) {
            return (name, Err(failure));
        }
        let state = match sys::rd_kafka_ConsumerGroupDescription_state(group) {
            state::RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE => GroupState::PreparingRebalance,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_COMPLETING_REBALANCE => GroupState::CompletingRebalance,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE => GroupState::Stable,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD => GroupState::Absent,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY => GroupState::Empty,
            _ => GroupState::Unknown,
        };
        let count = sys::rd_kafka_ConsumerGroupDescription_member_count(group);
        let members = (0..count).map(|i| member(sys::rd_kafka_ConsumerGroupDescription_member(group, i))).collect();
        (name, Ok(Group { state, members }))
    }
}

/// # Safety
/// `member` is valid.
unsafe fn member(member: *const sys::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: valid as the caller says.
    unsafe {
        let instance = sys::rd_kafka_MemberDescription_group_instance_id(member);
        let assignment = sys::rd_kafka_MemberDescription_assignment(member);
        let held = match assignment.is_null() {
            true => Vec::new(),
            false => partition_offsets(sys::rd_kafka_MemberAssignment_partitions(assignment)),
        };
        GroupMember {
            member_id: text(sys::rd_kafka_MemberDescription_consumer_id(member)),
            client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
            host: text(sys::rd_kafka_MemberDescription_host(member)),
            instance_id: (!instance.is_null()).then(|| text(instance)),
            assignment: held.into_iter().map(|(topic, partition, _)| (topic, partition)).collect(),
        }
    }
}
