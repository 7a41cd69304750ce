//! Removing the pods of a campaign.

use super::ReconcileContext;
use crate::error::ReconcileError;
use crate::workloads::ownership::claim;
use crate::workloads::{self, Component};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};

/// Removes the pods; how many are left. A consumer that still runs would store beside us, which is harmless, but its
/// group could not be committed to.
pub(crate) async fn pods_left(pass: &ReconcileContext<'_>) -> Result<usize, ReconcileError> {
    let client = &pass.context.client;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), pass.id.namespace());
    let pods: Api<Pod> = Api::namespaced(client.clone(), pass.id.namespace());
    let mut left = 0;
    for component in [Component::Issuer, Component::Consumer] {
        let name = workloads::object_name(pass.campaign, component);
        // Only ours goes, and only the very one that was looked at: somebody else's may bear the name.
        if let Some(found) = deployments.get_opt(&name).await?
            && claim(&found, pass.campaign).is_ok()
        {
            workloads::apply::delete(&deployments, &found, DeleteParams::background()).await?;
        }
        let selector = workloads::selector_text(pass.campaign, component);
        left += pods.list(&ListParams::default().labels(&selector)).await?.items.len();
    }
    Ok(left)
}
