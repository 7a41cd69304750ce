//! Looks now and then for what a campaign's Service leads to besides its issuers: users who get there are lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;

use super::Pass;
use super::numbers::There;
use crate::children::{Component, object_name};
use crate::way;

/// How often it is looked for, as slices that are not ours are in no watch: one call for each campaign that has pods.
const EVERY: Duration = Duration::from_secs(30);
/// And while there is something.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the API server may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// So many are named.
const NAMED: usize = 3;

/// The reason of the condition and of the event.
pub(crate) const STRAYS: &str = "ForeignEndpoints";

/// What was found last. Losing it costs a look.
#[derive(Debug, Clone, Default)]
pub(crate) struct StraysWatch {
    looked: Option<Instant>,
    /// By the last look: one that is new may be a pod of ours that the watch has not shown yet.
    before: BTreeSet<String>,
    said: Option<String>,
}

impl StraysWatch {
    fn is_due(&self) -> bool {
        let pause = if self.before.is_empty() { EVERY } else { AGAIN };
        self.looked.is_none_or(|at| at.elapsed() >= pause)
    }

    /// Takes in what a look has found.
    fn see(&mut self, found: BTreeSet<String>, service: &str) {
        let lasting: Vec<&String> = found.intersection(&self.before).collect();
        let named: Vec<&str> = lasting.iter().take(NAMED).map(|name| name.as_str()).collect();
        let more = match lasting.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.said = (!lasting.is_empty()).then(|| {
            format!(
                "Service {service} leads to others than the campaign's issuers, and users who get there are lost: {}{more}; take the \
                 issuers' labels off these pods, or delete the slices",
                named.join(", ")
            )
        });
        self.before = found;
    }
}

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
