//! The Job that replays dead letters: the API server takes it, also where pods must be restricted, and it finds in its
//! Secret what a consumer finds there. Needs KUBECONFIG.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/kubernetes.rs"]
mod kubernetes;

use campaign::identity::CampaignId;
use campaign::settings::Connections;
use common::{Kind, repository};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PodSpec};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kubernetes::Kubernetes;
use operator::api::{Acknowledge, CampaignClass, CouponCampaign, KeyBy};
use operator::children::{self, ControlTokens, Family};
use serde_json::json;

fn example() -> Job {
    let text = std::fs::read_to_string(repository().join("examples/replay-job.yaml")).unwrap();
    campaign::yaml::from_str(&text).unwrap()
}

/// The pods of the campaign that the example is for.
fn consumer() -> PodSpec {
    let campaign: CouponCampaign =
        serde_json::from_value(Kind::Campaign.patched(&json!({"metadata": {"namespace": "shop"}}))).unwrap();
    let class: CampaignClass = serde_json::from_value(Kind::Class.minimal()).unwrap();
    let connections: Connections = serde_json::from_value(json!({
        "kafka": {"bootstrapServers": ["kafka:9092"]},
        "redis": {"server": {"address": "redis:6379"}},
        "database": {"host": "mysql", "port": 3306, "name": "coupons"},
    }))
    .unwrap();
    let family = Family {
        campaign: &campaign,
        id: &CampaignId::with_default_names("prod", "shop", &campaign.coupon_id()).unwrap(),
        cluster: "here",
        class: &class,
        connections: &connections,
        tokens: &ControlTokens::default(),
        key_by: KeyBy::User,
        acknowledge: Acknowledge::Durable,
        image: "example.com/coupon:0",
        image_pull_policy: None,
    };
    children::consumer_deployment(&family, None).spec.unwrap().template.spec.unwrap()
}

/// Wrong: the Job waits for a Secret that nobody makes, or may do more than the pods beside it.
#[test]
fn the_job_has_what_a_consumer_has() {
    let (job, consumer) = (example().spec.unwrap().template.spec.unwrap(), consumer());
    assert_eq!(job.security_context, consumer.security_context);
    assert_eq!(job.automount_service_account_token, Some(false));
    assert_eq!(job.volumes.as_ref().unwrap()[0], consumer.volumes.as_ref().unwrap()[0]);
    let (replay, consumer) = (&job.containers[0], &consumer.containers[0]);
    assert_eq!(replay.security_context, consumer.security_context);
    assert_eq!(replay.volume_mounts.as_ref().unwrap()[0], consumer.volume_mounts.as_ref().unwrap()[0]);
    assert_eq!(replay.command.as_ref().unwrap()[0], consumer.command.as_ref().unwrap()[0]);
    let campaign = |env: &Option<Vec<k8s_openapi::api::core::v1::EnvVar>>| {
        let found = env.as_ref().unwrap().iter().find(|each| each.name == "COUPON_CAMPAIGN").cloned();
        found.unwrap().value.unwrap()
    };
    assert_eq!(campaign(&replay.env), campaign(&consumer.env));
}

/// Wrong: a field is misspelt, or a namespace with restricted pod security refuses the pod.
#[tokio::test]
async fn the_server_takes_the_job_where_pods_are_restricted() {
    let kubernetes = Kubernetes::connect().await;
    let restricted = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces: Api<Namespace> = Api::all(kubernetes.client.clone());
    namespaces.patch(&kubernetes.namespace, &PatchParams::default(), &Patch::Merge(&restricted)).await.unwrap();
    let mut job = example();
    job.metadata.namespace = Some(kubernetes.namespace.clone());
    job.metadata.name = Some("replay".to_owned());
    job.metadata.generate_name = None;
    let dry_run = PatchParams { dry_run: true, ..PatchParams::apply("tests").validation_strict() };
    let jobs: Api<Job> = Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
    jobs.patch("replay", &dry_run, &Patch::Apply(&job)).await.unwrap();
    // A Job is taken whatever its pods are like: ask about the pod itself.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "replay"},
        "spec": job.spec.unwrap().template.spec.unwrap(),
    });
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&dry_run, &serde_json::from_value(pod).unwrap()).await.unwrap();
    kubernetes.remove().await;
}
