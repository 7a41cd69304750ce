//! Campaigns that are deleted, in every way that Kubernetes knows.

use std::time::Duration;

use campaign::identity::CampaignId;
use e2e::campaign::{Sale, manifest};
use e2e::crowd::{heard, people};
use e2e::database;
use e2e::install::{self, REALM, apply, kubectl};
use e2e::wait::until;
use serde_json::json;

use crate::world::{SOON, World};

/// Consumers that cannot start leave winners in the log. Deleting the campaign stores them all the same: the operator does
/// it itself, whichever way the children are removed.
#[tokio::test]
async fn what_is_left_in_the_log_is_stored_before_the_object_goes() {
    let world = World::new("left").await;
    let class = format!("broken-{}", world.namespace);
    for propagation in ["foreground", "background"] {
        let name = format!("rest-{propagation}");
        let good = install::class("unused", &world.connections, false).unwrap();
        let mut broken = good.clone();
        broken["metadata"]["name"] = json!(class);
        apply(&broken).await.unwrap();
        let mut wanted = manifest(&world.namespace, &name, 50, -1, 900);
        wanted["spec"]["className"] = json!(class);
        let sale = Sale::apply(&world.client, wanted).await.unwrap();
        let door = sale.door().await.unwrap();
        // The issuers run by now; the consumers are replaced by ones that no node has room for.
        let first = door.rush(&people("early", 5)).await;
        assert_eq!(heard(&first, "ISSUED"), 5, "{first:?}");
        world.stored_as_told(&name, &first).await;
        broken["spec"]["pods"]["consumer"]["resources"]["requests"]["cpu"] = json!("1000");
        apply(&broken).await.unwrap();
        // Pods that wait for a node never become ready, so old ones may stay until they are deleted.
        until("consumers that cannot store", SOON, async || {
            let selector = format!("coupon-operator.io/campaign={name},app.kubernetes.io/component=consumer");
            kubectl(&["delete", "pods", "-n", &world.namespace, "-l", &selector, "--wait=true", "--timeout=40s"])
                .await
                .map_err(|e| e.to_string())?;
            let ready = kubectl(&[
                "get",
                "deployment",
                &format!("{name}-consumer"),
                "-n",
                &world.namespace,
                "-o",
                "jsonpath={.status.readyReplicas} {.status.updatedReplicas}",
            ])
            .await
            .map_err(|e| e.to_string())?;
            if ready.starts_with(' ') && ready.trim() != "" { Ok(()) } else { Err(ready) }
        })
        .await
        .unwrap();
        let door = sale.door().await.unwrap();
        let mut answers = first;
        for user in people("late", 20) {
            answers.push(door.insist(&user, None, SOON).await);
        }
        assert_eq!(heard(&answers, "ISSUED"), 25, "{answers:?}");
        sale.delete(propagation).await.unwrap();
        world.stored_as_told(&name, &answers).await;
    }
    kubectl(&["delete", "campaignclass", &class]).await.unwrap();
    world.leave().await;
}

/// Wrong: a database that was put back to before the campaign, or a class that points to another one, lets a campaign go whose
/// winners are in Redis and Kafka only.
#[tokio::test]
async fn a_campaign_whose_ledger_is_elsewhere_is_not_let_go() {
    let world = World::new("moved").await;
    let sale = Sale::apply(&world.client, manifest(&world.namespace, "moved", 10, -1, 900)).await.unwrap();
    let answers = sale.door().await.unwrap().rush(&people("user", 5)).await;
    assert_eq!(heard(&answers, "ISSUED"), 5, "{answers:?}");
    world.stored_as_told("moved", &answers).await;
    let elsewhere = format!("{}-elsewhere", world.namespace);
    database::hide(&world.pool, REALM, &world.namespace, "moved", &elsewhere).await.unwrap();
    sale.until_condition("Stalled", "True", "LedgerMoved").await.unwrap();
    kubectl(&["delete", "couponcampaign", "moved", "-n", &world.namespace, "--wait=false"]).await.unwrap();
    sale.until_condition("Ready", "False", "LedgerMoved").await.unwrap();
    database::hide(&world.pool, REALM, &elsewhere, "moved", &world.namespace).await.unwrap();
    until("the campaign goes when its ledger is back", SOON, async || match sale.get().await {
        Ok(_) => Err("it is there".to_owned()),
        Err(_) => Ok(()),
    })
    .await
    .unwrap();
    world.stored_as_told("moved", &answers).await;
    world.leave().await;
}

