//! [`CouponCampaign`]: what a marketer writes.

pub use coupon_core::contract::{Acknowledge, KeyBy};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::kubernetes;
use super::status::CouponCampaignStatus;

/// Exactly `totalQuantity` coupons for the first who ask inside the window.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "coupon-operator.io",
    version = "v1alpha1",
    kind = "CouponCampaign",
    singular = "couponcampaign",
    plural = "couponcampaigns",
    shortname = "cpn",
    category = "coupons",
    namespaced,
    status = "CouponCampaignStatus",
    derive = "PartialEq",
    doc = "Exactly `totalQuantity` coupons for the first who ask inside the window.",
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must start with a letter, hold only a-z, 0-9 and -, not end with -, and have at most 40 characters"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Issued", type_ = "integer", json_path = ".status.issued"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.terms.totalQuantity"),
    printcolumn(name = "Persisted", type_ = "integer", json_path = ".status.persisted"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.lag"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Window-Start", type_ = "string", json_path = ".spec.window.start", priority = 1),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".spec.partitions", priority = 1),
    printcolumn(name = "Class", type_ = "string", json_path = ".status.className", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = kubernetes)]
#[x_kube(
    validation = Rule::new("has(self.couponId) == has(oldSelf.couponId) && (!has(self.couponId) || self.couponId == oldSelf.couponId)")
        .message("couponId cannot be set, changed or removed later: it names the ledger; create another campaign instead"),
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)")
        .message("className cannot be set, changed or removed later: the ledger is in that class; create another campaign instead"),
    validation = Rule::new("self.partitions >= oldSelf.partitions")
        .message("partitions cannot shrink: Kafka cannot remove partitions; keep the old number or raise it"),
    validation = Rule::new("self.totalQuantity <= 10000000")
        .message("totalQuantity must not be above 10,000,000: a repair of more was never tried; split the sale into several campaigns"),
    validation = Rule::new("self.perUserLimit >= oldSelf.perUserLimit")
        .message("perUserLimit cannot shrink: some users may hold more already; keep the old number or raise it"),
    validation = Rule::new("(has(self.consumer.maxReplicas) ? self.consumer.maxReplicas : self.consumer.minReplicas) <= self.partitions")
        .message("consumer.minReplicas and consumer.maxReplicas must not be above partitions, as a partition has one consumer; lower them or raise partitions")
)]
pub struct CouponCampaignSpec {
    /// How many coupons there are, at most 10,000,000. May grow at any time; may not fall below what is issued.
    #[schemars(range(min = 1))]
    pub total_quantity: i64,
    /// When coupons can be had.
    pub window: Window,
    /// What stands in the URL and in every event, and names the ledger. Default: the object's name. Cannot change: next
    /// year's sale takes another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub coupon_id: Option<String>,
    /// How many coupons one user may have. Cannot shrink.
    #[serde(default = "default_per_user_limit")]
    #[schemars(range(min = 1, max = 100))]
    pub per_user_limit: u16,
    /// Partitions of the campaign's Kafka topic: the most consumers that can work at once. Cannot shrink.
    #[serde(default = "default_partitions")]
    #[schemars(range(min = 1, max = 256))]
    pub partitions: u16,
    /// The CampaignClass that says where Kafka, Redis and the database are. Default: the class marked as default. Cannot
    /// change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub class_name: Option<String>,
    /// True stops issuing at once; what was issued stays, and going on later is possible.
    #[serde(default)]
    pub suspend: bool,
    /// When a user hears "issued". `Durable`: when Kafka (or, with Kafka away, the database) has stored the winner; an answer
    /// given is never lost. `Fast`: when Redis has decided; a crash of Redis together with the issuer, or with Kafka and the database
    /// away, can lose coupons that were already answered.
    #[serde(default)]
    pub acknowledge: Acknowledge,
    /// What decides the partition of an event. `User` spreads events over all partitions; `Campaign` sends all to one, which
    /// keeps their order and leaves the work to one consumer. Fixed once the campaign has opened.
    #[serde(default)]
    pub key_by: KeyBy,
    /// Requests per second expected at the peak, over all users. Issuers are planned from it before the window opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub expected_peak_rps: Option<u32>,
    /// Bounds for the pods that answer users.
    #[serde(default)]
    pub issuer: IssuerScaling,
    /// Bounds for the pods that store winners in the database.
    #[serde(default)]
    pub consumer: ConsumerScaling,
    /// What happens to topic, Redis keys and consumer group when this object is deleted. `Retain`: they stay, and a campaign
    /// with the same couponId continues them. `Delete`: they are removed once all winners are in the database, a dead-letter
    /// topic only if it is empty. Rows in the database always stay.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How long Redis keeps the campaign after the end of the window, in hours. Then its keys are removed, once every winner is a row in
    /// the database; topic and rows stay. They are filled from the rows again where they are needed: when the window or this is made
    /// longer, or this is left out. Default: until the campaign is deleted with `deletionPolicy: Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 87_600))]
    pub retain_for_hours: Option<u32>,
}

