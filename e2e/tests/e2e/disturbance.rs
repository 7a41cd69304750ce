//! Sales that something happens to.

use std::time::Duration;

use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_ledger::redis::{Answer, IssueRequest, RedisKeys, Reply, issue};
use e2e::campaign::{Sale, manifest};
use e2e::install::{REALM, SYSTEM_NAMESPACE, kubectl};
use e2e::issuer_client::{IssuerClient, Response, count_code, ranks, users};
use futures::stream::{self, StreamExt};

use operator::api::CouponCampaign;

use crate::test_context::{SOON, TestContext};

/// People come one after the other, a few at a time, and insist.
async fn trickle(issuer: &IssuerClient, users: &[String], together: usize) -> Vec<Response> {
    stream::iter(users.iter().map(|user| issuer.insist(user, None, Duration::from_secs(60))))
        .buffer_unordered(together)
        .collect()
        .await
}

#[tokio::test]
async fn the_operator_is_restarted_in_the_middle() {
    let context = TestContext::new("restart").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "steady", 200, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let users = users("user", 260);
    let (before, after) = users.split_at(100);
    let mut answers = trickle(&issuer, before, 10).await;
    let (restarted, more) = tokio::join!(
        kubectl(&["rollout", "restart", "deployment/coupon-operator", "-n", SYSTEM_NAMESPACE]),
        trickle(&issuer, after, 10)
    );
    restarted.unwrap();
    answers.extend(more);
    assert_eq!((count_code(&answers, "ISSUED"), count_code(&answers, "SOLD_OUT")), (200, 60));
    assert_eq!(ranks(&answers), (1..=200).collect::<Vec<_>>());
    context.stored_as_told("steady", &answers).await;
    // The new operator reports what the old one began, and opened no new epoch for it.
    let found = sale
        .until("counters after the restart", SOON, |c| c.status.as_ref().is_some_and(|s| s.persisted == Some(200)))
        .await
        .unwrap();
    assert_eq!(found.status.unwrap().epoch, Some(1));
    context.leave().await;
}

#[tokio::test]
async fn the_issuers_are_rolled_in_the_middle() {
    let context = TestContext::new("rolled").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "rolling", 300, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let users = users("user", 400);
    let restart = async {
        kubectl(&["rollout", "restart", "deployment/rolling-issuer", "-n", &context.namespace]).await.unwrap();
        kubectl(&["rollout", "status", "deployment/rolling-issuer", "-n", &context.namespace, "--timeout=60s"]).await
    };
    let (rolled, answers) = tokio::join!(restart, trickle(&issuer, &users, 4));
    rolled.unwrap();
    assert_eq!((count_code(&answers, "ISSUED"), count_code(&answers, "SOLD_OUT")), (300, 100));
    assert_eq!(ranks(&answers), (1..=300).collect::<Vec<_>>());
    context.stored_as_told("rolling", &answers).await;
    context.leave().await;
}

/// Redis forgets the campaign in the middle of the sale: nobody loses a rank, and the rest is sold exactly.
#[tokio::test]
async fn redis_forgets_the_campaign_in_the_middle() {
    let context = TestContext::new("amnesia").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "forget", 100, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let users = users("user", 140);
    let (before, after) = users.split_at(60);
    let mut answers = trickle(&issuer, before, 10).await;
    assert_eq!(count_code(&answers, "ISSUED"), 60, "{answers:?}");

    let keys = RedisKeys::of(&CampaignId::with_default_names(REALM, &context.namespace, "forget").unwrap());
    let url = context.connections.redis.as_deref().unwrap();
    let delete = ["-u", url, "DEL", &keys.meta, &keys.issued, &keys.count, &keys.request, &keys.free];
    e2e::install::run("redis-cli", &delete, None).await.unwrap();
    answers.extend(trickle(&issuer, after, 10).await);
    assert_eq!((count_code(&answers, "ISSUED"), count_code(&answers, "SOLD_OUT")), (100, 40), "{answers:?}");
    assert_eq!(ranks(&answers), (1..=100).collect::<Vec<_>>());
    context.stored_as_told("forget", &answers).await;
    for winner in answers.iter().filter(|each| each.issued()).take(5) {
        assert_eq!(issuer.ask(&winner.user, None).await.rank, winner.rank);
    }
    // Status may say so later than the issuers do.
    let epoch = |found: &CouponCampaign| found.status.as_ref().and_then(|status| status.epoch);
    let repaired = sale.until("the repair in status", SOON, |found| epoch(found) > Some(1)).await.unwrap();
    assert_eq!(epoch(&repaired), Some(2), "one repair, one epoch");
    context.leave().await;
}

