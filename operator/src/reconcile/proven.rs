//! What pods connect to. Changed settings and logins reach them once a look at the class has found that these work: a typo does not
//! take away the pods that serve.

use coupon_core::connections::Connections;
use coupon_core::yaml;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::ReconcileContext;
use crate::class::measure::System;
use crate::error::ReconcileError;
use crate::events;
use crate::workloads::ownership::claim;
use crate::workloads::{self, CONNECTIONS_KEY};

/// Reason: pods do not get what the class says, as it is not known to work.
pub(super) const NOT_PROVEN: &str = "ConnectionsNotProven";

/// The new settings, but for those systems that have changed and are not known to work; and which these are.
fn proven(old: &Connections, new: &Connections, works: impl Fn(System) -> bool) -> (Connections, Vec<System>) {
    let mut found = new.clone();
    let mut waiting = Vec::new();
    let mut keep = |system: System, changed: bool| {
        let keeps = changed && !works(system);
        if keeps {
            waiting.push(system);
        }
        keeps
    };
    if keep(System::Kafka, old.kafka != new.kafka) {
        found.kafka = old.kafka.clone();
    }
    if keep(System::Redis, old.redis != new.redis) {
        found.redis = old.redis.clone();
    }
    if keep(System::Database, old.database != new.database) {
        found.database = old.database.clone();
    }
    (found, waiting)
}

/// What is to be said while the new settings of these systems wait. `why`: what a look has found wrong with them; empty before one has ended.
fn unproven(waiting: &[System], why: &[String]) -> Option<String> {
    let names: Vec<String> = waiting.iter().map(ToString::to_string).collect();
    let names = names.join(" and ");
    match (waiting.is_empty(), why.is_empty()) {
        (true, _) => None,
        (false, true) => Some(format!(
            "pods keep the connections that they have to {names}: those that class and Secrets say now are being tried"
        )),
        (false, false) => Some(format!(
            "pods keep the connections that they have to {names}, as those that class and Secrets say now do not work: {}",
            why.join("; ")
        )),
    }
}

/// What this campaign's pods are to connect to. `exist`: there are Deployments; else there is nobody to be protected.
pub(super) async fn connections(pass: &ReconcileContext<'_>, exist: bool) -> Result<Connections, ReconcileError> {
    let new = &pass.systems.settings.workload;
    let as_class_says = || {
        pass.memory.update(|memory| memory.pods.unproven = None);
        Ok(new.clone())
    };
    if !exist {
        return as_class_says();
    }
    let given = match pass.memory.get().pods.connections {
        Some(given) => Some(given),
        None => beside_the_pods(pass).await?,
    };
    let Some(old) = given else { return as_class_says() };
    let measured = pass.systems.measured();
    let works = |system| measured.as_ref().is_some_and(|measured| measured.trouble(system).is_none());
    let (connections, waiting) = proven(&old, new, works);
    let why: Vec<String> = waiting.iter().filter_map(|system| Some(measured.as_ref()?.trouble(*system)?.1)).collect();
    let said = unproven(&waiting, &why);
    let news = pass.memory.update(|memory| {
        memory.pods.connections = Some(old);
        memory.pods.unproven.clone_from(&said);
        // A look that has not ended yet is no news.
        let news = !why.is_empty() && memory.pods.waiting != waiting;
        if news || waiting.is_empty() {
            memory.pods.waiting = waiting;
        }
        news
    });
    if let Some(text) = said.filter(|_| news) {
        tracing::warn!(campaign = %pass.id, "{text}");
        events::warn(pass.context, pass.campaign, NOT_PROVEN, &text).await;
    }
    Ok(connections)
}

