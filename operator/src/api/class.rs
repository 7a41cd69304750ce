//! [`CampaignClass`]: what a platform team writes once, as it writes a StorageClass.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authentication::Authentication;
use super::connections::{Credentials, Database, Kafka, Redis};
use super::cors::Cors;
use super::network::NetworkAccess;
use super::pods::{Rollout, RunAs};
use super::rate_limits::RateLimits;
use super::routes::{self, HttpRouteTemplate, IngressTemplate, RouteTemplate};
use super::schema::kubernetes;
use super::status::CampaignClassStatus;
use super::{DEFAULT_CLASS_ANNOTATION, ENABLED_LABEL};

/// Where campaigns keep their ledger, and what they may use. Owned by the platform team.
#[allow(clippy::duplicated_attributes, reason = "every column has a type and a path")]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "coupon-operator.io",
    version = "v1alpha1",
    kind = "CampaignClass",
    singular = "campaignclass",
    plural = "campaignclasses",
    shortname = "cpnclass",
    category = "coupons",
    status = "CampaignClassStatus",
    derive = "PartialEq",
    doc = "Where campaigns keep their ledger, and what they may use. Owned by the platform team.",
    printcolumn(name = "Realm", type_ = "string", json_path = ".spec.realm"),
    printcolumn(
        name = "Default",
        type_ = "string",
        json_path = r".metadata.annotations.coupon-operator\.io/is-default-class"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Campaigns", type_ = "integer", json_path = ".status.campaigns", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = kubernetes)]
pub struct CampaignClassSpec {
    /// Name of this installation, first part of every key, and of every topic and group unless `kafka.names` says otherwise: it keeps
    /// clusters that share Kafka, Redis or the database apart. Cannot change.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("realm cannot change: it is part of every name in the ledger; create another class instead"))]
    pub realm: String,
    /// Where winners become durable.
    pub kafka: Kafka,
    /// Where ranks are given.
    pub redis: Redis,
    /// Where winners are recorded.
    pub database: Database,
    /// The Secrets with users and passwords.
    pub credentials: Credentials,
    /// The image of the issuer and consumer pods.
    #[serde(default)]
    pub images: Images,
    /// What every pod gets.
    #[serde(default)]
    pub pods: PodDefaults,
    /// When pods are replaced by newer ones.
    #[serde(default)]
    pub rollout: Rollout,
    /// What campaigns may ask for at most.
    #[serde(default)]
    pub limits: Limits,
    /// How long before `window.start` the pods must be ready, in seconds.
    #[serde(default = "default_warm_up_seconds")]
    #[schemars(range(min = 0, max = 86_400))]
    pub warm_up_seconds: u32,
    /// Namespaces whose campaigns may use this class. Default: those labelled `coupon-operator.io/enabled: "true"`. An empty
    /// selector takes all.
    #[serde(default = "default_namespace_selector")]
    pub namespace_selector: LabelSelector,
    /// How users reach the issuers.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new(routes::PLACEHOLDERS.0).message(routes::PLACEHOLDERS.1),
        validation = Rule::new(routes::ONE_KIND.0).message(routes::ONE_KIND.1),
        validation = Rule::new(routes::NEEDS_URL.0).message(routes::NEEDS_URL.1),
        validation = Rule::new(routes::TELLS_APART.0).message(routes::TELLS_APART.1),
        validation = Rule::new(routes::INGRESS_KEEPS_PATHS.0).message(routes::INGRESS_KEEPS_PATHS.1)
    )]
    pub routing: Routing,
    /// How issuers know who asks. Default: they do not, and the condition `Unauthenticated` says so.
    #[serde(default)]
    pub authentication: Authentication,
    /// How often users may ask, and through which gateway. Default: as often as they like, and through any.
    #[serde(default)]
    pub rate_limits: RateLimits,
    /// Who may connect to the pods: if it is there, each campaign with pods gets a NetworkPolicy. 8081 is for the operator alone, 9090 for
    /// the operator and `metricsFrom`. Default: no policy is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkAccess>,
}

/// The image of issuer and consumer pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Images {
    /// Image with all programs. Default: the operator's own image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 500),
        regex(
            pattern = r"^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[a-z0-9]+:[A-Fa-f0-9]{32,128})?$"
        )
    )]
    pub image: Option<String>,
    /// When the image is pulled. Default: as Kubernetes does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Names of Secrets for pulling, in the campaign's namespace.
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub pull_secrets: Vec<String>,
}

/// When an image is pulled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// If the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

/// What issuer and consumer pods get.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDefaults {
    /// Issuer pods only.
    pub issuer: IssuerPods,
    /// Consumer pods only.
    pub consumer: ComponentPods,
    /// Labels of the nodes to run on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints to put up with.
    pub tolerations: Vec<Toleration>,
    /// Priority class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// More labels. The operator's own win.
    pub labels: BTreeMap<String, String>,
    /// More annotations. The operator's own win.
    pub annotations: BTreeMap<String, String>,
    /// As which user they run. `Fixed`: 65532, the image's. `Assigned`: the platform decides, as OpenShift wants to.
    pub run_as: RunAs,
}

