//! How users are led to the campaigns of a class: by an HTTPRoute or an Ingress for each of them. A part of a class.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rule of `routing`, and what is said where it is broken: nothing but these three is ever filled in.
pub(super) const PLACEHOLDERS: (&str, &str) = (
    r"!has(self.urlTemplate) || self.urlTemplate.matches('^([^{}]|\\{(namespace|name|couponId)\\})*$')",
    "routing.urlTemplate: {namespace}, {name} and {couponId} are filled in, and nothing else; take other braces out",
);
/// One object for each campaign.
pub(super) const ONE_KIND: (&str, &str) = (
    "!(has(self.httpRoute) && has(self.ingress))",
    "routing takes httpRoute or ingress, not both: each campaign has one way in",
);
/// Host and path come from the template.
pub(super) const NEEDS_URL: (&str, &str) = (
    r"!(has(self.httpRoute) || has(self.ingress)) || (has(self.urlTemplate) && self.urlTemplate.matches('^https?://([a-z0-9.-]|\\{(namespace|name|couponId)\\})+(:[1-9][0-9]{0,4})?(/([A-Za-z0-9._~-]|\\{(namespace|name|couponId)\\})+)*/issue$'))",
    "routing.httpRoute and routing.ingress take host and path from routing.urlTemplate, the address of the request for a coupon: \
     https://host/path/issue, without query",
);
/// Two campaigns of a namespace must not have the same address.
pub(super) const TELLS_APART: (&str, &str) = (
    "!(has(self.httpRoute) || has(self.ingress)) || !has(self.urlTemplate) || self.urlTemplate.contains('{couponId}') || \
     self.urlTemplate.contains('{name}')",
    "routing.urlTemplate needs {couponId} or {name} with routing.httpRoute and routing.ingress, or all campaigns had one address",
);
/// An Ingress has no standard way to rewrite a path.
pub(super) const INGRESS_KEEPS_PATHS: (&str, &str) = (
    r"!has(self.ingress) || !has(self.urlTemplate) || self.urlTemplate.matches('^[^/]+//[^/]+/api/coupons/\\{couponId\\}/issue$')",
    "routing.ingress cannot rewrite paths: let routing.urlTemplate end with host/api/coupons/{couponId}/issue, or take routing.httpRoute",
);

/// The HTTPRoute of each campaign (Gateway API v1).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    r"!has(self.hostnames) || self.hostnames.all(host, host.matches('^(\\*\\.)?([a-z0-9.-]|\\{(namespace|name|couponId)\\})+$'))"
).message("routing.httpRoute.hostnames: write names of hosts in lower case; {namespace}, {name} and {couponId} are filled in, and nothing else"))]
pub struct HttpRouteTemplate {
    /// The Gateways that take it, as Gateway API has them. Each has to let routes of the campaigns' namespaces in (`allowedRoutes`); TLS is theirs.
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<RouteParent>,
    /// More names under which users come, beside the host of `urlTemplate`: `{namespace}`, `{name}` and `{couponId}` are filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 15), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
}

/// A Gateway.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RouteParent {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its namespace. Default: the campaign's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// One of its listeners. Default: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub section_name: Option<String>,
    /// Listeners of this port only. Default: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
}

/// The Ingress of each campaign (networking.k8s.io/v1).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IngressTemplate {
    /// The IngressClass, which says who takes it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub class_name: String,
    /// What that controller is to know besides. The operator's own win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The Secret with certificate and key, in the campaign's namespace, as an Ingress reads no other. Default: TLS is the controller's own matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub tls_secret_name: Option<String>,
}

/// What a class asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTemplate<'a> {
    /// An HTTPRoute for each campaign.
    HttpRoute(&'a HttpRouteTemplate),
    /// An Ingress for each campaign.
    Ingress(&'a IngressTemplate),
}
