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
mod elect;
mod error;
mod event;
mod model;
mod native;
mod offsets;
mod records;
mod refusal;
mod renewal;
mod request;
mod rights;
mod topics;

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::types::RDKafkaErrorCode as Code;

pub use self::error::AdminError;
pub use self::model::{
    Batch, ClusterState, ConfigEntry, ConfigSource, Creation, Deletion, Group, GroupMember, GroupState, Partition,
    Topic, TopicSpec, TopicState,
};
pub use self::refusal::{lacks_a_right, says_missing_right};
pub use self::rights::Operation;

use self::client::{Call, Client};
use self::error::{Failure, Subject};
use self::event::Event;
use self::renewal::{Renewal, Tries, is_moving};

/// An administrative client. Cheap to clone; clones share one librdkafka client, which goes when the last of them does, and is
/// replaced when it believes in leaders of the past.
#[derive(Clone)]
pub struct KafkaAdmin {
    renewal: Arc<Renewal>,
    deadline: Duration,
}

impl std::fmt::Debug for KafkaAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaAdmin")
            .field("bootstrap", &self.client().bootstrap())
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
        Ok(Self { renewal: Arc::new(Renewal::start(config)?), deadline: Self::DEADLINE })
    }

    /// How many requests were made of the brokers. One that several brokers share the answer of counts once.
    pub fn requests(&self) -> u64 {
        self.renewal.requests()
    }

    /// The same client with another deadline for each request, between 1 ms and an hour.
    pub fn within(&self, deadline: Duration) -> Self {
        Self { renewal: Arc::clone(&self.renewal), deadline }
    }

    /// Cluster id and live brokers.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster could not be asked.
    pub async fn describe_cluster(&self) -> Result<ClusterState, AdminError> {
        let call = request::describe_cluster(&self.client(), self.deadline);
        self.read(call, Subject::Cluster, answer::cluster).await
    }

    /// State and members of groups, one entry for each name and one request for each. A group that is not there is
    /// [`GroupState::Absent`].
    ///
    /// # Errors
    /// [`AdminError`] if nothing could be asked; failures of single groups are in the batch.
    pub async fn describe_groups(&self, groups: &[impl AsRef<str>]) -> Result<Batch<String, Group>, AdminError> {
        let groups = distinct(groups);
        if groups.is_empty() {
            return Ok(Batch::new());
        }
        let mut tries = Tries::until(self.deadline);
        loop {
            let result = self.groups(&groups).await;
            if !tries.again(result.as_ref().map_or_else(is_moving, any_moving)).await {
                return result;
            }
        }
    }

    async fn groups(&self, groups: &[String]) -> Result<Batch<String, Group>, AdminError> {
        // librdkafka asks each group's coordinator by itself.
        self.client().count_requests(groups.len() - 1);
        let call = request::describe_groups(&self.client(), self.deadline, groups);
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
        Ok(self.complete(groups.to_vec(), described, |name| Subject::Group(name)))
    }

    /// Deletes a group with its offsets.
    ///
    /// # Errors
    /// [`AdminError::GroupActive`] while it has members.
    pub async fn delete_group(&self, group: &str) -> Result<Deletion, AdminError> {
        let call = request::delete_group(&self.client(), self.deadline, group);
        match self.event(call).await.and_then(|event| answer::only(answer::group_results(&event)?)) {
            Ok(_) => Ok(Deletion::Deleted),
            Err(failure) if failure.code == Code::GroupIdNotFound => Ok(Deletion::Absent),
            Err(failure) => Err(self.sorted(failure, Subject::Group(group))),
        }
    }

    fn client(&self) -> Arc<Client> {
        self.renewal.client()
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
        // The one place that every failure passes, those of single groups and partitions included.
        self.renewal.heed(&failure);
        self.client().sort(failure, subject, self.deadline)
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

/// Whether a part of it failed because somebody is moving.
fn any_moving<K, V>(batch: &Batch<K, V>) -> bool {
    batch.values().any(|each| each.as_ref().is_err_and(is_moving))
}

fn unanswered() -> Failure {
    Failure { code: Code::Fail, message: "the answer leaves it out".into() }
}

fn distinct(names: &[impl AsRef<str>]) -> Vec<String> {
    names.iter().map(|name| name.as_ref().to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
}
