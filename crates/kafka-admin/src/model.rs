//! The values that [`super::KafkaAdmin`] takes and gives.

use std::collections::{BTreeMap, BTreeSet};

use super::error::AdminError;

/// The answer to a batched call: one outcome for each thing asked for, so that one missing topic spoils no other.
pub type Batch<K, V> = BTreeMap<K, Result<V, AdminError>>;

/// The cluster as its controller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterState {
    /// Set once when the cluster was formatted; another id is another ledger.
    pub cluster_id: String,
    /// Ids of the brokers that are alive.
    pub brokers: BTreeSet<i32>,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Number of partitions, at least 1.
    pub partitions: i32,
    /// Copies of each partition, at least 1.
    pub replication_factor: i32,
    /// Dynamic topic configuration.
    pub config: BTreeMap<String, String>,
}

/// What became of a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// It was made now. Leaders follow a moment later: see [`Topic::has_leaders`].
    Created,
    /// It was there before and is untouched; it may differ from what was asked for.
    AlreadyExists,
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It was deleted now. Brokers finish the work in the background.
    Deleted,
    /// There was nothing to delete.
    Absent,
}

/// Whether a topic is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicState {
    /// There is no such topic.
    Absent,
    /// It is there.
    Present(Topic),
}

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Changes when a topic of the same name is made anew (22 characters of base64).
    pub topic_id: String,
    /// In ascending order of id.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// Whether every partition can be written to and read from.
    pub fn has_leaders(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.iter().all(|partition| partition.leader.is_some())
    }
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// 0 and up.
    pub id: i32,
    /// Broker id of the leader, if there is one now.
    pub leader: Option<i32>,
    /// Broker ids that should hold a copy; the first is preferred as leader.
    pub replicas: Vec<i32>,
    /// Broker ids that hold all of it.
    pub isr: Vec<i32>,
}

/// One key of a topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Effective value; none if the broker keeps it secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed.
    pub read_only: bool,
}

impl ConfigEntry {
    /// Whether the value was set on this topic, and so belongs to whoever manages the topic.
    pub fn is_set(&self) -> bool {
        self.source == ConfigSource::Topic
    }
}

/// Where a configuration value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic (Kafka's `DYNAMIC_TOPIC_CONFIG`).
    Topic,
    /// Inherited from the brokers' configuration.
    Broker,
    /// Kafka's default.
    Default,
    /// A source that topics do not have today.
    Unknown,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Where it stands.
    pub state: GroupState,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// Where a consumer group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// No such group: it never was, or was deleted, or expired.
    Absent,
    /// It has offsets but no members.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// Partitions are being shared out.
    CompletingRebalance,
    /// All members have their partitions.
    Stable,
    /// A state that librdkafka has no name for (groups of the newer protocol while they reconcile).
    Unknown,
}

/// One member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Given by the coordinator.
    pub member_id: String,
    /// The member's `client.id`.
    pub client_id: String,
    /// Address it comes from.
    pub host: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// Partitions it holds.
    pub assignment: Vec<(String, i32)>,
}
