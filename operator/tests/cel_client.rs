//! The rules of the custom resources, evaluated without a server: what `kubectl apply` would refuse is refused here too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cases;
use common::cases::case::Expect;
use common::{Kind, client_cel, parses, schema};
use coupon_core::contract::Network;
use coupon_runtime::http::Origin;
use operator::api::{CampaignClass, CouponCampaign};
use serde_json::{Value, json};

#[test]
fn every_case_of_the_table() {
    let mut wrong = Vec::new();
    for case in cases::all() {
        let found = schema::violations(&case.kind.schema(), &schema::pruned(&case.object()));
        let rules = || client_cel(case.kind, &case.object(), case.before().as_ref());
        let parsed = parses(case.kind, &schema::pruned(&case.object()));
        let good = match case.expect {
            Expect::Taken => found.is_empty() && parsed.is_ok() && rules().is_empty(),
            // The server does not come to the rules either, and our own types may be narrower or wider than the schema.
            Expect::Schema(path) => found == [path],
            Expect::Cel(message) => {
                found.is_empty() && parsed.is_ok() && matches!(rules().as_slice(), [only] if only.starts_with(message))
            }
        };
        if !good {
            let rules = rules();
            wrong.push(format!("{case:?}\n  schema {found:?}\n  rules {rules:?}\n  types {parsed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The API server's times reach further than ours, so the rule must refuse what could never be decoded here.
#[test]
fn a_time_that_this_program_cannot_hold_is_refused_by_a_rule() {
    let object = Kind::Campaign.patched(&json!({"spec": {"window": {"end": "9999-12-31T23:59:59Z"}}}));
    assert!(parses(Kind::Campaign, &object).is_err(), "no time of this program is that late");
    let refused = client_cel(Kind::Campaign, &object, None);
    assert!(refused.iter().any(|rule| rule.starts_with("window.start and window.end must lie between")), "{refused:?}");
}

/// Wrong: an origin that the API server takes, and that ends every issuer at its start.
#[test]
fn the_rules_and_the_issuers_take_the_same_origins() {
    for text in [
        "*",
        "null",
        "https://shop.example",
        "https://shop.example/",
        "https://shop.example:8443",
        "https://shop.example:443",
        "https://shop.example:80",
        "http://shop.example:80",
        "http://shop.example:443",
        "http://localhost:65535",
        "http://localhost:65536",
        "http://localhost:59999",
        "http://localhost:0",
        "http://localhost:08000",
        "http://localhost:",
        "http://[::1]",
        "http://[::1]:8000",
        "http://[::G]",
        "http://[]",
        "http://[::1",
        "https://Shop.example",
        "https://*.example",
        "https://a,https://b",
        "https://a b",
        "ftp://shop.example",
        "https://",
        "",
    ] {
        let object = Kind::Class.patched(&json!({"spec": {"routing": {"cors": {"allowedOrigins": [text]}}}}));
        let is_taken = schema::violations(&Kind::Class.schema(), &object).is_empty()
            && client_cel(Kind::Class, &object, None).is_empty();
        assert_eq!(is_taken, text.parse::<Origin>().is_ok(), "{text}");
    }
}

/// Wrong: a network that the API server takes, and that ends every issuer at its start; or one that trusts everybody. Leading zeros are left out: a
/// server and issuers refuse them, and this evaluator does not.
#[test]
fn the_rules_and_the_issuers_take_the_same_networks() {
    for text in [
        "10.0.0.0/8",
        "10.1.2.3/8",
        "192.0.2.7/32",
        "128.0.0.0/1",
        "fd00::/8",
        "2001:db8::1/128",
        "2001:DB8::/32",
        "::1/128",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/+8",
        "10.0.0/8",
        "fd00::/129",
        "fe80::1%eth0/64",
        "::ffff:10.0.0.0/104",
        "[fd00::]/8",
        "gateway/8",
        " 10.0.0.0/8",
    ] {
        let limits = json!({"perAddress": {"requests": 1, "burst": 1}, "trustedProxies": [text]});
        let object = Kind::Class.patched(&json!({"spec": {"rateLimits": limits}}));
        let is_taken = schema::violations(&Kind::Class.schema(), &object).is_empty()
            && client_cel(Kind::Class, &object, None).is_empty();
        assert_eq!(is_taken, text.parse::<Network>().is_ok(), "{text}");
    }
}

/// Wrong: a number that the API server takes, and that overflows where this program computes with it.
#[test]
fn every_number_in_a_spec_has_bounds() {
    // The first has its upper bound as a rule, so that older objects with more may still be changed; the second is Kubernetes' own,
    // and is handed on as it is.
    for (kind, expected) in [(Kind::Campaign, "totalQuantity"), (Kind::Class, "pods.tolerations[].tolerationSeconds")] {
        assert_eq!(schema::unbounded(&kind.schema()["properties"]["spec"]), [expected]);
    }
}

#[test]
fn every_rule_has_a_case_that_breaks_it() {
    // A rule that nothing breaks may be a rule that is always true.
    for kind in [Kind::Campaign, Kind::Class] {
        for message in schema::messages(&kind.schema()) {
            let broken = cases::all().iter().any(
                |case| matches!(case.expect, Expect::Cel(start) if case.kind == kind && message.starts_with(start)),
            );
            assert!(broken, "no case breaks the rule: {message}");
        }
    }
}

#[test]
fn the_schema_fills_in_the_same_defaults_as_our_types() {
    // Were they different, an object read from the server would mean something else than the same manifest read by a tool.
    let filled = |kind: Kind| kube_cel::apply_defaults(&kind.schema(), &kind.minimal());
    let campaign: CouponCampaign = serde_json::from_value(Kind::Campaign.minimal()).unwrap();
    assert_eq!(campaign, serde_json::from_value(filled(Kind::Campaign)).unwrap());
    let class: CampaignClass = serde_json::from_value(Kind::Class.minimal()).unwrap();
    assert_eq!(class, serde_json::from_value(filled(Kind::Class)).unwrap());
}

#[test]
fn an_empty_object_is_filled_in_like_an_absent_one() {
    for (kind, fields) in [
        (Kind::Campaign, &["issuer", "consumer"][..]),
        (Kind::Class, &["images", "pods", "limits", "routing", "authentication", "rateLimits"][..]),
    ] {
        let filled = |object: &Value| kube_cel::apply_defaults(&kind.schema(), object);
        let absent = filled(&kind.minimal());
        for field in fields {
            let mut empty = filled(&kind.patched(&json!({"spec": {*field: {}}})));
            // An absent object comes back with what its default holds; twice filled in they must be equal.
            empty = filled(&empty);
            assert_eq!(empty["spec"][*field], filled(&absent)["spec"][*field], "{kind:?} {field}");
        }
    }
}

#[test]
fn only_the_annotation_with_the_value_true_makes_a_default_class() {
    for (value, expected) in [
        (json!({}), false),
        (json!({"coupon-operator.io/is-default-class": "true"}), true),
        (json!({"coupon-operator.io/is-default-class": "false"}), false),
    ] {
        let object = Kind::Class.patched(&json!({"metadata": {"annotations": value}}));
        let class: CampaignClass = serde_json::from_value(object).unwrap();
        assert_eq!(class.is_default(), expected);
    }
}
