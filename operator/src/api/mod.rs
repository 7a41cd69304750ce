//! The custom resources: their types, the rules that the API server checks, and the files generated from them.
//!
//! Everything here is pure. The types are the only source of the CRDs: `crdgen` writes `crds/` and the chart's copies from
//! them, and a test fails when those are stale.

pub mod annotations;
#[allow(unreachable_pub, reason = "kube's derives make such items")]
mod authentication;
#[allow(unreachable_pub, reason = "kube's derives make such items")]
mod campaign;
#[allow(unreachable_pub, reason = "kube's derives make such items")]
mod class;
pub mod conditions;
#[allow(unreachable_pub, reason = "kube's derives make such items")]
mod connections;
#[allow(unreachable_pub, reason = "kube's derives make such items")]
mod cors;
pub mod manifests;
#[allow(unreachable_pub, reason = "kube's derives make such items")]
mod names;
mod network;
mod pods;
#[allow(unreachable_pub, reason = "kube's derives make such items")]
mod rate_limits;
#[allow(unreachable_pub, reason = "kube's derives make such items")]
mod routes;
mod schema;
mod status;

pub use authentication::{
    Authentication, AuthenticationKind, HeaderAuthentication, JwtAuthentication, KeysSecretRef, TokenKeys,
};
pub use campaign::{
    Acknowledge, ConsumerScaling, CouponCampaign, CouponCampaignSpec, DeletionPolicy, IssuerScaling, KeyBy, Window,
};
pub(crate) use class::MOST_COUPONS;
pub use class::{
    CampaignClass, CampaignClassSpec, ComponentPods, Images, IssuerPods, Limits, PodDefaults, PullPolicy, Routing,
};
pub use conditions::ConditionType;
pub use connections::{
    CaSecretRef, Credentials, Database, DatabaseTls, Kafka, KafkaProtocol, KafkaSecurity, Redis, SaslMechanism,
    SecretRef, Sentinel, secret_keys,
};
pub use cors::Cors;
pub use names::KafkaNames;
pub use network::NetworkAccess;
pub use pods::{DuringWindow, Rollout, RunAs};
pub use rate_limits::{RateLimit, RateLimits, RequiredHeader, ValueSecretRef};
pub use routes::{HttpRouteTemplate, IngressTemplate, RouteParent, RouteTemplate};
pub use status::{
    CampaignClassStatus, CouponCampaignStatus, Phase, RolledOut, ScalingFigures, TermsStatus, TopicStatus,
    UnservedCause, WindowStatus, WorkloadStatus,
};

/// API group of all resources.
pub const GROUP: &str = "coupon-operator.io";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
/// Label with which the platform team lets a namespace take part, unless the class selects namespaces otherwise.
pub const ENABLED_LABEL: &str = "coupon-operator.io/enabled";
/// Annotation that makes a class the one for campaigns without `className`, if its value is `true`.
pub const DEFAULT_CLASS_ANNOTATION: &str = "coupon-operator.io/is-default-class";
