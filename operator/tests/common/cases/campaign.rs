//! Campaigns: what is taken and what is refused.

use serde_json::json;

use crate::common::{Kind, REMOVE};

use super::case::{Case, Expect, create, spec, update};

pub(crate) fn campaign_creates() -> Vec<Case> {
    use Expect::{Cel, Schema, Taken};
    let case = |name, new, expect| create(Kind::Campaign, name, new, expect);
    let sized = |name, field: &str, value, expect| create(Kind::Campaign, name, spec(json!({ field: value })), expect);
    let named = |name: &str| json!({"metadata": {"name": name}});
    let window = |start: &str, end: &str| spec(json!({"window": {"start": start, "end": end}}));
    let name_rule = Cel("metadata.name must start with a letter");
    vec![
        case("the minimal campaign", json!({}), Taken),
        case(
            "every field set",
            spec(json!({
                "totalQuantity": 10_000_000, "couponId": "sale-2026", "perUserLimit": 100, "partitions": 256,
                "className": "main", "suspend": true, "acknowledge": "Fast", "keyBy": "Campaign", "expectedPeakRps": 30_000,
                "issuer": {"minReplicas": 2, "maxReplicas": 2}, "deletionPolicy": "Delete",
                "consumer": {"minReplicas": 256, "maxReplicas": 256, "drainTargetSeconds": 3600},
            })),
            Taken,
        ),
        case("a name of 40 characters", named(&"a".repeat(40)), Taken),
        case("a name of 41 characters", named(&"a".repeat(41)), name_rule),
        case("a name that starts with a digit", named("1-sale"), name_rule),
        case("a name with a dot", named("sale.2026"), name_rule),
        case(
            "a window that ends before it starts",
            window("2026-12-01T10:00:00Z", "2026-12-01T09:00:00Z"),
            Cel("window.start must be before window.end"),
        ),
        case(
            "a window of no length",
            window("2026-12-01T10:00:00Z", "2026-12-01T10:00:00Z"),
            Cel("window.start must be before window.end"),
        ),
        // As text the start is greater than the end; as times it is an hour earlier.
        case("a window across offsets", window("2026-12-01T18:00:00+09:00", "2026-12-01T10:00:00Z"), Taken),
        case(
            "a window across offsets, the wrong way",
            window("2026-12-01T10:00:00Z", "2026-12-01T18:00:00+09:00"),
            Cel("window.start must be before window.end"),
        ),
        case(
            "a window that ends when nobody asks any more",
            window("2026-12-01T10:00:00Z", "9999-12-30T00:00:00Z"),
            Cel("window.start and window.end must lie between 2000-01-01 and 2200-01-01"),
        ),
        case(
            "a window that starts before there were computers",
            window("0001-01-01T00:00:00Z", "2026-12-01T10:00:00Z"),
            Cel("window.start and window.end must lie between 2000-01-01 and 2200-01-01"),
        ),
        case("a window until 2199", window("2026-12-01T10:00:00Z", "2199-12-31T23:59:59Z"), Taken),
        case(
            "a window start with a fraction",
            window("2026-12-01T10:00:00.5Z", "2026-12-01T11:00:00Z"),
            Cel("window.start and window.end must be whole seconds"),
        ),
        case(
            "a window end with a fraction",
            window("2026-12-01T10:00:00Z", "2026-12-01T11:00:00.001Z"),
            Cel("window.start and window.end must be whole seconds"),
        ),
        sized("no quantity", "totalQuantity", json!(REMOVE), Schema("spec.totalQuantity")),
        sized("a quantity of 0", "totalQuantity", json!(0), Schema("spec.totalQuantity")),
        sized(
            "a quantity above 10 million",
            "totalQuantity",
            json!(10_000_001),
            Cel("totalQuantity must not be above 10,000,000"),
        ),
        sized("a limit of 0 per user", "perUserLimit", json!(0), Schema("spec.perUserLimit")),
        sized("a limit of 101 per user", "perUserLimit", json!(101), Schema("spec.perUserLimit")),
        sized("no partitions", "partitions", json!(0), Schema("spec.partitions")),
        sized("257 partitions", "partitions", json!(257), Schema("spec.partitions")),
        sized("a peak of 0", "expectedPeakRps", json!(0), Schema("spec.expectedPeakRps")),
        sized("a coupon id of 40 characters", "couponId", json!("c".repeat(40)), Taken),
        sized("a coupon id of 41 characters", "couponId", json!("c".repeat(41)), Schema("spec.couponId")),
        sized("a coupon id in capitals", "couponId", json!("Sale"), Schema("spec.couponId")),
        sized("a coupon id that is null", "couponId", json!(null), Taken),
        sized("a quantity that is null", "totalQuantity", json!(null), Schema("spec.totalQuantity")),
        sized("an unknown way to acknowledge", "acknowledge", json!("Maybe"), Schema("spec.acknowledge")),
        sized("an unknown key", "keyBy", json!("Coupon"), Schema("spec.keyBy")),
        sized("an unknown deletion policy", "deletionPolicy", json!("Forget"), Schema("spec.deletionPolicy")),
        sized("one issuer", "issuer", json!({"minReplicas": 1}), Taken),
        sized("one issuer at most", "issuer", json!({"maxReplicas": 1}), Taken),
        sized("no issuer at all", "issuer", json!({"minReplicas": 0}), Schema("spec.issuer.minReplicas")),
        sized(
            "no time to drain",
            "consumer",
            json!({"drainTargetSeconds": 0}),
            Schema("spec.consumer.drainTargetSeconds"),
        ),
        sized(
            "more issuers at least than at most",
            "issuer",
            json!({"minReplicas": 3, "maxReplicas": 2}),
            Cel("issuer.minReplicas must not be above issuer.maxReplicas"),
        ),
        sized("more issuers at least than there are at most by default", "issuer", json!({"minReplicas": 5}), Taken),
        sized(
            "more consumers at least than at most",
            "consumer",
            json!({"minReplicas": 2, "maxReplicas": 1}),
            Cel("consumer.minReplicas must not be above consumer.maxReplicas"),
        ),
        sized(
            "more consumers than the default partitions",
            "consumer",
            json!({"maxReplicas": 4}),
            Cel("consumer.minReplicas and consumer.maxReplicas must not be above partitions"),
        ),
        sized("as many consumers as partitions", "consumer", json!({"minReplicas": 3, "maxReplicas": 3}), Taken),
        sized(
            "more consumers at least than partitions",
            "consumer",
            json!({"minReplicas": 4}),
            Cel("consumer.minReplicas and consumer.maxReplicas must not be above partitions"),
        ),
    ]
}

