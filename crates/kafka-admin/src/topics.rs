//! Topics: what they are like, making, growing, deleting and configuring them.

use std::collections::BTreeMap;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::error::{AdminError, Subject};
use super::model::{Batch, ConfigEntry, Creation, Deletion, TopicSpec, TopicState};
use super::{KafkaAdmin, answer, distinct, request, unanswered};

/// Partitions that one request creates: a controller writes at most 10,000 records for one, and a partition is a record.
const PARTITIONS_PER_REQUEST: usize = 2_000;

impl KafkaAdmin {
    /// State of topics, one entry for each name. A topic that is not there is [`TopicState::Absent`], not an error.
    ///
    /// # Errors
    /// [`AdminError`] if nothing could be asked; failures of single topics are in the batch.
    pub async fn describe_topics(&self, names: &[impl AsRef<str>]) -> Result<Batch<String, TopicState>, AdminError> {
        let names = distinct(names);
        if names.is_empty() {
            return Ok(Batch::new());
        }
        let call = request::describe_topics(&self.client(), self.deadline, &names);
        let described = self.read(call, Subject::Cluster, answer::topics).await?;
        let sorted = described.into_iter().map(|(name, result)| {
            let state = match result {
                Ok(topic) => Ok(TopicState::Present(topic)),
                Err(failure) => match self.sorted(failure, Subject::Topic(&name)) {
                    AdminError::UnknownTopic { .. } => Ok(TopicState::Absent),
                    error => Err(error),
                },
            };
            (name, state)
        });
        let topics = sorted.collect();
        Ok(self.complete(names, topics, |name| Subject::Topic(name)))
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`AdminError`]; among them `InvalidReplication`, `InvalidConfig`, `PolicyViolation`, `NotAuthorized`.
    pub async fn create_topic(&self, spec: &TopicSpec) -> Result<Creation, AdminError> {
        let created = self.create_topics(std::slice::from_ref(spec)).await?.remove(&spec.name);
        created.unwrap_or_else(|| Err(self.sorted(unanswered(), Subject::Topic(&spec.name))))
    }

    /// Creates topics of different names, many in one request: a broker that is creating topics answers nothing else on the
    /// same connection.
    ///
    /// # Errors
    /// [`AdminError`] if nothing could be asked; failures of single topics are in the batch, as [`KafkaAdmin::create_topic`]
    /// says. Topics of an earlier request may then be there.
    pub async fn create_topics(&self, specs: &[TopicSpec]) -> Result<Batch<String, Creation>, AdminError> {
        self.create(specs, false).await
    }

    /// Asks whether these topics could be created, and creates none: rights, replicas, settings and policies are checked.
    ///
    /// # Errors
    /// As [`KafkaAdmin::create_topics`].
    pub async fn try_topics(&self, specs: &[TopicSpec]) -> Result<Batch<String, Creation>, AdminError> {
        self.create(specs, true).await
    }

    async fn create(&self, specs: &[TopicSpec], dry: bool) -> Result<Batch<String, Creation>, AdminError> {
        let mut created = Batch::new();
        for some in chunks(specs) {
            let call = request::create_topics(&self.client(), self.deadline, some, dry);
            for (name, result) in self.read(call, Subject::Cluster, answer::topic_results).await? {
                let asked = some.iter().find(|spec| spec.name == name).map_or(0, |spec| spec.replication_factor);
                let result = match result {
                    Ok(()) => Ok(Creation::Created),
                    Err(failure) if failure.code == Code::TopicAlreadyExists => Ok(Creation::AlreadyExists),
                    Err(failure) if failure.code == Code::InvalidReplicationFactor => {
                        Err(AdminError::InvalidReplication {
                            asked,
                            live: self.describe_cluster().await?.brokers.len(),
                        })
                    }
                    Err(failure) => Err(self.sorted(failure, Subject::Topic(&name))),
                };
                created.insert(name, result);
            }
        }
        let names = specs.iter().map(|spec| spec.name.clone()).collect();
        Ok(self.complete(names, created, |name| Subject::Topic(name)))
    }

    /// Grows a topic to `total` partitions. Existing records stay where they are; keys may map elsewhere from now on.
    ///
    /// # Errors
    /// [`AdminError::InvalidPartitions`] if it already has as many or more; else as [`KafkaAdmin::create_topic`].
    pub async fn grow_partitions(&self, name: &str, total: usize) -> Result<(), AdminError> {
        self.grow(name, total, false).await
    }

    /// Asks whether a topic could be grown, and grows none.
    ///
    /// # Errors
    /// As [`KafkaAdmin::grow_partitions`].
    pub async fn try_growth(&self, name: &str, total: usize) -> Result<(), AdminError> {
        self.grow(name, total, true).await
    }

