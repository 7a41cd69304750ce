//! What those say of a route who are to lead users along it. Pure.
//!
//! Of an HTTPRoute each Gateway says whether it takes it; of an Ingress nobody says more than an address. That a request comes through, neither
//! says, nor that a controller which has once said yes is still there.

use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::http_route::{HttpRoute, ParentReference, ParentStatus};
use crate::api::ConditionType::RouteReady;
use crate::api::conditions::Report;

/// Reason: not everybody has answered.
pub(crate) const UNANSWERED: &str = "RouteUnanswered";

/// What one Gateway says.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It takes the route, and finds the Service.
    Takes,
    /// It does not, for a reason of its own.
    Refuses(String),
    /// It has not looked at the route as it is now, or says only a part.
    Unknown(String),
}

/// The condition, by what is in the status of an HTTPRoute as it was read.
pub(crate) fn http_route(route: &HttpRoute) -> Report {
    let namespace = route.namespace().unwrap_or_default();
    let generation = route.metadata.generation;
    let statuses = route.status.as_ref().map(|status| status.parents.as_slice()).unwrap_or_default();
    let mut refused = Vec::new();
    let mut unknown = Vec::new();
    let parents = &route.spec.parent_refs;
    for parent in parents {
        let (name, of_it) = (named(parent, &namespace), of_parent(statuses, parent, &namespace));
        if of_it.is_empty() {
            unknown.push(format!("{name} says nothing: is it there, and does its controller run?"));
        }
        for status in of_it {
            match answer(status, generation) {
                Answer::Takes => {}
                Answer::Refuses(why) => refused.push(format!("{name}: {why}")),
                Answer::Unknown(why) => unknown.push(format!("{name}: {why}")),
            }
        }
    }
    let object = format!("HTTPRoute {namespace}/{}", route.name_any());
    if !refused.is_empty() {
        let text = format!("{object} is not taken as it is, {}", refused.join("; "));
        return Report::no(RouteReady, "RouteNotAccepted", text);
    }
    if !unknown.is_empty() {
        return Report::unknown(RouteReady, UNANSWERED, format!("{object}: {}", unknown.join("; ")));
    }
    let all: Vec<String> = parents.iter().map(|parent| named(parent, &namespace)).collect();
    Report::yes(RouteReady, "RouteAccepted", format!("{object} is accepted by {}", all.join(" and ")))
}

/// What controllers say of the route at one Gateway.
fn of_parent<'a>(statuses: &'a [ParentStatus], parent: &ParentReference, namespace: &str) -> Vec<&'a ParentStatus> {
    let is_same = |other: &ParentReference| {
        let of = |reference: &ParentReference| reference.namespace.clone().unwrap_or_else(|| namespace.to_owned());
        other.name == parent.name
            && of(other) == of(parent)
            && other.section_name == parent.section_name
            && other.port == parent.port
    };
    statuses.iter().filter(|status| is_same(&status.parent_ref)).collect()
}

fn named(parent: &ParentReference, namespace: &str) -> String {
    let mut name = format!("Gateway {}/{}", parent.namespace.as_deref().unwrap_or(namespace), parent.name);
    if let Some(section) = &parent.section_name {
        name.push_str(&format!(", listener {section}"));
    }
    if let Some(port) = parent.port {
        name.push_str(&format!(", port {port}"));
    }
    name
}

fn answer(status: &ParentStatus, generation: Option<i64>) -> Answer {
    let mut unknown = None;
    for type_ in ["Accepted", "ResolvedRefs"] {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
        let is_of_now = |condition: &&Condition| generation <= condition.observed_generation;
        match condition.filter(is_of_now) {
            Some(condition) if condition.status == "True" => {}
            Some(condition) if condition.status == "False" => {
                return Answer::Refuses(format!("{type_} is False, {}: {}", condition.reason, condition.message));
            }
            Some(condition) => {
                unknown = unknown.or(Some(format!("{type_} is Unknown, {}: {}", condition.reason, condition.message)));
            }
            None if condition.is_some() => {
                unknown = unknown.or(Some("it has not looked at the route as it is now".to_owned()));
            }
            None => unknown = unknown.or(Some(format!("{type_} is not said"))),
        }
    }
    unknown.map_or(Answer::Takes, Answer::Unknown)
}

