//! A real API server, and a namespace of the test's own in it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// Longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A connection, and the namespace.
pub(crate) struct Kubernetes {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Kubernetes {
    /// Connects and makes the namespace.
    pub(crate) async fn connect() -> Self {
        let path = std::env::var_os("KUBECONFIG").expect("KUBECONFIG is not set: run the tests through `make test`");
        let file = Kubeconfig::read_from(&path).expect("KUBECONFIG names a file that cannot be read");
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"generateName": "operator-test-"}})).unwrap();
        let namespace = Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap().name_any();
        Self { client, namespace }
    }

    /// Deletes the namespace, and what is in it.
    pub(crate) async fn remove(self) {
        Api::<Namespace>::all(self.client).delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }
}

/// Looks again and again until `look` finds something, and fails the test if it does not in time.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