    async fn grow(&self, name: &str, total: usize, dry: bool) -> Result<(), AdminError> {
        let call = request::grow_partitions(&self.client(), self.deadline, name, total, dry);
        self.read(call, Subject::Topic(name), |event| answer::only(answer::topic_results(event)?)).await
    }

    /// Deletes a topic with all its records. Stop its consumers first: librdkafka consumers of a deleted topic can hang.
    ///
    /// # Errors
    /// [`AdminError`]; `Unsupported` if the brokers forbid deletion.
    pub async fn delete_topic(&self, name: &str) -> Result<Deletion, AdminError> {
        let call = request::delete_topic(&self.client(), self.deadline, name);
        match self.read(call, Subject::Topic(name), |event| answer::only(answer::topic_results(event)?)).await {
            Ok(()) => Ok(Deletion::Deleted),
            Err(AdminError::UnknownTopic { .. }) => Ok(Deletion::Absent),
            Err(error) => Err(error),
        }
    }

    /// The whole configuration of a topic, inherited and default values too.
    ///
    /// # Errors
    /// [`AdminError`]; `UnknownTopic` if it is not there.
    pub async fn topic_config(&self, name: &str) -> Result<BTreeMap<String, ConfigEntry>, AdminError> {
        let call = request::topic_configs(&self.client(), self.deadline, &[name.to_owned()]);
        self.read(call, Subject::Topic(name), |event| answer::only(answer::configs(event)?)).await
    }

    /// [`KafkaAdmin::topic_config`] of many topics, in one request.
    ///
    /// # Errors
    /// [`AdminError`] if nothing could be asked; failures of single topics are in the batch.
    pub async fn topic_configs(
        &self,
        names: &[impl AsRef<str>],
    ) -> Result<Batch<String, BTreeMap<String, ConfigEntry>>, AdminError> {
        let names = distinct(names);
        if names.is_empty() {
            return Ok(Batch::new());
        }
        let call = request::topic_configs(&self.client(), self.deadline, &names);
        let described = self.read(call, Subject::Cluster, answer::configs).await?;
        let sorted = described.into_iter().map(|(name, result)| {
            let result = result.map_err(|failure| self.sorted(failure, Subject::Topic(&name)));
            (name, result)
        });
        let configs = sorted.collect();
        Ok(self.complete(names, configs, |name| Subject::Topic(name)))
    }

    /// Sets some keys of a topic's configuration and takes others off it. Every other key stays as it is. Nothing to do
    /// is no request.
    ///
    /// # Errors
    /// [`AdminError`]; `InvalidConfig` if the broker refuses a key or value, and then nothing was changed.
    pub async fn set_config_incremental(
        &self,
        name: &str,
        set: &BTreeMap<String, String>,
        delete: &[impl AsRef<str>],
    ) -> Result<(), AdminError> {
        if set.is_empty() && delete.is_empty() {
            return Ok(());
        }
        let call = request::set_config_incremental(&self.client(), self.deadline, name, set, &distinct(delete), false);
        self.read(call, Subject::Topic(name), |event| answer::only(answer::configs(event)?)).await.map(drop)
    }

    /// Asks whether these keys of a topic's configuration could be set, and sets none.
    ///
    /// # Errors
    /// As [`KafkaAdmin::set_config_incremental`].
    pub async fn try_config(&self, name: &str, set: &BTreeMap<String, String>) -> Result<(), AdminError> {
        let call = request::set_config_incremental(&self.client(), self.deadline, name, set, &[], true);
        self.read(call, Subject::Topic(name), |event| answer::only(answer::configs(event)?)).await.map(drop)
    }
}

/// Parts of so many topics that each has no more partitions than one request may create, or is a single topic.
fn chunks(mut specs: &[TopicSpec]) -> Vec<&[TopicSpec]> {
    let mut found = Vec::new();
    while !specs.is_empty() {
        let mut partitions = 0;
        let fits = specs.iter().take_while(|spec| {
            partitions += usize::try_from(spec.partitions).unwrap_or(0);
            partitions <= PARTITIONS_PER_REQUEST
        });
        let (some, rest) = specs.split_at(fits.count().max(1));
        found.push(some);
        specs = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_creates_a_bounded_number_of_partitions() {
        let spec =
            |partitions| TopicSpec { name: "t".to_owned(), partitions, replication_factor: 1, config: BTreeMap::new() };
        for (partitions, expected) in [
            (vec![], vec![]),
            (vec![1, 1, 1], vec![3]),
            (vec![1_500, 500, 1], vec![2, 1]),
            (vec![9_000, 1, 2_000, 1], vec![1, 1, 1, 1]),
        ] {
            let specs: Vec<TopicSpec> = partitions.iter().map(|each| spec(*each)).collect();
            let found: Vec<usize> = chunks(&specs).iter().map(|some| some.len()).collect();
            assert_eq!(found, expected, "{partitions:?}");
        }
    }
}
