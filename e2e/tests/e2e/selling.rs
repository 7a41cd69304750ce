//! Sales as they should go.

use std::time::{Duration, Instant};

use e2e::campaign::{Sale, manifest};
use e2e::issuer_client::{count_code, ranks, users};
use e2e::wait::until;
use operator::api::Phase;
use serde_json::json;

use crate::test_context::{SOON, TestContext};

/// Fewest parts, so that a scenario starts quickly.
fn small(namespace: &str, name: &str, total: u64, start: i64, end: i64) -> serde_json::Value {
    let mut manifest = manifest(namespace, name, total, start, end);
    manifest["spec"]["partitions"] = json!(1);
    manifest
}

/// S1, and what follows: 120 others on the sold-out campaign, deletion, and the same manifest again.
#[tokio::test]
async fn the_first_hundred_and_nobody_else_ever() {
    let context = TestContext::new("first").await;
    let applied = manifest(&context.namespace, "spring", 100, -1, 900);
    let sale = Sale::apply(&context.client, applied.clone()).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let first = issuer.rush(&users("early", 120)).await;
    assert_eq!((count_code(&first, "ISSUED"), count_code(&first, "SOLD_OUT")), (100, 20), "{first:?}");
    assert_eq!(ranks(&first), (1..=100).collect::<Vec<_>>());
    context.stored_as_told("spring", &first).await;

    let late = issuer.rush(&users("late", 120)).await;
    assert_eq!(count_code(&late, "SOLD_OUT"), 120, "{late:?}");
    sale.until_phase(Phase::SoldOut, SOON).await.unwrap();

    sale.delete("background").await.unwrap();
    let sale = Sale::apply(&context.client, applied).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let again = issuer.rush(&users("third", 120)).await;
    assert_eq!(count_code(&again, "SOLD_OUT"), 120, "a manifest applied again must not sell again: {again:?}");
    for winner in first.iter().filter(|each| each.issued()).take(10) {
        let repeated = issuer.ask(&winner.user, None).await;
        assert_eq!((repeated.status, repeated.rank), (200, winner.rank), "a winner keeps the rank");
    }
    sale.until_condition("LedgerAdopted", "True", "LedgerNotEmpty").await.unwrap();
    assert_eq!(context.rows("spring").await.winners.len(), 100);
    context.leave().await;
}