/// The time in which coupons are given, from `start` (included) to `end` (excluded).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("self.start < self.end").message("window.start must be before window.end"),
    validation = Rule::new("self.start.getMilliseconds() == 0 && self.end.getMilliseconds() == 0")
        .message("window.start and window.end must be whole seconds; leave out the fraction"),
    validation = Rule::new("self.start >= timestamp('2000-01-01T00:00:00Z') && self.end <= timestamp('2200-01-01T00:00:00Z')")
        .message("window.start and window.end must lie between 2000-01-01 and 2200-01-01; for a sale without an end, take a far day before it")
)]
pub struct Window {
    /// First moment, RFC 3339 with an offset, for example `2026-12-01T10:00:00+09:00`. Fixed once the campaign has opened.
    pub start: Time,
    /// First moment after the window. May move, also to open again.
    pub end: Time,
}

impl Window {
    /// Whether coupons are given at `now`.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.start.0 <= now && now < self.end.0
    }
}

/// What happens to topic, Redis keys and consumer group when a campaign is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display)]
pub enum DeletionPolicy {
    /// They stay, and a campaign with the same couponId continues them.
    #[default]
    Retain,
    /// They are removed once all winners are in the database; a dead-letter topic only if it is empty.
    Delete,
}

/// Bounds for the issuer pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas")
    .message("issuer.minReplicas must not be above issuer.maxReplicas; lower the first or raise the second"))]
pub struct IssuerScaling {
    /// Fewest pods while the campaign is open. Default: 2, so that one may break or be moved while people ask; 1 if maxReplicas is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<u16>,
    /// Most pods. Default: 4, or `minReplicas` if that is more, within what the class allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: Option<u16>,
}

/// Bounds and target for the consumer pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas")
    .message("consumer.minReplicas must not be above consumer.maxReplicas; lower the first or raise the second"))]
pub struct ConsumerScaling {
    /// Fewest pods while the campaign is open.
    #[serde(default)]
    #[schemars(range(min = 0, max = 256))]
    pub min_replicas: u16,
    /// Most pods. Default: as many as partitions, within what the class allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub max_replicas: Option<u16>,
    /// How fast a backlog should be worked off, in seconds.
    #[serde(default = "default_drain_target_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub drain_target_seconds: u32,
}

impl Default for ConsumerScaling {
    fn default() -> Self {
        Self { min_replicas: 0, max_replicas: None, drain_target_seconds: default_drain_target_seconds() }
    }
}

/// Most issuer pods where the campaign does not say.
const MAX_ISSUERS: u16 = 4;

fn default_per_user_limit() -> u16 {
    1
}

fn default_partitions() -> u16 {
    3
}

fn default_drain_target_seconds() -> u32 {
    30
}

impl CouponCampaign {
    /// The coupon id: as given, else the object's name.
    pub fn coupon_id(&self) -> String {
        self.spec.coupon_id.clone().unwrap_or_else(|| self.name_any())
    }
}

/// So many issuers there are at least, unless the spec says otherwise: with one, a node that is drained or dies stops a sale.
const LEAST_ISSUERS: u16 = 2;

impl CouponCampaignSpec {
    /// Fewest issuer pods: as given, else two if two may be.
    pub fn min_issuers(&self) -> u16 {
        self.issuer.min_replicas.unwrap_or_else(|| LEAST_ISSUERS.min(self.issuer.max_replicas.unwrap_or(MAX_ISSUERS)))
    }

    /// Most issuer pods: as given, else four, or as many as there are at least.
    pub fn max_issuers(&self) -> u16 {
        self.issuer.max_replicas.unwrap_or_else(|| MAX_ISSUERS.max(self.min_issuers()))
    }

    /// Most consumer pods: as given, else one per partition.
    pub fn max_consumers(&self) -> u16 {
        self.consumer.max_replicas.unwrap_or(self.partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        // Two campaigns back to back must never both be open, nor both closed.
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let window = Window { start: Time(at("2026-12-01T10:00:00Z")), end: Time(at("2026-12-01T11:00:00Z")) };
        assert!(!window.contains(at("2026-12-01T09:59:59.999Z")));
        assert!(window.contains(at("2026-12-01T10:00:00Z")));
        assert!(window.contains(at("2026-12-01T10:59:59.999Z")));
        assert!(!window.contains(at("2026-12-01T11:00:00Z")));
    }

    #[test]
    fn what_is_left_out_follows_from_the_rest() {
        let window = serde_json::json!({"start": "2026-12-01T10:00:00Z", "end": "2026-12-01T11:00:00Z"});
        let spec = serde_json::json!({"totalQuantity": 1, "window": window, "partitions": 7});
        let mut campaign = CouponCampaign::new("sale", serde_json::from_value(spec).unwrap());
        assert_eq!((campaign.coupon_id(), campaign.spec.max_consumers()), ("sale".to_owned(), 7));
        let numbers = |given: Option<u16>, most: Option<u16>| {
            let mut spec = campaign.spec.clone();
            (spec.issuer.min_replicas, spec.issuer.max_replicas) = (given, most);
            (spec.min_issuers(), spec.max_issuers())
        };
        for (given, most, expected) in
            [(None, None, (2, 4)), (None, Some(1), (1, 1)), (Some(1), Some(3), (1, 3)), (Some(6), None, (6, 6))]
        {
            assert_eq!(numbers(given, most), expected, "{given:?} {most:?}");
        }
        campaign.spec.coupon_id = Some("sale-2027".to_owned());
        campaign.spec.consumer.max_replicas = Some(2);
        assert_eq!((campaign.coupon_id(), campaign.spec.max_consumers()), ("sale-2027".to_owned(), 2));
    }
}
