//! How often a class lets users ask: what is taken and what is refused.

use serde_json::{Value, json};

use crate::common::Kind;

use super::case::{Case, Expect, create, spec};

pub(crate) fn class_rate_limits() -> Vec<Case> {
    use Expect::{Cel, Schema, Taken};
    let case = |name, value: Value, expect| create(Kind::Class, name, spec(json!({ "rateLimits": value })), expect);
    let user = |rate: Value| json!({ "perUser": rate });
    let trusting = |networks: Value| json!({"perAddress": {"requests": 1, "burst": 1}, "trustedProxies": networks});
    let header = |header: Value| json!({ "requiredHeader": header });
    let named = |name: &str| header(json!({"name": name, "values": ["passed"]}));
    let valued = |values: Value| header(json!({"name": "X-Bot-Check", "values": values}));
    let of_addresses = Cel("rateLimits.trustedProxies says whose X-Forwarded-For counts");
    let networks = Cel("rateLimits.trustedProxies: write networks as 10.0.0.0/8");
    let one_source = Cel("rateLimits.requiredHeader needs exactly one of values and valueSecretRef");
    let everybodys = Cel("rateLimits.requiredHeader.name: every client sends this header");
    vec![
        case("nothing is limited", json!({}), Taken),
        case("a limit per user", user(json!({"requests": 1, "perSeconds": 3600, "burst": 1_000_000})), Taken),
        case("a limit per second", user(json!({"requests": 1_000_000, "burst": 1})), Taken),
        case(
            "a limit of nothing",
            user(json!({"requests": 0, "burst": 1})),
            Schema("spec.rateLimits.perUser.requests"),
        ),
        case("no burst at all", user(json!({"requests": 1, "burst": 0})), Schema("spec.rateLimits.perUser.burst")),
        case("a burst that is left out", user(json!({"requests": 1})), Schema("spec.rateLimits.perUser.burst")),
        case(
            "more than a million a second",
            json!({"perPod": {"requests": 1_000_001, "burst": 1}}),
            Schema("spec.rateLimits.perPod.requests"),
        ),
        case(
            "a limit per day",
            json!({"perAddress": {"requests": 1, "perSeconds": 86_400, "burst": 1}}),
            Schema("spec.rateLimits.perAddress.perSeconds"),
        ),
        case("proxies that are trusted", trusting(json!(["10.0.0.0/8", "2001:db8:7::/48"])), Taken),
        case("proxies for nothing", json!({"trustedProxies": ["10.0.0.0/8"]}), of_addresses),
        case("an address without bits", trusting(json!(["10.0.0.1"])), networks),
        case("a name for a network", trusting(json!(["10.0.0.0/8", "gateway"])), networks),
        case("everybody is trusted", trusting(json!(["0.0.0.0/0"])), networks),
        case("everybody of IPv6 is trusted", trusting(json!(["::/0"])), networks),
        case("an empty network", trusting(json!([""])), Schema("spec.rateLimits.trustedProxies[0]")),
        case(
            "more networks than can be meant",
            trusting(json!(vec!["10.0.0.0/8"; 33])),
            Schema("spec.rateLimits.trustedProxies"),
        ),
        case("a header of the gateway", named("X-Bot-Check"), Taken),
        case(
            "a header with a secret",
            header(json!({"name": "X-Gateway", "valueSecretRef": {"name": "gateway"}})),
            Taken,
        ),
        case("a header that may say anything", header(json!({"name": "X-Gateway"})), one_source),
        case(
            "a header with two sources",
            header(json!({"name": "X-Gateway", "values": ["a"], "valueSecretRef": {"name": "gateway"}})),
            one_source,
        ),
        case("a header of all clients", named("User-Agent"), everybodys),
        case("a header with an underscore", named("X_Bot"), Schema("spec.rateLimits.requiredHeader.name")),
        case("a header that says nothing", valued(json!([])), Schema("spec.rateLimits.requiredHeader.values")),
        case("a header that is empty", valued(json!([""])), Schema("spec.rateLimits.requiredHeader.values[0]")),
        case("a header with a space", valued(json!(["a b"])), Schema("spec.rateLimits.requiredHeader.values[0]")),
    ]
}
