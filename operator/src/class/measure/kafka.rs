//! Kafka, with one login.
//!
//! What Kafka allows shows where it is done: a record is written and read back, a group's offset is set, on a topic that each realm has
//! for this alone (`topics::probe`). What would change something is asked as a request that only validates.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coupon_core::connections::{Kafka, KafkaProtocol};
use coupon_core::names::Names;
use coupon_kafka_admin::{AdminError, Batch, ConfigEntry, Creation, KafkaAdmin, TopicSpec, TopicState};
use coupon_ledger::kafka::probe::{RoundTrip, TripError};

use super::fault::Fault;
use super::{CALL, Findings};
use crate::api::{self, CampaignClass};
use crate::class::pools::Systems;
use crate::kafka::topics;
use crate::kafka::topics::probe::{self, ProbeTopicState};

/// How often it is asked whether a topic that was just made has a leader.
const LEADER: Duration = Duration::from_millis(50);

/// Whether its connections are encrypted.
pub(super) fn is_encrypted(settings: &Kafka) -> bool {
    matches!(settings.protocol, KafkaProtocol::Tls | KafkaProtocol::SaslTls)
}

/// Who that is to Kafka.
pub(crate) fn user(settings: &Kafka) -> String {
    if settings.login.username.is_empty() { "ANONYMOUS".to_owned() } else { settings.login.username.clone() }
}

/// A failed question; where a right is missing, with user and operation.
fn sorted(error: AdminError, user: &str, operation: &'static str) -> Fault {
    match error {
        AdminError::NotAuthorized { resource, cause } => {
            Fault::KafkaRight { user: user.to_owned(), operation, resource, said: cause }
        }
        error => Fault::Kafka(error),
    }
}

/// A record that was not written and read back.
fn not_made(error: TripError, user: &str) -> Fault {
    let user = user.to_owned();
    match error {
        TripError::NotAuthorized { operation, resource, cause } => {
            Fault::KafkaRight { user, operation, resource, said: cause }
        }
        TripError::Late { operation, resource, deadline, cause } => {
            Fault::KafkaLate { user, operation, resource, seconds: deadline.as_secs(), said: cause }
        }
        TripError::Failed(error) => Fault::Kafka(error),
    }
}

/// What both topics of a campaign would be made as, under names that never are.
fn wanted(never: &Names, kafka: &api::Kafka, brokers: usize) -> Vec<TopicSpec> {
    let replication = topics::replication(kafka, brokers);
    let spec = |name: &str, dead| TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: replication.factor,
        config: topics::creation(topics::config(kafka, replication.min_in_sync, dead)),
    };
    vec![spec(&never.dead_letter_topic, true), spec(&never.topic, false)]
}

/// With the operator's login: the brokers, whether a campaign's topics could be made, described, configured, written, read and removed.
/// `probed`: becomes true once the topic is there on which the pods' login can be tried.
pub(super) async fn check(systems: &Systems, class: &CampaignClass, probed: &AtomicBool) -> Findings {
    let (kafka, spec) = (systems.kafka.within(CALL), &class.spec.kafka);
    let (realm, user) = (&class.spec.realm, user(&systems.settings.operator.kafka));
    let kafka_names = &systems.settings.operator.kafka_names;
    let (names, never) = (probe::names(kafka_names, realm), probe::never(kafka_names, realm));
    let cluster = match kafka.describe_cluster().await {
        Ok(cluster) => cluster,
        Err(error) => return Findings::of(sorted(error, &user, "Describe")),
    };
    let (live, asked) = (cluster.brokers.len(), spec.replication_factor);
    let mut faults = Vec::new();
    let specs = wanted(&never, spec, live);
    let (name, topics) = (&names.topic, [&names.topic]);
    let trying = async {
        match spec.create_topics {
            true => kafka.try_topics(&specs).await,
            false => Ok(Batch::new()),
        }
    };
    let (tried, topic, config, group) = tokio::join!(
        trying,
        kafka.describe_topics(&topics),
        kafka.topic_config(name),
        kafka.committed_offsets(&names.group, name, 1)
    );
    let too_few = live < usize::from(asked) && !spec.allow_lower_replication;
    if too_few {
        faults.push(Fault::KafkaTooFewBrokers { live, asked });
    }
    let can_make = can_be_made(tried, too_few, &user, &mut faults);
    let topic = topic.and_then(|mut all| all.remove(name).unwrap_or(Ok(TopicState::Absent)));
    let probe_topic = seen(topic, config, &user, &mut faults);
    let group = group.map_err(|error| faults.push(sorted(error, &user, "Describe (or Read)")));
    let mut notes = vec![format!("Kafka answers both logins; {}", brokers_in_words(live, asked))];
    let cluster_id = Some(cluster.cluster_id);
    // A topic that may be somebody else's is left alone.
    if let Some((there, config)) = probe_topic {
        let wanted = probe::spec(name, spec, live);
        let state = probe::state_of(&there, &config, spec, &wanted);
        match prepare(&kafka, spec, &wanted, state, can_make, &user).await {
            Ready::Yes => {
                systems.set_probed(names.clone());
                probed.store(true, Ordering::Relaxed);
                let same = systems.settings.operator.kafka == systems.settings.workload.kafka;
                // With the same login the pods' look says it all.
                let trip = (!same).then_some(&systems.operator_trip);
                let groups = [&names.group, &never.group].map(String::as_str);
                faults.extend(rights(&kafka, groups, spec.create_topics, &wanted, trip, group.is_ok(), &user).await);
            }
            Ready::Untried(why) => notes.push(format!("whether records can be written and read was not tried: {why}")),
            Ready::Said => {}
            Ready::No(fault) => faults.push(fault),
        }
    }
    Findings { faults, notes, kafka_cluster_id: cluster_id, ..Findings::default() }
}

