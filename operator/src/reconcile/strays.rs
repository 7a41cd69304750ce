//! Looks now and then for what a campaign's Service leads to besides its issuers: users who get there are lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;

use super::ReconcileContext;
use super::replicas::ReplicaCount;
use crate::issuer_client::endpoints;
use crate::workloads::{Component, object_name};

/// How long the API server may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// The reason of the condition and of the event.
pub(crate) const STRAYS: &str = "ForeignEndpoints";

/// What the Service leads to besides the issuers, in words; an event says it once.
pub(super) async fn find(pass: &ReconcileContext<'_>) -> Option<String> {
    let service = object_name(pass.campaign, Component::Issuer);
    let watch = pass.memory.get().strays;
    // While no issuer is ready, that is what there is to say.
    if ReplicaCount::of(pass.context.deployment(pass.id.namespace(), &service).as_deref()).ready == 0 {
        return None;
    }
    let said = match watch.is_due() {
        false => watch.said,
        true => {
            let slices: Api<EndpointSlice> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
            let of_service = ListParams::default().labels(&format!("{}={service}", endpoints::SERVICE_LABEL));
            let found = tokio::time::timeout(DEADLINE, slices.list(&of_service)).await;
            let own = issuer_addresses(pass, &service);
            pass.memory.update(|memory| {
                memory.strays.looked = Some(Instant::now());
                if let Ok(Ok(found)) = found {
                    memory.strays.observe(endpoints::strays(&found.items, &own), &service);
                }
                memory.strays.said.clone()
            })
        }
    };
    pass.caution(STRAYS, said.as_deref()).await;
    said
}

/// The addresses of the campaign's own issuers.
fn issuer_addresses(pass: &ReconcileContext<'_>, deployment: &str) -> BTreeSet<String> {
    let pods = pass.context.pods_of(pass.campaign, Component::Issuer);
    let own = pods.iter().filter(|pod| endpoints::is_of(pod, deployment));
    let ips = own.filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
        let all = status.pod_ips.iter().flatten().map(|each| each.ip.clone());
        all.chain(status.pod_ip.clone())
    });
    ips.collect()
}
