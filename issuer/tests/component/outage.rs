//! Redis, Kafka or the database away.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use campaign::settings::RedisServer;
use futures::future::join_all;

use super::fixture::{Fixture, eventually, terms};
use super::proxy::Proxy;

/// Would fail if a lost connection granted twice, or an outage had to be ended by hand.
#[tokio::test(flavor = "multi_thread")]
async fn redis_comes_and_goes() {
    let fixture = Fixture::open(terms(100_000, 3)).await;
    let mut connections = fixture.workload.clone();
    let RedisServer::Address(address) = &connections.redis.server else { panic!("one Redis") };
    let proxy = Proxy::to(address.clone()).await;
    connections.redis.server = RedisServer::Address(proxy.address.to_string());
    let issuer = fixture.start(&connections, &[]).await;
    issuer.wait_ready().await;

    let users = &issuer.users;
    let asking = join_all((0..40).map(|user| async move {
        let mut ranks = BTreeSet::new();
        for wish in 0..30 {
            let key = format!("k{}", wish % 3);
            // Without an answer the same wish is repeated, as users are told to.
            let told = eventually("an answer", async || {
                let told = users.ask_with(&format!("user-{user}"), &key).await;
                match (told.status, told.code()) {
                    (200, _) => Some(told),
                    (503, "REDIS_UNAVAILABLE" | "NOT_OPEN" | "OVERLOADED") => None,
                    _ => panic!("{told:?}"),
                }
            })
            .await;
            ranks.insert(told.rank());
        }
        assert_eq!(ranks.len(), 3, "three keys, three ranks");
        ranks
    }));
    let cutting = async {
        for _ in 0..3 {
            let issued = fixture.state().await.issued;
            proxy.cut();
            eventually("it is told that Redis is away", async || {
                (users.ask_with("user-0", "k0").await.code() == "REDIS_UNAVAILABLE").then_some(())
            })
            .await;
            let asked = Instant::now();
            assert_eq!(users.ask("fast").await.code(), "REDIS_UNAVAILABLE");
            assert!(asked.elapsed() < Duration::from_millis(500), "while Redis is away the answer comes at once");
            assert_eq!(users.get("/api/coupons/spring").await.code(), "REDIS_UNAVAILABLE");
            assert_eq!(issuer.readiness().await.0, 200, "it stays ready");
            proxy.mend();
            eventually("it goes on", async || {
                (fixture.state().await.issued >= issued && users.ask_with("user-0", "k0").await.status == 200)
                    .then_some(())
            })
            .await;
        }
    };
    let (ranks, ()) = tokio::join!(asking, cutting);
    let all: BTreeSet<u64> = ranks.iter().flatten().copied().collect();
    assert_eq!(all.len(), 120, "no rank twice");
    assert_eq!(fixture.state().await.issued, 120, "and none that nobody was told of");
}

/// Would fail if a winner were told who is not durable, or lost the rank.
#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_nobody_is_told_and_the_rank_is_kept() {
    let fixture = Fixture::open(terms(10, 3)).await;
    let mut connections = fixture.workload.clone();
    connections.kafka.bootstrap_servers = vec!["127.0.0.1:9".into()];
    let issuer = fixture.start(&connections, &[]).await;
    eventually("the epoch is open", async || issuer.pressure().await["epoch"].as_u64()).await;
    assert_eq!(issuer.readiness().await.0, 503, "the first user would have to wait for Kafka");

    let asking = tokio::spawn({
        let users = issuer.users.clone();
        async move { users.ask("anna").await }
    });
    eventually("the rank is taken", async || (fixture.state().await.issued == 1).then_some(())).await;
    // What is under way under the old epoch holds the fence up until it is over.
    let fenced = issuer.fence(fixture.epoch + 1).await;
    let told = asking.await.unwrap();
    assert_eq!((told.status, told.code()), (503, "UNCONFIRMED"), "{told:?}");
    assert_eq!((fenced.status, &fenced.body["outstanding"]), (200, &serde_json::json!(0)));
    assert!(told.body["error"].as_str().unwrap().contains("ask again with the same Idempotency-Key"));

    // With Kafka back, the key that the user was given brings the same rank.
    let key = told.header("idempotency-key").unwrap();
    let healthy = fixture.ready().await;
    let again = healthy.users.ask_with("anna", key).await;
    assert_eq!((again.status, again.rank()), (200, 1));
    assert_eq!(fixture.state().await.issued, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fast_answers_do_not_wait_for_kafka() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let mut connections = fixture.workload.clone();
    connections.kafka.bootstrap_servers = vec!["127.0.0.1:9".into()];
    let issuer = fixture.start(&connections, &["--acknowledge", "Fast"]).await;
    eventually("the epoch is open", async || issuer.pressure().await["epoch"].as_u64()).await;
    let asked = Instant::now();
    assert_eq!(issuer.users.ask("anna").await.rank(), 1);
    assert!(asked.elapsed() < Duration::from_secs(2));
    eventually("the missing acknowledgement is counted", async || {
        issuer.metrics().await.contains("coupon_issuer_unconfirmed_total 1").then_some(())
    })
    .await;
}

/// The open epoch is in SQL and nowhere else; a running issuer needs no SQL.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_it_does_not_open_but_goes_on() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let mut connections = fixture.workload.clone();
    let proxy = Proxy::to(format!("{}:{}", connections.database.host, connections.database.port)).await;
    connections.database.host = proxy.address.ip().to_string();
    connections.database.port = proxy.address.port();
    proxy.cut();
    let issuer = fixture.start(&connections, &[]).await;
    eventually("it says that the database is away", async || {
        let told = issuer.users.ask("anna").await;
        assert_eq!(told.code(), "NOT_OPEN");
        told.body["error"].as_str().unwrap().contains("database").then_some(())
    })
    .await;
    proxy.mend();
    issuer.wait_ready().await;
    proxy.cut();
    assert_eq!(issuer.users.ask("anna").await.rank(), 1);
}
