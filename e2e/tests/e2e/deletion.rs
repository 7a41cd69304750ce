//! Campaigns that are deleted, in every way that Kubernetes knows.

use coupon_core::identity::CampaignId;
use e2e::campaign::{Sale, manifest};
use e2e::database;
use e2e::install::{self, REALM, apply, kubectl};
use e2e::issuer_client::{count_code, users};
use e2e::wait::until;
use serde_json::json;

use crate::test_context::{SOON, TestContext};

/// Consumers that cannot start leave winners in the log. Deleting the campaign stores them all the same: the operator does
/// it itself, whichever way the children are removed.
#[tokio::test]
async fn what_is_left_in_the_log_is_stored_before_the_object_goes() {
    let context = TestContext::new("left").await;
    let class = format!("broken-{}", context.namespace);
    for propagation in ["foreground", "background"] {
        let name = format!("rest-{propagation}");
        let good = install::class("unused", &context.connections, false).unwrap();
        let mut broken = good.clone();
        broken["metadata"]["name"] = json!(class);
        apply(&broken).await.unwrap();
        let mut wanted = manifest(&context.namespace, &name, 50, -1, 900);
        wanted["spec"]["className"] = json!(class);
        let sale = Sale::apply(&context.client, wanted).await.unwrap();
        let issuer = sale.issuer().await.unwrap();
        // The issuers run by now; the consumers are replaced by ones that no node has room for.
        let first = issuer.rush(&users("early", 5)).await;
        assert_eq!(count_code(&first, "ISSUED"), 5, "{first:?}");
        context.stored_as_told(&name, &first).await;
        broken["spec"]["pods"]["consumer"]["resources"]["requests"]["cpu"] = json!("1000");
        apply(&broken).await.unwrap();
        // Pods that wait for a node never become ready, so old ones may stay until they are deleted.
        until("consumers that cannot store", SOON, async || {
            let selector = format!("coupon-operator.io/campaign={name},app.kubernetes.io/component=consumer");
            kubectl(&["delete", "pods", "-n", &context.namespace, "-l", &selector, "--wait=true", "--timeout=40s"])
                .await
                .map_err(|e| e.to_string())?;
            let ready = kubectl(&[
                "get",
                "deployment",
                &format!("{name}-consumer"),
                "-n",
                &context.namespace,
                "-o",
                "jsonpath={.status.readyReplicas} {.status.updatedReplicas}",
            ])
            .await
            .map_err(|e| e.to_string())?;
            if ready.starts_with(' ') && ready.trim() != "" { Ok(()) } else { Err(ready) }
        })
        .await
        .unwrap();
        let issuer = sale.issuer().await.unwrap();
        let mut answers = first;
        for user in users("late", 20) {
            answers.push(issuer.insist(&user, None, SOON).await);
        }
        assert_eq!(count_code(&answers, "ISSUED"), 25, "{answers:?}");
        sale.delete(propagation).await.unwrap();
        context.stored_as_told(&name, &answers).await;
    }
    kubectl(&["delete", "campaignclass", &class]).await.unwrap();
    context.leave().await;
}

/// Wrong: a database that was put back to before the campaign, or a class that points to another one, lets a campaign go whose
/// winners are in Redis and Kafka only.
#[tokio::test]
async fn a_campaign_whose_ledger_is_elsewhere_is_not_let_go() {
    let context = TestContext::new("moved").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "moved", 10, -1, 900)).await.unwrap();
    let answers = sale.issuer().await.unwrap().rush(&users("user", 5)).await;
    assert_eq!(count_code(&answers, "ISSUED"), 5, "{answers:?}");
    context.stored_as_told("moved", &answers).await;
    let elsewhere = format!("{}-elsewhere", context.namespace);
    database::hide(&context.pool, REALM, &context.namespace, "moved", &elsewhere).await.unwrap();
    sale.until_condition("Stalled", "True", "LedgerMoved").await.unwrap();
    kubectl(&["delete", "couponcampaign", "moved", "-n", &context.namespace, "--wait=false"]).await.unwrap();
    sale.until_condition("Ready", "False", "LedgerMoved").await.unwrap();
    database::hide(&context.pool, REALM, &elsewhere, "moved", &context.namespace).await.unwrap();
    until("the campaign goes when its ledger is back", SOON, async || match sale.get().await {
        Ok(_) => Err("it is there".to_owned()),
        Err(_) => Ok(()),
    })
    .await
    .unwrap();
    context.stored_as_told("moved", &answers).await;
    context.leave().await;
}

