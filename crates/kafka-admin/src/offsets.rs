//! Where partitions begin and end, and how far groups are.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use rdkafka::Offset;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::error::{AdminError, Failure, Subject};
use super::model::{Batch, TopicState};
use super::renewal::{Tries, is_moving};
use super::{KafkaAdmin, answer, any_moving, request, unanswered};

/// Partitions in one ListOffsets request; librdkafka merges the brokers' answers in quadratic time.
const OFFSETS_PER_REQUEST: usize = 500;

impl KafkaAdmin {
    /// For each partition the offset that its next record will get.
    ///
    /// # Errors
    /// [`AdminError`] if nothing could be asked; failures of single partitions are in the batch.
    pub async fn end_offsets(
        &self,
        partitions: &[(impl AsRef<str>, i32)],
    ) -> Result<Batch<(String, i32), i64>, AdminError> {
        self.offsets(partitions, Offset::End).await
    }

    /// For each partition the offset of its first record, or its end if it holds none.
    ///
    /// # Errors
    /// As [`KafkaAdmin::end_offsets`].
    pub async fn start_offsets(
        &self,
        partitions: &[(impl AsRef<str>, i32)],
    ) -> Result<Batch<(String, i32), i64>, AdminError> {
        self.offsets(partitions, Offset::Beginning).await
    }

    async fn offsets(
        &self,
        partitions: &[(impl AsRef<str>, i32)],
        position: Offset,
    ) -> Result<Batch<(String, i32), i64>, AdminError> {
        let wanted: BTreeSet<_> = partitions.iter().map(|(topic, id)| (topic.as_ref().to_owned(), *id)).collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let chunks = wanted.chunks(OFFSETS_PER_REQUEST).map(|chunk| self.settled_offsets(chunk, position));
        let offsets = try_join_all(chunks).await?.into_iter().flatten().collect();
        Ok(self.complete(wanted, offsets, |(topic, _)| Subject::Topic(topic)))
    }

    /// Of partitions whose leaders are not just moving; if they still are in the end, with that error.
    async fn settled_offsets(
        &self,
        wanted: &[(String, i32)],
        position: Offset,
    ) -> Result<Batch<(String, i32), i64>, AdminError> {
        let mut tries = Tries::until(self.deadline);
        loop {
            let result = self.offsets_of_some(wanted, position).await;
            if !tries.again(result.as_ref().map_or_else(is_moving, any_moving)).await {
                return result;
            }
        }
    }

    async fn offsets_of_some(
        &self,
        wanted: &[(String, i32)],
        position: Offset,
    ) -> Result<Batch<(String, i32), i64>, AdminError> {
        let call = request::list_offsets(&self.client(), self.deadline, wanted, position);
        let listed = match self.event(call).await.and_then(|event| answer::listed_offsets(&event)) {
            Ok(listed) => listed,
            // No partition of the whole request has a leader; librdkafka does not say why.
            Err(failure) if failure.code == Code::NoEnt => return self.without_leaders(wanted).await,
            Err(failure) => return Err(self.sorted(failure, Subject::Cluster)),
        };
        let sorted = listed.into_iter().map(|(topic, id, result)| {
            // When a leader fails to answer, librdkafka leaves its partitions without offset and without error.
            let result = result.and_then(|offset| match offset {
                0.. => Ok(offset),
                _ => Err(Failure {
                    code: Code::BrokerTransportFailure,
                    message: format!("the leader of {topic}[{id}] did not answer"),
                }),
            });
            let result = result.map_err(|failure| self.sorted(failure, Subject::Topic(&topic)));
            ((topic, id), result)
        });
        Ok(sorted.collect())
    }

    async fn without_leaders(&self, wanted: &[(String, i32)]) -> Result<Batch<(String, i32), i64>, AdminError> {
        let names: Vec<_> = wanted.iter().map(|(topic, _)| topic.as_str()).collect();
        let topics = self.describe_topics(&names).await?;
        let explained = wanted.iter().map(|(topic, id)| {
            let known = match topics.get(topic) {
                Some(Ok(TopicState::Present(topic))) => topic.partitions.iter().any(|partition| partition.id == *id),
                _ => false,
            };
            let error = match topics.get(topic) {
                Some(Err(error)) => error.clone(),
                _ if known => AdminError::Other {
                    resource: format!("topic {topic}"),
                    code: Code::LeaderNotAvailable,
                    message: format!("partition {id} has no leader now"),
                },
                _ => AdminError::UnknownTopic { topic: topic.clone() },
            };
            ((topic.clone(), *id), Err(error))
        });
        Ok(explained.collect())
    }

    /// What a group has committed for partitions `0..partition_count` of a topic, read without joining it. None where it
    /// has committed nothing, which includes a group that does not exist. One request for each group: for many groups,
    /// make these calls concurrently.
    ///
    /// # Errors
    /// [`AdminError`], also if a single partition failed: half an answer is no answer.
    pub async fn committed_offsets(
        &self,
        group: &str,
        topic: &str,
        partition_count: i32,
    ) -> Result<BTreeMap<i32, Option<i64>>, AdminError> {
        if partition_count <= 0 {
            return Ok(BTreeMap::new());
        }
        let mut tries = Tries::until(self.deadline);
        loop {
            let result = self.committed(group, topic, partition_count).await;
            if !tries.again(result.as_ref().is_err_and(is_moving)).await {
                return result;
            }
        }
    }

    async fn committed(
        &self,
        group: &str,
        topic: &str,
        partition_count: i32,
    ) -> Result<BTreeMap<i32, Option<i64>>, AdminError> {
        let call = request::committed_offsets(&self.client(), self.deadline, group, topic, partition_count);
        let listed =
            self.read(call, Subject::Group(group), |event| answer::only(answer::group_results(event)?)).await?;
        let mut committed = BTreeMap::new();
        for (_, partition, result) in listed {
            let offset = result.map_err(|failure| self.sorted(failure, Subject::Topic(topic)))?;
            committed.insert(partition, Some(offset).filter(|offset| *offset >= 0));
        }
        match (0..partition_count).find(|partition| !committed.contains_key(partition)) {
            None => Ok(committed),
            Some(_) => Err(self.sorted(unanswered(), Subject::Group(group))),
        }
    }

    /// Sets a group's offsets by hand, and makes the group if it does not exist.
    ///
    /// # Errors
    /// [`AdminError::GroupActive`] while it has members; also if a single partition failed, when others may be set.
    pub async fn commit_offsets(
        &self,
        group: &str,
        topic: &str,
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<(), AdminError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let call = request::commit_offsets(&self.client(), self.deadline, group, topic, offsets);
        let set = self.read(call, Subject::Group(group), |event| answer::only(answer::group_results(event)?)).await?;
        for (_, _, result) in set {
            result.map_err(|failure| match failure.code {
                // Committing takes the right to read the topic, too.
                Code::UnknownTopicOrPartition | Code::TopicAuthorizationFailed => {
                    self.sorted(failure, Subject::Topic(topic))
                }
                _ => self.sorted(failure, Subject::Group(group)),
            })?;
        }
        Ok(())
    }
}
