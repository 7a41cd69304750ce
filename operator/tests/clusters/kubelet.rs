//! Pods, as far as anybody asks for them: issuers that run in this process, on hosts of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use coupon_core::connections::{Connections, Login};
use coupon_core::identity::CampaignId;
use issuer::service::Service;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::api::Api;
use super::cluster::Cluster;
use super::wait::{NAME, NAMESPACE, until};

/// From when a pod is placed until its process begins, as on a node that is not idle.
const SLOW: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// What is needed to run an issuer of a cluster.
#[derive(Clone)]
struct Node {
    uid: &'static str,
    api: Api,
    realm: CampaignId,
    pods: Login,
}

impl Node {
    fn of(cluster: &Cluster) -> Self {
        let (uid, api) = (cluster.uid, cluster.api.clone());
        Self { uid, api, realm: cluster.realm.clone(), pods: cluster.pods.clone() }
    }

    fn host() -> String {
        static HOSTS: AtomicU8 = AtomicU8::new(1);
        format!("127.7.0.{}", HOSTS.fetch_add(1, Ordering::Relaxed))
    }

    fn deployment(&self) -> Option<Value> {
        self.api.get("deployments", NAMESPACE, &format!("{NAME}-issuer"))
    }

    /// The process of a pod, with what it would find beside it.
    async fn process(&self, host: &str) -> Service {
        let secret = format!("{NAME}-connections");
        let found = || {
            self.deployment()?;
            let secret = self.api.get("secrets", NAMESPACE, &secret)?;
            let text = |key: &str| {
                let bytes: ByteString = serde_json::from_value(secret["data"][key].clone()).ok()?;
                String::from_utf8(bytes.0).ok()
            };
            let settings = coupon_core::yaml::from_str::<Connections>(&text("connections.yaml")?);
            Some((text("control-token")?, settings.unwrap()))
        };
        let (token, mut settings) = loop {
            match found() {
                Some(found) => break found,
                None => tokio::time::sleep(LOOK).await,
            }
        };
        let (public, control, probe) = (format!("{host}:0"), format!("{host}:8081"), format!("{host}:0"));
        let campaign = self.realm.to_string();
        let arguments = [
            "coupon-issuer",
            "--campaign",
            &campaign,
            "--cluster",
            self.uid,
            "--listen",
            &public,
            "--control-listen",
            &control,
            "--probe-listen",
            &probe,
        ];
        let config = issuer::config::Cli::parse_from(arguments).config.unwrap();
        settings.redis.login = self.pods.clone();
        Service::start(&config, &settings, token).await.unwrap()
    }

    /// Makes the pod's object, or changes its status.
    fn says_of(&self, name: &str, status: &Value) {
        let labels = json!({"app.kubernetes.io/managed-by": "coupon-operator", "app.kubernetes.io/component": "issuer",
            "coupon-operator.io/campaign": NAME});
        self.api.apply(
            "pods",
            NAMESPACE,
            &json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
                "spec": {"nodeName": "n1", "containers": []}, "status": status,
            }),
        );
    }

    /// Its object, or its Deployment, goes.
    fn should_end(&self, name: &str) -> bool {
        let pod = self.api.get("pods", NAMESPACE, name);
        pod.is_none_or(|pod| !pod["metadata"]["deletionTimestamp"].is_null()) || self.deployment().is_none()
    }
}

impl Cluster {
    /// Starts an issuer as the Deployment's pods would be, with a kubelet that ends it when its object, or its Deployment, goes.
    pub(crate) async fn issuer(&self) -> SocketAddr {
        let (node, host) = (Node::of(self), Node::host());
        let service = node.process(&host).await;
        let address = service.addresses.public;
        let name = format!("{NAME}-issuer-{}", address.port());
        let ready = json!([{"type": "Ready", "status": "True"}]);
        node.says_of(&name, &json!({"phase": "Running", "podIP": host, "conditions": ready}));
        tokio::spawn(async move {
            while !node.should_end(&name) {
                tokio::time::sleep(LOOK).await;
            }
            drop(service);
            node.api.pod_is_gone(NAMESPACE, &name);
        });
        address
    }

    /// Kubernetes says that one of its issuers is ready.
    pub(crate) fn counts_an_issuer(&self) {
        let patch = json!({"metadata": {"name": format!("{NAME}-issuer")}, "status": {"readyReplicas": 1}});
        self.api.apply("deployments", NAMESPACE, &patch);
    }

    /// Whatever belonged to an object that is gone goes as well.
    pub(crate) fn collects_garbage(&self) {
        for kind in ["secrets", "services", "poddisruptionbudgets"] {
            for object in self.api.all(kind, NAMESPACE) {
                self.api.delete(kind, NAMESPACE, object["metadata"]["name"].as_str().unwrap());
            }
        }
    }
}

/// A Deployment's controller and a kubelet: one pod, for as long as there is a Deployment of issuers, and another when it was deleted.
pub(crate) struct Kubelet {
    node: Node,
    ended: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Kubelet {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let (node, ended) = (Node::of(cluster), Arc::<AtomicUsize>::default());
        let task = tokio::spawn(run(node.clone(), Arc::clone(&ended)));
        Self { node, ended, task }
    }

    /// How many pods have ended.
    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// Where users reach an issuer, once one is ready.
    pub(crate) async fn issuer(&self) -> SocketAddr {
        until("an issuer is ready", async || {
            let pods = self.node.api.all("pods", NAMESPACE);
            let ready = pods.iter().find(|pod| pod["status"]["conditions"][0]["status"] == json!("True"))?;
            ready["status"]["message"].as_str()?.parse().ok()
        })
        .await
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(node: Node, ended: Arc<AtomicUsize>) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for number in 0.. {
        while node.deployment().is_none_or(|found| found["spec"]["replicas"].as_i64().unwrap_or(0) == 0) {
            tokio::time::sleep(LOOK).await;
        }
        let (name, host) = (format!("{NAME}-issuer-{number}"), Node::host());
        node.says_of(&name, &json!({"phase": "Pending"}));
        tokio::time::sleep(SLOW).await;
        let service = node.process(&host).await;
        // Where users find it is nothing that a Service could tell here.
        let (at, probe) = (service.addresses.public.to_string(), service.addresses.probe);
        node.says_of(&name, &json!({"phase": "Running", "podIP": host, "message": at}));
        let mut said = false;
        while !node.should_end(&name) {
            let probed = client.get(format!("http://{probe}/readyz")).send().await;
            if !said && probed.is_ok_and(|answer| answer.status().is_success()) {
                said = true;
                node.says_of(&name, &json!({"conditions": [{"type": "Ready", "status": "True"}]}));
            }
            tokio::time::sleep(LOOK).await;
        }
        service.shut_down().await.unwrap();
        ended.fetch_add(1, Ordering::Relaxed);
        node.api.pod_is_gone(NAMESPACE, &name);
    }
}
