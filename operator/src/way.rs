//! Whether the way that users go leads to issuers: from the Service to the endpoints that Kubernetes has found for it. Pods may be ready
//! and nobody may reach them: the Service is gone, or somebody's tool has given its selector one label more. Pure.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;

/// The label by which a slice names its Service.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Whether one of these slices of a Service has an endpoint that takes requests.
pub(crate) fn leads_somewhere(slices: &[Arc<EndpointSlice>]) -> bool {
    let is_ready = |ready: Option<bool>| ready != Some(false);
    slices.iter().flat_map(|slice| &slice.endpoints).any(|endpoint| {
        // Unknown counts as ready, says the API.
        endpoint.conditions.as_ref().is_none_or(|conditions| is_ready(conditions.ready))
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
            assert_eq!(leads_somewhere(&slices), expected, "{what}");
            let slimmed: Vec<_> = slices
                .iter()
                .map(|slice| {
                    let mut slice = (**slice).clone();
                    slim(&mut slice);
                    Arc::new(slice)
                })
                .collect();
            assert_eq!(leads_somewhere(&slimmed), expected, "{what}, slim");
        }
    }
}
