//! Pods should change in the middle of a sale; and what others put into them stays.

use std::collections::BTreeSet;

use e2e::campaign::{Sale, manifest};
use e2e::install::{self, apply, kubectl};
use e2e::wait::until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::test_context::{SOON, TestContext};

/// The UIDs of the campaign's pods that are not on their way out.
async fn pods(context: &TestContext, campaign: &str) -> Result<BTreeSet<String>, String> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &context.namespace);
    let these = ListParams::default().labels(&format!("coupon-operator.io/campaign={campaign}"));
    let found = api.list(&these).await.map_err(|error| error.to_string())?;
    Ok(found.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).filter_map(Pod::uid).collect())
}

/// A class changes while coupons can be had: pods that work stay, what is beside them is the newest, and one word replaces them.
#[tokio::test]
async fn pods_that_work_stay_until_the_window_is_over_or_somebody_says_now() {
    let context = TestContext::new("rollout").await;
    let mut class = install::class(&context.namespace, &context.connections, false).unwrap();
    apply(&class).await.unwrap();
    let mut manifest = manifest(&context.namespace, "rolls", 100, -1, 900);
    manifest["spec"]["className"] = json!(context.namespace);
    let sale = Sale::apply(&context.client, manifest).await.unwrap();
    sale.issuer().await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    let before = pods(&context, "rolls").await.unwrap();
    assert_eq!(before.len(), 2, "an issuer and a consumer");

    class["spec"]["pods"]["labels"] = json!({"version": "2"});
    apply(&class).await.unwrap();
    let said = sale.until_condition("PodsUpToDate", "False", "RolloutWaits").await.unwrap();
    assert!(said.contains("issuer pods should change") && said.contains("consumer pods should change"), "{said}");
    assert!(said.contains("coupon-operator.io/rollout=now"), "{said}");
    let found = sale.get().await.unwrap();
    assert!(Sale::is_ready(&found), "what waits as it should is nothing to be mended: {:?}", found.status);
    assert_eq!(pods(&context, "rolls").await.unwrap(), before);

    // One that dies comes up as it was, and works; the rollout waits on.
    kubectl(&[
        "delete",
        "pods",
        "-l",
        "app.kubernetes.io/component=consumer",
        "-n",
        &context.namespace,
        "--wait=false",
    ])
    .await
    .unwrap();
    let another = until("another consumer, of the template of before", SOON, async || {
        let now = pods(&context, "rolls").await?;
        if now.len() == 2 && now.intersection(&before).count() == 1 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    another.await.unwrap();
    sale.until("Ready again", SOON, Sale::is_ready).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), &context.namespace);
    let labels = |found: &Deployment| {
        let template = &found.spec.as_ref().unwrap().template;
        template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default()
    };
    for name in ["rolls-issuer", "rolls-consumer"] {
        assert!(!labels(&deployments.get(name).await.unwrap()).contains_key("version"), "{name}");
    }

    kubectl(&["annotate", "couponcampaign/rolls", "-n", &context.namespace, "coupon-operator.io/rollout=now"])
        .await
        .unwrap();
    let replaced = until("all pods replaced", SOON * 2, async || {
        let now = pods(&context, "rolls").await?;
        if now.len() == 2 && now.is_disjoint(&before) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    replaced.await.unwrap();
    sale.until_condition("PodsUpToDate", "True", "UpToDate").await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    for name in ["rolls-issuer", "rolls-consumer"] {
        assert_eq!(labels(&deployments.get(name).await.unwrap()).get("version").map(String::as_str), Some("2"));
    }

    // It was said of that rollout.
    let said = sale.until_condition("PodsUpToDate", "True", "UpToDate").await.unwrap();
    assert!(said.contains("has done its work"), "{said}");
    let before = pods(&context, "rolls").await.unwrap();
    class["spec"]["pods"]["labels"] = json!({"version": "3"});
    apply(&class).await.unwrap();
    let said = sale.until_condition("PodsUpToDate", "False", "RolloutWaits").await.unwrap();
    assert!(said.contains("coupon-operator.io/rollout=now-2"), "{said}");
    assert_eq!(pods(&context, "rolls").await.unwrap(), before);
    let again = "coupon-operator.io/rollout=now-2";
    kubectl(&["annotate", "couponcampaign/rolls", "-n", &context.namespace, "--overwrite", again]).await.unwrap();
    sale.until_condition("PodsUpToDate", "True", "UpToDate").await.unwrap();
    assert!(pods(&context, "rolls").await.unwrap().is_disjoint(&before));
    kubectl(&["delete", "couponcampaign/rolls", "-n", &context.namespace]).await.unwrap();
    kubectl(&["delete", "campaignclass", &context.namespace]).await.unwrap();
    context.leave().await;
}

/// `kubectl set env` stays, and is told once; what it changes of ours is put back (`drift.rs`).
#[tokio::test]
async fn what_others_add_to_pods_stays_and_is_told() {
    let context = TestContext::new("added").await;
    let namespace = context.namespace.as_str();
    let sale = Sale::apply(&context.client, manifest(namespace, "added", 100, -1, 900)).await.unwrap();
    sale.issuer().await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    kubectl(&["set", "env", "deployment/added-consumer", "-n", namespace, "FOO=bar"]).await.unwrap();
    let told = until("an event that names it", SOON, async || {
        let these = ["get", "events.events.k8s.io", "-n", namespace, "--field-selector", "reason=ConsumersExtended"];
        let found = kubectl(&[&these[..], &["-o", "json"]].concat()).await.map_err(|error| error.to_string())?;
        if found.contains("variable FOO") { Ok(()) } else { Err(found) }
    });
    told.await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), namespace);
    let found = deployments.get("added-consumer").await.unwrap();
    assert!(serde_json::to_string(&found.spec).unwrap().contains(r#"{"name":"FOO","value":"bar"}"#));
    context.leave().await;
}
