//! What a campaign's topics should be, and what to do about a difference. Pure.

pub(crate) mod make;
pub(crate) mod probe;

use std::collections::BTreeMap;

use coupon_core::identity::CampaignId;
use coupon_kafka_admin::{AdminError, ConfigEntry, Topic, TopicSpec, TopicState};
use coupon_ledger::database::TopicClaim;

use crate::api;
use crate::error::ReconcileError;

/// Annotation with which people say that a topic that was there before the campaign is to be its topic: the topic's id. It works while
/// nobody has written to it.
pub(crate) const ADOPT_ANNOTATION: &str = "coupon-operator.io/adopt-topic";

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
    /// The same of the dead-letter topic.
    pub dead_letters_used: Option<bool>,
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
pub(crate) enum TopicConflict {
    /// A topic of our name that we did not create.
    #[error(
        "topic {topic} exists and was not created by this operator; choose another couponId, or delete the topic if nobody needs it{}",
        adoption(adoptable.as_deref())
    )]
    NotOurs {
        /// The topic.
        topic: String,
        /// Its id, if nobody has written to it.
        adoptable: Option<String>,
    },
    /// The topic was deleted and made again by somebody else.
    #[error(
        "topic {topic} was deleted and made again by somebody else; delete it, and the operator continues from the database{}",
        adoption(adoptable.as_deref())
    )]
    Replaced {
        /// The topic.
        topic: String,
        /// Its id, if nobody has written to it.
        adoptable: Option<String>,
    },
    /// The class points to another Kafka now.
    #[error("the ledger is in Kafka cluster {recorded}, but the class now points to {found}; point it back")]
    Moved {
        /// The cluster that holds the ledger.
        recorded: String,
        /// The cluster that the class points to.
        found: String,
    },
}

/// What people can do about a conflict over an empty topic, in words.
fn adoption(id: Option<&str>) -> String {
    id.map_or_else(
        || format!(" (it has been written to, so it cannot be taken with the annotation {ADOPT_ANNOTATION})"),
        |id| {
            format!(
                "; or, as nobody has written to it, annotate the campaign with {ADOPT_ANNOTATION}={id} to have it used"
            )
        },
    )
}

impl TopicConflict {
    /// A stable word for programs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotOurs { .. } => "TopicNotOurs",
            Self::Replaced { .. } => "TopicReplaced",
            Self::Moved { .. } => "LedgerMoved",
        }
    }
}

/// Replication as it will be, which may be less than asked for where the class allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replication {
    /// Copies of each record.
    pub factor: i32,
    /// Copies that must be written.
    pub min_in_sync: i32,
    /// Whether this is less than the class asks for.
    pub lowered: bool,
}

/// As many copies as the class asks for; fewer only if the class allows it and the brokers are not there.
pub(crate) fn replication(kafka: &api::Kafka, brokers: usize) -> Replication {
    let (asked, asked_min) = (i32::from(kafka.replication_factor), i32::from(kafka.min_in_sync_replicas));
    let live = i32::try_from(brokers).unwrap_or(i32::MAX).max(1);
    if !kafka.allow_lower_replication || live >= asked {
        return Replication { factor: asked, min_in_sync: asked_min, lowered: false };
    }
    // Never as many in sync as there are copies: one restart would stop all writes. One copy is the exception.
    Replication { factor: live, min_in_sync: asked_min.min((live - 1).max(1)), lowered: true }
}

/// Kafka's key for the codec that a topic keeps records in.
const CODEC: &str = "compression.type";
/// Kafka's key for the largest record, or batch of records, in bytes.
const MAX_BYTES: &str = "max.message.bytes";
/// Kafka's own bound. Set all the same: what the brokers' default is does not show, and dead letters must be allowed more.
const DEFAULT_MAX_BYTES: u64 = 1_048_588;
/// How much larger a dead letter may be than its record: the headers that say where it lay and what went wrong, twice over.
const DEAD_LETTER_MARGIN: u64 = 65_536;

