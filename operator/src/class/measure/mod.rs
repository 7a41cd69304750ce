//! Measures a class: what its servers are, and whether the operator's and the pods' logins may do there what is needed. What works
//! here works for every campaign of the class; what does not is said before a sale meets it.
//!
//! Little is left behind: Redis' commands are tried on keys of no campaign, which are removed; rows are rolled back; topics are asked for
//! as if they were to be made. In Kafka each realm keeps one small topic, to which a record is written, and a group, until the class goes.

pub mod clocks;
mod database;
pub(crate) mod fault;
mod findings;
mod kafka;
mod lacking;
mod measured;
pub(crate) mod pods;
mod redis;
pub(crate) mod routes;
pub(crate) mod system;
pub(crate) mod wire;

use std::sync::atomic::AtomicBool;

use ::coupon_core::connections;
use ::coupon_ledger::redis::probe::Role;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::clocks::Clocks;
use self::fault::{Fault, Finding, Who};
pub(super) use self::findings::Findings;
pub(crate) use self::kafka::user as user_of;
pub(super) use self::lacking::bounded;
pub(crate) use self::lacking::pods_lack;
pub use self::measured::Measured;
pub use self::system::System;
pub(super) use self::system::{CALL, EACH};
use crate::api::CampaignClass;
use crate::class::pools::Systems;
use crate::error::tls_advice;

/// Looks at all three systems with both logins. Ends in some seconds, whatever they do.
pub async fn measure(systems: &Systems, class: &CampaignClass) -> Measured {
    let (operator, pods) = (&systems.settings.operator, &systems.settings.workload);
    let realm = &class.spec.realm;
    let probed = AtomicBool::new(false);
    let same_redis = operator.redis == pods.redis;
    let (kafka, redis, database) = tokio::join!(
        both(
            System::Kafka,
            kafka::check(systems, class, &probed).boxed(),
            Some(kafka::check_as_pods(systems, realm, &probed).boxed()),
            operator.kafka == pods.kafka
        ),
        both(
            System::Redis,
            redis::check(&operator.redis, realm, Role::Operator).boxed(),
            // One and the same login: the operator's look says it all.
            (!same_redis).then(|| redis::check(&pods.redis, realm, Role::Issuer).boxed()),
            same_redis,
        ),
        both(
            System::Database,
            database::check(systems).boxed(),
            Some(database::check_as_pods(&pods.database).boxed()),
            false
        ),
    );
    let mut measured = Measured {
        clocks: Clocks { redis: redis.1.clock, database: database.1.clock },
        kafka_cluster_id: kafka.1.kafka_cluster_id.clone(),
        ..Measured::default()
    };
    for (system, (findings, seen)) in [(System::Kafka, kafka), (System::Redis, redis), (System::Database, database)] {
        measured.notes.extend(seen.notes.into_iter().map(|note| (system, note)));
        measured.findings.extend(findings);
    }
    let mute = measured.findings.iter_mut().filter(|finding| finding.fault.is_mute());
    futures::future::join_all(mute.map(|finding| explain(finding, operator))).await;
    measured
}

/// Both logins of one system, first the operator's. `same`: they are one and the same.
async fn both(
    system: System,
    operator: BoxFuture<'_, Findings>,
    pods: Option<BoxFuture<'_, Findings>>,
    same: bool,
) -> (Vec<Finding>, Findings) {
    let mut operator = bounded(system, operator).await;
    let mute = operator.faults.iter().any(Fault::is_mute);
    let pods = match pods {
        Some(pods) if !mute => bounded(system, pods).await,
        // Where nobody was there to ask, the other login would wait as long, and hear the same.
        _ => Findings::default(),
    };
    let mut findings = fault::together(system, std::mem::take(&mut operator.faults), pods.faults);
    if same || mute {
        findings.iter_mut().for_each(|finding| finding.who = vec![Who::Operator, Who::Pods]);
    }
    operator.clock = operator.clock.or(pods.clock);
    (findings, operator)
}

/// Adds what listens at the address of a system that could not be spoken to.
async fn explain(finding: &mut Finding, settings: &connections::Connections) {
    let (address, tls) = match finding.system {
        System::Redis => (redis::address(&settings.redis), settings.redis.tls),
        System::Database => {
            let database = &settings.database;
            // An IPv6 address needs its brackets.
            let host = if database.host.contains(':') { format!("[{}]", database.host) } else { database.host.clone() };
            (Some(format!("{host}:{}", database.port)), database.tls != connections::DatabaseTls::Disabled)
        }
        System::Kafka => (settings.kafka.bootstrap_servers.first().cloned(), kafka::is_encrypted(&settings.kafka)),
    };
    if let Some(address) = address {
        let found = wire::advice(wire::listener(&address).await, &address, finding.system, tls);
        // Of the other two the error says it already.
        let of_tls =
            || tls_advice(&finding.fault.to_string(), "kafka.security").filter(|_| finding.system == System::Kafka);
        finding.hint = found.or_else(of_tls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ConditionType;

    fn evicts() -> Fault {
        Fault::RedisEvicts { policy: "allkeys-lru".to_owned() }
    }

    fn right(user: &str) -> Fault {
        Fault::RedisRight { user: user.to_owned(), commands: vec!["INFO".to_owned()], said: "NOPERM".to_owned() }
    }

    #[test]
    fn what_both_logins_meet_is_said_once_and_else_whose_it_was() {
        let found = fault::together(System::Redis, vec![evicts()], vec![evicts(), right("pods")]);
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(texts.len() == 2 && texts[0].starts_with("maxmemory-policy is allkeys-lru"), "{texts:?}");
        assert!(texts[1].starts_with("with the pods' login: Redis does not let user `pods` run INFO"), "{texts:?}");
    }

    #[test]
    fn findings_become_conditions() {
        let findings = fault::together(System::Redis, vec![evicts()], vec![right("pods")]);
        let notes = vec![(System::Kafka, "Kafka answers both logins; 3 brokers".to_owned())];
        let measured = Measured { findings, notes, ..Measured::default() };
        let all: Vec<_> =
            measured.reports().into_iter().map(|each| (each.condition, each.status, each.reason)).collect();
        assert_eq!(
            all,
            [
                (ConditionType::KafkaReady, Some(true), "Available"),
                (ConditionType::RedisReady, Some(false), "RedisEvictionPolicy"),
                (ConditionType::DatabaseReady, Some(true), "Available"),
                (ConditionType::ClocksAgree, None, "ClocksUnread"),
            ]
        );
        let (_, text) = measured.trouble(System::Redis).unwrap();
        assert!(text.contains("noeviction") && text.contains("user `pods`"), "{text}");
        assert_eq!(measured.forbids_opening().unwrap().0, "RedisEvictionPolicy");
        assert!(measured.pods_lack_redis_rights());
        let of_operator = fault::together(System::Redis, vec![right("operator")], vec![]);
        assert!(!Measured { findings: of_operator, ..Measured::default() }.pods_lack_redis_rights());
        assert!(Measured::default().forbids_opening().is_none());
    }
}
