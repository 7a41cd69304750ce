//! What clients and their errors say of the connections they are made of.

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_core::connections::{
    CaPem, Database, DatabaseTls, Kafka, KafkaProtocol, Login, Redis, RedisServer, SaslMechanism,
};
use coupon_kafka_admin::KafkaAdmin;
use coupon_ledger::database::probe::Probe;
use coupon_ledger::kafka::client_config;
use coupon_ledger::redis::connect::connect;

/// Whether a text holds the password, or some of the certificate.
fn repeats(text: &str) -> bool {
    ["sesame", "c2Vz"].iter().any(|value| text.contains(value))
}

/// Wrong: a client that is made of settings, or what it says when it cannot connect, repeats a secret.
#[tokio::test]
async fn what_clients_say_of_settings_holds_no_secret() {
    let login = |more: &str| Login { username: "pods".to_owned(), password: format!("sesame{more}") };
    let pem = CaPem::new("-----BEGIN CERTIFICATE-----\nc2VzYW1l\n-----END CERTIFICATE-----\n".to_owned()).unwrap();
    let mut told = BTreeMap::new();
    for (what, more) in [("as it is", ""), ("with an end within", "\0sesame"), ("of two lines", "\r\nsesame")] {
        let kafka = Kafka {
            bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
            protocol: KafkaProtocol::SaslTls,
            mechanism: Some(SaslMechanism::Plain),
            login: login(more),
            ca_pem: Some(pem.clone()),
        };
        let redis = Redis {
            server: RedisServer::Address("127.0.0.1:1".to_owned()),
            login: login(more),
            tls: true,
            database: 0,
            ca_pem: Some(pem.clone()),
        };
        let database = Database {
            host: "127.0.0.1".to_owned(),
            port: 1,
            name: "coupons".to_owned(),
            login: login(more),
            tls: DatabaseTls::VerifyIdentity,
            ca_pem: Some(pem.clone()),
        };
        told.insert(format!("settings {what}"), format!("{kafka:?} {redis:?} {database:?}"));
        let made = KafkaAdmin::new(&client_config(&kafka, "test", &[])).err();
        told.insert(
            format!("Kafka {what}"),
            format!("{} {made:?}", made.as_ref().map(ToString::to_string).unwrap_or_default()),
        );
        let error = connect(&redis, Duration::from_secs(1)).await.err().unwrap();
        told.insert(format!("Redis {what}"), format!("{error} {error:?}"));
        let error = Probe::connect(&database, Duration::from_secs(1)).await.err().unwrap();
        told.insert(format!("database {what}"), format!("{error} {error:?}"));
    }
    for (what, told) in told {
        assert!(!repeats(&told), "{what}: {told}");
    }
}
