//! Whether requests to a campaign's Service reach an issuer, as far as its EndpointSlices say. Pods may be ready and yet unreachable: the
//! Service is gone, or some tool has added a label to its selector. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

/// The label by which a slice names its Service.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Whether one of these slices of a Service has an endpoint that takes requests.
pub(crate) fn has_ready_endpoint(slices: &[Arc<EndpointSlice>]) -> bool {
    let is_ready = |ready: Option<bool>| ready != Some(false);
    slices.iter().flat_map(|slice| &slice.endpoints).any(|endpoint| {
        // Unknown counts as ready, says the API.
        endpoint.conditions.as_ref().is_none_or(|conditions| is_ready(conditions.ready))
    })
}

/// Endpoints of a Service other than these addresses of its own pods: pods of somebody else that have the same labels, or entries of a
/// slice that somebody made by hand.
pub(crate) fn strays(slices: &[EndpointSlice], own: &BTreeSet<String>) -> BTreeSet<String> {
    let takes_requests = |ready: Option<bool>| ready != Some(false);
    let name = |slice: &EndpointSlice, address: &str, pod: Option<&str>| match pod {
        Some(pod) => format!("pod {pod} ({address})"),
        None => format!("{address} of EndpointSlice {}", slice.name_any()),
    };
    let mut all = BTreeSet::new();
    for slice in slices {
        for endpoint in &slice.endpoints {
            if !endpoint.conditions.as_ref().is_none_or(|conditions| takes_requests(conditions.ready)) {
                continue;
            }
            let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            let pod = pod.and_then(|target| target.name.as_deref());
            let foreign = endpoint.addresses.iter().filter(|address| !own.contains(*address));
            all.extend(foreign.map(|address| name(slice, address, pod)));
        }
    }
    all
}

/// Whether a pod is one of this Deployment's: labels can be anybody's, owners are set by Kubernetes.
pub(crate) fn is_of(pod: &Pod, deployment: &str) -> bool {
    pod.owner_references().iter().any(|owner| {
        let of_deployment = owner.name.strip_prefix(deployment).is_some_and(|rest| rest.starts_with('-'));
        owner.controller == Some(true) && owner.kind == "ReplicaSet" && of_deployment
    })
}

/// Keeps of a slice what is looked at.
pub(crate) fn slim(slice: &mut EndpointSlice) {
    slice.ports = None;
    for endpoint in &mut slice.endpoints {
        let conditions = endpoint.conditions.take();
        *endpoint = k8s_openapi::api::discovery::v1::Endpoint { conditions, ..Default::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_behind_a_service_and_none_of_its_pods_is_named() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4", "metadata": {"name": "by-hand"},
            "endpoints": [
                {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "spring-issuer-1"}},
                {"addresses": ["10.0.0.2"], "targetRef": {"kind": "Pod", "name": "debug"}},
                {"addresses": ["10.0.0.3"]},
                {"addresses": ["10.0.0.4"], "conditions": {"ready": false}},
            ],
        }))
        .unwrap();
        let own = BTreeSet::from(["10.0.0.1".to_owned()]);
        let found: Vec<String> = strays(&[slice], &own).into_iter().collect();
        assert_eq!(found, ["10.0.0.3 of EndpointSlice by-hand", "pod debug (10.0.0.2)"]);
    }

    #[test]
    fn whose_a_pod_is_say_its_owners_and_not_its_labels() {
        let pod = |owners: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p", "ownerReferences": owners}})).unwrap()
        };
        let owner = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "1", "controller": true}]);
        assert!(is_of(&pod(owner("ReplicaSet", "spring-issuer-5d9f")), "spring-issuer"));
        for other in [json!([]), owner("ReplicaSet", "spring-issuers"), owner("Job", "spring-issuer-1")] {
            assert!(!is_of(&pod(other.clone()), "spring-issuer"), "{other}");
        }
    }

    #[test]
    fn users_reach_an_issuer_only_through_an_endpoint_that_is_ready() {
        let slice = |endpoints: serde_json::Value| {
            let slice = json!({"addressType": "IPv4", "metadata": {"name": "s"}, "endpoints": endpoints});
            Arc::new(serde_json::from_value::<EndpointSlice>(slice).unwrap())
        };
        let endpoint = |ready: Option<bool>| json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}});
        for (what, slices, expected) in [
            ("no Service", vec![], false),
            ("a selector that fits no pod", vec![slice(json!([]))], false),
            ("pods that are not ready", vec![slice(json!([endpoint(Some(false))]))], false),
            ("one of two is ready", vec![slice(json!([endpoint(Some(false)), endpoint(Some(true))]))], true),
            ("in the second slice", vec![slice(json!([])), slice(json!([endpoint(None)]))], true),
        ] {
            assert_eq!(has_ready_endpoint(&slices), expected, "{what}");
            let slimmed: Vec<_> = slices
                .iter()
                .map(|slice| {
                    let mut slice = (**slice).clone();
                    slim(&mut slice);
                    Arc::new(slice)
                })
                .collect();
            assert_eq!(has_ready_endpoint(&slimmed), expected, "{what}, slim");
        }
    }
}
