//! Redis, Kafka or the database away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coupon_core::connections::{Connections, RedisServer};
use coupon_core::contract::deadlines;
use coupon_ledger::database;
use coupon_testing::proxy::Proxy;
use futures::future::join_all;
use stack::services::Kafka;

use super::fixture::{Fixture, Issuer, eventually, terms, within};

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
        for request in 0..30 {
            let key = format!("k{}", request % 3);
            // Without an answer the same request is repeated, as users are told to.
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
            // Whoever waited for Redis would wait for the whole deadline each time; a busy machine is slow now and then.
            let mut fastest = Duration::MAX;
            for _ in 0..5 {
                let asked = Instant::now();
                assert_eq!(users.ask("fast").await.code(), "REDIS_UNAVAILABLE");
                fastest = fastest.min(asked.elapsed());
            }
            assert!(
                fastest < deadlines::BATCH / 2,
                "while Redis is away the answer comes at once, not after {fastest:?}"
            );
            assert_eq!(users.get("/api/coupons/spring").await.code(), "REDIS_UNAVAILABLE");
            assert_eq!(issuer.readiness().await.0, 200, "it stays ready");
            eventually("the operator hears that nothing gets through", async || {
                users.ask("fast").await;
                issuer.pressure().await["failing"].is_string().then_some(())
            })
            .await;
            proxy.mend();
            eventually("it goes on", async || {
                (fixture.state().await.issued >= issued && users.ask_with("user-0", "k0").await.status == 200)
                    .then_some(())
            })
            .await;
            assert!(issuer.pressure().await["failing"].is_null());
        }
    };
    let (ranks, ()) = tokio::join!(asking, cutting);
    let all: BTreeSet<u64> = ranks.iter().flatten().copied().collect();
    assert_eq!(all.len(), 120, "no rank twice");
    assert_eq!(fixture.state().await.issued, 120, "and none that nobody was told of");
}

/// The way to the database, which can be cut.
async fn database_behind_a_proxy(fixture: &Fixture) -> (Proxy, Connections) {
    let mut connections = fixture.workload.clone();
    let proxy = Proxy::to(format!("{}:{}", connections.database.host, connections.database.port)).await;
    connections.database.host = proxy.address.ip().to_string();
    connections.database.port = proxy.address.port();
    (proxy, connections)
}

/// Where nothing listens.
const NOWHERE: &str = "127.0.0.1:9";

/// Would fail if the sale stood still while Kafka is away, or if somebody were told who is no row.
#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_winners_are_told_once_they_are_rows() {
    let fixture = Fixture::open(terms(300, 1)).await;
    let mut connections = fixture.workload.clone();
    connections.kafka.bootstrap_servers = vec![NOWHERE.into()];
    let issuer = fixture.start(&connections, &[]).await;
    issuer.wait_ready().await;
    let told = join_all((0..400).map(|user| {
        let users = issuer.users.clone();
        async move { users.ask(&format!("user-{user}")).await }
    }))
    .await;
    let issued: BTreeMap<u64, usize> = told
        .iter()
        .enumerate()
        .filter(|(_, told)| told.status == 200)
        .map(|(user, told)| (told.rank(), user))
        .collect();
    assert_eq!(issued.len(), 300, "each rank once");
    assert!(told.iter().filter(|told| told.status != 200).all(|told| told.code() == "SOLD_OUT"));
    let rows = database::read_rows(&fixture.pool, &fixture.campaign, fixture.row, 0, 1000).await.unwrap();
    let rows: BTreeMap<u64, String> = rows.into_iter().map(|row| (row.rank, row.user_id.to_string())).collect();
    assert_eq!(rows, issued.into_iter().map(|(rank, user)| (rank, format!("user-{user}"))).collect());
    assert!(fixture.records().await.is_empty(), "Kafka has heard of none of them");
    assert!(issuer.metrics().await.contains("coupon_issuer_stored_directly_total 300"));
    assert_eq!(
        issuer.users.ask("user-0").await.code() == "SOLD_OUT",
        told[0].status != 200,
        "asking again is the same"
    );
}

/// A broker that has just started lets producers wait; until then winners go around it.
async fn kafka_takes_winners(fixture: &Fixture, issuer: &Issuer) {
    eventually("Kafka takes winners", async || {
        assert_eq!(issuer.users.ask(&format!("before-{}", rand::random::<u64>())).await.status, 200);
        let closed = issuer.metrics().await.contains("coupon_issuer_kafka_breaker_open 0");
        (closed && !fixture.records().await.is_empty()).then_some(())
    })
    .await;
}

