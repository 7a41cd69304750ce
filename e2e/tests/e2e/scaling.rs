//! Pods are there before the crowd, follow the spec, and are left alone where somebody else has them.

use std::time::{Duration, Instant};

use coupon_core::identity::CampaignId;
use coupon_kafka_admin::KafkaAdmin;
use e2e::campaign::{Sale, manifest};
use e2e::install::{REALM, SYSTEM_NAMESPACE, WARM_UP_SECONDS, apply, kubectl, run};
use e2e::scaling::watch::Stream;
use e2e::wait::until;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use operator::api::{CouponCampaign, Phase, WorkloadStatus};
use operator::reconcile::PAUSE_ANNOTATION;
use serde_json::{Value, json};

use crate::drift::rdkafka_config;
use crate::test_context::{SOON, TestContext};

/// How long nothing may happen where nothing should: several passes.
const QUIET: Duration = Duration::from_secs(7);

fn is_ready(pods: Option<&WorkloadStatus>) -> bool {
    pods.is_some_and(|pods| pods.wanted > 0 && pods.ready >= pods.wanted)
}

/// Seconds from now until the window of a campaign.
fn until_start(found: &CouponCampaign) -> i64 {
    found.spec.window.start.0.as_second() - Timestamp::now().as_second()
}

/// Alone: how long pods take to start is what it is about.
#[tokio::test]
async fn pods_are_ready_before_the_window_and_not_long_before() {
    let context = TestContext::alone("early").await;
    let mut early = manifest(&context.namespace, "early", 1_000, 70, 900);
    early["spec"]["issuer"] = json!({"minReplicas": 1, "maxReplicas": 2});
    // One issuer is taken to answer 1,500 a second until more is known.
    early["spec"]["expectedPeakRps"] = json!(2_000);
    let sale = Sale::apply(&context.client, early).await.unwrap();
    let dormant = sale.until_phase(Phase::Scheduled, SOON).await.unwrap();
    assert!(until_start(&dormant) > i64::from(WARM_UP_SECONDS), "the machine is too slow for this: {dormant:?}");
    let seen = sale.until("first pods", SOON * 2, |found| {
        let status = found.status.as_ref();
        status.and_then(|s| s.issuer.as_ref()).is_some_and(|pods| pods.wanted > 0)
    });
    let left = until_start(&seen.await.unwrap());
    assert!((5..60).contains(&left), "pods were started {left} s before the window");
    let ready = sale.until("all pods ready", SOON, |found| {
        let status = found.status.as_ref();
        is_ready(status.and_then(|s| s.issuer.as_ref())) && is_ready(status.and_then(|s| s.consumer.as_ref()))
    });
    let found = ready.await.unwrap();
    assert!(until_start(&found) >= 5, "ready {} s before the window", until_start(&found));
    let issuer = found.status.unwrap().issuer.unwrap();
    assert_eq!((issuer.wanted, issuer.reason.as_str()), (2, "the window opens soon"));
    context.leave().await;
}

