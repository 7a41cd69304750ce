//! Sales that something happens to.

use std::time::Duration;

use campaign::identity::CampaignId;
use campaign::stock::StockKeys;
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
