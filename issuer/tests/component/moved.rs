//! A Redis that is no primary any more.

use std::time::{Duration, Instant};

use coupon_core::connections::{Login, Redis as Settings, RedisServer};
use coupon_ledger::redis::{Denial, Executed, RedisError};
use issuer::pipeline::redis_link::{LinkError, RedisLink};
use redis::AsyncCommands;
use stack::services::Redis;

const PATIENCE: Duration = Duration::from_secs(30);

fn settings(server: &Redis) -> Settings {
    let url = server.url();
    let (login, place) = url.strip_prefix("redis://").unwrap().split_once('@').unwrap();
    let (username, password) = login.split_once(':').unwrap();
    let (address, database) = place.split_once('/').unwrap();
    Settings {
        server: RedisServer::Address(address.to_owned()),
        login: Login { username: username.to_owned(), password: password.to_owned() },
        tls: false,
        database: database.parse().unwrap(),
        ca_pem: None,
    }
}

async fn connection(link: &RedisLink) -> u64 {
    link.live_by(tokio::time::Instant::now() + PATIENCE).await.unwrap();
    link.read(async |mut redis| Ok(redis::cmd("CLIENT").arg("ID").query_async(&mut redis).await?)).await.unwrap()
}

async fn write(link: &RedisLink) -> Result<(), LinkError> {
    link.live_by(tokio::time::Instant::now() + PATIENCE).await.unwrap();
    link.read(async |mut redis| Ok(redis.set("coupon:test", 1).await?)).await
}

/// Wrong: after a failover an issuer goes on with its connection to what is a replica now, and refuses everybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_became_a_replica_is_left() {
    let servers = tokio::task::spawn_blocking(|| (Redis::start().unwrap(), Redis::start().unwrap()));
    let (old, new) = servers.await.unwrap();
    let (link, work) = RedisLink::new(settings(&old));
    let work = tokio::spawn(work);
    let before = connection(&link).await;
    write(&link).await.unwrap();
    assert_eq!(connection(&link).await, before, "a connection that works is kept");

    let client = redis::Client::open(old.url()).unwrap();
    let mut control = client.get_multiplexed_async_connection().await.unwrap();
    let mut follow = redis::cmd("REPLICAOF");
    follow.arg(new.address().ip().to_string()).arg(new.address().port());
    let () = follow.query_async(&mut control).await.unwrap();
    let Err(LinkError::Failed(error)) = write(&link).await else { panic!("a replica takes no writes") };
    assert!(matches!(*error, RedisError::Redis(_)), "{error}");
    assert_eq!((error.denial(), error.executed()), (Some(Denial::ReadOnly), Executed::No), "{error}");
    let between = connection(&link).await;
    assert_ne!(between, before, "the next call asks anew who the primary is");

    let () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut control).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while write(&link).await.is_err() {
        assert!(Instant::now() < deadline, "it writes again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    work.abort();
}