/// From 3 to 12 while people ask: topic and dead letters grow, new partitions are written and read, nothing is lost.
#[tokio::test]
async fn partitions_grow_in_the_middle_of_a_sale() {
    let context = TestContext::new("grown").await;
    let mut sale = Sale::apply(&context.client, manifest(&context.namespace, "grown", 4_000, -90, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let kafka = KafkaAdmin::new(rdkafka_config(&context).set("client.id", "e2e")).unwrap();
    let campaign = CampaignId::with_default_names(REALM, &context.namespace, "grown").unwrap();
    let (topic, group) = (campaign.topic(), campaign.group());
    let stream = Stream::default();
    let growing = async {
        until("a tenth is issued", SOON, async || {
            if stream.issued() > 400 { Ok(()) } else { Err("few") }.map_err(str::to_owned)
        })
        .await
        .unwrap();
        let at_work = |c: &CouponCampaign| c.status.as_ref()?.consumer.as_ref()?.figures.as_ref()?.at_work;
        sale.until("a consumer at work", SOON, |c| at_work(c) == Some(1)).await.unwrap();
        sale.change(|m| m["spec"]["partitions"] = json!(12)).await.unwrap();
        let patched = Instant::now();
        let new: Vec<(&str, i32)> = (3..12).map(|id| (topic.as_str(), id)).collect();
        let written = until("records in new partitions", SOON, async || {
            let ends = kafka.end_offsets(&new).await.map_err(|e| e.to_string())?;
            let used = ends.values().filter(|end| end.as_ref().is_ok_and(|end| *end > 0)).count();
            if used == new.len() { Ok(()) } else { Err(format!("{used} of {} are used", new.len())) }
        });
        written.await.unwrap();
        let after = patched.elapsed();
        let read = until("new partitions are read", SOON, async || {
            let committed = kafka.committed_offsets(&group, &topic, 12).await.map_err(|e| e.to_string())?;
            let read = committed.values().filter(|offset| offset.is_some()).count();
            if read == 12 { Ok(()) } else { Err(format!("{read} of 12 are read")) }
        });
        read.await.unwrap();
        let (written_s, read_s) = (after.as_secs_f64(), patched.elapsed().as_secs_f64());
        println!("new partitions: written {written_s:.1} s after the patch, read {read_s:.1} s after it");
        // Ten seconds, and what the operator needs to see the change and grow the topic; a starved machine takes three times as long.
        assert!(after < Duration::from_secs(45), "{after:?}");
    };
    tokio::join!(stream.run(&issuer, 4_200, 120), growing);
    assert_eq!(stream.issued(), 4_000);
    let stored = until("every winner is a row, once", SOON, async || {
        let rows = context.rows("grown").await;
        if rows.winners.len() == 4_000 && rows.duplicates() == 0 {
            Ok(())
        } else {
            Err(format!("{} rows", rows.winners.len()))
        }
    });
    stored.await.unwrap();
    let found = sale.get().await.unwrap();
    assert_eq!((found.spec.max_consumers(), found.status.unwrap().topic.unwrap().partitions), (12, 12));
    let refused = sale.change(|m| m["spec"]["partitions"] = json!(3)).await.unwrap_err().to_string();
    assert!(refused.contains("partitions cannot shrink"), "{refused}");
    context.leave().await;
}

#[tokio::test]
async fn a_deployment_that_somebody_else_scales_is_left_alone() {
    let context = TestContext::new("others").await;
    let namespace = context.namespace.clone();
    let sale = Sale::apply(&context.client, manifest(&namespace, "others", 100, -90, 900)).await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), &namespace);
    let consumers = async || {
        let found = deployments.get("others-consumer").await.unwrap();
        (found.spec.unwrap().replicas.unwrap(), found.metadata.generation.unwrap())
    };
    let stays = async |what: &str| {
        let (begin, before) = (Instant::now(), consumers().await);
        let changed = until("a change", QUIET, async || {
            let now = consumers().await;
            if now == before { Err("none".to_owned()) } else { Ok(now) }
        });
        if let Ok(now) = changed.await {
            panic!("{what}: {before:?} became {now:?} after {:?}", begin.elapsed());
        }
        before.0
    };

    // A GitOps tool that applies everything but replicas does not fight.
    let text = kubectl(&["get", "deployment/others-consumer", "-n", &namespace, "-o", "json"]).await.unwrap();
    let mut theirs: Value = serde_json::from_str(&text).unwrap();
    theirs["spec"].as_object_mut().unwrap().remove("replicas");
    theirs.as_object_mut().unwrap().remove("status");
    let metadata = json!({"name": "others-consumer", "namespace": namespace, "labels": theirs["metadata"]["labels"]});
    theirs["metadata"] = metadata;
    let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-"];
    run("kubectl", &arguments, Some(&theirs.to_string())).await.unwrap();
    assert_eq!(stays("with a second manager").await, 1);

    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa-others", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "others-consumer"},
            "minReplicas": 1, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}}}],
        },
    });
    apply(&autoscaler).await.unwrap();
    let said = sale.until_condition("ScalingActive", "False", "AnotherAutoscaler").await.unwrap();
    assert!(said.contains("keda-hpa-others"), "{said}");
    kubectl(&["scale", "deployment/others-consumer", "-n", &namespace, "--replicas=2"]).await.unwrap();
    assert_eq!(stays("with an HPA").await, 2);
    kubectl(&["delete", "hpa/keda-hpa-others", "-n", &namespace]).await.unwrap();

    // Somebody on call holds the number up.
    let pause = format!("{PAUSE_ANNOTATION}=in");
    kubectl(&["annotate", "couponcampaign/others", "-n", &namespace, &pause]).await.unwrap();
    sale.until_condition("ScalingActive", "False", "Paused").await.unwrap();
    let resume = format!("{PAUSE_ANNOTATION}-");
    kubectl(&["annotate", "couponcampaign/others", "-n", &namespace, &resume]).await.unwrap();
    sale.until_condition("ScalingActive", "True", "FollowsWork").await.unwrap();
    context.leave().await;
}

