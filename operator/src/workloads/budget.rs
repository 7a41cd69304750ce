//! The PodDisruptionBudget of the issuers: the start of a sale is the worst time to drain a node.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ChildContext, Component, selector};

/// Builds the budget: one issuer at a time may be evicted, so that a node can still be drained. One that is not ready may be at any
/// time: it serves nobody, and would hold up the drain for as long as what it waits for is away.
pub fn issuer_budget(family: &ChildContext<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: family.metadata(family.name(Component::Issuer), Some(Component::Issuer)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            selector: Some(LabelSelector {
                match_labels: Some(selector(family.campaign, Component::Issuer)),
                match_expressions: None,
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
