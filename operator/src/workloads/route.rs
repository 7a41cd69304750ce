//! The way from outside to a campaign's Service: an HTTPRoute or an Ingress, as the class says.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Component, metadata, object_name};
use crate::api::{CouponCampaign, HttpRouteTemplate, IngressTemplate, RouteParent};
use crate::routes::http_route::{
    BackendReference, HttpRoute, HttpRouteFilter, HttpRouteMatch, HttpRouteRule, HttpRouteSpec, ParentReference,
    PathMatch, PathModifier, UrlRewrite,
};
use crate::routes::place::Place;

/// The port of the Service.
const PORT: i32 = 80;

/// Builds the HTTPRoute: everything below the campaign's place goes to its Service, under the path that issuers know.
pub fn http_route(campaign: &CouponCampaign, template: &HttpRouteTemplate, place: &Place) -> HttpRoute {
    let rewrite = || HttpRouteFilter {
        kind: "URLRewrite".to_owned(),
        url_rewrite: Some(UrlRewrite {
            path: Some(PathModifier {
                kind: "ReplacePrefixMatch".to_owned(),
                replace_prefix_match: Some(in_place_of(&place.prefix, &place.served)),
            }),
        }),
    };
    HttpRoute {
        metadata: described(campaign),
        spec: HttpRouteSpec {
            parent_refs: template.parent_refs.iter().map(parent).collect(),
            hostnames: place.hosts.clone(),
            rules: vec![HttpRouteRule {
                matches: vec![HttpRouteMatch {
                    path: Some(PathMatch { kind: "PathPrefix".to_owned(), value: place.prefix.clone() }),
                }],
                filters: place.is_rewritten().then(rewrite).into_iter().collect(),
                backend_refs: vec![BackendReference {
                    name: object_name(campaign, Component::Issuer),
                    port: Some(PORT),
                }],
            }],
        },
        status: None,
    }
}

/// Builds the Ingress: the same, without another path.
pub fn ingress(campaign: &CouponCampaign, template: &IngressTemplate, place: &Place) -> Ingress {
    let metadata = described(campaign);
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: object_name(campaign, Component::Issuer),
            port: Some(ServiceBackendPort { number: Some(PORT), name: None }),
        }),
        resource: None,
    };
    let path = HTTPIngressPath { path: Some(place.prefix.clone()), path_type: "Prefix".to_owned(), backend };
    let rule = |host: &String| IngressRule {
        host: Some(host.clone()),
        http: Some(HTTPIngressRuleValue { paths: vec![path.clone()] }),
    };
    let tls = |name: &String| vec![IngressTLS { hosts: Some(place.hosts.clone()), secret_name: Some(name.clone()) }];
    Ingress {
        metadata: ObjectMeta {
            annotations: Some(template.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            ..metadata
        },
        spec: Some(IngressSpec {
            ingress_class_name: Some(template.class_name.clone()),
            rules: Some(place.hosts.iter().map(rule).collect()),
            tls: template.tls_secret_name.as_ref().map(tls),
            default_backend: None,
        }),
        status: None,
    }
}

/// It has the Service's name.
fn described(campaign: &CouponCampaign) -> ObjectMeta {
    metadata(campaign, object_name(campaign, Component::Issuer), Some(Component::Issuer))
}

/// What stands in place of the prefix. A slash at its end is the same by the definition of HTTPRoute. Contour and Envoy take `/` off a path of `/issue` and
/// leave `issue`, so there it must be said.
fn in_place_of(prefix: &str, served: &str) -> String {
    if prefix == "/" { format!("{served}/") } else { served.to_owned() }
}

fn parent(template: &RouteParent) -> ParentReference {
    ParentReference {
        name: template.name.clone(),
        namespace: template.namespace.clone(),
        section_name: template.section_name.clone(),
        port: template.port.map(i32::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::routes::place::Names;
    use kube::ResourceExt;
    use serde_json::{Value, json};

    const NAMES: Names<'_> = Names { namespace: "shop", name: "spring", coupon_id: "spring" };

    fn routing(value: Value) -> crate::api::Routing {
        serde_json::from_value(value).unwrap()
    }

    fn http_route_of(template: &str) -> HttpRoute {
        let parents = json!([{"name": "public", "namespace": "gateways", "sectionName": "https"}, {"name": "inner", "port": 8443}]);
        let routing = routing(json!({"urlTemplate": template, "httpRoute": {"parentRefs": parents}}));
        let place = Place::of(&routing, NAMES).unwrap();
        http_route(&fixtures::campaign(), routing.http_route.as_ref().unwrap(), &place)
    }

    /// Wrong: users come out at another path than the one that issuers know, or at another campaign's Service.
    #[test]
    fn an_http_route_leads_from_the_url_to_the_service() {
        let backend = json!([{"name": "spring-issuer", "port": 80}]);
        let matches = |path: &str| json!([{"path": {"type": "PathPrefix", "value": path}}]);
        let rewrite = |to: &str| {
            json!([{
                "type": "URLRewrite",
                "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": to}},
            }])
        };
        for (template, rule) in [
            (
                "https://c.example/api/coupons/{couponId}/issue",
                json!({"matches": matches("/api/coupons/spring"), "backendRefs": backend}),
            ),
            (
                "https://c.example/{namespace}/{couponId}/issue",
                json!({"matches": matches("/shop/spring"), "filters": rewrite("/api/coupons/spring"), "backendRefs": backend}),
            ),
            (
                "https://c.example/issue",
                json!({"matches": matches("/"), "filters": rewrite("/api/coupons/spring/"), "backendRefs": backend}),
            ),
        ] {
            let spec = serde_json::to_value(http_route_of(template).spec).unwrap();
            let parents = json!([
                {"name": "public", "namespace": "gateways", "sectionName": "https"}, {"name": "inner", "port": 8443},
            ]);
            assert_eq!(spec, json!({"parentRefs": parents, "hostnames": ["c.example"], "rules": [rule]}), "{template}");
        }
    }

    #[test]
    fn an_ingress_leads_from_the_url_to_the_service() {
        let routing = routing(json!({
            "urlTemplate": "https://{namespace}.c.example/api/coupons/{couponId}/issue",
            "ingress": {"className": "nginx", "annotations": {"example.com/limit": "5"}, "tlsSecretName": "c-example"},
        }));
        let place = Place::of(&routing, NAMES).unwrap();
        let built = ingress(&fixtures::campaign(), routing.ingress.as_ref().unwrap(), &place);
        assert_eq!(built.annotations()["example.com/limit"], "5");
        let backend = json!({"service": {"name": "spring-issuer", "port": {"number": 80}}});
        let path = json!({"path": "/api/coupons/spring", "pathType": "Prefix", "backend": backend});
        let expected = json!({
            "ingressClassName": "nginx",
            "rules": [{"host": "shop.c.example", "http": {"paths": [path]}}],
            "tls": [{"hosts": ["shop.c.example"], "secretName": "c-example"}],
        });
        assert_eq!(serde_json::to_value(built.spec).unwrap(), expected);
    }

    /// Wrong: a route stays when its campaign is gone, or one of somebody else's is taken for ours.
    #[test]
    fn a_route_is_the_campaigns_and_bears_the_name_of_its_service() {
        let route = http_route_of("https://c.example/{name}/issue");
        let owner = &route.owner_references()[0];
        assert_eq!((route.name_any().as_str(), route.namespace().as_deref()), ("spring-issuer", Some("shop")));
        assert_eq!((owner.uid.as_str(), owner.controller), ("0001", Some(true)));
        assert_eq!(route.labels()["app.kubernetes.io/managed-by"], "coupon-operator");
    }
}
