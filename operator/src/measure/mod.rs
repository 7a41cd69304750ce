//! Measures a class: what its servers are, and whether the operator's and the pods' logins may do there what is needed. What works
//! here works for every campaign of the class; what does not is said before a sale meets it.
//!
//! Little is left behind: Redis' commands are tried on keys of no campaign, which are removed; rows are rolled back; topics are asked for
//! as if they were to be made. In Kafka each realm keeps one small topic, to which a record is written, and a group, until the class goes.

pub mod clocks;
mod database;
pub mod fault;
mod kafka;
pub(crate) mod pods;
mod redis;
pub mod wire;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::campaign::settings;
use ::campaign::stock::probe::Role;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::clocks::{Clocks, FAR_APART, Sample};
use self::fault::{Fault, Finding, Who};
pub(crate) use self::kafka::user as user_of;
use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType};
use crate::connections::Systems;
use crate::error::tls_advice;

/// For one system, with one login. Longer than the steps within may take each, so that their words come through.
const EACH: Duration = Duration::from_secs(13);
/// For a question to a server.
const CALL: Duration = Duration::from_secs(3);

/// One of the three systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum System {
    /// Where winners become durable.
    Kafka,
    /// Where ranks are given.
    Redis,
    /// Where winners are rows.
    #[strum(to_string = "the database")]
    Database,
}

impl System {
    /// The condition that speaks of it.
    pub fn condition(self) -> ConditionType {
        match self {
            Self::Kafka => ConditionType::KafkaReady,
            Self::Redis => ConditionType::RedisReady,
            Self::Database => ConditionType::DatabaseReady,
        }
    }
}

/// What one login found.
#[derive(Debug, Default)]
struct Seen {
    faults: Vec<Fault>,
    /// What it is, for people.
    notes: Vec<String>,
    clock: Option<Sample>,
    kafka_cluster_id: Option<String>,
}

impl Seen {
    fn of(fault: Fault) -> Self {
        Self { faults: vec![fault], ..Self::default() }
    }
}

/// What a look at a class found.
#[derive(Debug, Default)]
pub struct Measured {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What each system is, for people.
    notes: Vec<(System, String)>,
    /// Kafka's cluster id.
    pub kafka_cluster_id: Option<String>,
    /// Whose clocks say what.
    pub clocks: Clocks,
    /// Whether pods of the class could be made, if the API server was asked.
    pub pods: Option<Report>,
}

impl Measured {
    /// Reason and words of what is wrong with a system.
    pub fn trouble(&self, system: System) -> Option<(&'static str, String)> {
        let mut here = self.findings.iter().filter(|finding| finding.system == system).peekable();
        let reason = here.peek()?.fault.reason();
        Some((reason, here.map(ToString::to_string).collect::<Vec<_>>().join("; ")))
    }

    /// Whether Redis does not let the pods run what they need.
    pub(crate) fn pods_lack_redis_rights(&self) -> bool {
        let is_theirs =
            |finding: &Finding| matches!(finding.fault, Fault::RedisRight { .. }) && finding.who.contains(&Who::Pods);
        self.findings.iter().any(is_theirs)
    }

    /// Whether Kafka does not let one of the logins do what it needs.
    pub(crate) fn lacks_kafka_rights(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding.fault, Fault::KafkaRight { .. }))
    }

    /// Why no pods of the class could be made.
    pub fn pods_refused(&self) -> Option<&str> {
        let refused = self.pods.as_ref().filter(|pods| pods.status == Some(false));
        refused.map(|pods| pods.message.as_str())
    }

    /// What keeps a campaign from being opened for the first time.
    pub fn forbids_opening(&self) -> Option<(&'static str, String)> {
        let trouble = [System::Redis, System::Database, System::Kafka].into_iter().find_map(|each| self.trouble(each));
        trouble.or_else(|| {
            let report = self.clocks.report();
            (report.reason == FAR_APART).then_some((report.reason, report.message))
        })
    }

    /// One report per system, and one of the clocks.
    pub fn reports(&self) -> Vec<Report> {
        let part = |system: System| match self.trouble(system) {
            Some((reason, text)) => Report::no(system.condition(), reason, text),
            None => {
                let notes = self.notes.iter().filter(|(of, _)| *of == system).map(|(_, note)| note.as_str());
                let text: Vec<&str> = notes.collect();
                Report::yes(system.condition(), "Available", text.join("; "))
            }
        };
        let parts = [part(System::Kafka), part(System::Redis), part(System::Database), self.clocks.report()];
        parts.into_iter().chain(self.pods.clone()).collect()
    }
}

