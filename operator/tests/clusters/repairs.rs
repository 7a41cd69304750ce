//! What a repair waits for, and what brings one about, through whole passes of an operator.

use std::time::{Duration, Instant};

use serde_json::json;

use super::load::LoadGenerator;
use super::realm::Realm;
use super::wait::until;

/// For so long it is watched that something does not happen: some passes.
const WATCHED: Duration = Duration::from_secs(8);

/// Wrong: each epoch is broken by the next request, and the next repair follows two seconds later, for as long as the right is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_pods_lack_uses_up_no_epoch_and_is_named() {
    let realm = Realm::with_pods_of_its_own().await;
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let load = LoadGenerator::at(&realm, &[cluster.issuer().await]);
    load.has_won(50).await;
    let epoch = realm.row().await.epoch;

    realm.pods_may("-zadd").await;
    let said = cluster.waits_for("RedisReady", "RedisRightMissing").await;
    assert!(said.contains("ZADD"), "{said}");
    cluster.is("Repairing").await;
    // What was tried less than two seconds before the right went is still believed, so one epoch may be broken by that, before or after
    // an issuer has named the right; no other is.
    let until_then = Instant::now() + WATCHED;
    while Instant::now() < until_then {
        let said = cluster.waits_for("Ready", "RedisRightMissing").await;
        assert!(said.contains("ZADD"), "{said}");
        let now = realm.row().await.epoch;
        assert!(now <= epoch + 1, "epochs are used up: {now} after {epoch}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let broken = realm.row().await.epoch;
    until("the class says so as well, without waiting for its next look", async || {
        let class = cluster.class()?;
        let said = class["status"]["conditions"].as_array()?.iter().find(|each| each["type"] == json!("RedisReady"))?;
        (said["reason"] == json!("RedisRightMissing")).then_some(())
    })
    .await;

    realm.pods_may("+zadd").await;
    load.has_won(50).await;
    assert_eq!(realm.row().await.epoch, broken + 1);
    cluster.says("RedisReady", "True", "Available").await;
    load.leaves().await;
    realm.everybody_has_what_they_were_told(&load).await;
}

/// Wrong: while a record of a later version closes the campaign an epoch is used up with every try, and nobody heard of it before.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_no_repair_gets_past_is_said_and_uses_up_no_epoch() {
    let realm = Realm::new();
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let load = LoadGenerator::at(&realm, &[cluster.issuer().await]);
    load.has_won(50).await;
    realm.dead_letter_of_a_later_version().await;
    let said = cluster.says("LedgerConsistent", "Unknown", "NewerRecord").await;
    assert!(said.contains("--discard"), "{said}");
    load.has_won(20).await;
    load.leaves().await;

    let epoch = realm.row().await.epoch;
    realm.redis_is_another_one().await;
    cluster.waits_for("RedisKeysReady", "NewerRecord").await;
    let until_then = Instant::now() + WATCHED;
    while Instant::now() < until_then {
        cluster.waits_for("Ready", "NewerRecord").await;
        assert_eq!(realm.row().await.epoch, epoch, "an epoch is used up");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    realm.dead_letters_are_removed().await;
    let load = LoadGenerator::at(&realm, &[cluster.issuer().await]);
    load.has_won(50).await;
    assert_eq!(realm.row().await.epoch, epoch + 1);
}

/// Wrong: what people gave up goes on closing the campaign, as it still lies there, or as an earlier try had met it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_given_up_closes_nothing_any_more() {
    let realm = Realm::new();
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let load = LoadGenerator::at(&realm, &[cluster.issuer().await]);
    load.has_won(50).await;
    load.leaves().await;
    for topic in [realm.campaign.topic(), realm.campaign.dead_letter_topic()] {
        let at = realm.record_of_a_later_version(&topic).await;
        if topic == realm.campaign.dead_letter_topic() {
            cluster.says("LedgerConsistent", "Unknown", "NewerRecord").await;
        }
        let epoch = realm.row().await.epoch;
        realm.redis_is_another_one().await;
        let said = cluster.waits_for("RedisKeysReady", "NewerRecord").await;
        assert!(said.contains(&topic), "{said}");
        realm.is_given_up(&topic, at).await;
        cluster.says("RedisKeysReady", "True", "RedisKeysFilled").await;
        assert!(realm.row().await.epoch <= epoch + 2, "one for the try that met it, and one for the one that was done");
    }
    realm.everybody_has_what_they_were_told(&load).await;
}

/// Wrong: the brokers refuse a setting of the topic after the epoch was opened, and nobody hears that Redis was filled again.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_was_opened_is_told_although_a_later_step_fails() {
    let realm = Realm::new();
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let load = LoadGenerator::at(&realm, &[cluster.issuer().await]);
    load.has_won(50).await;
    let epoch = realm.row().await.epoch;
    cluster.wants_of_topics(&json!({"segment.bytes": "1"}));
    cluster.waits_for("KafkaReady", "InvalidTopicConfig").await;
    realm.redis_is_another_one().await;
    load.has_won(50).await;
    assert!(realm.row().await.epoch > epoch);
    until("each epoch is told", async || {
        let opened = cluster.events().iter().filter(|reason| *reason == "EpochOpened").count() as u64;
        (opened == realm.row().await.epoch).then_some(())
    })
    .await;
    load.leaves().await;
    realm.everybody_has_what_they_were_told(&load).await;
}

/// Wrong: two people hear the same rank, or another one than their row has, and all counts fit.
#[tokio::test(flavor = "multi_thread")]
async fn a_rank_that_somebody_changes_in_redis_is_put_right_and_told() {
    let realm = Realm::new();
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let issuer = cluster.issuer().await;
    let load = LoadGenerator::at(&realm, &[issuer]);
    load.has_won(50).await;
    load.leaves().await;
    realm.everybody_has_what_they_were_told(&load).await;
    let epoch = realm.row().await.epoch;
    realm.two_holders_swap_ranks_in_redis(&load).await;
    until("Redis is filled again", async || (realm.row().await.epoch > epoch).then_some(())).await;
    cluster.says("RedisKeysReady", "True", "RedisKeysFilled").await;
    realm.nobody_gets_a_second(&load, issuer).await;
    assert!(cluster.events().iter().any(|reason| reason == "RedisDiffers"), "{:?}", cluster.events());
    assert_eq!(realm.row().await.epoch, epoch + 1, "once");
}