/// What the pods of one component get.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentPods {
    /// Requests and limits of the container. Default: the operator's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

/// What issuer pods get.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct IssuerPods {
    /// Requests and limits of the container. Default: the operator's choice. The memory limit decides how many users may be connected
    /// to a pod at once: 5,132 with the default 256Mi, 12,812 with 512Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// How long a pod that ends goes on serving, in seconds, so that load balancers learn of it. Cloud load balancers need 10 to 30.
    #[schemars(range(min = 0, max = 300))]
    pub shutdown_delay_seconds: u16,
    /// How long a connection may be kept between two requests, in seconds. More than the load balancer in front keeps its own (most 60,
    /// Google's 600), or it sends requests to connections that close at that moment.
    #[schemars(range(min = 1, max = 3600))]
    pub keep_alive_seconds: u16,
}

impl Default for IssuerPods {
    fn default() -> Self {
        Self { resources: None, shutdown_delay_seconds: 5, keep_alive_seconds: 75 }
    }
}

/// No class allows a larger `totalQuantity`.
pub(crate) const MOST_COUPONS: u32 = 10_000_000;

/// What campaigns may ask for at most, when they are new and whenever they ask for more. What is in force already stays when a
/// limit is lowered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Largest `totalQuantity`.
    #[schemars(range(min = 1, max = MOST_COUPONS))]
    pub max_total_quantity: i64,
    /// Largest `perUserLimit`.
    #[schemars(range(min = 1, max = 100))]
    pub max_per_user_limit: u16,
    /// Largest `partitions`.
    #[schemars(range(min = 1, max = 256))]
    pub max_partitions: u16,
    /// Largest `minReplicas` and `maxReplicas`, of issuers and of consumers. A `maxReplicas` that is left out stays within it. Each
    /// issuer holds up to 3 connections to the database, each consumer up to 2.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u16,
    /// Longest window, in days.
    #[schemars(range(min = 1, max = 73_050))]
    pub max_window_days: u32,
    /// Most campaigns of one namespace in this class that are not `Completed`.
    #[schemars(range(min = 1, max = 100_000))]
    pub campaigns_per_namespace: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_total_quantity: 1_000_000,
            max_per_user_limit: 10,
            max_partitions: 24,
            max_replicas: 24,
            max_window_days: 366,
            campaigns_per_namespace: 100,
        }
    }
}

/// How users reach the issuers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Routing {
    /// Where users find a campaign, for `status.url`: `{namespace}`, `{name}` and `{couponId}` are filled in. Default: the
    /// address of the campaign's Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), regex(pattern = r"^https?://[^\s]+$"))]
    pub url_template: Option<String>,
    /// Which pages of other origins may call. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Each campaign gets an HTTPRoute that leads from `urlTemplate` to its Service. What stands before `/issue` there stands for
    /// `/api/coupons/{couponId}`, and is rewritten where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRouteTemplate>,
    /// Each campaign gets an Ingress that leads from `urlTemplate` to its Service. The path of `urlTemplate` is
    /// `/api/coupons/{couponId}/issue`, as an Ingress rewrites nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressTemplate>,
}

impl Routing {
    /// What each campaign is to have, if anything.
    pub fn route(&self) -> Option<RouteTemplate<'_>> {
        let ingress = || self.ingress.as_ref().map(RouteTemplate::Ingress);
        self.http_route.as_ref().map(RouteTemplate::HttpRoute).or_else(ingress)
    }

    /// The template filled in, if there is one.
    pub fn url(&self, namespace: &str, name: &str, coupon_id: &str) -> Option<String> {
        let template = self.url_template.as_ref()?;
        Some(template.replace("{namespace}", namespace).replace("{name}", name).replace("{couponId}", coupon_id))
    }
}

impl CampaignClass {
    /// Whether campaigns without `className` take this class.
    pub fn is_default(&self) -> bool {
        self.annotations().get(DEFAULT_CLASS_ANNOTATION).is_some_and(|value| value == "true")
    }
}

fn default_warm_up_seconds() -> u32 {
    300
}

fn default_namespace_selector() -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(ENABLED_LABEL.to_owned(), "true".to_owned())])),
        match_expressions: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_template_is_filled_in() {
        let routing = Routing {
            url_template: Some("https://c.example/{namespace}/{name}/{couponId}".to_owned()),
            ..Routing::default()
        };
        assert_eq!(routing.url("shop", "sale", "sale-2027").as_deref(), Some("https://c.example/shop/sale/sale-2027"));
        assert_eq!(Routing::default().url("shop", "sale", "sale"), None);
    }
}