/// How often the operator is started anew; a long proof asks for ten.
fn restarts() -> usize {
    std::env::var("COUPON_RESTARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Deployments of a large cluster, which fill the first list of the operator.
fn crowd_of_deployments(namespace: &str, count: usize) -> Value {
    let one = |number: usize| {
        let name = format!("other-{number:03}");
        let labels = json!({"app.kubernetes.io/managed-by": "coupon-operator", "other": name});
        let container = json!({"name": "none", "image": "example.com/none:1"});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"other": name}},
                "template": {"metadata": {"labels": {"other": name}}, "spec": {"containers": [container]}}},
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": (0..count).map(one).collect::<Vec<_>>()})
}

/// Wrong: a start of the operator beside many Deployments takes those that run for missing, and scales what an autoscaler has.
#[tokio::test]
async fn a_start_beside_hundreds_of_deployments_scales_nothing() {
    let context = TestContext::alone("large").await;
    let namespace = context.namespace.as_str();
    let sale = Sale::apply(&context.client, manifest(namespace, "owned", 100, -1, 900)).await.unwrap();
    sale.issuer().await.unwrap();
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "owned", "namespace": namespace},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "owned-issuer"},
            "minReplicas": 3, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]},
    });
    apply(&autoscaler).await.unwrap();
    apply(&crowd_of_deployments(namespace, 305)).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), namespace);
    let issuers = async || {
        let found = deployments.get("owned-issuer").await.map_err(|error| error.to_string())?;
        let ready = found.status.as_ref().and_then(|status| status.ready_replicas);
        Ok::<_, String>((found.spec.and_then(|spec| spec.replicas), ready, found.metadata.generation))
    };
    let three = until("three issuers, as the autoscaler says", SOON, async || match issuers().await? {
        (Some(3), Some(3), generation) => Ok(generation),
        other => Err(format!("{other:?}")),
    });
    let before = three.await.unwrap();
    for restart in 1..=restarts() {
        kubectl(&["rollout", "restart", "deployment/coupon-operator", "-n", SYSTEM_NAMESPACE]).await.unwrap();
        kubectl(&["rollout", "status", "deployment/coupon-operator", "-n", SYSTEM_NAMESPACE, "--timeout=90s"])
            .await
            .unwrap();
        // Each write of the Deployment's spec is a new generation.
        let until_quiet = Instant::now() + QUIET;
        while Instant::now() < until_quiet {
            let (replicas, ready, generation) = issuers().await.unwrap();
            assert_eq!((replicas, generation), (Some(3), before), "after start {restart}, {ready:?} ready");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let events = kubectl(&["get", "events", "-n", namespace, "-o", "jsonpath={.items[*].reason}"]).await.unwrap();
        assert!(!events.contains("ClassNotFound"), "{events}");
    }
    assert!(sale.issuer().await.unwrap().insist("anna", None, SOON).await.issued());
    context.leave().await;
}
