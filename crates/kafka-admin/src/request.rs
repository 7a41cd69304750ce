//! Builds and sends requests. Everything here is over before the first await, so no native object crosses one.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as sys;
use sys::rd_kafka_AlterConfigOpType_t::{RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET};
use sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
use sys::rd_kafka_admin_op_t as op;

use super::client::{Call, Client};
use super::error::Failure;
use super::model::TopicSpec;
use super::native::{Complaint, Native, Owned, c_string, failure, failure_of, topic_name};

pub(super) type Sent = Result<Call, Failure>;

/// Takes over a new object, or says what could not be made.
///
/// # Safety
/// As [`Owned::new`].
pub(super) unsafe fn made<T: Native>(object: *mut T, complaint: Complaint, what: &str) -> Result<Owned<T>, Failure> {
    // SAFETY: passed on.
    unsafe { Owned::new(object) }.ok_or_else(|| complaint.into_failure(what))
}

pub(super) fn describe_cluster(client: &Arc<Client>, deadline: Duration) -> Sent {
    client.submit(op::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, deadline, |rk, options, queue| {
        // SAFETY: `submit` passes valid pointers.
        unsafe { sys::rd_kafka_DescribeCluster(rk, options, queue) }
    })
}

pub(super) fn describe_topics(client: &Arc<Client>, deadline: Duration, names: &[String]) -> Sent {
    let names = names.iter().map(|name| topic_name(name)).collect::<Result<Vec<CString>, _>>()?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the strings live until after the call, which copies them.
    let topics = unsafe {
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        made(topics, Complaint::new(), "topic names")?
    };
    client.submit(op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, deadline, |rk, options, queue| {
        // SAFETY: all valid; librdkafka copies what it needs.
        unsafe { sys::rd_kafka_DescribeTopics(rk, topics.as_ptr(), options, queue) }
    })
}

fn new_topic(spec: &TopicSpec) -> Result<Owned<sys::rd_kafka_NewTopic_t>, Failure> {
    let name = topic_name(&spec.name)?;
    let mut complaint = Complaint::new();
    // SAFETY: string and buffer are valid; the string is copied.
    let topic = unsafe {
        let topic = sys::rd_kafka_NewTopic_new(
            name.as_ptr(),
            spec.partitions,
            spec.replication_factor,
            complaint.as_mut_ptr(),
            complaint.capacity(),
        );
        made(topic, complaint, "new topic")?
    };
    for (key, value) in &spec.config {
        let (c_key, c_value) = (c_string(key)?, c_string(value)?);
        // SAFETY: all valid; the strings are copied.
        let code = unsafe { sys::rd_kafka_NewTopic_set_config(topic.as_ptr(), c_key.as_ptr(), c_value.as_ptr()) };
        failure(code.into(), format!("topic config {key}")).map_or(Ok(()), Err)?;
    }
    Ok(topic)
}

/// With `dry` the brokers only say whether they would create them.
pub(super) fn create_topics(client: &Arc<Client>, deadline: Duration, specs: &[TopicSpec], dry: bool) -> Sent {
    let topics = specs.iter().map(new_topic).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = topics.iter().map(Owned::as_ptr).collect();
    client.submit_as(op::RD_KAFKA_ADMIN_OP_CREATETOPICS, deadline, dry, |rk, options, queue| {
        // SAFETY: as many valid elements as said; librdkafka copies them.
        unsafe { sys::rd_kafka_CreateTopics(rk, pointers.as_mut_ptr(), pointers.len(), options, queue) }
    })
}

/// With `dry` the brokers only say whether they would grow it.
pub(super) fn grow_partitions(client: &Arc<Client>, deadline: Duration, name: &str, total: usize, dry: bool) -> Sent {
    let name = topic_name(name)?;
    let mut complaint = Complaint::new();
    // SAFETY: string and buffer are valid; the string is copied.
    let growth = unsafe {
        let growth =
            sys::rd_kafka_NewPartitions_new(name.as_ptr(), total, complaint.as_mut_ptr(), complaint.capacity());
        made(growth, complaint, "partition count")?
    };
    client.submit_as(op::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, deadline, dry, |rk, options, queue| {
        // SAFETY: one valid element; librdkafka copies it.
        unsafe { sys::rd_kafka_CreatePartitions(rk, &mut growth.as_ptr(), 1, options, queue) }
    })
}

pub(super) fn delete_topic(client: &Arc<Client>, deadline: Duration, name: &str) -> Sent {
    let name = topic_name(name)?;
    // SAFETY: the string is valid and copied.
    let topic = unsafe { made(sys::rd_kafka_DeleteTopic_new(name.as_ptr()), Complaint::new(), "topic name")? };
    client.submit(op::RD_KAFKA_ADMIN_OP_DELETETOPICS, deadline, |rk, options, queue| {
        // SAFETY: one valid element; librdkafka copies it.
        unsafe { sys::rd_kafka_DeleteTopics(rk, &mut topic.as_ptr(), 1, options, queue) }
    })
}

fn topic_resource(name: &str) -> Result<Owned<sys::rd_kafka_ConfigResource_t>, Failure> {
    let name = topic_name(name)?;
    // SAFETY: the string is valid and copied.
    unsafe {
        let resource = sys::rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name.as_ptr());
        made(resource, Complaint::new(), "topic name")
    }
}

