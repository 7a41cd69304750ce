//! What the operator reports. Counters are absent until they have been read: unknown is not zero.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authentication::AuthenticationKind;
use super::schema::kubernetes;

/// Where a campaign stands, for people. Programs read the conditions.
#[derive(
    Serialize,
    Deserialize,
    JsonSchema,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    strum::Display,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
pub enum Phase {
    /// Something it needs is not there yet; the conditions say what.
    #[default]
    Pending,
    /// All is prepared; the window has not begun.
    Scheduled,
    /// Coupons can be had.
    Open,
    /// The window is open, and every coupon is issued.
    SoldOut,
    /// Stopped by `spec.suspend`.
    Suspended,
    /// Redis is being brought back to what the ledger says; nothing is issued meanwhile.
    Repairing,
    /// The window is over, or the campaign is being deleted; the last winners are being stored.
    Draining,
    /// The window is over and every winner is in the database.
    Completed,
}

/// What the operator knows of a campaign.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = kubernetes)]
pub struct CouponCampaignStatus {
    /// Where the campaign stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The `metadata.generation` that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The class that the campaign resolved to. It stays even if another class becomes the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// The realm that its ledger is in. Absent before there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// How issuers that run know who asks, which is not yet what the class says while pods wait to be replaced. Absent while there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<AuthenticationKind>,
    /// The coupon id in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coupon_id: Option<String>,
    /// The terms in force: what users meet, which is not yet what the spec asks for while a change is refused or on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<TermsStatus>,
    /// Coupons given out, as Redis counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued: Option<i64>,
    /// Coupons stored in the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persisted: Option<i64>,
    /// Coupons that the database had stored once, while it has fewer: rows were lost, and what can bring them back is at work, or
    /// nothing can (`LedgerConsistent`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub once_persisted: Option<i64>,
    /// Records in the topic that the consumers have not stored yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Records in the dead-letter topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<i64>,
    /// Winners that are in Redis and not known to be durable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<i64>,
    /// For so many seconds of the open window the operator saw that coupons could not be had, and no person had asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unserved_seconds: Option<i64>,
    /// Start of the window that `unservedSeconds` counts: another window begins with nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub unserved_window_start: Option<Timestamp>,
    /// Until when they are counted, by the clock that the window goes by. Absent while coupons can be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub unserved_until: Option<Timestamp>,
    /// Why coupons could not be had: the last cause first, then the others, those that lasted longest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unserved_causes: Vec<UnservedCause>,
    /// When the campaign's keys were removed from Redis, as it was over for `retainForHours`. Absent while Redis holds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_keys_removed: Option<Time>,
    /// How often the ledger was opened: it grows with every repair of Redis, and when its keys are removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The Kafka topic as found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicStatus>,
    /// The pods that answer users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<WorkloadStatus>,
    /// The pods that store winners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<WorkloadStatus>,
    /// What the annotation `coupon-operator.io/rollout` has brought about: it works once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_out: Option<RolledOut>,
    /// The text that the annotation `coupon-operator.io/accept-lost-winners` had when an epoch was last opened: each is taken once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_lost_winners: Option<String>,
    /// Where users ask for a coupon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When the phase changes next by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_transition: Option<Time>,
    /// One condition per part, and `Ready` over all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What kept users from coupons in a window that was open.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct UnservedCause {
    /// A stable word for programs.
    pub reason: String,
    /// A sentence for people, as it was said last.
    pub message: String,
    /// For how long, in seconds.
    pub seconds: i64,
}

/// A rollout that the annotation has asked for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct RolledOut {
    /// What the annotation said.
    pub annotation: String,
    /// Fingerprints of the pods that were rolled out. Later changes are not what was asked for.
    pub pods: String,
}

/// Terms in force.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TermsStatus {
    /// Coupons in all.
    pub total_quantity: i64,
    /// When coupons can be had.
    pub window: WindowStatus,
    /// Coupons that one user may have.
    pub per_user_limit: i64,
    /// Whether issuing is stopped.
    pub suspended: bool,
}

/// A window in force, to the millisecond: Kubernetes' own time keeps seconds, and a spec may say less than one.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct WindowStatus {
    /// From when on.
    #[schemars(with = "Time")]
    pub start: Timestamp,
    /// Until when, excluded.
    #[schemars(with = "Time")]
    pub end: Timestamp,
}

/// A campaign's topic, as found in Kafka.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Topic of winners.
    pub name: String,
    /// Topic of records that could not be stored.
    pub dead_letter_topic: String,
    /// Consumer group that stores winners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_group: Option<String>,
    /// Kafka's own id of the topic of winners; another id means that the topic was deleted and made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Partitions.
    pub partitions: i32,
    /// Copies of each record.
    pub replication_factor: i32,
    /// Copies that must be written before a record counts.
    pub min_in_sync_replicas: i32,
}

/// Pods of one kind: how many, and why.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Pods that should be there.
    pub wanted: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Why this many are wanted.
    pub reason: String,
    /// The figures behind it, while the number follows the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<ScalingFigures>,
}

/// What a number of pods was found from. Two significant digits.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScalingFigures {
    /// Records, or requests, that come per second; a moving average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival_per_second: Option<i64>,
    /// Records stored, or requests answered, per second; a moving average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_per_second: Option<i64>,
    /// How many of them one pod was measured to do per second; before that, what it is taken to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_pod: Option<i64>,
    /// From the decision to scale up until all pods are at work, as measured, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_up_seconds: Option<i64>,
    /// Consumers that hold partitions. Absent while the group shares them out, or cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_work: Option<i64>,
}

/// What the operator knows of a class.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = kubernetes)]
pub struct CampaignClassStatus {
    /// The `metadata.generation` that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Kafka's cluster id, as last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_cluster_id: Option<String>,
    /// Campaigns that resolved to this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaigns: Option<i64>,
    /// One condition per part, and `Ready` over all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
