//! Sales as they should go.

use std::time::{Duration, Instant};

use e2e::campaign::{Sale, manifest};
use e2e::crowd::{heard, people, ranks};
use operator::api::Phase;
use serde_json::json;

use crate::world::{SOON, World};

/// Fewest parts, so that a scenario starts quickly.
fn small(namespace: &str, name: &str, total: u64, start: i64, end: i64) -> serde_json::Value {
    let mut manifest = manifest(namespace, name, total, start, end);
    manifest["spec"]["partitions"] = json!(1);
    manifest
}

/// S1, and what follows: 120 others on the sold-out campaign, deletion, and the same manifest again.
#[tokio::test]
async fn the_first_hundred_and_nobody_else_ever() {
    let world = World::new("first").await;
    let applied = manifest(&world.namespace, "spring", 100, -1, 900);
    let sale = Sale::apply(&world.client, applied.clone()).await.unwrap();
    let door = sale.door().await.unwrap();
    let first = door.rush(&people("early", 120)).await;
    assert_eq!((heard(&first, "ISSUED"), heard(&first, "SOLD_OUT")), (100, 20), "{first:?}");
    assert_eq!(ranks(&first), (1..=100).collect::<Vec<_>>());
    world.stored_as_told("spring", &first).await;

    let late = door.rush(&people("late", 120)).await;
    assert_eq!(heard(&late, "SOLD_OUT"), 120, "{late:?}");
    sale.until_phase(Phase::SoldOut, SOON).await.unwrap();

    sale.delete("background").await.unwrap();
    let sale = Sale::apply(&world.client, applied).await.unwrap();
    let door = sale.door().await.unwrap();
    let again = door.rush(&people("third", 120)).await;
    assert_eq!(heard(&again, "SOLD_OUT"), 120, "a manifest applied again must not sell again: {again:?}");
    for winner in first.iter().filter(|each| each.issued()).take(10) {
        let repeated = door.ask(&winner.user, None).await;
        assert_eq!((repeated.status, repeated.rank), (200, winner.rank), "a winner keeps the rank");
    }
    sale.until_condition("LedgerAdopted", "True", "LedgerNotEmpty").await.unwrap();
    assert_eq!(world.rows("spring").await.winners.len(), 100);
    world.leave().await;
}

#[tokio::test]
async fn an_issuer_answers_within_five_seconds_of_the_apply() {
    let world = World::new("speed").await;
    let begin = Instant::now();
    let sale = Sale::apply(&world.client, small(&world.namespace, "quick", 10, -1, 900)).await.unwrap();
    let door = sale.door().await.unwrap();
    let heard = door.insist("first", None, SOON).await;
    let took = begin.elapsed();
    assert!(heard.issued(), "{heard:?}");
    println!("apply -> issued: {:.1} s", took.as_secs_f64());
    // The machine runs other scenarios meanwhile; alone it takes less than five (`make demo` prints it).
    assert!(took < Duration::from_secs(20), "{took:?}");
    world.leave().await;
}

/// perUserLimit 3: each request key is one coupon, a repeated key the same one, a fourth is refused.
#[tokio::test]
async fn three_coupons_for_each_user_however_often_they_ask() {
    let world = World::new("three").await;
    let mut manifest = small(&world.namespace, "family", 9, -1, 900);
    manifest["spec"]["perUserLimit"] = json!(3);
    let sale = Sale::apply(&world.client, manifest).await.unwrap();
    let door = sale.door().await.unwrap();
    let mut answers = Vec::new();
    for user in ["anna", "bob"] {
        for key in ["one", "two", "three"] {
            let heard = door.insist(user, Some(key), SOON).await;
            assert!(heard.issued(), "{heard:?}");
            let repeated = door.insist(user, Some(key), SOON).await;
            assert_eq!(repeated.rank, heard.rank, "the same request is the same coupon");
            answers.push(heard);
        }
        assert_eq!(door.ask(user, Some("four")).await.code, "ALREADY_ISSUED");
        assert_eq!(door.ask(user, None).await.code, "ALREADY_ISSUED");
    }
    // Without a key, each request is a new wish.
    for _ in 0..3 {
        let heard = door.insist("carl", None, SOON).await;
        assert!(heard.issued(), "{heard:?}");
        answers.push(heard);
    }
    assert_eq!(door.ask("dora", None).await.code, "SOLD_OUT");
    assert_eq!(ranks(&answers), (1..=9).collect::<Vec<_>>());
    world.stored_as_told("family", &answers).await;
    world.leave().await;
}