/// Whether a campaign's topics could be made, by what Kafka said of those that were only tried.
fn can_be_made(
    tried: Result<Batch<String, Creation>, AdminError>,
    too_few: bool,
    user: &str,
    faults: &mut Vec<Fault>,
) -> bool {
    match tried.and_then(|all| all.into_values().collect::<Result<Vec<Creation>, _>>()) {
        Ok(_) => !too_few,
        // Said already.
        Err(AdminError::InvalidReplication { .. }) if too_few => false,
        Err(error) => {
            faults.push(sorted(error, user, "Create"));
            false
        }
    }
}

/// The topic with its configuration, if both could be read.
fn seen(
    topic: Result<TopicState, AdminError>,
    config: Result<BTreeMap<String, ConfigEntry>, AdminError>,
    user: &str,
    faults: &mut Vec<Fault>,
) -> Option<(TopicState, BTreeMap<String, ConfigEntry>)> {
    let topic = topic.map_err(|error| faults.push(sorted(error, user, "Describe")));
    match config {
        Ok(config) => Some((topic.ok()?, config)),
        // That is the answer to somebody who may ask. A broker may not have heard yet of a topic that another one knows.
        Err(AdminError::UnknownTopic { .. }) => topic.ok().map(|_| (TopicState::Absent, BTreeMap::new())),
        Err(error) => {
            faults.push(sorted(error, user, "AlterConfigs (or DescribeConfigs)"));
            None
        }
    }
}

fn brokers_in_words(live: usize, asked: u16) -> String {
    let brokers = if live == 1 { "1 broker".to_owned() } else { format!("{live} brokers") };
    let lowered =
        if live < usize::from(asked) { format!(", fewer than the {asked} copies asked for") } else { String::new() };
    format!("{brokers}{lowered}")
}

/// Whether records can be tried.
enum Ready {
    Yes,
    /// They cannot, and campaigns could all the same.
    Untried(String),
    /// They cannot, for a reason that is said already.
    Said,
    No(Fault),
}

/// Makes the topic, if one can be made, or puts right what differs.
async fn prepare(
    kafka: &KafkaAdmin,
    spec: &api::Kafka,
    wanted: &TopicSpec,
    state: ProbeTopicState,
    can_make: bool,
    user: &str,
) -> Ready {
    let name = &wanted.name;
    match state {
        ProbeTopicState::NotOurs => Ready::No(Fault::KafkaTopicNotOurs { topic: name.clone() }),
        ProbeTopicState::Ours(set) => match kafka.set_config_incremental(name, &set, &[] as &[&str]).await {
            Ok(()) => Ready::Yes,
            Err(error) => Ready::No(sorted(error, user, "AlterConfigs")),
        },
        ProbeTopicState::TooFewCopies | ProbeTopicState::Absent if !can_make => Ready::Said,
        // It holds nothing that anybody needs, and is made anew at the next look: its removal takes Kafka a moment.
        ProbeTopicState::TooFewCopies => match kafka.delete_topic(name).await {
            Ok(_) => Ready::Untried(format!("topic {name} is made anew with {} copies", wanted.replication_factor)),
            Err(error) => Ready::No(sorted(error, user, "Delete")),
        },
        ProbeTopicState::Absent if !spec.create_topics => {
            Ready::Untried(format!("kafka.createTopics is false, and {} is not there", topics::in_words(spec, wanted)))
        }
        ProbeTopicState::Absent => match kafka.create_topic(wanted).await {
            Ok(Creation::Created) => {
                led(kafka, name).await;
                Ready::Yes
            }
            Ok(Creation::AlreadyExists) => found(kafka, spec, wanted, user).await,
            // A campaign's topics would be made: it is the short retention that is not wanted.
            Err(error @ (AdminError::PolicyViolation { .. } | AdminError::InvalidConfig { .. })) => {
                Ready::Untried(error.to_string())
            }
            Err(error) => Ready::No(sorted(error, user, "Create")),
        },
    }
}

/// The topic was made meanwhile: by the measurement of another class, or by somebody else.
async fn found(kafka: &KafkaAdmin, spec: &api::Kafka, wanted: &TopicSpec, user: &str) -> Ready {
    let name = &wanted.name;
    let Some(state) = led(kafka, name).await else {
        return Ready::Untried(format!("topic {name} was made by somebody a moment ago, and has no leader yet"));
    };
    match kafka.topic_config(name).await {
        Ok(config) => match probe::state_of(&state, &config, spec, wanted) {
            ProbeTopicState::Ours(_) => Ready::Yes,
            _ => Ready::No(Fault::KafkaTopicNotOurs { topic: name.clone() }),
        },
        Err(error) => Ready::No(sorted(error, user, "DescribeConfigs")),
    }
}

