//! Sentinels that ask for a login of their own, and that speak TLS: real ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use coupon_core::connections::{CaPem, Login, Redis as Settings, RedisServer};
use coupon_ledger::redis::{RedisError, connect, sentinel};
use coupon_testing::servers;
use redis::Client;
use stack::services::{Certificate, Redis, Sentinel};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);

fn login(username: &str, password: &str) -> Login {
    Login { username: username.to_owned(), password: password.to_owned() }
}

fn workload(server: &Redis) -> Login {
    servers::redis(&server.workload_url()).login
}

fn through(node: SocketAddr, sentinels: Login, servers: Login) -> Settings {
    let server = RedisServer::Sentinel {
        master_name: Sentinel::MASTER.to_owned(),
        nodes: vec![node.to_string()],
        login: sentinels,
    };
    Settings { server, login: servers, tls: false, database: 0, ca_pem: None }
}

async fn tries(settings: &Settings) -> Result<(), RedisError> {
    let mut connection = connect::connect(settings, Duration::from_secs(5)).await?;
    coupon_ledger::redis::probe::clock(&mut connection).await?;
    Ok(())
}

/// Wrong: Sentinels that ask for a login, as the most used chart makes them, are "no primary", for ever.
#[tokio::test(flavor = "multi_thread")]
async fn protected_sentinels_are_logged_in_at_and_followed() {
    let primary = Redis::start().unwrap();
    let replica = Redis::start_replica_of(&primary).unwrap();
    let guard = Sentinel::start(&primary, true).unwrap();
    let (user, password) = Sentinel::CLIENT;
    let servers = workload(&primary);
    for (what, known) in [
        ("none", Login::default()),
        ("a wrong password", login(user, "wrong")),
        ("the servers' login", servers.clone()),
    ] {
        let error = tries(&through(guard.address(), known, servers.clone())).await.unwrap_err();
        let RedisError::SentinelLogin { node, .. } = &error else { panic!("{what}: {error:?}") };
        assert_eq!(*node, guard.address().to_string(), "{what}");
    }
    // A user of a Sentinel with the rights that README lists, and no more.
    let settings = through(guard.address(), login(user, password), servers.clone());
    tries(&settings).await.unwrap();
    // Its default user, by a password alone.
    let admin = Client::open(format!("redis://:{}@{}", password_of_default(&primary), guard.address())).unwrap();
    let mut admin = admin.get_multiplexed_async_connection().await.unwrap();

    let (told, mut switches) = mpsc::unbounded_channel();
    let watching = tokio::spawn(sentinel::watch(settings.clone(), move || {
        let _ = told.send(());
    }));
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        // It has to know the replica before.
        let ordered: Result<(), _> =
            redis::cmd("SENTINEL").arg("FAILOVER").arg(Sentinel::MASTER).query_async(&mut admin).await;
        match ordered {
            Ok(()) => break,
            Err(error) => assert!(tokio::time::Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::timeout(PATIENCE, switches.recv()).await.expect("the switch is heard").unwrap();
    loop {
        if tries(&settings).await.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "the new primary is found");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    watching.abort();
    drop(replica);
}

fn password_of_default(server: &Redis) -> String {
    servers::redis(&server.url()).login.password
}

/// TLS goes by what each server is reached by: the Sentinel's entry in the settings, and the address that it tells of the primary.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_name_what_is_reached_by_name_or_by_address() {
    for (names, told, reached, well) in [
        ("DNS:localhost", "localhost", "localhost", true),
        ("IP:127.0.0.1", "127.0.0.1", "127.0.0.1", true),
        // What Sentinels tell without `resolve-hostnames`.
        ("DNS:localhost", "127.0.0.1", "localhost", false),
        ("DNS:localhost", "localhost", "127.0.0.1", false),
    ] {
        let certificate = Certificate::naming(names).unwrap();
        let primary = Redis::start_with_tls(&certificate).unwrap();
        let guard = Sentinel::start_with_tls(&primary, &certificate, told).unwrap();
        let RedisServer::Sentinel { master_name, login, .. } =
            through(guard.address(), Login::default(), Login::default()).server
        else {
            unreachable!()
        };
        let nodes = vec![format!("{reached}:{}", guard.address().port())];
        let settings = Settings {
            server: RedisServer::Sentinel { master_name, nodes, login },
            login: workload(&primary),
            tls: true,
            database: 0,
            ca_pem: Some(CaPem::new(certificate.authority().unwrap()).unwrap()),
        };
        let what = format!("certificate {names}, Sentinel at {reached}, which tells {told}");
        match tries(&settings).await {
            Ok(()) => assert!(well, "{what}"),
            Err(error) => {
                let text = error.to_string();
                assert!(!well && text.contains("certificate not valid for name"), "{what}: {text}");
            }
        }
    }
}