/// The window by Redis' clock: before, inside, after; then everything is stored and nothing runs any more.
#[tokio::test]
async fn before_inside_and_after_the_window() {
    let world = World::new("window").await;
    let sale = Sale::apply(&world.client, small(&world.namespace, "hour", 100, 15, 35)).await.unwrap();
    let door = sale.door().await.unwrap();
    let early = door.ask("anna", None).await;
    assert_eq!((early.status, early.code.as_str()), (400, "NOT_STARTED"), "{early:?}");
    sale.until_phase(Phase::Scheduled, SOON).await.unwrap();
    sale.until("Ready before the window", SOON, Sale::is_ready).await.unwrap();

    sale.until_phase(Phase::Open, SOON).await.unwrap();
    let inside = door.insist("anna", None, SOON).await;
    assert!(inside.issued(), "{inside:?}");

    let after = e2e::wait::until("the end of the window", SOON, async || {
        let heard = door.ask("bob", None).await;
        if heard.code == "ENDED" { Ok(heard) } else { Err(format!("{heard:?}")) }
    });
    // Bob may have got one before the end; then his rank is what he hears for ever.
    let bob_won = after.await.is_err();
    sale.until_phase(Phase::Completed, SOON).await.unwrap();
    sale.until("no pod left", SOON, |found| {
        found.status.as_ref().is_some_and(|s| {
            s.issuer.as_ref().is_some_and(|w| (w.wanted, w.ready) == (0, 0))
                && s.consumer.as_ref().is_some_and(|w| (w.wanted, w.ready) == (0, 0))
        })
    })
    .await
    .unwrap();
    let rows = world.rows("hour").await.winners;
    assert_eq!(rows.len(), 1 + usize::from(bob_won), "{rows:?}");
    world.leave().await;
}

/// A dormant campaign is prepared, Ready, and runs nothing.
#[tokio::test]
async fn a_campaign_for_next_month_is_ready_and_has_no_pods() {
    let world = World::new("dormant").await;
    let month = 30 * 24 * 3600;
    let sale = Sale::apply(&world.client, small(&world.namespace, "later", 100, month, month + 60)).await.unwrap();
    let found = sale.until_phase(Phase::Scheduled, SOON).await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    assert!(found.status.unwrap().topic.is_some(), "the topic is there long before");
    let deployments =
        e2e::install::kubectl(&["get", "deployments", "-n", &world.namespace, "-o", "name"]).await.unwrap();
    assert_eq!(deployments, "", "no Deployments while dormant");
    world.leave().await;
}

#[tokio::test]
async fn suspended_and_resumed() {
    let world = World::new("suspend").await;
    let mut sale = Sale::apply(&world.client, small(&world.namespace, "pause", 10, -1, 900)).await.unwrap();
    let door = sale.door().await.unwrap();
    let first = door.insist("anna", None, SOON).await;
    assert!(first.issued(), "{first:?}");
    sale.change(|m| m["spec"]["suspend"] = json!(true)).await.unwrap();
    sale.until_phase(Phase::Suspended, SOON).await.unwrap();
    let refused = door.ask("bob", None).await;
    assert_eq!((refused.status, refused.code.as_str()), (400, "SUSPENDED"));
    assert_eq!(door.ask("anna", None).await.rank, first.rank, "a winner keeps the rank");
    sale.change(|m| m["spec"]["suspend"] = json!(false)).await.unwrap();
    sale.until_phase(Phase::Open, SOON).await.unwrap();
    assert!(door.insist("bob", None, SOON).await.issued());
    world.leave().await;
}

