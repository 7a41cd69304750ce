//! Removing records from the head of partitions: request and answer of the one call that nothing else needs.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka_sys as sys;
use sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETERECORDS;

use super::answer::{PartitionOffset, as_kind, partition_offsets};
use super::client::Client;
use super::error::{AdminError, Failure, Subject};
use super::event::Event;
use super::native::Complaint;
use super::request::{Sent, made, partition_list};
use super::{Batch, KafkaAdmin};

impl KafkaAdmin {
    /// Removes all records of a topic before these offsets, per partition. There is no way back. For each partition: the
    /// offset of its first record from now on.
    ///
    /// # Errors
    /// [`AdminError`] if nothing could be asked; failures of single partitions are in the batch, among them `NotAuthorized`.
    pub async fn delete_records(
        &self,
        topic: &str,
        before: &BTreeMap<i32, i64>,
    ) -> Result<Batch<i32, i64>, AdminError> {
        if before.is_empty() {
            return Ok(Batch::new());
        }
        let call = request(&self.client(), self.deadline, topic, before);
        let deleted = self.read(call, Subject::Topic(topic), answer).await?;
        let sorted = deleted.into_iter().map(|(_, partition, result)| {
            (partition, result.map_err(|failure| self.sorted(failure, Subject::Topic(topic))))
        });
        let found: BTreeMap<i32, Result<i64, AdminError>> = sorted.collect();
        match before.keys().find(|partition| !found.contains_key(partition)) {
            None => Ok(found),
            Some(_) => Err(self.sorted(super::unanswered(), Subject::Topic(topic))),
        }
    }
}

fn request(client: &Arc<Client>, deadline: Duration, topic: &str, before: &BTreeMap<i32, i64>) -> Sent {
    let list = partition_list(before.iter().map(|(partition, offset)| (topic, *partition, Offset::Offset(*offset))))?;
    // SAFETY: the list is valid and copied.
    let wanted = unsafe { made(sys::rd_kafka_DeleteRecords_new(list.ptr()), Complaint::new(), "offsets")? };
    client.submit(RD_KAFKA_ADMIN_OP_DELETERECORDS, deadline, |rk, options, queue| {
        // SAFETY: one valid element; librdkafka copies it.
        unsafe { sys::rd_kafka_DeleteRecords(rk, &mut wanted.as_ptr(), 1, options, queue) }
    })
}

fn answer(event: &Event) -> Result<Vec<PartitionOffset>, Failure> {
    // SAFETY: the pointers come from the event and live as long; everything is copied before this returns.
    unsafe {
        let result = as_kind(sys::rd_kafka_event_DeleteRecords_result(event.as_ptr()))?;
        Ok(partition_offsets(sys::rd_kafka_DeleteRecords_result_offsets(result)))
    }
}
