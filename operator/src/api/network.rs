//! Who may connect to the pods of campaigns: a part of a class.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may connect to the pods of campaigns. Needs a network plugin that enforces policies.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkAccess {
    /// From where users reach the issuers' port 8080, as `from` of a NetworkPolicy takes it: the ingress controller or gateway. Default:
    /// from everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub users_from: Option<Vec<NetworkPolicyPeer>>,
    /// Who reaches port 9090 of issuers and consumers besides the operator: Prometheus. Default: nobody.
    #[schemars(length(max = 32))]
    pub metrics_from: Vec<NetworkPolicyPeer>,
}
