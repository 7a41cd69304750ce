//! Kafka administration: topics, their configuration, offsets and consumer groups.
//!
//! rdkafka's own admin client can alter a topic's configuration only by resetting every key that is not sent, and can
//! neither list offsets in batches nor read or write a group's offsets without joining. librdkafka can; so this module
//! binds those calls itself. It is the only place with `unsafe`: `native` owns the objects, `client` runs them, `request`
//! builds questions, `answer` reads replies. It makes no policy: what a topic should look like is the caller's decision.
//!
//! Traps that are handled here: failures hide inside answers that succeed as a whole; an offset that librdkafka could not
//! read comes back as a negative number without an error; a refused login comes back as a timeout.

mod answer;
mod client;
mod error;
mod model;
mod native;
mod records;
mod request;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientConfig, Offset};

pub use self::error::AdminError;
pub use self::model::{
    Batch, ClusterState, ConfigEntry, ConfigSource, Creation, Deletion, Group, GroupMember, GroupState, Partition,
    Topic, TopicSpec, TopicState,
};

use self::client::{Call, Client, Event};
use self::error::{Failure, Subject};

/// Partitions in one ListOffsets request; librdkafka merges the brokers' answers in quadratic time.
const OFFSETS_PER_REQUEST: usize = 500;

/// An administrative client. Cheap to clone; clones share one librdkafka client, which goes when the last of them does.
#[derive(Clone)]
pub struct KafkaAdmin {
    client: Arc<Client>,
    deadline: Duration,
}

