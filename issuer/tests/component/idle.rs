//! A sale that nobody asks: the issuer finds out by itself what its users would meet.

use std::time::{Duration, Instant};

use coupon_core::connections::{Connections, RedisServer};
use coupon_testing::proxy::Proxy;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use stack::services::Redis;

use super::fixture::{Fixture, Issuer, eventually, terms};

/// How long an outage may go unnoticed, on a machine that is busy.
const NOTICED: Duration = Duration::from_secs(15);

/// What the operator hears, once it hears what it waits for. Nobody asks meanwhile.
async fn hears<T>(issuer: &Issuer, what: &str, found: impl Fn(&Value) -> Option<T>) -> T {
    let begun = Instant::now();
    let heard = eventually(what, async || found(&issuer.pressure().await)).await;
    assert!(begun.elapsed() < NOTICED, "{what}: after {:?}", begun.elapsed());
    heard
}

fn failing(pressure: &Value) -> Option<String> {
    pressure["failing"].as_str().map(str::to_ascii_uppercase)
}

/// The way to Redis, which can be cut.
async fn redis_behind_a_proxy(fixture: &Fixture) -> (Proxy, Connections) {
    let mut connections = fixture.workload.clone();
    let RedisServer::Address(address) = &connections.redis.server else { panic!("one Redis") };
    let proxy = Proxy::to(address.clone()).await;
    connections.redis.server = RedisServer::Address(proxy.address.to_string());
    (proxy, connections)
}

async fn idle(fixture: &Fixture, connections: &Connections) -> Issuer {
    let issuer = fixture.start(connections, &[]).await;
    issuer.wait_ready().await;
    assert!(issuer.pressure().await["failing"].is_null());
    issuer
}

/// Wrong: an issuer that nobody asks goes on saying that it grants while Redis is away, and nobody counts the time.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_redis_is_noticed_though_nobody_asks() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let (proxy, connections) = redis_behind_a_proxy(&fixture).await;
    let issuer = idle(&fixture, &connections).await;
    for _ in 0..2 {
        proxy.cut();
        hears(&issuer, "Redis is away", failing).await;
        assert_eq!(issuer.pressure().await["epoch"], fixture.epoch, "it would go on with the same epoch");
        proxy.mend();
        hears(&issuer, "Redis is back", |heard| heard["failing"].is_null().then_some(())).await;
    }
    assert_eq!((issuer.users.ask("first").await.rank(), fixture.state().await.issued), (1, 1));
}

/// Wrong: whoever looks after a Redis that does not answer waits for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_is_given_up_in_time() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let (proxy, connections) = redis_behind_a_proxy(&fixture).await;
    let issuer = idle(&fixture, &connections).await;
    proxy.block("EVALSHA");
    let words = hears(&issuer, "Redis is silent", failing).await;
    // By whichever deadline ends first: the connection's, or the caller's.
    assert!(words.contains("DID NOT ANSWER") || words.contains("TIMED OUT"), "{words}");
    let fenced = issuer.fence(fixture.epoch + 1).await;
    assert_eq!(fenced.status, 200, "a fence does not wait for it: {fenced:?}");
}

async fn run(connection: &mut MultiplexedConnection, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let _: redis::Value = command.query_async(connection).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

/// Wrong: a Redis that answers and gives no ranks is taken for one that does, until the first user asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_gives_no_ranks_is_noticed_though_nobody_asks() {
    let server = Redis::start().unwrap();
    let fixture = Fixture::open_on(&server, terms(10, 1)).await;
    let issuer = idle(&fixture, &fixture.workload).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    let pods = fixture.workload.redis.login.username.clone();
    for (break_it, mend_it, says) in [
        (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"], "OOM"),
        (
            ["CONFIG", "SET", "min-replicas-to-write", "1"],
            ["CONFIG", "SET", "min-replicas-to-write", "0"],
            "NOREPLICAS",
        ),
        (["ACL", "SETUSER", &pods, "-evalsha"], ["ACL", "SETUSER", &pods, "+evalsha"], "NOPERM"),
    ] {
        run(&mut admin, &break_it).await;
        hears(&issuer, says, |heard| failing(heard).filter(|words| words.contains(says))).await;
        run(&mut admin, &mend_it).await;
        hears(&issuer, "it is over", |heard| heard["failing"].is_null().then_some(())).await;
    }
    assert_eq!(fixture.state().await.issued, 0, "and nothing was given for it");
    // Its keys are gone, as after a restart without a file.
    run(&mut admin, &["DEL", &fixture.keys.meta]).await;
    let reason = hears(&issuer, "it is closed", |heard| heard["reason"].as_str().map(str::to_owned)).await;
    assert_eq!(reason, "CampaignClosed");
}