/// A namespace that goes does not hang because of us.
#[tokio::test]
async fn a_namespace_can_be_deleted_with_its_campaigns() {
    let context = TestContext::new("gone").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "going", 50, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let answers = issuer.rush(&users("user", 60)).await;
    assert_eq!(count_code(&answers, "ISSUED"), 50, "{answers:?}");
    context.stored_as_told("going", &answers).await;
    kubectl(&["delete", "namespace", &context.namespace, "--timeout=120s"]).await.unwrap();
    assert_eq!(context.rows("going").await.winners.len(), 50, "rows always stay");
}

/// `deletionPolicy: Delete` removes what the campaign made, but never the rows.
#[tokio::test]
async fn the_policy_delete_removes_topics_and_keys() {
    let context = TestContext::new("policy").await;
    let mut wanted = manifest(&context.namespace, "tidy", 20, -1, 900);
    wanted["spec"]["deletionPolicy"] = json!("Delete");
    let sale = Sale::apply(&context.client, wanted).await.unwrap();
    let answers = sale.issuer().await.unwrap().rush(&users("user", 30)).await;
    assert_eq!(count_code(&answers, "ISSUED"), 20, "{answers:?}");
    context.stored_as_told("tidy", &answers).await;
    sale.delete("background").await.unwrap();

    let id = CampaignId::with_default_names(REALM, &context.namespace, "tidy").unwrap();
    let url = context.connections.redis.as_deref().unwrap();
    let keys = install::run("redis-cli", &["-u", url, "KEYS", &format!("*{}*", id.hash_tag())], None).await.unwrap();
    assert_eq!(keys.trim(), "", "no key is left");
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", context.connections.kafka.as_deref().unwrap());
    let kafka = coupon_kafka_admin::KafkaAdmin::new(&config).unwrap();
    until("both topics gone", SOON, async || {
        let found = kafka.describe_topics(&[id.topic(), id.dead_letter_topic()]).await.map_err(|e| e.to_string())?;
        let left = found.values().filter(|t| !matches!(t, Ok(coupon_kafka_admin::TopicState::Absent))).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} topics")) }
    })
    .await
    .unwrap();
    assert_eq!(context.rows("tidy").await.winners.len(), 20, "rows always stay");
    context.leave().await;
}

/// Wrong: the class goes first, as with `kubectl delete -f` of a folder, and nobody has the sale under control any more.
#[tokio::test]
async fn a_class_in_use_stays_until_its_last_campaign_is_gone() {
    let context = TestContext::new("inuse").await;
    let class = format!("used-{}", context.namespace);
    let mut own = install::class("unused", &context.connections, false).unwrap();
    own["metadata"]["name"] = json!(class);
    apply(&own).await.unwrap();
    let mut wanted = manifest(&context.namespace, "sale", 20, -1, 900);
    wanted["spec"]["className"] = json!(class);
    let mut sale = Sale::apply(&context.client, wanted).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    assert!(issuer.insist("anna", None, SOON).await.issued());

    kubectl(&["delete", "campaignclass", &class, "--wait=false"]).await.unwrap();
    let path = "jsonpath={.status.conditions[?(@.type==\"InUse\")].message}";
    let said = until("the class says who uses it", SOON, async || {
        let said = kubectl(&["get", "campaignclass", &class, "-o", path]).await.map_err(|e| e.to_string())?;
        if said.is_empty() { Err(said) } else { Ok(said) }
    });
    let said = said.await.unwrap();
    assert!(said.contains(&format!("1 campaign uses this class ({}/sale)", context.namespace)), "{said}");
    let mut late = manifest(&context.namespace, "late", 20, -1, 900);
    late["spec"]["className"] = json!(class);
    let late = Sale::apply(&context.client, late).await.unwrap();
    late.until_condition("ClassResolved", "False", "ClassBeingDeleted").await.unwrap();
    late.delete("background").await.unwrap();

    // Under control all the same.
    sale.change(|m| m["spec"]["suspend"] = json!(true)).await.unwrap();
    sale.until_phase(operator::api::Phase::Suspended, SOON).await.unwrap();
    sale.delete("background").await.unwrap();
    kubectl(&["wait", "--for=delete", &format!("campaignclass/{class}"), "--timeout=30s"]).await.unwrap();
    context.leave().await;
}
