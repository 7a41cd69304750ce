//! What a campaign's topics should be, and what to do about a difference. Pure.

pub mod codec;
pub mod make;
pub mod probe;

use std::collections::BTreeMap;

use campaign::identity::CampaignId;
use campaign::log::admin::{ConfigEntry, Topic, TopicSpec, TopicState};

use crate::api;

/// What Kafka has for a campaign.
#[derive(Debug, Clone)]
pub struct TopicView {
    /// Identity of the Kafka cluster.
    pub cluster_id: String,
    /// Brokers alive.
    pub brokers: usize,
    /// The topic of winners.
    pub events: TopicState,
    /// The dead-letter topic.
    pub dead_letters: TopicState,
    /// Settings of the topic of winners; empty while it is absent.
    pub events_config: BTreeMap<String, ConfigEntry>,
    /// Settings of the dead-letter topic; empty while it is absent.
    pub dead_letters_config: BTreeMap<String, ConfigEntry>,
    /// Whether the topic of winners holds any record, or ever did. `None` while it is absent.
    pub used: Option<bool>,
}

/// The topic that SQL says is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// None yet.
    None,
    /// We were about to create it.
    Announced,
    /// This one.
    Owned(String),
}

/// One thing to do in Kafka, or about it in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicStep {
    /// Write into SQL that we are about to create the topics, before we do: only so can we tell ours from others'.
    Announce,
    /// Create topics.
    Create(Vec<TopicSpec>),
    /// Write the id of the topic that we created into SQL.
    Record(String),
    /// Add partitions up to this many.
    Grow {
        /// The topic.
        topic: String,
        /// Partitions in all.
        partitions: usize,
    },
    /// Put settings back.
    Configure {
        /// The topic.
        topic: String,
        /// The keys that differ.
        set: BTreeMap<String, String>,
    },
}

/// Why a topic cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicConflict {
    /// A topic of our name that we did not create.
    #[error(
        "topic {0} exists and was not created by this operator; choose another couponId, or delete the topic if nobody needs it"
    )]
    NotOurs(String),
    /// The topic was deleted and made again by somebody else.
    #[error(
        "topic {0} was deleted and made again by somebody else; delete it, and the operator continues from the database"
    )]
    Replaced(String),
    /// The class points to another Kafka now.
    #[error("the ledger is in Kafka cluster {recorded}, but the class now points to {found}; point it back")]
    Moved {
        /// The cluster that holds the ledger.
        recorded: String,
        /// The cluster that the class points to.
        found: String,
    },
}

impl TopicConflict {
    /// A stable word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotOurs(_) => "TopicNotOurs",
            Self::Replaced(_) => "TopicReplaced",
            Self::Moved { .. } => "LedgerMoved",
        }
    }
}

/// Replication as it will be, which may be less than asked for where the class allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replication {
    /// Copies of each record.
    pub factor: i32,
    /// Copies that must be written.
    pub min_in_sync: i32,
    /// Whether this is less than the class asks for.
    pub lowered: bool,
}

/// As many copies as the class asks for; fewer only if the class allows it and the brokers are not there.
pub fn replication(kafka: &api::Kafka, brokers: usize) -> Replication {
    let (asked, asked_min) = (i32::from(kafka.replication_factor), i32::from(kafka.min_in_sync_replicas));
    let live = i32::try_from(brokers).unwrap_or(i32::MAX).max(1);
    if !kafka.allow_lower_replication || live >= asked {
        return Replication { factor: asked, min_in_sync: asked_min, lowered: false };
    }
    // Never as many in sync as there are copies: one restart would stop all writes. One copy is the exception.
    Replication { factor: live, min_in_sync: asked_min.min((live - 1).max(1)), lowered: true }
}

/// Kafka's key for the largest record, or batch of records, in bytes.
const MAX_BYTES: &str = "max.message.bytes";
/// Kafka's own bound. Set all the same: what the brokers' default is does not show, and dead letters must be allowed more.
const DEFAULT_MAX_BYTES: u64 = 1_048_588;
/// How much larger a dead letter may be than its record: the headers that say where it lay and what went wrong, twice over.
const DEAD_LETTER_MARGIN: u64 = 65_536;