pub(super) fn topic_configs(client: &Arc<Client>, deadline: Duration, names: &[String]) -> Sent {
    let resources = names.iter().map(|name| topic_resource(name)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = resources.iter().map(Owned::as_ptr).collect();
    client.submit(op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, deadline, |rk, options, queue| {
        // SAFETY: as many valid elements as said; librdkafka copies them.
        unsafe { sys::rd_kafka_DescribeConfigs(rk, pointers.as_mut_ptr(), pointers.len(), options, queue) }
    })
}

/// With `dry` the brokers only say whether they would set it.
pub(super) fn set_config_incremental(
    client: &Arc<Client>,
    deadline: Duration,
    name: &str,
    set: &BTreeMap<String, String>,
    delete: &[String],
    dry: bool,
) -> Sent {
    let resource = topic_resource(name)?;
    let setting = set.iter().map(|(key, value)| (key, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, Some(value)));
    let deleting = delete.iter().map(|key| (key, RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, None));
    for (key, change, value) in setting.chain(deleting) {
        let key = c_string(key)?;
        let value = value.map(|value| c_string(value)).transpose()?;
        let value = value.as_ref().map_or(std::ptr::null(), |value| value.as_ptr());
        // SAFETY: all valid and copied; a deletion takes no value. The error returned is ours to destroy.
        let refused = unsafe {
            let refused = Owned::new(sys::rd_kafka_ConfigResource_add_incremental_config(
                resource.as_ptr(),
                key.as_ptr(),
                change,
                value,
            ));
            refused.and_then(|error| failure_of(error.as_ptr()))
        };
        refused.map_or(Ok(()), Err)?;
    }
    client.submit_as(op::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS, deadline, dry, |rk, options, queue| {
        // SAFETY: one valid element; librdkafka copies it.
        unsafe { sys::rd_kafka_IncrementalAlterConfigs(rk, &mut resource.as_ptr(), 1, options, queue) }
    })
}

/// A list for librdkafka. Names are checked first: the list itself panics on a NUL.
pub(super) fn partition_list<'a>(
    elements: impl IntoIterator<Item = (&'a str, i32, Offset)>,
) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in elements {
        topic_name(topic)?;
        list.add_partition(topic, partition)
            .set_offset(offset)
            .map_err(|error| Failure { code: Code::InvalidArgument, message: error.to_string() })?;
    }
    Ok(list)
}

/// `position` is [`Offset::Beginning`] or [`Offset::End`], which stand for the same numbers here.
pub(super) fn list_offsets(
    client: &Arc<Client>,
    deadline: Duration,
    partitions: &[(String, i32)],
    position: Offset,
) -> Sent {
    let list = partition_list(partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition, position)))?;
    client.submit(op::RD_KAFKA_ADMIN_OP_LISTOFFSETS, deadline, |rk, options, queue| {
        // SAFETY: all valid; librdkafka copies the list.
        unsafe { sys::rd_kafka_ListOffsets(rk, list.ptr(), options, queue) }
    })
}

pub(super) fn committed_offsets(
    client: &Arc<Client>,
    deadline: Duration,
    group: &str,
    topic: &str,
    partition_count: i32,
) -> Sent {
    let group = c_string(group)?;
    let list = partition_list((0..partition_count).map(|partition| (topic, partition, Offset::Invalid)))?;
    // SAFETY: string and list are valid and copied.
    let wanted = unsafe {
        let wanted = sys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.ptr());
        made(wanted, Complaint::new(), "group and partitions")?
    };
    client.submit(op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, deadline, |rk, options, queue| {
        // SAFETY: one valid element; librdkafka copies it.
        unsafe { sys::rd_kafka_ListConsumerGroupOffsets(rk, &mut wanted.as_ptr(), 1, options, queue) }
    })
}

pub(super) fn commit_offsets(
    client: &Arc<Client>,
    deadline: Duration,
    group: &str,
    topic: &str,
    offsets: &BTreeMap<i32, i64>,
) -> Sent {
    let group = c_string(group)?;
    let elements = offsets.iter().map(|(partition, offset)| (topic, *partition, Offset::Offset(*offset)));
    let list = partition_list(elements)?;
    // SAFETY: string and list are valid and copied.
    let wanted = unsafe {
        let wanted = sys::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.ptr());
        made(wanted, Complaint::new(), "group and offsets")?
    };
    client.submit(op::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, deadline, |rk, options, queue| {
        // SAFETY: one valid element; librdkafka copies it.
        unsafe { sys::rd_kafka_AlterConsumerGroupOffsets(rk, &mut wanted.as_ptr(), 1, options, queue) }
    })
}

pub(super) fn describe_groups(client: &Arc<Client>, deadline: Duration, groups: &[String]) -> Sent {
    let groups = groups.iter().map(|group| c_string(group)).collect::<Result<Vec<CString>, _>>()?;
    let mut pointers: Vec<_> = groups.iter().map(|group| group.as_ptr()).collect();
    client.submit(op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, deadline, |rk, options, queue| {
        // SAFETY: as many valid strings as said; librdkafka copies them.
        unsafe { sys::rd_kafka_DescribeConsumerGroups(rk, pointers.as_mut_ptr(), pointers.len(), options, queue) }
    })
}

pub(super) fn delete_group(client: &Arc<Client>, deadline: Duration, group: &str) -> Sent {
    let group = c_string(group)?;
    // SAFETY: the string is valid and copied.
    let group = unsafe { made(sys::rd_kafka_DeleteGroup_new(group.as_ptr()), Complaint::new(), "group name")? };
    client.submit(op::RD_KAFKA_ADMIN_OP_DELETEGROUPS, deadline, |rk, options, queue| {
        // SAFETY: one valid element; librdkafka copies it.
        unsafe { sys::rd_kafka_DeleteGroups(rk, &mut group.as_ptr(), 1, options, queue) }
    })
}
