//! What a login may do with a topic, as the brokers tell it: asked, so that nothing has to be tried.

#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as sys;
use sys::rd_kafka_AclOperation_t as acl;
use sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;

use super::KafkaAdmin;
use super::answer::{Named, as_kind, only};
use super::client::Client;
use super::error::{AdminError, Failure, Subject};
use super::event::Event;
use super::native::{Complaint, Owned, array, failure_of, text, topic_name};
use super::request::{Sent, made};

/// Something that a login does with a topic. Shown as Kafka's ACLs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display)]
pub enum Operation {
    /// Reads records.
    Read,
    /// Writes records.
    Write,
    /// Removes records.
    Delete,
}

impl Operation {
    /// By its number, as brokers may know more operations than the bindings have names for.
    fn of(number: u32) -> Option<Self> {
        let known = [
            (acl::RD_KAFKA_ACL_OPERATION_READ, Self::Read),
            (acl::RD_KAFKA_ACL_OPERATION_WRITE, Self::Write),
            (acl::RD_KAFKA_ACL_OPERATION_DELETE, Self::Delete),
        ];
        known.into_iter().find(|(native, _)| *native as u32 == number).map(|(_, operation)| operation)
    }
}

impl KafkaAdmin {
    /// What this login may do with a topic. `None`: these brokers do not tell.
    ///
    /// # Errors
    /// [`AdminError::UnknownTopic`] if there is none, [`AdminError::NotAuthorized`] if the login may not even see it.
    pub async fn topic_rights(&self, topic: &str) -> Result<Option<BTreeSet<Operation>>, AdminError> {
        let call = request(&self.client(), self.deadline, topic);
        self.read(call, Subject::Topic(topic), |event| only(answer(event)?)).await
    }
}

fn request(client: &Arc<Client>, deadline: Duration, topic: &str) -> Sent {
    let name = topic_name(topic)?;
    // SAFETY: one valid string, which lives until after the call and is copied.
    let topics = unsafe {
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(&mut name.as_ptr(), 1);
        made(topics, Complaint::new(), "topic name")?
    };
    client.submit(RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, deadline, |rk, options, queue| {
        // SAFETY: all valid; the options are ours and not yet used, and an error that comes of setting one is ours to destroy. Without the
        // option the answer tells no rights, which is told as such.
        unsafe {
            let refused = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.cast_mut(), 1);
            drop(Owned::new(refused));
            sys::rd_kafka_DescribeTopics(rk, topics.as_ptr(), options, queue);
        }
    })
}

fn answer(event: &Event) -> Result<Vec<Named<Option<BTreeSet<Operation>>>>, Failure> {
    // SAFETY: the pointers come from the event and live as long; everything is copied before this returns.
    unsafe {
        let result = as_kind(sys::rd_kafka_event_DescribeTopics_result(event.as_ptr()))?;
        let topics = array(|count| sys::rd_kafka_DescribeTopics_result_topics(result, count));
        let read = |topic| {
            let name = text(sys::rd_kafka_TopicDescription_name(topic));
            if let Some(failure) = failure_of(sys::rd_kafka_TopicDescription_error(topic)) {
                return (name, Err(failure));
            }
            let mut count = 0;
            let first = sys::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
            let told = (!first.is_null()).then(|| std::slice::from_raw_parts(first.cast::<u32>(), count));
            (name, Ok(told.map(|all| all.iter().copied().filter_map(Operation::of).collect())))
        };
        Ok(topics.iter().map(|topic| read(*topic)).collect())
    }
}