pub(crate) fn campaign_updates() -> Vec<Case> {
    use Expect::{Cel, Taken};
    let fixed = |name, old, new, expect| update(Kind::Campaign, name, spec(old), spec(new), expect);
    let coupon = Cel("couponId cannot be set, changed or removed later");
    let class = Cel("className cannot be set, changed or removed later");
    vec![
        fixed(
            "nothing changed",
            json!({"couponId": "a", "className": "b"}),
            json!({"couponId": "a", "className": "b"}),
            Taken,
        ),
        fixed("the coupon id set later", json!({}), json!({"couponId": "a"}), coupon),
        fixed("the coupon id removed", json!({"couponId": "a"}), json!({}), coupon),
        fixed("the coupon id set to null", json!({"couponId": "a"}), json!({"couponId": null}), coupon),
        // Were a null taken for a value, an object applied with one could never be changed again.
        fixed("a null coupon id left out", json!({"couponId": null}), json!({}), Taken),
        fixed("the coupon id changed", json!({"couponId": "a"}), json!({"couponId": "b"}), coupon),
        fixed("the class set later", json!({}), json!({"className": "a"}), class),
        fixed("the class removed", json!({"className": "a"}), json!({}), class),
        fixed("the class changed", json!({"className": "a"}), json!({"className": "b"}), class),
        fixed("more partitions", json!({"partitions": 3}), json!({"partitions": 12}), Taken),
        fixed(
            "fewer partitions",
            json!({"partitions": 12}),
            json!({"partitions": 11}),
            Cel("partitions cannot shrink"),
        ),
        fixed(
            "partitions left out after being raised",
            json!({"partitions": 4}),
            json!({}),
            Cel("partitions cannot shrink"),
        ),
        fixed("a higher limit per user", json!({}), json!({"perUserLimit": 2}), Taken),
        fixed(
            "a lower limit per user",
            json!({"perUserLimit": 2}),
            json!({"perUserLimit": 1}),
            Cel("perUserLimit cannot shrink"),
        ),
        fixed("a larger quantity", json!({"totalQuantity": 100}), json!({"totalQuantity": 200}), Taken),
        // What can be repaired in time, and is tried, is ten million.
        fixed(
            "a quantity raised to 10 million",
            json!({"totalQuantity": 100}),
            json!({"totalQuantity": 10_000_000}),
            Taken,
        ),
        fixed(
            "a quantity raised above 10 million",
            json!({"totalQuantity": 100}),
            json!({"totalQuantity": 10_000_001}),
            Cel("totalQuantity must not be above 10,000,000"),
        ),
        // Only the ledger knows whether this is too small: the operator decides, not the API server.
        fixed("a smaller quantity", json!({"totalQuantity": 100}), json!({"totalQuantity": 50}), Taken),
        fixed("suspended", json!({}), json!({"suspend": true}), Taken),
        fixed("another end", json!({}), json!({"window": {"end": "2026-12-02T12:00:00+09:00"}}), Taken),
    ]
}
