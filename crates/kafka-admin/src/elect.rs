//! Giving partitions back to their preferred leaders: request and answer of the one call that nothing else needs.

#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka_sys as sys;
use sys::rd_kafka_ElectionType_t::RD_KAFKA_ELECTION_TYPE_PREFERRED;
use sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ELECTLEADERS;

use super::KafkaAdmin;
use super::answer::{PartitionOffset, as_kind, partition_error};
use super::client::Client;
use super::error::{AdminError, Failure, Subject};
use super::event::Event;
use super::native::{Complaint, array};
use super::request::{Sent, made, partition_list};

impl KafkaAdmin {
    /// Makes the preferred replica of each of these partitions its leader; of all partitions for `None`. A partition that it
    /// leads already is as it should be. Kafka does the same by itself some minutes after a broker is back.
    ///
    /// # Errors
    /// [`AdminError`], also if a single partition failed, when others may have moved: for example because its preferred
    /// replica is not in sync yet.
    pub async fn elect_preferred_leaders(&self, partitions: Option<&[(String, i32)]>) -> Result<(), AdminError> {
        if partitions.is_some_and(<[_]>::is_empty) {
            return Ok(());
        }
        let call = request(&self.client(), self.deadline, partitions);
        let elected = match self.event(call).await.and_then(|event| answer(&event)) {
            Ok(elected) => elected,
            Err(failure) if is_well(failure.code) => return Ok(()),
            Err(failure) => return Err(self.sorted(failure, Subject::Cluster)),
        };
        for (topic, _, result) in elected {
            match result {
                Err(failure) if !is_well(failure.code) => return Err(self.sorted(failure, Subject::Topic(&topic))),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The preferred replica leads already.
fn is_well(code: Code) -> bool {
    code == Code::ElectionNotNeeded
}

fn request(client: &Arc<Client>, deadline: Duration, partitions: Option<&[(String, i32)]>) -> Sent {
    let named = |all: &[(String, i32)]| {
        partition_list(all.iter().map(|(topic, partition)| (topic.as_str(), *partition, Offset::Invalid)))
    };
    let list = partitions.map(named).transpose()?;
    let list = list.as_ref().map_or(std::ptr::null_mut(), |list| list.ptr());
    // SAFETY: the list is null, which stands for all partitions, or valid and copied.
    let wanted = unsafe {
        made(sys::rd_kafka_ElectLeaders_new(RD_KAFKA_ELECTION_TYPE_PREFERRED, list), Complaint::new(), "partitions")?
    };
    client.submit(RD_KAFKA_ADMIN_OP_ELECTLEADERS, deadline, |rk, options, queue| {
        // SAFETY: all valid; librdkafka copies what it needs.
        unsafe { sys::rd_kafka_ElectLeaders(rk, wanted.as_ptr(), options, queue) }
    })
}

fn answer(event: &Event) -> Result<Vec<PartitionOffset>, Failure> {
    // SAFETY: the pointers come from the event and live as long; everything is copied before this returns.
    unsafe {
        let result = as_kind(sys::rd_kafka_event_ElectLeaders_result(event.as_ptr()))?;
        let partitions = array(|count| sys::rd_kafka_ElectLeaders_result_partitions(result, count));
        Ok(partitions.iter().map(|partition| partition_error(*partition)).collect())
    }
}