impl std::fmt::Debug for KafkaAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaAdmin")
            .field("bootstrap", &self.client.bootstrap())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl KafkaAdmin {
    /// How long a request may take unless [`KafkaAdmin::within`] says otherwise.
    pub const DEADLINE: Duration = Duration::from_secs(10);

    /// Makes a client; `bootstrap.servers` must be set. It connects in the background: a wrong address shows at the first
    /// call.
    ///
    /// # Errors
    /// [`AdminError::InvalidClient`] for a property that librdkafka refuses.
    pub fn new(config: &ClientConfig) -> Result<Self, AdminError> {
        Ok(Self { client: Client::start(config)?, deadline: Self::DEADLINE })
    }

    /// How many requests were made of the brokers. One that several brokers share the answer of counts once.
    pub fn requests(&self) -> u64 {
        self.client.requests()
    }

    /// The same client with another deadline for each request, between 1 ms and an hour.
    pub fn within(&self, deadline: Duration) -> Self {
        Self { client: Arc::clone(&self.client), deadline }
    }

    /// Cluster id and live brokers.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster could not be asked.
    pub async fn describe_cluster(&self) -> Result<ClusterState, AdminError> {
        let call = request::describe_cluster(&self.client, self.deadline);
        self.read(call, Subject::Cluster, answer::cluster).await
    }

    /// State of topics, one entry for each name. A topic that is not there is [`TopicState::Absent`], not an error.
    ///
    /// # Errors
    /// [`AdminError`] if nothing could be asked; failures of single topics are in the batch.
    pub async fn describe_topics(&self, names: &[impl AsRef<str>]) -> Result<Batch<String, TopicState>, AdminError> {
        let names = distinct(names);
        if names.is_empty() {
            return Ok(Batch::new());
        }
        let call = request::describe_topics(&self.client, self.deadline, &names);
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
        let call = request::create_topic(&self.client, self.deadline, spec);
        match self.event(call).await.and_then(|event| answer::only(answer::topic_results(&event)?)) {
            Ok(()) => Ok(Creation::Created),
            Err(failure) if failure.code == Code::TopicAlreadyExists => Ok(Creation::AlreadyExists),
            Err(failure) if failure.code == Code::InvalidReplicationFactor => {
                let live = self.describe_cluster().await?.brokers.len();
                Err(AdminError::InvalidReplication { asked: spec.replication_factor, live })
            }
            Err(failure) => Err(self.sorted(failure, Subject::Topic(&spec.name))),
        }
    }

    /// Grows a topic to `total` partitions. Existing records stay where they are; keys may map elsewhere from now on.
    ///
    /// # Errors
    /// [`AdminError::InvalidPartitions`] if it already has as many or more; else as [`KafkaAdmin::create_topic`].
    pub async fn grow_partitions(&self, name: &str, total: usize) -> Result<(), AdminError> {
        let call = request::grow_partitions(&self.client, self.deadline, name, total);
        self.read(call, Subject::Topic(name), |event| answer::only(answer::topic_results(event)?)).await
    }

    /// Deletes a topic with all its records. Stop its consumers first: librdkafka consumers of a deleted topic can hang.
    ///
    /// # Errors
    /// [`AdminError`]; `Unsupported` if the brokers forbid deletion.
    pub async fn delete_topic(&self, name: &str) -> Result<Deletion, AdminError> {
        let call = request::delete_topic(&self.client, self.deadline, name);
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
        let call = request::topic_configs(&self.client, self.deadline, &[name.to_owned()]);
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
        let call = request::topic_configs(&self.client, self.deadline, &names);
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
        let call = request::set_config_incremental(&self.client, self.deadline, name, set, &distinct(delete));
        self.read(call, Subject::Topic(name), |event| answer::only(answer::configs(event)?)).await.map(drop)
    }

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
        let chunks = wanted.chunks(OFFSETS_PER_REQUEST).map(|chunk| self.offsets_of_some(chunk, position));
        let offsets = try_join_all(chunks).await?.into_iter().flatten().collect();
        Ok(self.complete(wanted, offsets, |(topic, _)| Subject::Topic(topic)))
    }

    async fn offsets_of_some(
        &self,
        wanted: &[(String, i32)],
        position: Offset,
    ) -> Result<Batch<(String, i32), i64>, AdminError> {
        let call = request::list_offsets(&self.client, self.deadline, wanted, position);
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
        let call = request::committed_offsets(&self.client, self.deadline, group, topic, partition_count);
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
        let call = request::commit_offsets(&self.client, self.deadline, group, topic, offsets);
        let set = self.read(call, Subject::Group(group), |event| answer::only(answer::group_results(event)?)).await?;
        for (_, _, result) in set {
            result.map_err(|failure| match failure.code {
                Code::UnknownTopicOrPartition => self.sorted(failure, Subject::Topic(topic)),
                _ => self.sorted(failure, Subject::Group(group)),
            })?;
        }
        Ok(())
    }

    /// State and members of groups, one entry for each name. A group that is not there is [`GroupState::Absent`].
    ///
    /// # Errors
    /// [`AdminError`] if nothing could be asked; failures of single groups are in the batch.
    pub async fn describe_groups(&self, groups: &[impl AsRef<str>]) -> Result<Batch<String, Group>, AdminError> {
        let groups = distinct(groups);
        if groups.is_empty() {
            return Ok(Batch::new());
        }
        let call = request::describe_groups(&self.client, self.deadline, &groups);
        let described = self.read(call, Subject::Cluster, answer::groups).await?;
        let sorted = described.into_iter().map(|(name, result)| {
            let result = match result {
                Err(failure) if failure.code == Code::GroupIdNotFound => {
                    Ok(Group { state: GroupState::Absent, members: Vec::new() })
                }
                result => result.map_err(|failure| self.sorted(failure, Subject::Group(&name))),
            };
            (name, result)
        });
        let described = sorted.collect();
        Ok(self.complete(groups, described, |name| Subject::Group(name)))
    }

    /// Deletes a group with its offsets.
    ///
    /// # Errors
    /// [`AdminError::GroupActive`] while it has members.
    pub async fn delete_group(&self, group: &str) -> Result<Deletion, AdminError> {
        let call = request::delete_group(&self.client, self.deadline, group);
        match self.event(call).await.and_then(|event| answer::only(answer::group_results(&event)?)) {
            Ok(_) => Ok(Deletion::Deleted),
            Err(failure) if failure.code == Code::GroupIdNotFound => Ok(Deletion::Absent),
            Err(failure) => Err(self.sorted(failure, Subject::Group(group))),
        }
    }

    async fn event(&self, call: Result<Call, Failure>) -> Result<Event, Failure> {
        call?.answer().await
    }

    async fn read<T>(
        &self,
        call: Result<Call, Failure>,
        subject: Subject<'_>,
        decode: impl FnOnce(&Event) -> Result<T, Failure>,
    ) -> Result<T, AdminError> {
        let decoded = self.event(call).await.and_then(|event| decode(&event));
        decoded.map_err(|failure| self.sorted(failure, subject))
    }

    fn sorted(&self, failure: Failure, subject: Subject<'_>) -> AdminError {
        self.client.sort(failure, subject, self.deadline)
    }

    /// Gives everything asked for an entry, so that a caller never takes a gap in the answer for "nothing there".
    fn complete<K: Ord, V>(
        &self,
        wanted: Vec<K>,
        mut found: Batch<K, V>,
        subject: fn(&K) -> Subject<'_>,
    ) -> Batch<K, V> {
        for key in wanted {
            if let Entry::Vacant(gap) = found.entry(key) {
                let error = self.sorted(unanswered(), subject(gap.key()));
                gap.insert(Err(error));
            }
        }
        found
    }
}

fn unanswered() -> Failure {
    Failure { code: Code::Fail, message: "the answer leaves it out".into() }
}

fn distinct(names: &[impl AsRef<str>]) -> Vec<String> {
    names.iter().map(|name| name.as_ref().to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
}