/// What Kafka itself makes of a topic that says nothing else.
const DEFAULTS: [(&str, &str); 7] = [
    ("cleanup.policy", "delete"),
    (CODEC, "producer"),
    (MAX_BYTES, "1048588"),
    ("min.insync.replicas", "1"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

/// With what a topic that should be configured so is made. What Kafka makes of it by itself is not asked for: policies of managed
/// brokers refuse some keys whatever their value. Where the brokers' own default is another, [`differing`] finds it once the topic is
/// there.
pub(crate) fn creation(mut config: BTreeMap<String, String>) -> BTreeMap<String, String> {
    config.retain(|key, value| !DEFAULTS.contains(&(key.as_str(), value.as_str())));
    config
}

/// Topics could not be made. Where that is forbidden, somebody else can make them: we have announced them, so those of these names are
/// ours as long as nobody has written to them.
pub(crate) fn not_made(error: AdminError, kafka: &api::Kafka, specs: &[TopicSpec]) -> ReconcileError {
    match error {
        AdminError::NotAuthorized { .. } | AdminError::PolicyViolation { .. } | AdminError::InvalidConfig { .. } => {
            ReconcileError::TopicNotMade { error, wanted: wanted(kafka, specs) }
        }
        error => error.into(),
    }
}

/// The class says that somebody else makes the topics.
pub(crate) fn awaited(kafka: &api::Kafka, specs: &[TopicSpec]) -> ReconcileError {
    ReconcileError::TopicAwaited { wanted: wanted(kafka, specs) }
}

/// By name, so that it reads the same whichever was found missing first.
fn wanted(kafka: &api::Kafka, specs: &[TopicSpec]) -> String {
    let by_name: BTreeMap<&str, &TopicSpec> = specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    by_name.into_values().map(|spec| in_words(kafka, spec)).collect::<Vec<_>>().join(" and ")
}

/// What a person who makes a topic must know: how it is made, and what is held beside that, which brokers may do by themselves.
pub(crate) fn in_words(kafka: &api::Kafka, spec: &TopicSpec) -> String {
    let TopicSpec { name, partitions, replication_factor, config } = spec;
    let asked: Vec<String> = config.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    let by_itself =
        DEFAULTS.iter().filter(|(key, _)| !config.contains_key(*key) && (*key != CODEC || asks_codec(kafka)));
    let held: Vec<String> = by_itself.map(|(key, value)| format!(" {key}={value}")).collect();
    format!(
        "topic {name} (partitions={partitions} replication-factor={replication_factor}{}; and, where the brokers' own are others:{})",
        asked.concat(),
        held.concat()
    )
}

/// Whether the class says which codec topics have.
fn asks_codec(kafka: &api::Kafka) -> bool {
    kafka.topic_config.contains_key(CODEC)
}

/// What of `wanted` a topic does not have, wherever its values come from. The codec is the choice of the person who set it on this topic, or makes
/// the topics, unless the class has one: every client here reads all of them. What is inherited from brokers was chosen for no topic.
fn differing(
    kafka: &api::Kafka,
    wanted: BTreeMap<String, String>,
    found: &BTreeMap<String, ConfigEntry>,
) -> BTreeMap<String, String> {
    let has = |key: &String, value: &String| found.get(key).is_some_and(|entry| entry.value.as_ref() == Some(value));
    let chosen = !kafka.create_topics || found.get(CODEC).is_some_and(ConfigEntry::is_set);
    let is_theirs = |key: &String| key == CODEC && chosen && !asks_codec(kafka);
    wanted.into_iter().filter(|(key, value)| !has(key, value) && !is_theirs(key)).collect()
}

/// What both topics are configured to. Winners are kept for the class' retention, dead letters until they are dealt with, unless the class
/// says otherwise. The dead-letter topic takes whatever the topic takes, and its headers.
pub(crate) fn config(kafka: &api::Kafka, min_in_sync: i32, dead_letters: bool) -> BTreeMap<String, String> {
    let hours = if dead_letters { kafka.dead_letter_retention_hours } else { Some(kafka.retention_hours) };
    let retention_ms = hours.map_or_else(|| "-1".to_owned(), |hours| (u64::from(hours) * 3_600_000).to_string());
    let mut all = kafka.topic_config.clone();
    // Records stay as they were produced: brokers with a codec of their own would recompress each.
    all.entry(CODEC.to_owned()).or_insert_with(|| "producer".to_owned());
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

/// What to do next about the topics. Nothing means: both are there, ours, and as they should be. `adopt`: the id of a topic that people
/// say is to be the campaign's.
pub(crate) fn plan(
    campaign: &CampaignId,
    kafka: &api::Kafka,
    partitions: u16,
    claim: &TopicClaim,
    recorded_cluster: Option<&str>,
    view: &TopicView,
    adopt: Option<&str>,
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
        config: creation(config(kafka, wanted.min_in_sync, dead)),
    };
    let (mut steps, mut missing) = (Vec::new(), Vec::new());
    match ownership(campaign, claim, view, adopt)? {
        Ownership::NotMade => {
            let both = vec![spec(&dlt, true), spec(&name, false)];
            return Ok(vec![TopicStep::Announce, TopicStep::Create(both)]);
        }
        Ownership::Ours { unrecorded } => steps.extend(unrecorded.map(TopicStep::Record)),
        Ownership::Missing { is_announced } => {
            steps.extend((!is_announced).then_some(TopicStep::Announce));
            missing.push(spec(&name, false));
        }
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
        let set = differing(kafka, config(kafka, in_sync(kafka, topic), dead), found);
        if !set.is_empty() {
            steps.push(TopicStep::Configure { topic: name.clone(), set });
        }
    }
    Ok(steps)
}

/// Whose the topic of winners is.
enum Ownership {
    /// Neither topic is there, and none was made.
    NotMade,
    /// It is there and ours. Its id, if that is not recorded yet.
    Ours { unrecorded: Option<String> },
    /// It is ours and not there.
    Missing { is_announced: bool },
}

/// Whose the topic of winners is, by the claim on record and by what is there.
fn ownership(
    campaign: &CampaignId,
    claim: &TopicClaim,
    view: &TopicView,
    adopt: Option<&str>,
) -> Result<Ownership, TopicConflict> {
    let (name, dlt) = (campaign.topic(), campaign.dead_letter_topic());
    let unused = |topic: &Topic| (view.used == Some(false)).then(|| topic.topic_id.clone());
    let adopted = |topic: &Topic| view.used == Some(false) && adopt == Some(topic.topic_id.as_str());
    let unrecorded = |topic: &Topic| Ownership::Ours { unrecorded: Some(topic.topic_id.clone()) };
    Ok(match (claim, &view.events) {
        (TopicClaim::None, TopicState::Present(topic)) if adopted(topic) => {
            // The one that somebody made beside it goes with it.
            if view.dead_letters_used == Some(true) {
                return Err(TopicConflict::NotOurs { topic: dlt, adoptable: None });
            }
            unrecorded(topic)
        }
        (TopicClaim::None, TopicState::Present(topic)) => {
            return Err(TopicConflict::NotOurs { topic: name, adoptable: unused(topic) });
        }
        (TopicClaim::None, TopicState::Absent) => {
            if matches!(view.dead_letters, TopicState::Present(_)) {
                return Err(TopicConflict::NotOurs { topic: dlt, adoptable: None });
            }
            Ownership::NotMade
        }
        // We died between announcing and recording. What is there is ours if nobody has written to it.
        (TopicClaim::Announced, TopicState::Present(topic)) => {
            if view.used != Some(false) {
                return Err(TopicConflict::NotOurs { topic: name, adoptable: None });
            }
            unrecorded(topic)
        }
        (TopicClaim::Owned(id), TopicState::Present(topic)) if *id != topic.topic_id => {
            if !adopted(topic) {
                return Err(TopicConflict::Replaced { topic: name, adoptable: unused(topic) });
            }
            unrecorded(topic)
        }
        (TopicClaim::Owned(_), TopicState::Present(_)) => Ownership::Ours { unrecorded: None },
        // Ours is gone: somebody deleted it. The database remembers what was stored; a new topic goes on from there.
        (TopicClaim::Owned(_), TopicState::Absent) => Ownership::Missing { is_announced: false },
        (TopicClaim::Announced, TopicState::Absent) => Ownership::Missing { is_announced: true },
    })
}

/// Copies that must be written. A topic keeps the copies it was made with, and its min.insync follows those: not the brokers that
/// live at this moment, or an outage would lower what `acks=all` means just then.
fn in_sync(kafka: &api::Kafka, topic: &Topic) -> i32 {
    i32::from(kafka.min_in_sync_replicas).min((copies(topic) - 1).max(1))
}

/// Copies of each record.
pub(crate) fn copies(topic: &Topic) -> i32 {
    topic.partitions.iter().map(|p| i32::try_from(p.replicas.len()).unwrap_or(i32::MAX)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests;