/// A namespace that goes does not hang because of us.
#[tokio::test]
async fn a_namespace_can_be_deleted_with_its_campaigns() {
    let world = World::new("gone").await;
    let sale = Sale::apply(&world.client, manifest(&world.namespace, "going", 50, -1, 900)).await.unwrap();
    let door = sale.door().await.unwrap();
    let answers = door.rush(&people("user", 60)).await;
    assert_eq!(heard(&answers, "ISSUED"), 50, "{answers:?}");
    world.stored_as_told("going", &answers).await;
    kubectl(&["delete", "namespace", &world.namespace, "--timeout=120s"]).await.unwrap();
    assert_eq!(world.rows("going").await.winners.len(), 50, "rows always stay");
}

/// `deletionPolicy: Delete` removes what the campaign made, but never the rows.
#[tokio::test]
async fn the_policy_delete_removes_topics_and_keys() {
    let world = World::new("policy").await;
    let mut wanted = manifest(&world.namespace, "tidy", 20, -1, 900);
    wanted["spec"]["deletionPolicy"] = json!("Delete");
    let sale = Sale::apply(&world.client, wanted).await.unwrap();
    let answers = sale.door().await.unwrap().rush(&people("user", 30)).await;
    assert_eq!(heard(&answers, "ISSUED"), 20, "{answers:?}");
    world.stored_as_told("tidy", &answers).await;
    sale.delete("background").await.unwrap();

    let id = CampaignId::with_default_names(REALM, &world.namespace, "tidy").unwrap();
    let url = world.connections.redis.as_deref().unwrap();
    let keys = install::run("redis-cli", &["-u", url, "KEYS", &format!("*{}*", id.hash_tag())], None).await.unwrap();
    assert_eq!(keys.trim(), "", "no key is left");
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", world.connections.kafka.as_deref().unwrap());
    let kafka = campaign::log::admin::KafkaAdmin::new(&config).unwrap();
    until("both topics gone", Duration::from_secs(30), async || {
        let found = kafka.describe_topics(&[id.topic(), id.dead_letter_topic()]).await.map_err(|e| e.to_string())?;
        let left = found.values().filter(|t| !matches!(t, Ok(campaign::log::admin::TopicState::Absent))).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} topics")) }
    })
    .await
    .unwrap();
    assert_eq!(world.rows("tidy").await.winners.len(), 20, "rows always stay");
    world.leave().await;
}

/// Wrong: the class goes first, as with `kubectl delete -f` of a folder, and nobody has the sale under control any more.
#[tokio::test]
async fn a_class_in_use_stays_until_its_last_campaign_is_gone() {
    let world = World::new("inuse").await;
    let class = format!("used-{}", world.namespace);
    let mut own = install::class("unused", &world.connections, false).unwrap();
    own["metadata"]["name"] = json!(class);
    apply(&own).await.unwrap();
    let mut wanted = manifest(&world.namespace, "sale", 20, -1, 900);
    wanted["spec"]["className"] = json!(class);
    let mut sale = Sale::apply(&world.client, wanted).await.unwrap();
    let door = sale.door().await.unwrap();
    assert!(door.insist("anna", None, SOON).await.issued());

    kubectl(&["delete", "campaignclass", &class, "--wait=false"]).await.unwrap();
    let path = "jsonpath={.status.conditions[?(@.type==\"InUse\")].message}";
    let said = until("the class says who uses it", SOON, async || {
        let said = kubectl(&["get", "campaignclass", &class, "-o", path]).await.map_err(|e| e.to_string())?;
        if said.is_empty() { Err(said) } else { Ok(said) }
    });
    let said = said.await.unwrap();
    assert!(said.contains(&format!("1 campaign uses this class ({}/sale)", world.namespace)), "{said}");
    let mut late = manifest(&world.namespace, "late", 20, -1, 900);
    late["spec"]["className"] = json!(class);
    let late = Sale::apply(&world.client, late).await.unwrap();
    late.until_condition("ClassResolved", "False", "ClassBeingDeleted").await.unwrap();
    late.delete("background").await.unwrap();

    // Under control all the same.
    sale.change(|m| m["spec"]["suspend"] = json!(true)).await.unwrap();
    sale.until_phase(operator::api::Phase::Suspended, SOON).await.unwrap();
    sale.delete("background").await.unwrap();
    kubectl(&["wait", "--for=delete", &format!("campaignclass/{class}"), "--timeout=30s"]).await.unwrap();
    world.leave().await;
}
