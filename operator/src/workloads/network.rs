//! The NetworkPolicy of a campaign's pods: who may connect to which of their ports. Only where the class asks for it.
//!
//! Nothing is said of where pods may connect to: the addresses of Kafka's brokers, of a Redis behind Sentinels and of a database behind a
//! proxy are nobody's to know in advance, and a rule that is wrong after a failover stops a sale. Probes of the kubelet come from the node,
//! which network plugins let in always.

use std::collections::BTreeMap;

use coupon_core::contract::ports;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{CAMPAIGN_LABEL, ChildContext};

/// Where the operator is, seen from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPods {
    /// Its namespace.
    pub namespace: String,
    /// Labels of its pods; empty: any pod of the namespace.
    pub labels: BTreeMap<String, String>,
}

impl OperatorPods {
    fn peer(&self) -> NetworkPolicyPeer {
        let selector = |labels: BTreeMap<String, String>| LabelSelector {
            match_labels: (!labels.is_empty()).then_some(labels),
            match_expressions: None,
        };
        let namespace = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), self.namespace.clone())]);
        NetworkPolicyPeer {
            namespace_selector: Some(selector(namespace)),
            pod_selector: Some(selector(self.labels.clone())),
            ip_block: None,
        }
    }
}

/// Name of a campaign's policy.
pub fn network_policy_name(campaign: &str) -> String {
    format!("{campaign}-pods")
}

/// Builds the policy, if the class asks for one.
pub fn network_policy(family: &ChildContext<'_>, operator: &OperatorPods) -> Option<NetworkPolicy> {
    let access = family.class.spec.network_policy.as_ref()?;
    let rule = |port: i32, from: Option<Vec<NetworkPolicyPeer>>| NetworkPolicyIngressRule {
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(port)),
            protocol: Some("TCP".to_owned()),
            end_port: None,
        }]),
        from,
    };
    let campaign = family.campaign.name_any();
    let probes = std::iter::once(operator.peer()).chain(access.metrics_from.iter().cloned()).collect();
    Some(NetworkPolicy {
        metadata: family.metadata(network_policy_name(&campaign), None),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(BTreeMap::from([(CAMPAIGN_LABEL.to_owned(), campaign)])),
                match_expressions: None,
            }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                rule(ports::USERS.into(), access.users_from.clone()),
                rule(ports::CONTROL.into(), Some(vec![operator.peer()])),
                rule(ports::PROBES.into(), Some(probes)),
            ]),
            egress: None,
        }),
    })
}
