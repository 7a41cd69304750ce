//! Looks now and then for what a campaign's Service leads to besides its issuers: users who get there are lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;

use super::Pass;
use super::numbers::There;
pub(crate) use super::strays_watch::StraysWatch;
use crate::children::{Component, object_name};
use crate::way;

/// How long the API server may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// The reason of the condition and of the event.
pub(crate) const STRAYS: &str = "ForeignEndpoints";

/// What the Service leads to besides the issuers, in words; an event says it once.
pub(super) async fn look(pass: &Pass<'_>) -> Option<String> {
    let service = object_name(pass.campaign, Component::Issuer);
    let watch = pass.context.memory.get(pass.uid).strays;
    // While no issuer is ready, that is what there is to say.
    if There::of(pass.context.deployment(pass.id.namespace(), &service).as_deref()).ready == 0 {
        return None;
    }
    let said = match watch.is_due() {
        false => watch.said,
        true => {
            let slices: Api<EndpointSlice> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
            let of_service = ListParams::default().labels(&format!("{}={service}", way::SERVICE_LABEL));
            let found = tokio::time::timeout(DEADLINE, slices.list(&of_service)).await;
            let own = own(pass, &service);
            pass.context.memory.update(pass.uid, |memory| {
                memory.strays.looked = Some(Instant::now());
                if let Ok(Ok(found)) = found {
                    memory.strays.see(way::strays(&found.items, &own), &service);
                }
                memory.strays.said.clone()
            })
        }
    };
    pass.caution(STRAYS, said.as_deref()).await;
    said
}

/// The addresses of the campaign's own issuers.
fn own(pass: &Pass<'_>, deployment: &str) -> BTreeSet<String> {
    let pods = pass.context.pods_of(pass.campaign, Component::Issuer);
    let own = pods.iter().filter(|pod| way::is_of(pod, deployment));
    let ips = own.filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
        let all = status.pod_ips.iter().flatten().map(|each| each.ip.clone());
        all.chain(status.pod_ip.clone())
    });
    ips.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_seen_twice_is_said() {
        let found = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut watch = StraysWatch::default();
        assert!(watch.is_due());
        watch.see(found(&["a"]), "s");
        assert_eq!(watch.said, None, "a pod of ours that is new");
        watch.see(found(&["b", "c", "d", "e", "a"]), "s");
        assert!(watch.said.as_ref().is_some_and(|said| said.contains("lost: a;")), "{watch:?}");
        watch.see(found(&["b", "c", "d", "e"]), "s");
        assert!(watch.said.as_ref().is_some_and(|said| said.contains("b, c, d and 1 more")), "{watch:?}");
        watch.see(found(&[]), "s");
        assert_eq!(watch.said, None);
    }
}
