//! A class that says how topics and groups are called.

use std::collections::BTreeMap;

use coupon_core::names::{KafkaNames, Templates};
use coupon_kafka_admin::TopicState;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::load::LoadGenerator;
use super::realm::Realm;
use super::wait::until;

/// As a company may prescribe them; of this test only, as they hold no realm.
fn names(end: &str) -> KafkaNames {
    let prefix = format!("acme{:08x}", rand::random::<u32>());
    KafkaNames::new(Templates {
        topic: format!("{prefix}.coupons.{{namespace}}_{{couponId}}.v1"),
        dead_letter_topic: format!("{{topic}}.{end}"),
        consumer_group: format!("{prefix}.readers.{{namespace}}.{{couponId}}"),
    })
    .unwrap()
}

/// Which of these topics are there.
async fn there(realm: &Realm, topics: &[String]) -> BTreeMap<String, bool> {
    let found = realm.systems.kafka.describe_topics(topics).await.unwrap();
    found.into_iter().map(|(name, state)| (name, matches!(state.unwrap(), TopicState::Present(_)))).collect()
}

/// What status says of the topic, once it does.
async fn topic_in_status(cluster: &Cluster) -> Value {
    let said = async || {
        let topic = cluster.object()?["status"]["topic"].clone();
        topic.is_object().then_some(topic)
    };
    until("a topic in status", said).await
}

/// Wrong: one part of the operator, or a pod, goes by the usual names, and winners are written where nobody reads, or a topic stays for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_lives_and_goes_under_the_names_that_its_class_gives_it() {
    let realm = Realm::named(&names("dlq"));
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let (topic, dead) = (realm.campaign.topic(), realm.campaign.dead_letter_topic());
    assert!(
        topic.ends_with(".coupons.shop_spring.v1") && dead.ends_with(".coupons.shop_spring.v1.dlq"),
        "{topic} {dead}"
    );
    let usual = realm.campaign.identity().clone().named(&KafkaNames::default());
    let all = [topic.clone(), dead.clone(), usual.topic(), usual.dead_letter_topic()];
    let stand = |there: [bool; 4]| all.iter().cloned().zip(there).collect::<BTreeMap<_, _>>();
    assert_eq!(there(&realm, &all).await, stand([true, true, false, false]));
    let status = topic_in_status(&cluster).await;
    assert_eq!((status["name"].as_str(), status["deadLetterTopic"].as_str()), (Some(&*topic), Some(&*dead)));
    assert_eq!(status["consumerGroup"].as_str(), Some(&*realm.campaign.group()));

    // The issuer has its names from the Secret beside it.
    let load = LoadGenerator::at(&realm, &[cluster.issuer().await]);
    load.has_won(100).await;
    load.leaves().await;
    realm.everybody_has_what_they_were_told(&load).await;

    cluster.delete();
    until("the object goes", async || cluster.object().is_none().then_some(())).await;
    until("its topics go", async || (there(&realm, &all).await == stand([false; 4])).then_some(())).await;
    let groups = realm.systems.kafka.describe_groups(&[realm.campaign.group()]).await.unwrap();
    assert!(!format!("{groups:?}").contains("Stable"), "{groups:?}");
}

/// Wrong: a class that was deleted is made again with other names, its campaigns get new, empty topics, and what was in the old ones is
/// nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_is_made_again_with_other_names_stops_its_campaigns_and_touches_nothing() {
    let own = names("dlq");
    let realm = Realm::named(&own);
    let mut cluster = realm.cluster("a");
    cluster.is_open().await;
    let load = LoadGenerator::at(&realm, &[cluster.issuer().await]);
    load.has_won(20).await;
    load.leaves().await;
    topic_in_status(&cluster).await;
    // What is compared must not change by itself.
    cluster.stop().await;
    let before = realm.everything().await;

    let other = names("dlq");
    cluster.names_topics(&other);
    cluster.starts();
    let said = cluster.is_stalled("KafkaNamesDiffer").await;
    let elsewhere = realm.campaign.identity().clone().named(&other);
    for name in [realm.campaign.topic(), realm.campaign.dead_letter_topic(), elsewhere.topic(), elsewhere.group()] {
        assert!(said.contains(&format!("`{name}`")), "{name}: {said}");
    }
    assert_eq!(realm.everything().await, before);
    // A deletion stops the sale, and removes nothing.
    cluster.delete();
    until("the deletion is held up", async || {
        let object = cluster.object().expect("it must not go");
        object["status"]["conditions"].to_string().contains("KafkaNamesDiffer").then_some(())
    })
    .await;
    until("it says that it is being deleted", async || {
        (cluster.object().expect("it must not go")["status"]["phase"] == "Draining").then_some(())
    })
    .await;
    let both = [(realm.campaign.topic(), true), (elsewhere.topic(), false)];
    assert_eq!(there(&realm, &both.clone().map(|(name, _)| name)).await, BTreeMap::from(both));

    cluster.names_topics(&own);
    until("the object goes", async || cluster.object().is_none().then_some(())).await;
}

/// Wrong: a class that was deleted is made again with another realm, topics keep their names, and people are sent to another database;
/// meanwhile users hear 503, says status, and are given coupons.
#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_is_made_again_with_another_realm_says_so_and_what_users_meet() {
    let realm = Realm::named(&names("dlq"));
    let mut cluster = realm.cluster("a");
    cluster.is_open().await;
    let load = LoadGenerator::at(&realm, &[cluster.issuer().await]);
    load.has_won(20).await;
    let own = realm.campaign.realm().to_owned();
    until("status names the realm", async || {
        (cluster.object()?["status"]["realm"].as_str() == Some(&own)).then_some(())
    })
    .await;
    cluster.stop().await;
    cluster.counts_an_issuer();

    cluster.is_in_realm("another");
    cluster.starts();
    let said = cluster.is_stalled("RealmDiffers").await;
    assert!(said.contains(&format!("realm `{own}`")) && said.contains("realm `another`"), "{said}");
    load.has_won(20).await;
    let open = cluster.says("Open", "Unknown", "RealmDiffers").await;
    assert!(open.contains("issuers say that they grant"), "{open}");
    let unserved = cluster.object().unwrap()["status"]["unservedSeconds"].clone();
    let of_class = until("the class says so", async || {
        let class = cluster.class()?;
        let ready = class["status"]["conditions"].as_array()?.iter().find(|each| each["type"] == json!("Ready"))?;
        (ready["reason"] == json!("RealmDiffers")).then(|| ready["message"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(of_class.contains("shop/spring") && of_class.contains(&own), "{of_class}");
    // Whoever asks for a stop is heard by the issuers, and not by another realm's Redis.
    cluster.change(&json!({"spec": {"suspend": true}}));
    cluster.says("Open", "False", "SuspendedByFence").await;
    assert_eq!(cluster.object().unwrap()["status"]["unservedSeconds"], unserved, "users were served");
    load.leaves().await;

    cluster.change(&json!({"spec": {"suspend": false}}));
    cluster.is_in_realm(&own);
    cluster.is_open().await;
    realm.everybody_has_what_they_were_told(&load).await;
}