/// What both topics are configured to. Winners are kept for the class' retention, dead letters until they are dealt with. The
/// dead-letter topic takes whatever the topic takes, and its headers.
pub fn config(kafka: &api::Kafka, min_in_sync: i32, dead_letters: bool) -> BTreeMap<String, String> {
    let retention_ms =
        if dead_letters { "-1".to_owned() } else { (u64::from(kafka.retention_hours) * 3_600_000).to_string() };
    let mut all = kafka.topic_config.clone();
    // Set all the same: brokers whose own default no client here can read would recompress what comes. Nor is a class followed that
    // asks for such a codec; its condition says so.
    if codec::unreadable(kafka).is_some() || !all.contains_key(codec::COMPRESSION) {
        all.insert(codec::COMPRESSION.to_owned(), codec::AS_PRODUCED.to_owned());
    }
    let max_bytes = all.get(MAX_BYTES).cloned().unwrap_or_else(|| DEFAULT_MAX_BYTES.to_string());
    // What is no number is Kafka's to refuse.
    let max_bytes = match max_bytes.parse::<u64>() {
        Ok(bytes) if dead_letters => bytes.saturating_add(DEAD_LETTER_MARGIN).min(i32::MAX as u64).to_string(),
        _ => max_bytes,
    };
    all.insert(MAX_BYTES.to_owned(), max_bytes);
    for (key, value) in [
        ("cleanup.policy", "delete".to_owned()),
        ("min.insync.replicas", min_in_sync.to_string()),
        ("retention.bytes", "-1".to_owned()),
        ("retention.ms", retention_ms),
        ("unclean.leader.election.enable", "false".to_owned()),
    ] {
        all.insert(key.to_owned(), value);
    }
    all
}

/// What to do next about the topics. Nothing means: both are there, ours, and as they should be.
pub fn plan(
    campaign: &CampaignId,
    kafka: &api::Kafka,
    partitions: u16,
    claim: &Claim,
    recorded_cluster: Option<&str>,
    view: &TopicView,
) -> Result<Vec<TopicStep>, TopicConflict> {
    if let Some(recorded) = recorded_cluster
        && recorded != view.cluster_id
    {
        return Err(TopicConflict::Moved { recorded: recorded.to_owned(), found: view.cluster_id.clone() });
    }
    let (name, dlt) = (campaign.topic(), campaign.dead_letter_topic());
    let wanted = replication(kafka, view.brokers);
    let spec = |name: &str, dead: bool| TopicSpec {
        name: name.to_owned(),
        partitions: i32::from(partitions),
        replication_factor: wanted.factor,
        config: config(kafka, wanted.min_in_sync, dead),
    };
    let (mut steps, mut missing) = (Vec::new(), Vec::new());
    match (claim, &view.events) {
        (Claim::None, TopicState::Present(_)) => return Err(TopicConflict::NotOurs(name)),
        (Claim::None, TopicState::Absent) => {
            if matches!(view.dead_letters, TopicState::Present(_)) {
                return Err(TopicConflict::NotOurs(dlt));
            }
            let both = vec![spec(&dlt, true), spec(&name, false)];
            return Ok(vec![TopicStep::Announce, TopicStep::Create(both)]);
        }
        // We died between announcing and recording. What is there is ours if nobody has written to it.
        (Claim::Announced, TopicState::Present(topic)) => {
            if view.used != Some(false) {
                return Err(TopicConflict::NotOurs(name));
            }
            steps.push(TopicStep::Record(topic.topic_id.clone()));
        }
        (Claim::Owned(id), TopicState::Present(topic)) if *id != topic.topic_id => {
            return Err(TopicConflict::Replaced(name));
        }
        (Claim::Owned(_), TopicState::Present(_)) => {}
        // Ours is gone: somebody deleted it. The database remembers what was stored; a new topic goes on from there.
        (Claim::Owned(_), TopicState::Absent) => {
            steps.push(TopicStep::Announce);
            missing.push(spec(&name, false));
        }
        (Claim::Announced, TopicState::Absent) => missing.push(spec(&name, false)),
    }
    if matches!(view.dead_letters, TopicState::Absent) {
        missing.push(spec(&dlt, true));
    }
    if !missing.is_empty() {
        steps.push(TopicStep::Create(missing));
    }
    for (name, state, found, dead) in
        [(&name, &view.events, &view.events_config, false), (&dlt, &view.dead_letters, &view.dead_letters_config, true)]
    {
        let TopicState::Present(topic) = state else { continue };
        if topic.partitions.len() < usize::from(partitions) {
            steps.push(TopicStep::Grow { topic: name.clone(), partitions: partitions.into() });
        }
        let set: BTreeMap<String, String> = config(kafka, in_sync(kafka, topic), dead)
            .into_iter()
            .filter(|(key, value)| {
                found.get(key).is_none_or(|entry| !entry.is_set() || entry.value.as_ref() != Some(value))
            })
            .collect();
        if !set.is_empty() {
            steps.push(TopicStep::Configure { topic: name.clone(), set });
        }
    }
    Ok(steps)
}

/// Copies that must be written. A topic keeps the copies it was made with, and its min.insync follows those: not the brokers that
/// live at this moment, or an outage would lower what `acks=all` means just then.
fn in_sync(kafka: &api::Kafka, topic: &Topic) -> i32 {
    i32::from(kafka.min_in_sync_replicas).min((copies(topic) - 1).max(1))
}

/// Copies of each record.
pub fn copies(topic: &Topic) -> i32 {
    topic.partitions.iter().map(|p| i32::try_from(p.replicas.len()).unwrap_or(i32::MAX)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests;
