//! Under which epoch is granted, and when not at all. A mistake here sells a coupon twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redis::AsyncCommands;

use super::fixture::{Fixture, Issuer, Reply, eventually, terms};

/// People who ask at the same time.
const CROWD: usize = 32;

fn is_not_open(told: &Reply) -> bool {
    (told.status, told.code()) == (503, "NOT_OPEN") && told.header("retry-after").is_some()
}

/// What people were told.
#[derive(Default)]
struct Told {
    /// Of a coupon.
    issued: u64,
    /// That they may hold one: on a starved machine a healthy server is late.
    unsure: u64,
}

/// Each asks again and again until told to stop; ends with what was told. With how many have asked.
fn crowd(issuer: &Issuer, size: usize) -> (Arc<AtomicBool>, Arc<AtomicU64>, Vec<tokio::task::JoinHandle<Told>>) {
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tasks = (0..size).map(|_| {
        let (users, stop, next) = (issuer.users.clone(), Arc::clone(&stop), Arc::clone(&next));
        tokio::spawn(async move {
            let mut all = Told::default();
            while !stop.load(Ordering::Relaxed) {
                let told = users.ask(&format!("user-{}", next.fetch_add(1, Ordering::Relaxed))).await;
                match (told.status, told.code()) {
                    (200, _) => all.issued += 1,
                    (503, "UNCONFIRMED" | "REDIS_UNAVAILABLE") => all.unsure += 1,
                    _ => assert!(is_not_open(&told), "{told:?}"),
                }
            }
            all
        })
    });
    let tasks = tasks.collect();
    (stop, next, tasks)
}

