//! Servers that cannot be spoken to: the cause is named, and what listens instead.

use std::time::{Duration, Instant};

use coupon_core::connections::{DatabaseTls, RedisServer};
use operator::class::ClassConnections;
use operator::class::measure::System;
use operator::class::pools::Systems;
use tokio::net::TcpListener;

use crate::stage::{assert_found, class, connections, look};

/// A look ends by itself, whoever does not answer: twice that, for a busy machine.
const ENDS: Duration = Duration::from_secs(40);

/// An address at which nobody listens, and one where somebody listens and never answers.
pub(crate) async fn nowhere() -> (String, TcpListener) {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (gone.local_addr().unwrap().to_string(), TcpListener::bind("127.0.0.1:0").await.unwrap())
}

/// Wrong: "pool timed out", "Local: Timed out", "Connection reset by peer": nobody knows what to change.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_spoken_to_is_told_from_every_other_such_one() {
    let (refused, silent) = nowhere().await;
    let silent_address = silent.local_addr().unwrap().to_string();
    let base = connections();
    let RedisServer::Address(redis) = base.operator.redis.server.clone() else { panic!("no Sentinel") };
    let sql = format!("{}:{}", base.operator.database.host, base.operator.database.port);
    let to_redis = |address: &str, tls: bool| {
        let mut changed = base.clone();
        for each in [&mut changed.operator, &mut changed.workload] {
            (each.redis.server, each.redis.tls) = (RedisServer::Address(address.to_owned()), tls);
        }
        changed
    };
    let to_database = |address: &str, tls: DatabaseTls| {
        let mut changed = base.clone();
        let (host, port) = address.rsplit_once(':').unwrap();
        for each in [&mut changed.operator, &mut changed.workload] {
            (each.database.host, each.database.port) = (host.to_owned(), port.parse().unwrap());
            each.database.tls = tls;
        }
        changed
    };
    let to_kafka = |address: &str| {
        let mut changed = base.clone();
        for each in [&mut changed.operator, &mut changed.workload] {
            each.kafka.bootstrap_servers = vec![address.to_owned()];
        }
        changed
    };
    let plain = DatabaseTls::Disabled;
    let unknown = "no-such-host.invalid:6379";
    let cases: Vec<(&str, ClassConnections, System, &str, Vec<&str>)> = vec![
        (
            "Redis refused",
            to_redis(&refused, false),
            System::Redis,
            "RedisUnavailable",
            vec!["nothing listens at", &refused],
        ),
        ("Redis silent", to_redis(&silent_address, false), System::Redis, "RedisUnavailable", vec!["does not answer"]),
        (
            "Redis unknown",
            to_redis(unknown, false),
            System::Redis,
            "RedisUnavailable",
            vec!["no-such-host.invalid:6379 has no address"],
        ),
        (
            "TLS to a plain Redis",
            to_redis(&redis, true),
            System::Redis,
            "RedisUnavailable",
            vec!["does not speak TLS", "redis://"],
        ),
        (
            "Redis on the database's port",
            to_redis(&sql, false),
            System::Redis,
            "RedisUnavailable",
            vec!["a MySQL or MariaDB answers"],
        ),
        (
            "database refused",
            to_database(&refused, plain),
            System::Database,
            "DatabaseUnavailable",
            vec!["nothing listens at"],
        ),
        (
            "database silent",
            to_database(&silent_address, plain),
            System::Database,
            "DatabaseUnavailable",
            vec!["does not answer"],
        ),
        (
            "database unknown",
            to_database(unknown, plain),
            System::Database,
            "DatabaseUnavailable",
            vec!["has no address"],
        ),
        (
            "TLS to a plain database",
            to_database(&sql, DatabaseTls::Required),
            System::Database,
            "DatabaseUnavailable",
            vec!["does not support TLS", "set database.tls: Disabled"],
        ),
        (
            "database on Redis' port",
            to_database(&redis, plain),
            System::Database,
            "DatabaseUnavailable",
            vec!["a Redis answers"],
        ),
        ("Kafka refused", to_kafka(&refused), System::Kafka, "KafkaUnreachable", vec!["nothing listens at"]),
        ("Kafka silent", to_kafka(&silent_address), System::Kafka, "KafkaUnreachable", vec!["did not answer"]),
        ("Kafka unknown", to_kafka(unknown), System::Kafka, "KafkaUnreachable", vec!["has no address"]),
        ("Kafka on Redis' port", to_kafka(&redis), System::Kafka, "KafkaUnreachable", vec!["a Redis answers"]),
    ];
    let class = class("unreachable");
    let looks = cases.iter().map(async |(what, settings, system, reason, says)| {
        let began = Instant::now();
        let measured = look(settings, &class).await;
        assert!(began.elapsed() < ENDS, "{what}: {:?}", began.elapsed());
        assert_found(&measured, *system, reason, says, what);
    });
    futures::future::join_all(looks).await;
}

/// Wrong: a database that is away is "pool timed out while waiting for an open connection".
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_gives_no_connection_says_why() {
    let (refused, _silent) = nowhere().await;
    let (host, port) = refused.rsplit_once(':').unwrap();
    let mut settings = connections();
    let database = &mut settings.operator.database;
    (database.host, database.port) = (host.to_owned(), port.parse().unwrap());
    let systems = Systems::new(settings).unwrap();
    let error = systems.migrate().await.unwrap_err();
    let text = error.to_string();
    assert!(text.to_lowercase().contains("connection refused") && !text.contains("pool timed out"), "{text}");
    assert_eq!(operator::error::table_reason(&error), "DatabaseUnavailable");
}
