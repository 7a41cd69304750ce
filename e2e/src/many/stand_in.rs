//! Marks pods ready that no node runs: the Deployments of many campaigns, without the pods' cost.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::sleep;

/// How often new pods are looked for.
const EVERY: Duration = Duration::from_millis(500);

/// Marks every pod of a namespace ready, until it is dropped. An error ends it.
pub async fn run(client: Client, namespace: &str) -> kube::Error {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    loop {
        let found = match pods.list(&ListParams::default()).await {
            Ok(found) => found.items,
            Err(error) => return error,
        };
        let waiting = found.iter().filter(|pod| {
            pod.metadata.deletion_timestamp.is_none()
                && pod.status.as_ref().is_none_or(|status| status.phase.as_deref() != Some("Running"))
        });
        for pod in waiting {
            // It may be gone by now.
            let patched = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&ready)).await;
            if let Err(error) = patched
                && !matches!(&error, kube::Error::Api(status) if status.is_not_found() || status.is_conflict())
            {
                return error;
            }
        }
        sleep(EVERY).await;
    }
}
