//! How a class leads users to its campaigns: what is taken and what is refused.

use serde_json::{Value, json};

use crate::common::Kind;

use super::case::{Case, Expect, create, spec};

pub(crate) fn class_routing() -> Vec<Case> {
    use Expect::{Cel, Schema, Taken};
    let case = |name, value: Value, expect| create(Kind::Class, name, spec(json!({ "routing": value })), expect);
    let gateway = || json!({"parentRefs": [{"name": "public", "namespace": "gateways"}]});
    let by_gateway = |template: &str| json!({"urlTemplate": template, "httpRoute": gateway()});
    let parent =
        |more: Value| json!({"urlTemplate": "https://c.example/{name}/issue", "httpRoute": {"parentRefs": [more]}});
    let hosts = |host: &str| {
        let route = json!({"parentRefs": [{"name": "public"}], "hostnames": [host]});
        json!({"urlTemplate": "https://c.example/{name}/issue", "httpRoute": route})
    };
    let by_ingress = |template: &str| json!({"urlTemplate": template, "ingress": {"className": "nginx"}});
    let placeholders = Cel("routing.urlTemplate: {namespace}, {name} and {couponId} are filled in, and nothing else");
    let address = Cel("routing.httpRoute and routing.ingress take host and path from routing.urlTemplate");
    let apart = Cel("routing.urlTemplate needs {couponId} or {name}");
    let rewrites = Cel("routing.ingress cannot rewrite paths");
    let of_hosts = Cel("routing.httpRoute.hostnames: write names of hosts");
    let served = "https://c.example/api/coupons/{couponId}/issue";
    vec![
        case("a URL without placeholders", json!({"urlTemplate": "https://c.example"}), Taken),
        case(
            "a URL of a page",
            json!({"urlTemplate": "https://c.example/{namespace}?coupon={couponId}#{name}"}),
            Taken,
        ),
        case("a placeholder that nobody fills in", json!({"urlTemplate": "https://c.example/{realm}"}), placeholders),
        case("a placeholder in capitals", json!({"urlTemplate": "https://c.example/{couponID}"}), placeholders),
        case("half a placeholder", json!({"urlTemplate": "https://c.example/{name"}), placeholders),
        case("an HTTPRoute", by_gateway(served), Taken),
        case("an HTTPRoute that rewrites", by_gateway("https://{namespace}.c.example:8443/x/{name}/issue"), Taken),
        case("an HTTPRoute of a whole host", by_gateway("https://{couponId}.c.example/issue"), Taken),
        case("an HTTPRoute from nowhere", json!({"httpRoute": gateway()}), address),
        case("an HTTPRoute for another address", by_gateway("https://c.example/{namespace}/{couponId}"), address),
        case("an HTTPRoute with a query", by_gateway("https://c.example/{couponId}/issue?a=b"), address),
        case("an HTTPRoute for a host in capitals", by_gateway("https://C.example/{couponId}/issue"), address),
        case("an HTTPRoute with a password", by_gateway("https://a:b@c.example/{couponId}/issue"), address),
        case("an HTTPRoute with an empty element", by_gateway("https://c.example//{couponId}/issue"), address),
        case("one address for all campaigns", by_gateway("https://c.example/{namespace}/issue"), apart),
        case(
            "no Gateway",
            json!({"urlTemplate": served, "httpRoute": {"parentRefs": []}}),
            Schema("spec.routing.httpRoute.parentRefs"),
        ),
        case(
            "a Gateway without a name",
            parent(json!({"namespace": "gateways"})),
            Schema("spec.routing.httpRoute.parentRefs[0].name"),
        ),
        case("a listener", parent(json!({"name": "public", "sectionName": "https", "port": 443})), Taken),
        case(
            "a listener at no port",
            parent(json!({"name": "public", "port": 0})),
            Schema("spec.routing.httpRoute.parentRefs[0].port"),
        ),
        case("more hosts", hosts("*.{namespace}.example"), Taken),
        case("a host with a placeholder that nobody fills in", hosts("{realm}.example"), of_hosts),
        case("a host with a path", hosts("c.example/x"), of_hosts),
        case("an Ingress", by_ingress(served), Taken),
        case(
            "an Ingress with all",
            json!({"urlTemplate": served, "ingress": {
                "className": "nginx", "annotations": {"nginx.ingress.kubernetes.io/limit-rps": "20"}, "tlsSecretName": "c-example",
            }}),
            Taken,
        ),
        case(
            "an Ingress that would have to rewrite",
            by_ingress("https://c.example/{namespace}/{couponId}/issue"),
            rewrites,
        ),
        case("an Ingress that knows the name only", by_ingress("https://c.example/api/coupons/{name}/issue"), rewrites),
        case("an Ingress from nowhere", json!({"ingress": {"className": "nginx"}}), address),
        case(
            "an Ingress of no class",
            json!({"urlTemplate": served, "ingress": {}}),
            Schema("spec.routing.ingress.className"),
        ),
        case(
            "both",
            json!({"urlTemplate": served, "httpRoute": gateway(), "ingress": {"className": "nginx"}}),
            Cel("routing takes httpRoute or ingress, not both"),
        ),
    ]
}
