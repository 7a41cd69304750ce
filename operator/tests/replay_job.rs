//! The Jobs that replay dead letters, forget people and list winners: the API server takes them, also where pods must be restricted, and they find in
//! their Secret what a consumer finds there. Needs KUBECONFIG.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::kubernetes::Kubernetes;
use common::{Kind, repository};
use coupon_core::connections::Connections;
use coupon_core::identity::CampaignId;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PodSpec};
use kube::api::{Api, Patch, PatchParams, PostParams};
use operator::api::{Acknowledge, CampaignClass, CouponCampaign, KeyBy};
use operator::class::IssuerFiles;
use operator::workloads::{self, ChildContext, ControlTokens};
use serde_json::json;

/// Each by its name.
fn examples() -> Vec<(&'static str, Job)> {
    let read = |name| {
        let text = std::fs::read_to_string(repository().join(format!("examples/{name}-job.yaml"))).unwrap();
        (name, coupon_core::yaml::from_str(&text).unwrap())
    };
    ["replay", "forget", "winners"].map(read).to_vec()
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
    let family = ChildContext {
        campaign: &campaign,
        id: &CampaignId::with_default_names("prod", "shop", &campaign.coupon_id()).unwrap(),
        cluster: "here",
        class: &class,
        connections: &connections,
        issuer_files: &IssuerFiles::new(),
        tokens: &ControlTokens::default(),
        key_by: KeyBy::User,
        acknowledge: Acknowledge::Durable,
        image: "example.com/coupon:0",
        image_pull_policy: None,
    };
    workloads::consumer_deployment(&family, None).spec.unwrap().template.spec.unwrap()
}

/// Wrong: a Job waits for a Secret that nobody makes, may do more than the pods beside it, or says what its program does not know.
#[test]
fn the_jobs_have_what_a_consumer_has() {
    let pod = consumer();
    for (name, job) in examples() {
        let job = job.spec.unwrap().template.spec.unwrap();
        assert_eq!(job.security_context, pod.security_context, "{name}");
        assert_eq!(job.automount_service_account_token, Some(false), "{name}");
        assert_eq!(job.volumes.as_ref().unwrap()[0], pod.volumes.as_ref().unwrap()[0], "{name}");
        let (own, consumer) = (&job.containers[0], &pod.containers[0]);
        assert_eq!(own.security_context, consumer.security_context, "{name}");
        assert_eq!(own.volume_mounts.as_ref().unwrap()[0], consumer.volume_mounts.as_ref().unwrap()[0], "{name}");
        assert_eq!(own.command.as_ref().unwrap()[0], consumer.command.as_ref().unwrap()[0], "{name}");
        let campaign = |env: &Option<Vec<k8s_openapi::api::core::v1::EnvVar>>| {
            let found = env.as_ref().unwrap().iter().find(|each| each.name == "COUPON_CAMPAIGN").cloned();
            found.unwrap().value.unwrap()
        };
        assert_eq!(campaign(&own.env), campaign(&consumer.env), "{name}");
        let place = ["--campaign".to_owned(), campaign(&own.env)];
        let words = own.command.iter().chain(&own.args).flatten().chain(&place);
        let read = consumer::config::Cli::read(words.map(std::ffi::OsString::from)).unwrap();
        assert!(read.command.is_some(), "{name}");
    }
}

/// Wrong: a field is misspelt, or a namespace with restricted pod security refuses the pod.
#[tokio::test]
async fn the_server_takes_the_jobs_where_pods_are_restricted() {
    let kubernetes = Kubernetes::connect().await;
    let restricted = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces: Api<Namespace> = Api::all(kubernetes.client.clone());
    namespaces.patch(&kubernetes.namespace, &PatchParams::default(), &Patch::Merge(&restricted)).await.unwrap();
    for (name, mut job) in examples() {
        job.metadata.namespace = Some(kubernetes.namespace.clone());
        job.metadata.name = Some(name.to_owned());
        job.metadata.generate_name = None;
        let dry_run = PatchParams { dry_run: true, ..PatchParams::apply("tests").validation_strict() };
        let jobs: Api<Job> = Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
        jobs.patch(name, &dry_run, &Patch::Apply(&job)).await.unwrap();
        // A Job is taken whatever its pods are like: ask about the pod itself.
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": job.spec.unwrap().template.spec.unwrap(),
        });
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        pods.create(&dry_run, &serde_json::from_value(pod).unwrap()).await.unwrap();
    }
    kubernetes.remove().await;
}