/// What Redis does not let this login of the pods run. `None` also where nothing is heard of it, which shows elsewhere.
pub(crate) async fn pods_lack(login: &settings::Redis, realm: &str) -> Option<Finding> {
    let seen = bounded(System::Redis, redis::look(login, realm, Role::Issuer).boxed()).await;
    let fault = seen.faults.into_iter().find(|fault| matches!(fault, Fault::RedisRight { .. }))?;
    Some(Finding { system: System::Redis, who: vec![Who::Pods], fault, hint: None })
}

/// Looks at all three systems with both logins. Ends in some seconds, whatever they do.
pub async fn measure(systems: &Systems, class: &CampaignClass) -> Measured {
    let (operator, pods) = (&systems.settings.operator, &systems.settings.workload);
    let realm = &class.spec.realm;
    let probed = AtomicBool::new(false);
    let same_redis = operator.redis == pods.redis;
    let (kafka, redis, database) = tokio::join!(
        both(
            System::Kafka,
            kafka::look(systems, class, &probed).boxed(),
            Some(kafka::look_as_pods(systems, realm, &probed).boxed()),
            operator.kafka == pods.kafka
        ),
        both(
            System::Redis,
            redis::look(&operator.redis, realm, Role::Operator).boxed(),
            // One and the same login: the operator's look says it all.
            (!same_redis).then(|| redis::look(&pods.redis, realm, Role::Issuer).boxed()),
            same_redis,
        ),
        both(
            System::Database,
            database::look(systems).boxed(),
            Some(database::look_as_pods(&pods.database).boxed()),
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

async fn bounded(system: System, look: BoxFuture<'_, Seen>) -> Seen {
    let given_up = || Seen::of(Fault::Silent { system, seconds: EACH.as_secs() });
    tokio::time::timeout(EACH, look).await.unwrap_or_else(|_| given_up())
}

/// Both logins of one system, first the operator's. `same`: they are one and the same.
async fn both(
    system: System,
    operator: BoxFuture<'_, Seen>,
    pods: Option<BoxFuture<'_, Seen>>,
    same: bool,
) -> (Vec<Finding>, Seen) {
    let mut operator = bounded(system, operator).await;
    let mute = operator.faults.iter().any(Fault::is_mute);
    let pods = match pods {
        Some(pods) if !mute => bounded(system, pods).await,
        // Where nobody was there to ask, the other login would wait as long, and hear the same.
        _ => Seen::default(),
    };
    let mut findings = fault::together(system, std::mem::take(&mut operator.faults), pods.faults);
    if same || mute {
        findings.iter_mut().for_each(|finding| finding.who = vec![Who::Operator, Who::Pods]);
    }
    operator.clock = operator.clock.or(pods.clock);
    (findings, operator)
}

/// Adds what listens at the address of a system that could not be spoken to.
async fn explain(finding: &mut Finding, settings: &settings::Connections) {
    let (address, tls) = match finding.system {
        System::Redis => (redis::address(&settings.redis), settings.redis.tls),
        System::Database => {
            let database = &settings.database;
            // An IPv6 address needs its brackets.
            let host = if database.host.contains(':') { format!("[{}]", database.host) } else { database.host.clone() };
            (Some(format!("{host}:{}", database.port)), database.tls != settings::DatabaseTls::Disabled)
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