/// Would fail if the breaker never closed, or if what went both ways counted twice.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_used_again_when_it_is_back() {
    let kafka = Kafka::start().unwrap();
    let mut fixture = Fixture::open(terms(10_000, 1)).await;
    fixture.move_topic_to(&kafka.url()).await;
    let issuer = fixture.ready().await;
    kafka_takes_winners(&fixture, &issuer).await;
    for (away, back) in [
        (Kafka::pause as fn(&Kafka) -> anyhow::Result<()>, Kafka::resume as fn(&Kafka) -> anyhow::Result<()>),
        (Kafka::kill, Kafka::restart),
    ] {
        away(&kafka).unwrap();
        for user in 0..5 {
            let told = issuer.users.ask(&format!("away-{user}")).await;
            assert_eq!(told.status, 200, "{told:?}");
        }
        assert!(issuer.metrics().await.contains("coupon_issuer_kafka_breaker_open 1"));
        back(&kafka).unwrap();
        // Records that were lost on the way make librdkafka ask for a new producer id before it writes again.
        within(Duration::from_secs(45), "the breaker closes", async || {
            assert_eq!(issuer.users.ask(&format!("back-{}", rand::random::<u64>())).await.status, 200);
            issuer.metrics().await.contains("coupon_issuer_kafka_breaker_open 0").then_some(())
        })
        .await;
    }
    let last = issuer.users.ask("after").await.rank();
    let records = fixture.records().await;
    assert!(records.iter().any(|record| record.user_id.as_str() == "after"));
    // Every winner is a record or a row, or both, and never two different ones.
    assert_eq!(fixture.durable().await.into_keys().collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
}

/// Would fail if a winner were told who is not durable, or lost the rank.
#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_and_database_nobody_is_told_and_the_rank_is_kept() {
    let fixture = Fixture::open(terms(10, 3)).await;
    let (proxy, mut connections) = database_behind_a_proxy(&fixture).await;
    connections.kafka.bootstrap_servers = vec![NOWHERE.into()];
    let issuer = fixture.start(&connections, &[]).await;
    eventually("the epoch is open", async || issuer.pressure().await["epoch"].as_u64()).await;
    proxy.cut();

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

/// Would fail if a direct insert of an epoch that is over made a row, and its user heard yes.
#[tokio::test(flavor = "multi_thread")]
async fn a_direct_insert_of_an_old_epoch_is_no_row() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let mut connections = fixture.workload.clone();
    connections.kafka.bootstrap_servers = vec![NOWHERE.into()];
    let issuer = fixture.start(&connections, &[]).await;
    issuer.wait_ready().await;
    // A repair has begun, and this process has not heard of it yet.
    database::allot_epoch(&fixture.pool, fixture.row, 0).await.unwrap();
    let told = issuer.users.ask("anna").await;
    assert_eq!((told.status, told.code()), (503, "UNCONFIRMED"), "{told:?}");
    assert_eq!(database::count_stored(&fixture.pool, fixture.row, 0).await.unwrap().0, 0);
}

/// Would fail if a fast answer waited until the winner is durable: neither Kafka nor the database takes it until the answer is here.
#[tokio::test(flavor = "multi_thread")]
async fn fast_answers_do_not_wait_for_kafka() {
    let kafka = Kafka::start().unwrap();
    let mut fixture = Fixture::open(terms(10_000, 1)).await;
    fixture.move_topic_to(&kafka.url()).await;
    let (proxy, connections) = database_behind_a_proxy(&fixture).await;
    let issuer = fixture.start(&connections, &["--acknowledge", "Fast"]).await;
    issuer.wait_ready().await;
    kafka_takes_winners(&fixture, &issuer).await;
    kafka.pause().unwrap();
    proxy.cut();
    let told = issuer.users.ask("anna").await;
    assert_eq!(told.status, 200, "{told:?}");
    proxy.mend();
    kafka.resume().unwrap();
    eventually("the winner is durable", async || {
        let durable = fixture.durable().await;
        durable.values().any(|winner| winner.user_id.as_str() == "anna").then_some(())
    })
    .await;
}

/// The open epoch is in SQL and nowhere else; a running issuer needs no SQL.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_it_does_not_open_but_goes_on() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let (proxy, connections) = database_behind_a_proxy(&fixture).await;
    proxy.cut();
    let issuer = fixture.start(&connections, &[]).await;
    eventually("it says that the database is away", async || {
        let told = issuer.users.ask("anna").await;
        assert_eq!(told.code(), "NOT_OPEN");
        told.body["error"].as_str().unwrap().contains("database").then_some(())
    })
    .await;
    eventually("its readiness says why, in the words of whoever was asked", async || {
        let why = issuer.readiness().await.1;
        why.contains("the database is not reachable: ").then_some(())
    })
    .await;
    proxy.mend();
    issuer.wait_ready().await;
    proxy.cut();
    assert_eq!(issuer.users.ask("anna").await.rank(), 1);
}