/// Would fail if a winner whose issuer died before Kafka heard of it stayed out of the database until its user asks again.
#[tokio::test]
async fn a_winner_that_only_redis_holds_becomes_a_row() {
    let context = TestContext::new("orphan").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "orphan", 100, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let mut told = trickle(&issuer, &users("user", 10), 5).await;
    assert_eq!(count_code(&told, "ISSUED"), 10, "{told:?}");

    // What an issuer does before it dies: the rank is given, and nobody else hears of it.
    let id = CampaignId::with_default_names(REALM, &context.namespace, "orphan").unwrap();
    let settings = context.redis();
    let mut redis = coupon_ledger::redis::connect::connect(&settings, Duration::from_secs(5)).await.unwrap();
    let request =
        IssueRequest { user: UserId::new("ghost").unwrap(), key: RequestKey::new("k").unwrap(), minted: false };
    let reply = issue(&mut redis, &RedisKeys::of(&id), 1, 0, &[request]).await.unwrap();
    let Reply::Answered(batch) = reply else { panic!("{reply:?}") };
    let Answer::Granted(grant) = &batch.answers[0] else { panic!("{batch:?}") };
    sale.until_condition("LedgerConsistent", "False", "Unconfirmed").await.unwrap();
    told.push(Response {
        user: "ghost".into(),
        status: 200,
        code: "ISSUED".into(),
        rank: Some(grant.rank),
        took: Duration::ZERO,
    });
    context.stored_as_told("orphan", &told).await;
    sale.until_condition("LedgerConsistent", "True", "AllStored").await.unwrap();
    let found = sale.until("no winner is left", SOON, |c| c.status.as_ref().is_some_and(|s| s.unconfirmed == Some(0)));
    assert_eq!(found.await.unwrap().status.unwrap().epoch, Some(1), "no repair of Redis was needed");
    let events = kubectl(&[
        "get",
        "events",
        "-n",
        &context.namespace,
        "-o",
        "name",
        "--field-selector",
        "reason=WinnersRepublished",
    ])
    .await
    .unwrap();
    assert_eq!(events.lines().count(), 1, "it was published once");
    context.leave().await;
}

/// Fences the campaign's only issuer as its operator would. Returns the pod's UID.
async fn fence(context: &TestContext, campaign: &str, floor: u64) -> String {
    let secret = format!("{campaign}-connections");
    let template = "go-template={{index .data \"control-token\" | base64decode}}";
    let token = kubectl(&["get", "secret", &secret, "-n", &context.namespace, "-o", template]).await.unwrap();
    let selector = format!("coupon-operator.io/campaign={campaign},app.kubernetes.io/component=issuer");
    let path = "jsonpath={.items[0].metadata.uid} {.items[0].status.podIP}";
    let pod = kubectl(&["get", "pods", "-n", &context.namespace, "-l", &selector, "-o", path]).await.unwrap();
    let (uid, ip) = pod.trim().split_once(' ').unwrap();
    let request = reqwest::Client::new()
        .post(format!("http://{ip}:8081/fence"))
        .bearer_auth(token.trim())
        .json(&serde_json::json!({ "floor": floor }));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    uid.to_owned()
}

/// An issuer that waits for an epoch that does not come is alive and ready, and answers 503 to everybody. Would fail if only its
/// probes were looked at.
#[tokio::test]
async fn issuers_that_stopped_serving_are_mended() {
    let context = TestContext::new("mended").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "mended", 100, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let users = users("user", 130);
    let mut answers = trickle(&issuer, &users[..20], 5).await;

    fence(&context, "mended", 2).await;
    answers.extend(trickle(&issuer, &users[20..40], 5).await);
    let epoch = |found: &CouponCampaign| found.status.as_ref().and_then(|status| status.epoch).unwrap_or(0);
    let mended = sale.until("a new epoch", SOON, |found| epoch(found) >= 2).await.unwrap();
    let events =
        ["get", "events", "-n", &context.namespace, "-o", "name", "--field-selector", "reason=IssuersNotServing"];
    assert_eq!(kubectl(&events).await.unwrap().lines().count(), 1, "it was said");

    // No epoch can be opened above this floor by counting on, so the pod must go.
    let beyond = u64::try_from(epoch(&mended)).unwrap() + 500;
    let stuck = fence(&context, "mended", beyond).await;
    answers.extend(trickle(&issuer, &users[40..60], 5).await);
    e2e::wait::until("the pod that is stuck is replaced", SOON, async || {
        let pods = ["get", "pods", "-n", &context.namespace, "-o", "jsonpath={.items[*].metadata.uid}"];
        let pods = kubectl(&pods).await.map_err(|e| e.to_string())?;
        if pods.contains(&stuck) { Err(pods) } else { Ok(()) }
    })
    .await
    .unwrap();

    let keys = RedisKeys::of(&CampaignId::with_default_names(REALM, &context.namespace, "mended").unwrap());
    let url = context.connections.redis.as_deref().unwrap();
    e2e::install::run("redis-cli", &["-u", url, "DEL", &keys.request], None).await.unwrap();
    // Who has a rank asks again, whose request Redis has lost: no second rank.
    let again = issuer.insist(&users[0], None, SOON).await;
    assert_eq!(again.rank, answers.iter().find(|each| each.user == users[0]).and_then(|each| each.rank));
    answers.extend(trickle(&issuer, &users[60..], 5).await);
    assert_eq!((count_code(&answers, "ISSUED"), count_code(&answers, "SOLD_OUT")), (100, 30), "{answers:?}");
    assert_eq!(ranks(&answers), (1..=100).collect::<Vec<_>>());
    context.stored_as_told("mended", &answers).await;
    context.leave().await;
}
