//! Sales that something happens to.

use std::time::Duration;

use campaign::identity::{CampaignId, RequestKey, UserId};
use campaign::stock::{Answer, Reply, StockKeys, Wish, issue};
use e2e::campaign::{Sale, manifest};
use e2e::crowd::{Door, Heard, heard, people, ranks};
use e2e::install::{REALM, SYSTEM_NAMESPACE, kubectl};
use futures::stream::{self, StreamExt};

use crate::world::{SOON, World};

/// People come one after the other, a few at a time, and insist.
async fn trickle(door: &Door, users: &[String], together: usize) -> Vec<Heard> {
    stream::iter(users.iter().map(|user| door.insist(user, None, Duration::from_secs(60))))
        .buffer_unordered(together)
        .collect()
        .await
}

#[tokio::test]
async fn the_operator_is_restarted_in_the_middle() {
    let world = World::new("restart").await;
    let sale = Sale::apply(&world.client, manifest(&world.namespace, "steady", 200, -1, 900)).await.unwrap();
    let door = sale.door().await.unwrap();
    let users = people("user", 260);
    let (before, after) = users.split_at(100);
    let mut answers = trickle(&door, before, 10).await;
    let (restarted, more) = tokio::join!(
        kubectl(&["rollout", "restart", "deployment/coupon-operator", "-n", SYSTEM_NAMESPACE]),
        trickle(&door, after, 10)
    );
    restarted.unwrap();
    answers.extend(more);
    assert_eq!((heard(&answers, "ISSUED"), heard(&answers, "SOLD_OUT")), (200, 60));
    assert_eq!(ranks(&answers), (1..=200).collect::<Vec<_>>());
    world.stored_as_told("steady", &answers).await;
    // The new operator reports what the old one began, and opened no new epoch for it.
    let found = sale
        .until("counters after the restart", SOON, |c| c.status.as_ref().is_some_and(|s| s.persisted == Some(200)))
        .await
        .unwrap();
    assert_eq!(found.status.unwrap().epoch, Some(1));
    world.leave().await;
}

#[tokio::test]
async fn the_issuers_are_rolled_in_the_middle() {
    let world = World::new("rolled").await;
    let sale = Sale::apply(&world.client, manifest(&world.namespace, "rolling", 300, -1, 900)).await.unwrap();
    let door = sale.door().await.unwrap();
    let users = people("user", 400);
    let restart = async {
        kubectl(&["rollout", "restart", "deployment/rolling-issuer", "-n", &world.namespace]).await.unwrap();
        kubectl(&["rollout", "status", "deployment/rolling-issuer", "-n", &world.namespace, "--timeout=60s"]).await
    };
    let (rolled, answers) = tokio::join!(restart, trickle(&door, &users, 4));
    rolled.unwrap();
    assert_eq!((heard(&answers, "ISSUED"), heard(&answers, "SOLD_OUT")), (300, 100));
    assert_eq!(ranks(&answers), (1..=300).collect::<Vec<_>>());
    world.stored_as_told("rolling", &answers).await;
    world.leave().await;
}

/// Redis forgets the campaign in the middle of the sale: nobody loses a rank, and the rest is sold exactly.
#[tokio::test]
async fn redis_forgets_the_campaign_in_the_middle() {
    let world = World::new("amnesia").await;
    let sale = Sale::apply(&world.client, manifest(&world.namespace, "forget", 100, -1, 900)).await.unwrap();
    let door = sale.door().await.unwrap();
    let users = people("user", 140);
    let (before, after) = users.split_at(60);
    let mut answers = trickle(&door, before, 10).await;
    assert_eq!(heard(&answers, "ISSUED"), 60, "{answers:?}");

    let keys = StockKeys::of(&CampaignId::new(REALM, &world.namespace, "forget").unwrap());
    let url = world.connections.redis.as_deref().unwrap();
    let delete = ["-u", url, "DEL", &keys.meta, &keys.issued, &keys.count, &keys.request, &keys.free];
    e2e::install::run("redis-cli", &delete, None).await.unwrap();
    answers.extend(trickle(&door, after, 10).await);
    assert_eq!((heard(&answers, "ISSUED"), heard(&answers, "SOLD_OUT")), (100, 40), "{answers:?}");
    assert_eq!(ranks(&answers), (1..=100).collect::<Vec<_>>());
    world.stored_as_told("forget", &answers).await;
    for winner in answers.iter().filter(|each| each.issued()).take(5) {
        assert_eq!(door.ask(&winner.user, None).await.rank, winner.rank);
    }
    let found = sale.get().await.unwrap();
    assert_eq!(found.status.unwrap().epoch, Some(2), "one repair, one epoch");
    world.leave().await;
}

/// Would fail if a winner whose issuer died before Kafka heard of it stayed out of the database until its user asks again.
#[tokio::test]
async fn a_winner_that_only_redis_holds_becomes_a_row() {
    let world = World::new("orphan").await;
    let sale = Sale::apply(&world.client, manifest(&world.namespace, "orphan", 100, -1, 900)).await.unwrap();
    let door = sale.door().await.unwrap();
    let mut told = trickle(&door, &people("user", 10), 5).await;
    assert_eq!(heard(&told, "ISSUED"), 10, "{told:?}");

    // What an issuer does before it dies: the rank is given, and nobody else hears of it.
    let id = CampaignId::new(REALM, &world.namespace, "orphan").unwrap();
    let settings = world.redis();
    let mut redis = campaign::stock::connect::connect(&settings, Duration::from_secs(5)).await.unwrap();
    let wish = Wish { user: UserId::new("ghost").unwrap(), key: RequestKey::new("k").unwrap(), minted: false };
    let reply = issue(&mut redis, &StockKeys::of(&id), 1, 0, &[wish]).await.unwrap();
    let Reply::Answered(batch) = reply else { panic!("{reply:?}") };
    let Answer::Granted(grant) = &batch.answers[0] else { panic!("{batch:?}") };
    sale.until_condition("LedgerConsistent", "False", "Unconfirmed").await.unwrap();
    told.push(Heard {
        user: "ghost".into(),
        status: 200,
        code: "ISSUED".into(),
        rank: Some(grant.rank),
        took: Duration::ZERO,
    });
    world.stored_as_told("orphan", &told).await;
    sale.until_condition("LedgerConsistent", "True", "AllStored").await.unwrap();
    let found = sale.until("no winner is left", SOON, |c| c.status.as_ref().is_some_and(|s| s.unconfirmed == Some(0)));
    assert_eq!(found.await.unwrap().status.unwrap().epoch, Some(1), "no repair of Redis was needed");
    let events = kubectl(&[
        "get",
        "events",
        "-n",
        &world.namespace,
        "-o",
        "name",
        "--field-selector",
        "reason=WinnersRepublished",
    ])
    .await
    .unwrap();
    assert_eq!(events.lines().count(), 1, "it was published once");
    world.leave().await;
}