/// More coupons while the sale runs; fewer than are issued is refused, with a sentence, and changes nothing.
#[tokio::test]
async fn the_quantity_grows_during_the_sale() {
    let world = World::new("grow").await;
    let mut sale = Sale::apply(&world.client, small(&world.namespace, "more", 20, -1, 900)).await.unwrap();
    let door = sale.door().await.unwrap();
    let mut answers = door.rush(&people("first", 30)).await;
    assert_eq!((heard(&answers, "ISSUED"), heard(&answers, "SOLD_OUT")), (20, 10), "{answers:?}");
    sale.until_phase(Phase::SoldOut, SOON).await.unwrap();

    sale.change(|m| m["spec"]["totalQuantity"] = json!(50)).await.unwrap();
    sale.until_phase(Phase::Open, SOON).await.unwrap();
    answers.extend(door.rush(&people("second", 40)).await);
    assert_eq!(ranks(&answers), (1..=50).collect::<Vec<_>>());
    world.stored_as_told("more", &answers).await;

    sale.change(|m| m["spec"]["totalQuantity"] = json!(49)).await.unwrap();
    let message = sale.until_condition("Stalled", "True", "QuantityBelowIssued").await.unwrap();
    assert!(message.contains("raise it to at least 50"), "{message}");
    sale.change(|m| m["spec"]["totalQuantity"] = json!(51)).await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    assert_eq!(door.insist("last", None, SOON).await.rank, Some(51));
    world.leave().await;
}

/// The same name in two namespaces: two ledgers.
#[tokio::test]
async fn two_campaigns_at_once_know_nothing_of_each_other() {
    let (one, two) = tokio::join!(World::new("twin-a"), World::new("twin-b"));
    let begin = async |world: &World, total| {
        let sale = Sale::apply(&world.client, small(&world.namespace, "twin", total, -1, 900)).await.unwrap();
        sale.door().await.unwrap()
    };
    let (first, second) = tokio::join!(begin(&one, 30), begin(&two, 20));
    let users = people("same", 40);
    let (in_first, in_second) = tokio::join!(first.rush(&users), second.rush(&users));
    assert_eq!(ranks(&in_first), (1..=30).collect::<Vec<_>>());
    assert_eq!(ranks(&in_second), (1..=20).collect::<Vec<_>>());
    one.stored_as_told("twin", &in_first).await;
    two.stored_as_told("twin", &in_second).await;
    one.leave().await;
    two.leave().await;
}

/// The database's own count follows, without being touched per coupon.
#[tokio::test]
async fn the_row_of_the_campaign_carries_the_issued_count() {
    let world = World::new("count").await;
    let sale = Sale::apply(&world.client, small(&world.namespace, "tally", 10, -1, 900)).await.unwrap();
    let answers = sale.door().await.unwrap().rush(&people("user", 7)).await;
    assert_eq!(heard(&answers, "ISSUED"), 7, "{answers:?}");
    let count = e2e::wait::until("the issued count in SQL", SOON, async || {
        let realm = e2e::install::REALM;
        let found = e2e::database::issued_count(&world.pool, realm, &world.namespace, "tally").await;
        found.map_err(|e| e.to_string()).and_then(|n| if n == 7 { Ok(()) } else { Err(format!("{n}")) })
    });
    count.await.unwrap();
    let status = sale
        .until("counters", SOON, |c| c.status.as_ref().is_some_and(|s| (s.persisted, s.lag) == (Some(7), Some(0))))
        .await;
    let status = status.unwrap().status.unwrap();
    assert_eq!(
        (status.issued, status.lag, status.dead_letters, status.unconfirmed),
        (Some(7), Some(0), Some(0), Some(0))
    );
    world.leave().await;
}