/// What the Secret beside the pods says, if it is ours and can be read.
async fn beside_the_pods(pass: &ReconcileContext<'_>) -> Result<Option<Connections>, ReconcileError> {
    let secrets: Api<Secret> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
    let name = workloads::secret_name(&pass.campaign.name_any());
    let Some(secret) = secrets.get_opt(&name).await? else { return Ok(None) };
    claim(&secret, pass.campaign)?;
    let text = secret.data.and_then(|mut data| String::from_utf8(data.remove(CONNECTIONS_KEY)?.0).ok());
    // One that cannot be read serves nobody; it is written anew.
    Ok(text.and_then(|text| yaml::from_str(&text).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coupon_core::connections::{Database, DatabaseTls, Kafka, Login, Redis, RedisServer};

    fn with(password: &str) -> Connections {
        let login = Login { username: "pods".to_owned(), password: password.to_owned() };
        Connections {
            kafka: Kafka {
                bootstrap_servers: vec!["kafka:9092".to_owned()],
                protocol: Default::default(),
                mechanism: None,
                login: login.clone(),
                ca_pem: None,
            },
            redis: Redis {
                server: RedisServer::Address("redis:6379".to_owned()),
                login: login.clone(),
                tls: false,
                database: 0,
                ca_pem: None,
            },
            database: Database {
                host: "sql".to_owned(),
                port: 3306,
                name: "coupons".to_owned(),
                login,
                tls: DatabaseTls::Disabled,
                ca_pem: None,
            },
            kafka_names: Default::default(),
        }
    }

    /// Wrong: what is decided above does not reach the pods: they get what the class says, whether it works or not.
    #[tokio::test]
    async fn pods_keep_what_they_have_until_a_look_has_found_that_the_new_works() {
        use crate::class::ClassConnections;
        use crate::class::measure::Measured;
        use crate::class::measure::fault::{Fault, Finding, Who};
        use crate::class::pools::Systems;
        use crate::fixtures;
        use crate::reconcile::Cluster;
        let (context, _) = fixtures::context();
        let systems = Systems::new(ClassConnections { operator: with("op"), workload: with("new") }).unwrap();
        let (campaign, class, id) = (fixtures::campaign(), fixtures::class(), fixtures::id());
        let pass = ReconcileContext {
            context: &context,
            object: &campaign,
            campaign: &campaign,
            uid: "0001",
            memory: &context.memory.of("0001"),
            class: &class,
            class_exists: true,
            id: &id,
            cluster: &Cluster::named(fixtures::CLUSTER),
            known_as: fixtures::CLUSTER,
            systems: &systems,
        };
        let said = || context.memory.get("0001").pods.unproven;
        context.memory.update("0001", |memory| memory.pods.connections = Some(with("old")));
        assert_eq!(connections(&pass, true).await.unwrap(), with("old"), "not looked at yet");
        assert!(said().is_some_and(|text| text.ends_with("are being tried")), "{:?}", said());
        assert_eq!(connections(&pass, false).await.unwrap(), with("new"), "there is nobody to be protected");
        assert_eq!(said(), None);
        let fault = Fault::Silent { system: System::Redis, seconds: 13 };
        let finding = Finding { system: System::Redis, who: vec![Who::Pods], fault, hint: None };
        let mut measured = Measured::default();
        measured.findings.push(finding);
        systems.set_measured(std::sync::Arc::new(measured));
        let old_redis = Connections { redis: with("old").redis, ..with("new") };
        assert_eq!(connections(&pass, true).await.unwrap(), old_redis, "the others work");
        let text =
            "pods keep the connections that they have to Redis, as those that class and Secrets say now do not work: ";
        assert!(said().is_some_and(|said| said.starts_with(text)), "{:?}", said());
        systems.set_measured(std::sync::Arc::new(Measured::default()));
        assert_eq!(connections(&pass, true).await.unwrap(), with("new"), "nothing is wrong with it");
        assert_eq!(said(), None);
    }

    /// Wrong: a typo in a password replaces pods that serve by pods that cannot start.
    #[test]
    fn what_does_not_work_does_not_reach_the_pods() {
        let (old, new) = (with("old"), with("new"));
        assert_eq!(proven(&old, &new, |_| true), (new.clone(), vec![]));
        assert_eq!(proven(&old, &new, |_| false), (old.clone(), vec![System::Kafka, System::Redis, System::Database]));
        let (found, waiting) = proven(&old, &new, |system| system != System::Redis);
        assert_eq!(waiting, [System::Redis]);
        assert_eq!((&found.redis, &found.kafka, &found.database), (&old.redis, &new.kafka, &new.database));
        // A server that is away is no reason to keep what has not changed, nor to wait with another system's.
        let rotated = Connections { database: new.database.clone(), ..old.clone() };
        assert_eq!(proven(&old, &rotated, |system| system == System::Database), (rotated, vec![]));
        assert_eq!(proven(&old, &old, |_| false), (old.clone(), vec![]));
    }
}
