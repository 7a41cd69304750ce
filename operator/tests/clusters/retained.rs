//! A campaign that is over leaves Redis, and comes back.

use serde_json::json;

use super::load::LoadGenerator;
use super::realm::Realm;
use super::wait::until;

/// Wrong: what is over stays in Redis for ever, or is filled again with the next pass; or a longer window gives ranks twice, or somebody a
/// second coupon.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_rid_of_what_is_over_and_filled_when_it_is_needed() {
    let realm = Realm::new();
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let issuer = cluster.issuer().await;
    let load = LoadGenerator::at(&realm, &[issuer]);
    load.has_won(50).await;
    load.leaves().await;
    let window = |end: String| json!({"spec": {"window": {"end": end}}});
    cluster.change(&window(realm.start_and(1)));
    cluster.is("Draining").await;
    realm.everybody_has_what_they_were_told(&load).await;
    realm.commits().await;
    cluster.is("Completed").await;
    cluster.loses_its_pods().await;
    assert!(realm.keys_in_redis().await > 0, "it is kept for ever");

    cluster.change(&json!({"spec": {"retainForHours": 1}}));
    let said = cluster.says("RedisKeysReady", "True", "KeysRemoved").await;
    assert!(said.contains("every winner is a row"), "{said}");
    assert_eq!(realm.keys_in_redis().await, 0);
    let status = cluster.object().unwrap()["status"].clone();
    assert!(status["redisKeysRemoved"].is_string() && status["phase"] == json!("Completed"), "{status}");
    assert!(status["issued"].as_u64().unwrap() >= 50 && status["issued"] == status["persisted"], "{status}");
    let epoch = realm.row().await.epoch;
    // A pass over another change leaves it so.
    cluster.change(&json!({"spec": {"expectedPeakRps": 10}}));
    cluster.has_seen_its_spec().await;
    assert_eq!((realm.keys_in_redis().await, realm.row().await.epoch), (0, epoch));

    cluster.change(&window(realm.start_and(4 * 3600)));
    cluster.is_open().await;
    until("status says that Redis holds it", async || {
        cluster.object()?["status"]["redisKeysRemoved"].is_null().then_some(())
    })
    .await;
    let issuer = cluster.issuer().await;
    realm.nobody_gets_a_second(&load, issuer).await;
    let load = LoadGenerator::at(&realm, &[issuer]);
    load.has_won(50).await;
    load.leaves().await;
    realm.everybody_has_what_they_were_told(&load).await;
}
