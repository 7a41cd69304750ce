//! A class on the stack's servers, parts of which a test replaces.

use std::sync::Arc;

use campaign::settings::{Connections, Database, DatabaseTls, Kafka, Login, Redis, RedisServer};
use operator::api::CampaignClass;
use operator::class::ClassConnections;
use operator::connections::Systems;
use operator::measure::{Measured, System, measure};
use serde_json::{Value, json};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests through `make test`"))
}

/// Reads `scheme://user:password@host:port/rest`.
pub fn place(url: &str) -> (Login, String, String) {
    let (login, place) = url.split_once("://").unwrap().1.split_once('@').unwrap();
    let (username, password) = login.split_once(':').unwrap();
    let (address, rest) = place.split_once('/').unwrap_or((place, "0"));
    (Login { username: username.into(), password: password.into() }, address.to_owned(), rest.to_owned())
}

pub fn redis(url: &str) -> Redis {
    let (login, address, number) = place(url);
    let database = number.parse().unwrap_or(0);
    Redis { server: RedisServer::Address(address), login, tls: false, database, ca_pem: None }
}

pub fn database(url: &str) -> Database {
    let (login, address, name) = place(url);
    let (host, port) = address.split_once(':').unwrap();
    let (host, port) = (host.to_owned(), port.parse().unwrap());
    Database { host, port, name, login, tls: DatabaseTls::Disabled, ca_pem: None }
}

/// What the stack's servers are reached with.
pub fn connections() -> ClassConnections {
    let of = |redis_url: &str, database_url: &str| Connections {
        kafka: Kafka {
            bootstrap_servers: variable("COUPON_KAFKA").split(',').map(str::to_owned).collect(),
            protocol: Default::default(),
            mechanism: None,
            login: Login::default(),
            ca_pem: None,
        },
        redis: redis(&variable(redis_url)),
        database: database(&variable(database_url)),
        kafka_names: Default::default(),
    };
    ClassConnections {
        operator: of("COUPON_REDIS", "COUPON_DATABASE"),
        workload: of("COUPON_REDIS_WORKLOAD", "COUPON_DATABASE_WORKLOAD"),
    }
}

/// A class as an object; what it says of servers counts only for Kafka's topics.
pub fn class(name: &str) -> Value {
    json!({
        "apiVersion": "coupon-operator.io/v1alpha1",
        "kind": "CampaignClass",
        "metadata": {"name": name, "uid": name, "generation": 1, "resourceVersion": "1"},
        "spec": {
            "realm": "measure",
            "kafka": {
                "bootstrapServers": variable("COUPON_KAFKA").split(',').collect::<Vec<_>>(),
                "security": {"protocol": "Plaintext"},
                "replicationFactor": 1, "minInSyncReplicas": 1, "allowLowerReplication": true,
            },
            "redis": {"url": "redis://redis:6379"},
            "database": {"host": "mysql", "name": "coupons", "tls": "Disabled"},
            "credentials": {"operator": {"secretName": "operator"}, "workload": {"secretName": "workload"}},
        },
    })
}

/// One look.
pub async fn look(connections: &ClassConnections, class: &Value) -> Measured {
    let class: CampaignClass = serde_json::from_value(class.clone()).unwrap();
    let systems = Arc::new(Systems::new(connections.clone()).unwrap());
    measure(&systems, &class).await
}

/// Nothing is wrong.
pub fn assert_well(measured: &Measured, after: &str) {
    assert!(
        measured.findings.is_empty(),
        "{after}: {:?}",
        measured.findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    );
}

/// This, and nothing of the other systems, is wrong.
pub fn assert_found(measured: &Measured, system: System, reason: &str, says: &[&str], what: &str) {
    let (found, text) = measured.trouble(system).unwrap_or_else(|| panic!("{what}: nothing is found"));
    assert_eq!(found, reason, "{what}: {text}");
    for each in says {
        assert!(text.contains(each), "{what}: `{each}` is not in: {text}");
    }
    assert!(measured.findings.iter().all(|finding| finding.system == system), "{what}: others are blamed");
    for never in ["pool timed out", "user_script", "attempt to"] {
        assert!(!text.contains(never) || reason == "RedisRightMissing", "{what}: {text}");
    }
}
