//! What is written is read back, and by whom.

use super::*;
use crate::names::Templates;

fn sample() -> Connections {
    Connections {
        kafka: Kafka {
            bootstrap_servers: vec!["kafka-0:9092".into(), "kafka-1:9092".into()],
            protocol: KafkaProtocol::SaslTls,
            mechanism: Some(SaslMechanism::ScramSha256),
            login: Login { username: "u".into(), password: "p: #1".into() },
            ca_pem: Some(
                CaPem::new("-----BEGIN CERTIFICATE-----\nc2VzYW1l\n-----END CERTIFICATE-----\n".into()).unwrap(),
            ),
        },
        redis: Redis {
            server: RedisServer::Sentinel {
                master_name: "coupons".into(),
                nodes: vec!["s:26379".into()],
                login: Login { username: String::new(), password: "guard: 1".into() },
            },
            login: Login::default(),
            tls: false,
            database: 0,
            ca_pem: None,
        },
        database: Database {
            host: "db".into(),
            port: 3306,
            name: "coupons".into(),
            login: Login { username: "w".into(), password: "'\"".into() },
            tls: DatabaseTls::VerifyIdentity,
            ca_pem: None,
        },
        kafka_names: KafkaNames::default(),
    }
}

/// Wrong: a pod of the release before does not know of names, and writes to, or stores from, topics that are not the campaign's; or one
/// does not start although there is nothing that it would have to know.
#[test]
fn names_are_said_to_those_who_know_them() {
    let usual = sample().to_yaml().unwrap();
    assert!(usual.starts_with("version: 1\n") && !usual.contains("kafkaNames"), "{usual}");
    let templates = Templates { topic: "x.{namespace}.{couponId}".to_owned(), ..Templates::default() };
    let own = Connections { kafka_names: KafkaNames::new(templates).unwrap(), ..sample() };
    let text = own.to_yaml().unwrap();
    assert!(text.starts_with("version: 2\n"), "{text}");
    let read = yaml::from_str::<Connections>(&text).unwrap();
    assert_eq!(read, own);
    let campaign = read.campaign("prod/shop/spring".parse().unwrap());
    assert_eq!((campaign.topic().as_str(), campaign.to_string().as_str()), ("x.shop.spring", "prod/shop/spring"));
    let error = yaml::from_str::<Connections>(&text.replace("x.{namespace}", "x")).unwrap_err().to_string();
    assert!(error.contains("topic needs {namespace}"), "{error}");
}

#[test]
fn what_is_written_is_read_back() {
    let text = sample().to_yaml().unwrap();
    assert_eq!(yaml::from_str::<Connections>(&text).unwrap(), sample(), "{text}");
}

/// A file of an older version says nothing of a login at Sentinels.
#[test]
fn sentinels_without_a_login_are_asked_without() {
    let server: RedisServer = yaml::from_str("sentinel: {masterName: m, nodes: ['s:1']}").unwrap();
    let RedisServer::Sentinel { login, .. } = server else { panic!("{server:?}") };
    assert_eq!(login, Login::default());
}

#[test]
fn passwords_are_not_printed() {
    let printed = format!("{:?}", sample());
    assert!(!printed.contains("p: #1") && !printed.contains("guard: 1") && !printed.contains("c2Vz"), "{printed}");
}

#[test]
fn sasl_over_tls_reaches_librdkafka() {
    let properties = sample().kafka.properties();
    for (key, value) in [
        ("bootstrap.servers", "kafka-0:9092,kafka-1:9092"),
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "u"),
    ] {
        assert_eq!(properties.get(key).map(String::as_str), Some(value), "{key}");
    }
}

/// Wrong: a pod works with what it has half understood, or one of an older version does not start.
#[test]
fn a_file_of_a_newer_version_is_refused_and_one_of_an_older_is_read() {
    let path = std::env::temp_dir().join(format!("coupon-connections-{}.yaml", std::process::id()));
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Connections::load(&path)
    };
    let text = sample().to_yaml().unwrap();
    let without = text.replace("version: 1\n", "");
    assert_ne!(text, without);
    assert_eq!(load(&without).unwrap(), sample());
    assert_eq!(load(&format!("next: thing\n{text}")).unwrap(), sample(), "a field that a newer one may have");
    let error = load("version: 3\nstores: [elsewhere]\n").unwrap_err();
    assert!(matches!(&error, ConnectionsError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("is of version 3, and this program knows versions up to 2"), "{error}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_missing_part_is_named() {
    let error = yaml::from_str::<Connections>("kafka: {bootstrapServers: [a:1]}").unwrap_err().to_string();
    assert!(error.contains("redis"), "{error}");
}
