//! The issuer dies at the worst moments, and works without one of its defences: the first loses nothing, the second does.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use coupon_core::connections::Connections;
use coupon_core::failpoints::{CrashPoint, Safeguard};
use coupon_ledger::database;
use futures::StreamExt;
use redis::AsyncCommands;

use super::fixture::{Fixture, terms};
use super::process::Process;

const COUPONS: u64 = 40;
const USERS: usize = 60;

fn without_kafka(fixture: &Fixture) -> Connections {
    let mut connections = fixture.workload.clone();
    connections.kafka.bootstrap_servers = vec!["127.0.0.1:9".into()];
    connections
}

/// The users who are durable, by rank.
async fn durable(fixture: &Fixture) -> BTreeMap<u64, String> {
    fixture.durable().await.into_iter().map(|(rank, event)| (rank, event.user_id.to_string())).collect()
}

/// People ask and insist, each with a key; the first process dies in the middle, and a second one goes on.
async fn dies_at(point: CrashPoint, connections: impl Fn(&Fixture) -> Connections) {
    let fixture = Fixture::open(terms(COUPONS, 1)).await;
    let connections = connections(&fixture);
    let first = Process::start(&fixture, &connections, &[("COUPON_CRASH_AT", &format!("{point}:5"))]);
    first.ready().await;
    let heard: Vec<_> = futures::stream::iter(0..USERS)
        .map(|user| {
            let users = first.users.clone();
            async move { users.try_ask(&format!("user-{user}"), Some("k")).await.ok() }
        })
        .buffer_unordered(4)
        .collect()
        .await;
    assert_eq!(first.ended().await.signal(), Some(6), "it died at the point, not of something else");
    assert!(heard.iter().any(Option::is_none), "somebody was left without an answer");

    let second = Process::start(&fixture, &connections, &[]);
    second.ready().await;
    let mut told = BTreeMap::new();
    for user in 0..USERS {
        let name = format!("user-{user}");
        let decided = async || Some(second.users.ask_with(&name, "k").await).filter(|answer| answer.status != 503);
        let decided = second.eventually("a decision", decided).await;
        match decided.status {
            200 => assert_eq!(told.insert(decided.rank(), name), None, "no rank twice"),
            _ => assert_eq!(decided.code(), "SOLD_OUT"),
        }
    }
    // Who had heard of a rank before still has it.
    for answer in heard.iter().flatten().filter(|answer| answer.status == 200) {
        assert!(told.contains_key(&answer.rank()), "{answer:?}");
    }
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), (1..=COUPONS).collect::<Vec<_>>(), "{point}");
    assert_eq!(durable(&fixture).await, told, "whoever was told is durable, and nobody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_script() {
    dies_at(CrashPoint::AfterScript, |fixture| fixture.workload.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_producing() {
    dies_at(CrashPoint::AfterProduce, |fixture| fixture.workload.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_answer() {
    dies_at(CrashPoint::BeforeAnswer, |fixture| fixture.workload.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_direct_insert() {
    dies_at(CrashPoint::AfterDirectInsert, without_kafka).await;
}

/// The counterpart of `outage::a_direct_insert_of_an_old_epoch_is_no_row`.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_conditional_insert_a_closed_epoch_makes_rows() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let without = Safeguard::ConditionalInsert.to_string();
    let process = Process::start(&fixture, &without_kafka(&fixture), &[("COUPON_WITHOUT", &without)]);
    process.ready().await;
    database::allot_epoch(&fixture.pool, fixture.row, 0).await.unwrap();
    assert_eq!(process.users.ask("anna").await.status, 200, "told, though a repair has read the rows already");
    assert_eq!(database::count_stored(&fixture.pool, fixture.row, 0).await.unwrap().0, 1);
}

/// The counterpart of `fencing::after_a_confirmed_fence_nothing_is_granted_below_the_floor`.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_floor_a_fenced_process_serves_the_old_epoch_again() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let without = Safeguard::Floor.to_string();
    let process = Process::start(&fixture, &fixture.workload, &[("COUPON_WITHOUT", &without)]);
    process.ready().await;
    assert!(process.fence(fixture.epoch + 1).await, "it confirms");
    let grants = async || (process.users.ask("anna").await.status == 200).then_some(());
    process.eventually("it grants below the floor", grants).await;
}

/// The counterpart of `fencing::a_changed_history_stops_issuing_until_it_is_repaired`.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_history_check_a_redis_that_lost_grants_goes_on() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let without = Safeguard::HistoryCheck.to_string();
    let process = Process::start(&fixture, &fixture.workload, &[("COUPON_WITHOUT", &without)]);
    process.ready().await;
    let mut redis = fixture.redis.clone();
    let () = redis.hset(&fixture.keys.meta, "history", "other/other").await.unwrap();
    assert_eq!(process.users.ask("anna").await.status, 200, "granted from a Redis that may have lost grants");
}
