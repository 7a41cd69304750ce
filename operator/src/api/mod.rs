//! The custom resources: their types, the rules that the API server checks, and the files generated from them.
//!
//! Everything here is pure. The types are the only source of the CRDs: `crdgen` writes `crds/` and the chart's copies from
//! them, and a test fails when those are stale.

pub mod annotations;
mod campaign;
mod class;
pub mod conditions;
pub mod manifests;
mod names;
mod network;
mod pods;
mod schema;
mod status;

pub use campaign::{
    Acknowledge, ConsumerScaling, CouponCampaign, CouponCampaignSpec, DeletionPolicy, IssuerScaling, KeyBy, Window,
};
pub use class::{
    CaSecretRef, CampaignClass, CampaignClassSpec, ComponentPods, Credentials, Database, DatabaseTls, Images,
    IssuerPods, Kafka, KafkaSecurity, Limits, PodDefaults, PullPolicy, Redis, Routing, SaslMechanism, SecretRef,
    SecurityProtocol, Sentinel, secret_keys,
};
pub use conditions::ConditionType;
pub use names::KafkaNames;
pub use network::NetworkAccess;
pub use pods::{DuringWindow, Rollout, RunAs};
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