/// Would fail if a grant could follow the confirmation, or a record of the old epoch were still on its way.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_confirmed_fence_nothing_is_granted_below_the_floor() {
    let mut fixture = Fixture::open(terms(1_000_000, 1)).await;
    let issuer = fixture.ready().await;
    let (stop, asked, crowd) = crowd(&issuer, CROWD);
    eventually("some coupons are issued", async || (fixture.state().await.issued > 200).then_some(())).await;

    // SQL still opens the old epoch: the fence alone must hold.
    let old = fixture.epoch;
    let fenced = issuer.fence(old + 1).await;
    assert_eq!((fenced.status, &fenced.body["drained"]), (200, &serde_json::json!(true)), "{fenced:?}");
    let (at_confirmation, durable) = (fixture.state().await.issued, fixture.durable().await.len() as u64);
    assert!(issuer.pressure().await["epoch"].is_null());

    let before = asked.load(Ordering::Relaxed);
    // As many as there are may not have been answered yet.
    let many = before + 500 + CROWD as u64;
    eventually("many have asked in vain", async || (asked.load(Ordering::Relaxed) > many).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    let mut told = Told::default();
    for user in crowd {
        let one = user.await.unwrap();
        (told.issued, told.unsure) = (told.issued + one.issued, told.unsure + one.unsure);
    }
    assert_eq!(fixture.state().await.issued, at_confirmation);
    assert!(told.issued > 0 && told.issued <= durable, "{} were told, {durable} were durable", told.issued);
    let known = durable..=durable + told.unsure;
    assert!(
        known.contains(&at_confirmation),
        "{at_confirmation} were granted when the fence was confirmed, durable {known:?}"
    );
    assert_eq!(issuer.fence(old + 1).await.status, 200, "a fence may be repeated");
    assert_eq!(issuer.fence(old).await.body["floor"], old + 1, "the floor does not fall");
    assert!(is_not_open(&issuer.users.ask("late").await));

    // The next epoch opens by itself once SQL says so, and goes on where the old one ended.
    fixture.rebuild().await;
    assert_eq!(fixture.epoch, old + 1);
    assert!(is_not_open(&issuer.users.ask("late").await), "allotted is not open");
    fixture.open_epoch().await;
    let told = eventually("the new epoch is served", async || {
        let told = issuer.users.ask("late").await;
        (told.status == 200).then_some(told)
    })
    .await;
    assert_eq!(told.rank(), at_confirmation + 1);
    assert_eq!(issuer.pressure().await["epoch"], old + 1);
    let durable = fixture.durable().await;
    assert_eq!(durable.values().find(|winner| winner.user_id.as_str() == "late").unwrap().epoch, old + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_may_fence() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let issuer = fixture.ready().await;
    let (http, url) = (&issuer.users.http, format!("{}/fence", issuer.control));
    let body = serde_json::json!({ "floor": u64::MAX });
    for request in [
        http.post(&url).json(&body),
        http.post(&url).json(&body).bearer_auth("wrong"),
        http.post(&url).json(&body).bearer_auth(""),
        http.post(&url).json(&body).basic_auth("operator", Some(super::fixture::TOKEN)),
        http.get(format!("{}/pressure", issuer.control)),
        http.get(format!("{}/nothing", issuer.control)),
    ] {
        assert_eq!(issuer.users.send(request).await.unwrap().status, 401);
    }
    let wrong = http.post(&url).bearer_auth(super::fixture::TOKEN).json(&serde_json::json!({ "floor": -1 }));
    assert_eq!(issuer.users.send(wrong).await.unwrap().status, 422);
    for (version, expected) in [("1", 200), ("2", 400), ("two", 400)] {
        let asked = http.get(format!("{}/pressure", issuer.control)).bearer_auth(super::fixture::TOKEN);
        let told =
            issuer.users.send(asked.header(coupon_core::contract::control::VERSION_HEADER, version)).await.unwrap();
        assert_eq!(
            (told.status, told.header(coupon_core::contract::control::VERSION_HEADER)),
            (expected, Some("1")),
            "{version}: {told:?}"
        );
    }
    // A floor never falls: one that no epoch can reach would end this process's work for good.
    for floor in [u64::MAX, fixture.epoch + 5_000] {
        let beyond = issuer.fence(floor).await;
        assert_eq!(beyond.status, 422, "{beyond:?}");
    }
    assert_eq!(issuer.users.ask("anna").await.rank(), 1, "nothing was fenced");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_opens_by_itself_when_sql_does() {
    let fixture = Fixture::closed(terms(10, 1)).await;
    let issuer = fixture.start(&fixture.workload, &[]).await;
    eventually("it has seen that it is closed", async || {
        issuer.readiness().await.1.contains("closed for now").then_some(())
    })
    .await;
    assert!(is_not_open(&issuer.users.ask("anna").await));
    // A process that has just begun may still be connecting to Redis, and says so with 503.
    let view = eventually("the campaign is described", async || {
        let told = issuer.users.get("/api/coupons/spring").await;
        assert!(told.status == 200 || told.code() == "REDIS_UNAVAILABLE", "{told:?}");
        (told.status == 200).then_some(told)
    })
    .await;
    assert_eq!(view.body["state"], "CLOSED");
    assert_eq!(fixture.state().await.issued, 0);
    let alive = issuer.users.http.get(format!("{}/healthz", issuer.probe)).send().await.unwrap();
    assert_eq!(alive.status(), 200, "closed is no reason to be restarted");
    fixture.open_epoch().await;
    issuer.wait_ready().await;
    assert_eq!(issuer.users.ask("anna").await.rank(), 1);
}

/// Would fail if an issuer granted from a Redis that may have lost grants.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_history_stops_issuing_until_it_is_repaired() {
    let mut fixture = Fixture::open(terms(10, 1)).await;
    let issuer = fixture.ready().await;
    assert_eq!(issuer.users.ask("anna").await.rank(), 1);
    let (mut redis, meta) = (fixture.redis.clone(), fixture.keys.meta.clone());
    for (field, value) in [("history", "other/other"), ("epoch", "99")] {
        let good: String = redis.hget(&meta, field).await.unwrap();
        let () = redis.hset(&meta, field, value).await.unwrap();
        assert!(is_not_open(&issuer.users.ask("bert").await), "{field}");
        assert_eq!(fixture.state().await.issued, 1, "{field}: nothing is granted");
        assert!(issuer.pressure().await["epoch"].is_null(), "{field}");
        let () = redis.hset(&meta, field, good).await.unwrap();
        eventually("it opens again", async || (issuer.users.ask("anna").await.status == 200).then_some(())).await;
    }
    // Ranks that this issuer has seen are gone, though the identity is the same: a memory snapshot was resumed. The campaign
    // is closed on the spot, or an issuer that has seen less would grant them again.
    let () = redis.hset(&meta, "highest", "0").await.unwrap();
    assert!(is_not_open(&issuer.users.ask("bert").await), "ranks are missing");
    let exists: bool = redis.exists(&meta).await.unwrap();
    assert!(!exists, "closed for everybody");
    assert!(is_not_open(&issuer.users.ask("bert").await), "an absent meta key is closed, never full");
    fixture.rebuild().await;
    fixture.open_epoch().await;
    let told = eventually("the repaired redis is served", async || {
        let told = issuer.users.ask("bert").await;
        (told.status == 200).then_some(told)
    })
    .await;
    assert_eq!((told.rank(), issuer.users.ask("anna").await.rank()), (2, 1));
    assert_eq!(issuer.readiness().await.0, 200, "it stays ready: it says itself what is wrong");
}

/// Would fail if nonsense from Redis were retried for ever, or granted half of a batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_stock_stops_issuing_until_a_new_epoch() {
    let mut fixture = Fixture::open(terms(10, 1)).await;
    let issuer = fixture.ready().await;
    let mut redis = fixture.redis.clone();
    let () = redis.set(&fixture.keys.count, "not a hash").await.unwrap();
    let told = issuer.users.ask("anna").await;
    assert_eq!((told.status, told.code()), (503, "REDIS_UNAVAILABLE"), "{told:?}");
    assert!(is_not_open(&issuer.users.ask("anna").await));
    let () = redis.del(&fixture.keys.count).await.unwrap();
    fixture.rebuild().await;
    fixture.open_epoch().await;
    eventually("a new epoch mends it", async || (issuer.users.ask("anna").await.status == 200).then_some(())).await;
}
