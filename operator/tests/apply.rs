//! Workload objects at a real API server: what it fills in, leaves out or writes differently must not look like a difference, or
//! every pass would write. Needs KUBECONFIG.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fmt::Debug;

use common::Kind;
use common::kubernetes::Kubernetes;
use coupon_core::connections::Connections;
use coupon_core::identity::CampaignId;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use operator::api::{Acknowledge, CampaignClass, CouponCampaign, KeyBy};
use operator::class::IssuerFiles;
use operator::error::ReconcileError;
use operator::workloads::apply::{self, Applied};
use operator::workloads::{self, ChildContext, ControlTokens, OperatorPods};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// A class that asks for much, and writes quantities as people do. No node has the label, so that no pod starts.
fn class() -> CampaignClass {
    let pods = json!({
        "consumer": {"resources": {"requests": {"cpu": "0.5", "memory": "0.5Gi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}}},
        "issuer": {"resources": {"limits": {"memory": "1e8"}}},
        "nodeSelector": {"example.com/none": "such"},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": ""}],
        "labels": {"team": "shop"},
        "annotations": {"note": ""},
    });
    let gateways = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}});
    let access = json!({"usersFrom": [gateways, {"ipBlock": {"cidr": "10.0.0.0/8"}}], "metricsFrom": [gateways]});
    let images = json!({"image": "example.com/coupon:1", "pullPolicy": "IfNotPresent", "pullSecrets": ["registry"]});
    serde_json::from_value(
        Kind::Class.patched(&json!({"spec": {"pods": pods, "images": images, "networkPolicy": access}})),
    )
    .unwrap()
}

/// Runs `build` with everything that the builders need.
fn family<T>(namespace: &str, class: &CampaignClass, build: impl FnOnce(&ChildContext<'_>) -> T) -> T {
    let campaign: CouponCampaign =
        serde_json::from_value(Kind::Campaign.patched(&json!({"metadata": {"namespace": namespace}}))).unwrap();
    let connections: Connections = serde_json::from_value(json!({
        "kafka": {"bootstrapServers": ["kafka:9092"], "protocol": "Plaintext"},
        "redis": {"server": {"address": "redis:6379"}},
        "database": {"host": "mysql", "port": 3306, "name": "coupons"},
    }))
    .unwrap();
    build(&ChildContext {
        campaign: &campaign,
        id: &CampaignId::with_default_names("prod", namespace, &campaign.coupon_id()).unwrap(),
        cluster: "here",
        class,
        connections: &connections,
        issuer_files: &IssuerFiles::new(),
        tokens: &ControlTokens::first(),
        key_by: KeyBy::User,
        acknowledge: Acknowledge::Durable,
        image: "example.com/coupon:0",
        image_pull_policy: None,
    })
}

/// Applies, reads back, and makes sure again: nothing may be left to do, nor after somebody else's change is put back.
async fn settles<K>(kubernetes: &Kubernetes, desired: &K)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
{
    let api: Api<K> = Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
    assert_eq!(apply::ensure(&api, desired, None).await.unwrap(), Applied::Written);
    let found = api.get(&desired.name_any()).await.unwrap();
    assert_eq!(apply::ensure(&api, desired, Some(&found)).await.unwrap(), Applied::Unchanged, "{found:#?}");

    let theirs = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}});
    let changed = api.patch(&desired.name_any(), &PatchParams::default(), &Patch::Merge(&theirs)).await.unwrap();
    assert_eq!(apply::ensure(&api, desired, Some(&changed)).await.unwrap(), Applied::Written, "their change is seen");
    let back = api.get(&desired.name_any()).await.unwrap();
    assert_eq!(back.labels()["app.kubernetes.io/managed-by"], "coupon-operator");
}