#[tokio::test]
async fn an_issuer_answers_soon_after_the_apply() {
    let context = TestContext::new("speed").await;
    let begin = Instant::now();
    let sale = Sale::apply(&context.client, small(&context.namespace, "quick", 10, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let heard = issuer.insist("first", None, SOON).await;
    let took = begin.elapsed();
    assert!(heard.issued(), "{heard:?}");
    println!("apply -> issued: {:.1} s", took.as_secs_f64());
    // The machine runs other scenarios meanwhile, and may be slow; alone it takes less than five (`make demo` prints it).
    assert!(took < Duration::from_secs(60), "{took:?}");
    context.leave().await;
}

/// perUserLimit 3: each request key is one coupon, a repeated key the same one, a fourth is refused.
#[tokio::test]
async fn three_coupons_for_each_user_however_often_they_ask() {
    let context = TestContext::new("three").await;
    let mut manifest = small(&context.namespace, "family", 9, -1, 900);
    manifest["spec"]["perUserLimit"] = json!(3);
    let sale = Sale::apply(&context.client, manifest).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let mut answers = Vec::new();
    for user in ["anna", "bob"] {
        for key in ["one", "two", "three"] {
            let heard = issuer.insist(user, Some(key), SOON).await;
            assert!(heard.issued(), "{heard:?}");
            let repeated = issuer.insist(user, Some(key), SOON).await;
            assert_eq!(repeated.rank, heard.rank, "the same request is the same coupon");
            answers.push(heard);
        }
        assert_eq!(issuer.ask(user, Some("four")).await.code, "ALREADY_ISSUED");
        assert_eq!(issuer.ask(user, None).await.code, "ALREADY_ISSUED");
    }
    // Without a key, each HTTP request asks for another coupon.
    for _ in 0..3 {
        let heard = issuer.insist("carl", None, SOON).await;
        assert!(heard.issued(), "{heard:?}");
        answers.push(heard);
    }
    assert_eq!(issuer.ask("dora", None).await.code, "SOLD_OUT");
    assert_eq!(ranks(&answers), (1..=9).collect::<Vec<_>>());
    context.stored_as_told("family", &answers).await;
    context.leave().await;
}

/// The window by Redis' clock: before, inside, after; then everything is stored and nothing runs any more.
#[tokio::test]
async fn before_inside_and_after_the_window() {
    let context = TestContext::new("window").await;
    // Pods start a minute before the window; on a slow machine they take most of it.
    let sale = Sale::apply(&context.client, small(&context.namespace, "hour", 100, 58, 80)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let early = issuer.ask("anna", None).await;
    assert_eq!((early.status, early.code.as_str()), (400, "NOT_STARTED"), "{early:?}");
    let end = sale.until_phase(Phase::Scheduled, SOON).await.unwrap().spec.window.end.0;
    sale.until("Ready before the window", SOON, Sale::is_ready).await.unwrap();

    sale.until_phase(Phase::Open, SOON).await.unwrap();
    let inside = issuer.insist("anna", None, SOON).await;
    assert!(inside.issued(), "{inside:?}");

    let after = until("the end of the window", SOON, async || {
        if jiff::Timestamp::now() < end {
            return Err("it lasts".to_owned());
        }
        let heard = issuer.ask("bob", None).await;
        if heard.code == "ENDED" { Ok(()) } else { Err(format!("{heard:?}")) }
    });
    after.await.unwrap();
    sale.until_phase(Phase::Completed, SOON).await.unwrap();
    sale.until("no pod left", SOON, |found| {
        found.status.as_ref().is_some_and(|s| {
            s.issuer.as_ref().is_some_and(|w| (w.wanted, w.ready) == (0, 0))
                && s.consumer.as_ref().is_some_and(|w| (w.wanted, w.ready) == (0, 0))
        })
    })
    .await
    .unwrap();
    let rows = context.rows("hour").await.winners;
    assert_eq!(rows.len(), 1, "{rows:?}");
    context.leave().await;
}

/// A dormant campaign is prepared, Ready, and runs nothing.
#[tokio::test]
async fn a_campaign_for_next_month_is_ready_and_has_no_pods() {
    let context = TestContext::new("dormant").await;
    let month = 30 * 24 * 3600;
    let sale = Sale::apply(&context.client, small(&context.namespace, "later", 100, month, month + 60)).await.unwrap();
    let found = sale.until_phase(Phase::Scheduled, SOON).await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    assert!(found.status.unwrap().topic.is_some(), "the topic is there long before");
    let deployments =
        e2e::install::kubectl(&["get", "deployments", "-n", &context.namespace, "-o", "name"]).await.unwrap();
    assert_eq!(deployments, "", "no Deployments while dormant");
    context.leave().await;
}

#[tokio::test]
async fn suspended_and_resumed() {
    let context = TestContext::new("suspend").await;
    let mut sale = Sale::apply(&context.client, small(&context.namespace, "pause", 10, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let first = issuer.insist("anna", None, SOON).await;
    assert!(first.issued(), "{first:?}");
    sale.change(|m| m["spec"]["suspend"] = json!(true)).await.unwrap();
    sale.until_phase(Phase::Suspended, SOON).await.unwrap();
    let refused = issuer.ask("bob", None).await;
    assert_eq!((refused.status, refused.code.as_str()), (400, "SUSPENDED"));
    assert_eq!(issuer.ask("anna", None).await.rank, first.rank, "a winner keeps the rank");
    sale.change(|m| m["spec"]["suspend"] = json!(false)).await.unwrap();
    sale.until_phase(Phase::Open, SOON).await.unwrap();
    assert!(issuer.insist("bob", None, SOON).await.issued());
    context.leave().await;
}

/// More coupons while the sale runs; fewer than are issued is refused, with a sentence, and changes nothing.
#[tokio::test]
async fn the_quantity_grows_during_the_sale() {
    let context = TestContext::new("grow").await;
    let mut sale = Sale::apply(&context.client, small(&context.namespace, "more", 20, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let mut answers = issuer.rush(&users("first", 30)).await;
    assert_eq!((count_code(&answers, "ISSUED"), count_code(&answers, "SOLD_OUT")), (20, 10), "{answers:?}");
    sale.until_phase(Phase::SoldOut, SOON).await.unwrap();

    sale.change(|m| m["spec"]["totalQuantity"] = json!(50)).await.unwrap();
    sale.until_phase(Phase::Open, SOON).await.unwrap();
    answers.extend(issuer.rush(&users("second", 40)).await);
    assert_eq!(ranks(&answers), (1..=50).collect::<Vec<_>>());
    context.stored_as_told("more", &answers).await;

    sale.change(|m| m["spec"]["totalQuantity"] = json!(49)).await.unwrap();
    let message = sale.until_condition("Stalled", "True", "QuantityBelowIssued").await.unwrap();
    assert!(message.contains("raise it to at least 50"), "{message}");
    sale.change(|m| m["spec"]["totalQuantity"] = json!(51)).await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    assert_eq!(issuer.insist("last", None, SOON).await.rank, Some(51));
    context.leave().await;
}

/// The same name in two namespaces: two ledgers.
#[tokio::test]
async fn two_campaigns_at_once_know_nothing_of_each_other() {
    let (one, two) = tokio::join!(TestContext::new("twin-a"), TestContext::new("twin-b"));
    let begin = async |context: &TestContext, total| {
        let sale = Sale::apply(&context.client, small(&context.namespace, "twin", total, -1, 900)).await.unwrap();
        sale.issuer().await.unwrap()
    };
    let (first, second) = tokio::join!(begin(&one, 30), begin(&two, 20));
    let users = users("same", 40);
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
    let context = TestContext::new("count").await;
    let sale = Sale::apply(&context.client, small(&context.namespace, "tally", 10, -1, 900)).await.unwrap();
    let answers = sale.issuer().await.unwrap().rush(&users("user", 7)).await;
    assert_eq!(count_code(&answers, "ISSUED"), 7, "{answers:?}");
    let count = until("the issued count in SQL", SOON, async || {
        let realm = e2e::install::REALM;
        let found = e2e::database::issued_count(&context.pool, realm, &context.namespace, "tally").await;
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
    context.leave().await;
}
