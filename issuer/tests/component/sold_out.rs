//! A campaign that is sold out: most requests of a sale are its losers'.

use std::time::Instant;

use coupon_ledger::redis::Terms;
use futures::future::join_all;
use stack::services::Redis;

use super::fixture::{Fixture, Issuer, eventually, terms};

async fn known_losers(issuer: &Issuer) -> u64 {
    let metrics = issuer.metrics().await;
    metrics.lines().find_map(|line| line.strip_prefix("coupon_issuer_known_losers_total ")).unwrap().parse().unwrap()
}

/// Until Redis is not asked about a loser any more.
async fn until_known(issuer: &Issuer) {
    let before = known_losers(issuer).await;
    eventually("losers are known", async || {
        let told = issuer.users.ask("a-loser").await;
        assert_eq!(told.code(), "SOLD_OUT", "{told:?}");
        (known_losers(issuer).await > before).then_some(())
    })
    .await;
}

/// Calls of scripts since the server started.
async fn calls(fixture: &Fixture) -> u64 {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut fixture.redis.clone()).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    line.split(',').next().unwrap().parse().unwrap()
}

/// Wrong: each loser costs Redis a call; or a winner who asks again is taken for a loser; or more coupons, or a suspension, are not heard of.
#[tokio::test(flavor = "multi_thread")]
async fn losers_cost_redis_nothing_and_everybody_hears_the_truth() {
    let server = tokio::task::spawn_blocking(Redis::start).await.unwrap().unwrap();
    let mut fixture = Fixture::open_on(&server, terms(300, 1)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    let told = join_all((1..=300).map(|i| async move { users.ask(&format!("winner-{i}")).await })).await;
    let ranks: Vec<u64> = told.iter().map(|told| told.rank()).collect();
    until_known(&issuer).await;

    let (before, begun) = (calls(&fixture).await, Instant::now());
    for round in 0..10 {
        let told = join_all((0..200).map(|i| async move { users.ask(&format!("loser-{round}-{i}")).await })).await;
        assert!(told.iter().all(|told| told.code() == "SOLD_OUT"));
    }
    // It is asked every 10 ms whether it still is, and about one loser of a hundred.
    let (asked, bound) = (calls(&fixture).await - before, 150 + begun.elapsed().as_millis() as u64 / 8);
    assert!(asked <= bound, "Redis was called {asked} times for 2,000 losers, {bound} at most");

    let again = join_all((1..=300).map(|i| async move { users.ask(&format!("winner-{i}")).await })).await;
    assert_eq!(again.iter().map(|told| told.rank()).collect::<Vec<_>>(), ranks, "a winner gets the rank again");

    fixture.configure(terms(301, 1)).await;
    let late = eventually("more coupons are given", async || {
        let told = users.ask("late").await;
        (told.status == 200).then_some(told)
    })
    .await;
    assert_eq!(late.rank(), 301);
    until_known(&issuer).await;
    assert_eq!(users.ask("late").await.rank(), 301);

    fixture.configure(Terms { suspended: true, ..terms(301, 1) }).await;
    eventually("the suspension is heard", async || {
        let told = users.ask("a-loser").await;
        (told.code() == "SUSPENDED").then_some(())
    })
    .await;
    fixture.configure(terms(301, 1)).await;
    until_known(&issuer).await;

    // Another epoch: what was known is forgotten, and learned anew.
    fixture.rebuild().await;
    fixture.open_epoch().await;
    eventually("the new epoch is served", async || (users.ask("late").await.status == 200).then_some(())).await;
    assert_eq!(users.ask("late").await.rank(), 301);
    until_known(&issuer).await;
}