#[tokio::test]
async fn what_the_server_makes_of_a_child_is_no_difference() {
    let kubernetes = Kubernetes::connect().await;
    let (issuer, consumer, service, budget, secret): (Deployment, Deployment, Service, PodDisruptionBudget, Secret) =
        family(&kubernetes.namespace, &class(), |family| {
            (
                workloads::issuer_deployment(family, None),
                workloads::consumer_deployment(family, None),
                workloads::issuer_service(family),
                workloads::issuer_budget(family),
                workloads::connections_secret(family).unwrap(),
            )
        });
    settles(&kubernetes, &issuer).await;
    settles(&kubernetes, &consumer).await;
    settles(&kubernetes, &service).await;
    settles(&kubernetes, &budget).await;
    settles(&kubernetes, &secret).await;
    let pods = OperatorPods {
        namespace: "coupon-system".to_owned(),
        labels: [("app".to_owned(), "operator".to_owned())].into(),
    };
    let policy: NetworkPolicy =
        family(&kubernetes.namespace, &class(), |family| workloads::network_policy(family, &pods)).unwrap();
    settles(&kubernetes, &policy).await;
    kubernetes.remove().await;
}

/// Somebody may make an object, or replace ours, between our look and our write.
#[tokio::test]
async fn an_object_that_was_not_looked_at_is_not_written() {
    let kubernetes = Kubernetes::connect().await;
    let api: Api<Service> = Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
    let desired = family(&kubernetes.namespace, &class(), workloads::issuer_service);
    let foreign: Service = serde_json::from_value(json!({
        "metadata": {"name": desired.name_any()}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 9999}]},
    }))
    .unwrap();
    let made = api.create(&PostParams::default(), &foreign).await.unwrap();

    let overtaken = |refused: kube::Error| ReconcileError::from(refused).is_overtaken();
    assert!(overtaken(apply::ensure(&api, &desired, None).await.unwrap_err()), "made meanwhile");
    let mut replaced = made.clone();
    replaced.metadata.uid = Some("00000000-0000-0000-0000-000000000000".to_owned());
    assert!(overtaken(apply::ensure(&api, &desired, Some(&replaced)).await.unwrap_err()), "replaced meanwhile");
    let left = api.get(&desired.name_any()).await.unwrap();
    assert_eq!((&left.spec, &left.metadata.owner_references), (&made.spec, &None), "untouched");
    kubernetes.remove().await;
}

#[tokio::test]
async fn what_a_class_no_longer_asks_for_is_taken_away_and_replicas_stay() {
    let kubernetes = Kubernetes::connect().await;
    let api: Api<Deployment> = Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
    let build = |class: &CampaignClass, replicas| {
        family(&kubernetes.namespace, class, |family| workloads::consumer_deployment(family, replicas))
    };
    // As the operator does it: the first apply carries replicas, the scaler owns them as well, the first manager lets go.
    let before = build(&class(), None);
    let name = before.name_any();
    let made = apply::write(&api, &build(&class(), Some(2)), None).await.unwrap();
    apply::scale(&api, &made, 2).await.unwrap();
    apply::write(&api, &before, Some(&made)).await.unwrap();
    let found = api.get(&name).await.unwrap();
    assert_eq!(found.spec.as_ref().unwrap().replicas, Some(2), "letting go must not scale to the default of one");

    let mut less = class();
    less.spec.pods.tolerations.clear();
    less.spec.pods.labels.clear();
    let after = build(&less, None);
    assert_eq!(apply::ensure(&api, &after, Some(&found)).await.unwrap(), Applied::Written);
    let found = api.get(&name).await.unwrap();
    let spec = found.spec.as_ref().unwrap();
    assert_eq!(spec.template.spec.as_ref().unwrap().tolerations, None);
    assert!(!spec.template.metadata.as_ref().unwrap().labels.as_ref().unwrap().contains_key("team"));
    assert_eq!(spec.replicas, Some(2));
    assert_eq!(apply::ensure(&api, &after, Some(&found)).await.unwrap(), Applied::Unchanged);
    kubernetes.remove().await;
}
