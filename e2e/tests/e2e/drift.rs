//! Somebody changes what the operator made: it is put back; and what the spec changes is followed.

use std::collections::BTreeMap;

use coupon_kafka_admin::{KafkaAdmin, TopicState};
use e2e::campaign::{Sale, manifest};
use e2e::install::kubectl;
use e2e::issuer_client::count_code;
use e2e::wait::until;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::json;

use crate::test_context::{SOON, TestContext};

#[tokio::test]
async fn what_somebody_changed_is_put_back() {
    let context = TestContext::new("drift").await;
    let namespace = context.namespace.as_str();
    let sale = Sale::apply(&context.client, manifest(namespace, "drifting", 100, -1, 900)).await.unwrap();
    sale.issuer().await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), namespace);

    // Replicas belong to the scaler's field manager alone, the rest to the main one.
    let issuer = deployments.get("drifting-issuer").await.unwrap();
    let owners: Vec<String> = issuer
        .metadata
        .managed_fields
        .unwrap_or_default()
        .into_iter()
        .filter(|entry| serde_json::to_string(&entry.fields_v1).unwrap().contains("f:replicas"))
        .filter(|entry| entry.subresource.is_none())
        .filter_map(|entry| entry.manager)
        .collect();
    assert_eq!(owners, ["coupon-operator-scale"]);

    kubectl(&["scale", "deployment/drifting-issuer", "-n", namespace, "--replicas=0"]).await.unwrap();
    kubectl(&["set", "env", "deployment/drifting-consumer", "-n", namespace, "COUPON_LOG_JSON=false"]).await.unwrap();
    kubectl(&["delete", "service/drifting-issuer", "poddisruptionbudget/drifting-issuer", "-n", namespace])
        .await
        .unwrap();
    let restored = until("replicas and environment as before", SOON, async || {
        let issuer = deployments.get("drifting-issuer").await.map_err(|e| e.to_string())?;
        let consumer = deployments.get("drifting-consumer").await.map_err(|e| e.to_string())?;
        let replicas = issuer.spec.as_ref().and_then(|spec| spec.replicas);
        let env = serde_json::to_string(&consumer.spec).unwrap();
        let good = replicas == Some(1) && env.contains(r#"{"name":"COUPON_LOG_JSON","value":"true"}"#);
        if good { Ok(()) } else { Err(format!("replicas {replicas:?}")) }
    });
    restored.await.unwrap();
    kubectl(&["delete", "deployment/drifting-issuer", "-n", namespace]).await.unwrap();
    let back = until("the Deployment again", SOON, async || {
        deployments.get("drifting-issuer").await.map(drop).map_err(|e| e.to_string())
    });
    back.await.unwrap();
    let service = until("the Service again, which is looked at every 30 s", SOON, async || {
        kubectl(&["get", "service/drifting-issuer", "poddisruptionbudget/drifting-issuer", "-n", namespace])
            .await
            .map_err(|e| e.to_string())
    });
    service.await.unwrap();
    context.leave().await;
}

#[tokio::test]
async fn topics_keep_their_settings_and_grow() {
    let context = TestContext::new("topics").await;
    let mut sale = Sale::apply(&context.client, manifest(&context.namespace, "growing", 100, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let found = sale.until("a topic in status", SOON, |c| c.status.as_ref().is_some_and(|s| s.topic.is_some())).await;
    let topic = found.unwrap().status.unwrap().topic.unwrap();
    let mut config = rdkafka_config(&context);
    let kafka = KafkaAdmin::new(config.set("client.id", "e2e")).unwrap();

    let foreign = BTreeMap::from([
        ("retention.ms".to_owned(), "1000".to_owned()),
        ("segment.ms".to_owned(), "3600000".to_owned()),
    ]);
    kafka.set_config_incremental(&topic.name, &foreign, &[] as &[&str]).await.unwrap();
    let put_back = until("retention as before", SOON, async || {
        let config = kafka.topic_config(&topic.name).await.map_err(|e| e.to_string())?;
        let value = |key: &str| config.get(key).and_then(|entry| entry.value.clone()).unwrap_or_default();
        // What the operator does not set it does not touch.
        match (value("retention.ms"), value("segment.ms")) {
            (retention, segment) if retention == "604800000" && segment == "3600000" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    put_back.await.unwrap();

    sale.change(|m| m["spec"]["partitions"] = json!(6)).await.unwrap();
    let grown = until("six partitions of both topics", SOON, async || {
        let names = [&topic.name, &topic.dead_letter_topic];
        let found = kafka.describe_topics(&names).await.map_err(|e| e.to_string())?;
        let counts: Vec<usize> = found
            .values()
            .map(|each| match each {
                Ok(TopicState::Present(topic)) => topic.partitions.len(),
                _ => 0,
            })
            .collect();
        if counts == [6, 6] { Ok(()) } else { Err(format!("{counts:?}")) }
    });
    grown.await.unwrap();
    let answers = issuer.rush(&e2e::issuer_client::users("user", 120)).await;
    assert_eq!((count_code(&answers, "ISSUED"), count_code(&answers, "SOLD_OUT")), (100, 20), "{answers:?}");
    context.stored_as_told("growing", &answers).await;
    context.leave().await;
}

pub(crate) fn rdkafka_config(context: &TestContext) -> rdkafka::ClientConfig {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", context.connections.kafka.as_deref().unwrap());
    config
}
