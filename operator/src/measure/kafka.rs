//! Kafka, with one login.

use campaign::log::admin::{AdminError, Creation, TopicSpec};
use campaign::settings::{Kafka, KafkaProtocol};

use super::fault::Fault;
use super::{CALL, Seen};
use crate::api::{self, CampaignClass};
use crate::connections::Systems;
use crate::topic::{self, codec};

/// Whether its connections are encrypted.
pub(super) fn is_encrypted(settings: &Kafka) -> bool {
    matches!(settings.protocol, KafkaProtocol::Tls | KafkaProtocol::SaslTls)
}

/// The topic of a campaign that nobody can have, as no namespace is called `-`. It is never made.
fn topic_name(realm: &str) -> String {
    format!("{realm}.-.probe.coupon-events")
}

fn group_name(realm: &str) -> String {
    format!("{realm}.-.probe.coupon-consumer")
}

fn user(settings: &Kafka) -> String {
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

/// What both topics of a campaign would be made as.
fn wanted(realm: &str, kafka: &api::Kafka, brokers: usize) -> Vec<TopicSpec> {
    let replication = topic::replication(kafka, brokers);
    let name = topic_name(realm);
    let spec = |name: String, dead| TopicSpec {
        name,
        partitions: 1,
        replication_factor: replication.factor,
        config: topic::config(kafka, replication.min_in_sync, dead),
    };
    vec![spec(format!("{name}.DLT"), true), spec(name, false)]
}

/// A codec that the class sets and nobody here can read.
fn unreadable(kafka: &api::Kafka) -> Option<Fault> {
    codec::unreadable(kafka).map(|codec::Unreadable { codec, known }| Fault::KafkaCodec { codec, known })
}

/// With the operator's login: the brokers, and whether a campaign's topics could be made, described and configured.
pub(super) async fn look(systems: &Systems, class: &CampaignClass) -> Seen {
    let (kafka, spec) = (systems.kafka.within(CALL), &class.spec.kafka);
    let (realm, user) = (&class.spec.realm, user(&systems.settings.operator.kafka));
    let cluster = match kafka.describe_cluster().await {
        Ok(cluster) => cluster,
        Err(error) => return Seen::of(sorted(error, &user, "Describe")),
    };
    let (live, asked) = (cluster.brokers.len(), spec.replication_factor);
    let mut faults: Vec<Fault> = unreadable(spec).into_iter().collect();
    let specs = wanted(realm, spec, live);
    let (name, group) = (topic_name(realm), group_name(realm));
    let (tried, config, group) =
        tokio::join!(kafka.try_topics(&specs), kafka.topic_config(&name), kafka.committed_offsets(&group, &name, 1));
    let too_few = live < usize::from(asked) && !spec.allow_lower_replication;
    if too_few {
        faults.push(Fault::KafkaTooFewBrokers { live, asked });
    }
    let tried = tried.and_then(|all| all.into_values().collect::<Result<Vec<Creation>, _>>());
    match tried {
        Ok(_) => {}
        Err(AdminError::InvalidReplication { .. }) if too_few => {}
        Err(error) => faults.push(sorted(error, &user, "Create")),
    }
    match config {
        // That is the answer to somebody who may ask.
        Ok(_) | Err(AdminError::UnknownTopic { .. }) => {}
        Err(error) => faults.push(sorted(error, &user, "DescribeConfigs")),
    }
    if let Err(error) = group {
        faults.push(sorted(error, &user, "Describe (or Read)"));
    }
    let brokers = if live == 1 { "1 broker".to_owned() } else { format!("{live} brokers") };
    let lowered =
        if live < usize::from(asked) { format!(", fewer than the {asked} copies asked for") } else { String::new() };
    let notes = vec![format!("Kafka answers both logins; {brokers}{lowered}")];
    Seen { faults, notes, kafka_cluster_id: Some(cluster.cluster_id), ..Seen::default() }
}

/// With the pods' login: they may see the topic and the group. Kafka tells of reading and writing only where the topic is there.
pub(super) async fn look_as_pods(systems: &Systems, realm: &str) -> Seen {
    let (kafka, user) = (systems.workload_kafka.within(CALL), user(&systems.settings.workload.kafka));
    let name = topic_name(realm);
    let names = [name.as_str()];
    let group = group_name(realm);
    let (topics, group) = tokio::join!(kafka.describe_topics(&names), kafka.committed_offsets(&group, &name, 1));
    let mut faults = Vec::new();
    if let Err(error) = topics.and_then(|all| all.into_values().collect::<Result<Vec<_>, _>>()) {
        faults.push(sorted(error, &user, "Read or Write"));
    }
    if let Err(error) = group {
        faults.push(sorted(error, &user, "Read"));
    }
    Seen { faults, ..Seen::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_that_nobody_reads_is_refused() {
        let mut kafka = crate::fixtures::class().spec.kafka;
        assert!(unreadable(&kafka).is_none());
        let mut set = |codec: &str| {
            kafka.topic_config.insert("compression.type".to_owned(), codec.to_owned());
            unreadable(&kafka)
        };
        assert_eq!(["producer", "lz4", "GZIP"].map(|codec| set(codec).is_some()), [false; 3]);
        let fault = set("middle-out").unwrap();
        assert_eq!(fault.reason(), "KafkaCodecUnsupported");
        let text = fault.to_string();
        assert!(text.contains("middle-out") && text.contains("producer, uncompressed, lz4, gzip"), "{text}");
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
