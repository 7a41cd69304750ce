//! The objects that a campaign owns, one builder per kind. Builders are pure; all of them are written by [`apply`].

pub(crate) mod additions;
pub mod apply;
mod budget;
mod control_tokens;
mod network;
pub(crate) mod ownership;
mod pods;
mod quantity;
mod route;
mod secret;
mod service;

use std::collections::BTreeMap;

use coupon_core::connections::Connections;
use coupon_core::identity::CampaignId;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use sha2::{Digest, Sha256};

use crate::api::{Acknowledge, CampaignClass, CouponCampaign, KeyBy};
use crate::class::authentication::IssuerFiles;

pub use budget::issuer_budget;
pub use network::{OperatorPods, network_policy, network_policy_name};
pub(crate) use pods::{PROBE_PORT, authentication_of};
pub use pods::{consumer_deployment, issuer_deployment, pods_hash, replaces_pods};
pub use route::{http_route, ingress};
pub(crate) use secret::keep_issuer_files;
pub use secret::{CONNECTIONS_KEY, ControlError, ControlTokens, TOKEN_KEY, connections_secret, new_token, secret_name};
pub use service::issuer_service;

/// Label that names the campaign on everything it owns.
pub const CAMPAIGN_LABEL: &str = "coupon-operator.io/campaign";
/// `app.kubernetes.io/managed-by` of everything the operator makes.
pub const MANAGED_BY: &str = "coupon-operator";

/// Which program a pod runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Answers users.
    Issuer,
    /// Stores winners.
    Consumer,
}

impl Component {
    /// As it stands in names and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Consumer => "consumer",
        }
    }
}

/// Everything the builders need to know.
pub struct ChildContext<'a> {
    /// The owner.
    pub campaign: &'a CouponCampaign,
    /// Its identity.
    pub id: &'a CampaignId,
    /// The cluster that all are in, as ledgers name it.
    pub cluster: &'a str,
    /// Its class.
    pub class: &'a CampaignClass,
    /// What pods connect to.
    pub connections: &'a Connections,
    /// What issuers read keys of tokens, and values of a gateway's header, with.
    pub issuer_files: &'a IssuerFiles,
    /// What authenticates the operator to issuers.
    pub tokens: &'a ControlTokens,
    /// The key of the records.
    pub key_by: KeyBy,
    /// When users hear "issued".
    pub acknowledge: Acknowledge,
    /// The operator's own image.
    pub image: &'a str,
    /// When that is pulled.
    pub image_pull_policy: Option<&'a str>,
}

impl ChildContext<'_> {
    /// Name of a component's objects.
    pub fn name(&self, component: Component) -> String {
        object_name(self.campaign, component)
    }

    fn labels(&self, component: Option<Component>) -> BTreeMap<String, String> {
        labels(self.campaign, component)
    }

    fn metadata(&self, name: String, component: Option<Component>) -> ObjectMeta {
        metadata(self.campaign, name, component)
    }
}

fn labels(campaign: &CouponCampaign, component: Option<Component>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned()),
        ("app.kubernetes.io/instance".to_owned(), campaign.name_any()),
        (CAMPAIGN_LABEL.to_owned(), campaign.name_any()),
    ]);
    if let Some(component) = component {
        labels.insert("app.kubernetes.io/name".to_owned(), format!("coupon-{}", component.name()));
        labels.insert("app.kubernetes.io/component".to_owned(), component.name().to_owned());
    }
    labels
}

/// What every object that a campaign owns has.
fn metadata(campaign: &CouponCampaign, name: String, component: Option<Component>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: campaign.namespace(),
        labels: Some(labels(campaign, component)),
        owner_references: owner(campaign).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// Name of a component's objects: Deployment, Service and budget.
pub fn object_name(campaign: &CouponCampaign, component: Component) -> String {
    format!("{}-{}", campaign.name_any(), component.name())
}

/// The first `length` bytes of the SHA-256 digest, in hexadecimal.
pub fn hex_digest(bytes: &[u8], length: usize) -> String {
    Sha256::digest(bytes).iter().take(length).map(|byte| format!("{byte:02x}")).collect()
}

/// The labels that select a component's pods; they never change.
pub fn selector(campaign: &CouponCampaign, component: Component) -> BTreeMap<String, String> {
    BTreeMap::from([
        (CAMPAIGN_LABEL.to_owned(), campaign.name_any()),
        ("app.kubernetes.io/component".to_owned(), component.name().to_owned()),
    ])
}

/// [`selector`] as the API takes it.
pub fn selector_text(campaign: &CouponCampaign, component: Component) -> String {
    let pairs = selector(campaign, component).into_iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

/// Makes the campaign the owner, so that Kubernetes deletes the object together with it.
pub fn owner(campaign: &CouponCampaign) -> Option<OwnerReference> {
    campaign.controller_owner_ref(&())
}

#[cfg(test)]
pub(crate) mod tests;