/// The condition, by what is in the status of an Ingress as it was read.
pub(crate) fn ingress(ingress: &Ingress) -> Report {
    let object = format!("Ingress {}/{}", ingress.namespace().unwrap_or_default(), ingress.name_any());
    let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref()).unwrap_or_default();
    let address = |point: &IngressLoadBalancerIngress| {
        [&point.hostname, &point.ip].into_iter().flatten().find(|text| !text.is_empty()).cloned()
    };
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    let addresses: Vec<String> = points.iter().filter_map(address).collect();
    if addresses.is_empty() {
        let text = format!(
            "{object} has no address: is there an IngressClass {class}, and does its controller run? Some never give one, and nobody says more of an \
             Ingress"
        );
        return Report::unknown(RouteReady, UNANSWERED, text);
    }
    let text = format!(
        "{object} has the address {}; whether requests come through, nobody says of an Ingress",
        addresses.join(", ")
    );
    Report::yes(RouteReady, "AddressAssigned", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn route(parents: &[Value]) -> HttpRoute {
        serde_json::from_value(json!({
            "metadata": {"name": "spring-issuer", "namespace": "shop", "generation": 2},
            "spec": {"parentRefs": [
                {"name": "public", "namespace": "gateways", "sectionName": "https"}, {"name": "inner"},
            ]},
            "status": {"parents": parents},
        }))
        .unwrap()
    }

    fn public(conditions: &Value) -> Value {
        // As the API server completes it.
        let parent = json!({
            "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public", "namespace": "gateways", "sectionName": "https",
        });
        json!({"parentRef": parent, "controllerName": "example.com/one", "conditions": conditions})
    }

    fn inner(conditions: &Value) -> Value {
        let parent = json!({"name": "inner", "namespace": "shop"});
        json!({"parentRef": parent, "controllerName": "example.com/one", "conditions": conditions})
    }

    fn condition(type_: &str, status: &str, generation: i64) -> Value {
        json!({
            "type": type_, "status": status, "reason": "Because", "message": "of this", "observedGeneration": generation,
            "lastTransitionTime": "2026-12-01T00:00:00Z",
        })
    }

    /// Wrong: users meet a 404 of the gateway, and status says that they are led to the campaign.
    #[test]
    fn an_http_route_is_ready_when_every_gateway_takes_it_as_it_is() {
        let both = |accepted: &str, resolved: &str, generation| {
            json!([condition("Accepted", accepted, generation), condition("ResolvedRefs", resolved, generation)])
        };
        let well = both("True", "True", 2);
        for (what, parents, status, said) in [
            (
                "all take it",
                vec![public(&well), inner(&well)],
                Some(true),
                "accepted by Gateway gateways/public, listener https",
            ),
            ("a later look", vec![public(&both("True", "True", 3)), inner(&well)], Some(true), "accepted"),
            ("nobody has answered", vec![], None, "Gateway gateways/public, listener https says nothing"),
            ("one has not answered", vec![public(&well)], None, "Gateway shop/inner says nothing"),
            (
                "of another listener",
                vec![inner(&well), json!({"parentRef": {"name": "public", "namespace": "gateways"}})],
                None,
                "nothing",
            ),
            (
                "of before",
                vec![public(&both("True", "True", 1)), inner(&well)],
                None,
                "not looked at the route as it is now",
            ),
            (
                "refused before, not looked at since",
                vec![public(&both("False", "True", 1)), inner(&well)],
                None,
                "as it is now",
            ),
            (
                "one refuses",
                vec![public(&both("False", "True", 2)), inner(&well)],
                Some(false),
                "Accepted is False, Because: of this",
            ),
            (
                "no Service",
                vec![public(&well), inner(&both("True", "False", 2))],
                Some(false),
                "shop/inner: ResolvedRefs is False",
            ),
            ("one refuses, one is silent", vec![public(&both("False", "True", 2))], Some(false), "Accepted is False"),
            (
                "half an answer",
                vec![public(&json!([condition("Accepted", "True", 2)])), inner(&well)],
                None,
                "ResolvedRefs is not said",
            ),
            ("undecided", vec![public(&both("Unknown", "True", 2)), inner(&well)], None, "Accepted is Unknown"),
            (
                "one of two controllers refuses",
                vec![public(&well), public(&both("False", "True", 2)), inner(&well)],
                Some(false),
                "False",
            ),
        ] {
            let report = http_route(&route(&parents));
            assert_eq!(report.status, status, "{what}: {}", report.message);
            assert!(report.message.contains(said), "{what}: {}", report.message);
        }
        let mut unread = route(&[]);
        unread.status = None;
        assert_eq!(http_route(&unread).reason, UNANSWERED);
    }

    #[test]
    fn of_an_ingress_no_more_is_said_than_its_address() {
        for (what, points, status, said) in [
            ("none", json!(null), None, "IngressClass nginx"),
            ("an empty one", json!([{}]), None, "IngressClass nginx"),
            ("an address", json!([{"ip": "192.0.2.1"}]), Some(true), "192.0.2.1; whether requests come through"),
            ("a name", json!([{"hostname": "lb.example"}, {"ip": "192.0.2.1"}]), Some(true), "lb.example, 192.0.2.1"),
        ] {
            let object: Ingress = serde_json::from_value(json!({
                "metadata": {"name": "spring-issuer", "namespace": "shop"},
                "spec": {"ingressClassName": "nginx"}, "status": {"loadBalancer": {"ingress": points}},
            }))
            .unwrap();
            let report = ingress(&object);
            assert_eq!(report.status, status, "{what}");
            assert!(report.message.contains(said), "{what}: {}", report.message);
        }
    }
}