/// Waits for the leader of a new topic. Who goes on without one is late, and says so.
async fn led(kafka: &KafkaAdmin, name: &str) -> Option<TopicState> {
    let until = Instant::now() + CALL;
    while Instant::now() < until {
        let found = kafka.describe_topics(&[name]).await.ok().and_then(|mut all| all.remove(name));
        if let Some(Ok(TopicState::Present(topic))) = found
            && topic.has_leaders()
        {
            return Some(TopicState::Present(topic));
        }
        tokio::time::sleep(LEADER).await;
    }
    None
}

/// Each right that the operator needs on topics and groups that are there; `manages`: those too with which it keeps topics as they should
/// be. `group_seen`: the group could be described. `groups`: it, and one that never is.
async fn rights(
    kafka: &KafkaAdmin,
    [group, never]: [&str; 2],
    manages: bool,
    topic: &TopicSpec,
    trip: Option<&RoundTrip>,
    group_seen: bool,
    user: &str,
) -> Vec<Fault> {
    let name = &topic.name;
    let nothing = BTreeMap::from([(0, 0)]);
    let trip = async {
        match trip {
            Some(trip) => trip.make(name, CALL).await,
            None => Ok(()),
        }
    };
    let (grown, configured, removed, committed, forgotten, made) = tokio::join!(
        kafka.try_growth(name, 2),
        kafka.try_config(name, &topic.config),
        kafka.delete_records(name, &nothing),
        kafka.commit_offsets(group, name, &nothing),
        kafka.delete_group(never),
        trip,
    );
    let removed = removed.and_then(|all| all.into_values().collect::<Result<Vec<i64>, _>>());
    let (grown, configured, removed) = match manages {
        true => (grown, configured, removed.map(drop)),
        false => (Ok(()), Ok(()), Ok(())),
    };
    let asked = [
        (grown, "Alter"),
        (configured, "AlterConfigs"),
        (removed, "Delete"),
        (if group_seen { committed } else { Ok(()) }, "Read"),
        (forgotten.map(drop), "Delete"),
    ];
    let refused = asked.into_iter().filter_map(|(result, operation)| Some(sorted(result.err()?, user, operation)));
    refused.chain(made.err().map(|error| not_made(error, user))).collect()
}

/// With the pods' login: they see topic and group, write a record as issuers do, read it back as consumers do, and set the group's
/// offset. `probed`: the topic is there for this.
pub(super) async fn check_as_pods(systems: &Systems, realm: &str, probed: &AtomicBool) -> Findings {
    let (kafka, user) = (systems.workload_kafka.within(CALL), user(&systems.settings.workload.kafka));
    let Names { topic: name, group, .. } = probe::names(&systems.settings.workload.kafka_names, realm);
    let names = [name.as_str()];
    let (topics, group_seen) = tokio::join!(kafka.describe_topics(&names), kafka.committed_offsets(&group, &name, 1));
    let mut faults = Vec::new();
    let seen = topics.and_then(|all| all.into_values().collect::<Result<Vec<_>, _>>());
    let group_seen = group_seen.map_err(|error| faults.push(sorted(error, &user, "Read")));
    match seen {
        Err(error) => faults.push(sorted(error, &user, "Describe, Read and Write")),
        Ok(_) if !probed.load(Ordering::Relaxed) => {}
        Ok(_) => {
            let nothing = BTreeMap::from([(0, 0)]);
            let trip = systems.workload_trip.make(&name, CALL);
            let (made, committed) = tokio::join!(trip, kafka.commit_offsets(&group, &name, &nothing));
            faults.extend(made.err().map(|error| not_made(error, &user)));
            if group_seen.is_ok() {
                faults.extend(committed.err().map(|error| sorted(error, &user, "Read")));
            }
        }
    }
    Findings { faults, ..Findings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a user that is held back by a quota is said to lack a right.
    #[test]
    fn who_is_late_is_told_from_who_may_not() {
        let resource = "topic t".to_owned();
        let cause = "Local: Message timed out".to_owned();
        let late = TripError::Late { operation: "Write", resource, deadline: CALL, cause };
        let fault = not_made(late, "pods");
        assert_eq!((fault.reason(), fault.is_mute()), ("KafkaTimeout", false));
        let text = fault.to_string();
        assert!(text.starts_with("Write of topic t as Kafka's user `pods` was not done within 3 s"), "{text}");
        assert!(text.contains("quotas"), "{text}");
    }

    #[test]
    fn a_missing_acl_names_user_operation_and_resource() {
        let refused = AdminError::NotAuthorized {
            resource: "topic t".to_owned(),
            cause: "Topic authorization failed".to_owned(),
        };
        let text = sorted(refused, "op", "Create").to_string();
        assert_eq!(
            text,
            "Kafka does not let user `op` Create topic t: Topic authorization failed; add an ACL that allows it"
        );
    }
}
