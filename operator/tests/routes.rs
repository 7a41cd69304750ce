//! Routes at a real API server: what it makes of them is no difference, and what those say who are to lead users along them is read as it
//! is written. Needs KUBECONFIG, and COUPON_GATEWAY_API: the folder with the definition of HTTPRoute.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fmt::Debug;

use common::Kind;
use common::kubernetes::{Kubernetes, until};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use operator::api::{CouponCampaign, Routing};
use operator::routes::{HttpRoute, Names, Place};
use operator::workloads;
use operator::workloads::apply::{self, Applied};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What the definition is called.
const DEFINITION: &str = "httproutes.gateway.networking.k8s.io";

fn campaign(namespace: &str) -> CouponCampaign {
    serde_json::from_value(Kind::Campaign.patched(&json!({"metadata": {"namespace": namespace}}))).unwrap()
}

fn place(routing: &Routing, namespace: &str) -> Place {
    Place::of(routing, Names { namespace, name: "first-hundred", coupon_id: "first-hundred" }).unwrap()
}

fn ingress(namespace: &str, annotations: &Value) -> Ingress {
    let routing: Routing = serde_json::from_value(json!({
        "urlTemplate": "https://{namespace}.c.example/api/coupons/{couponId}/issue",
        "ingress": {"className": "nginx", "annotations": annotations, "tlsSecretName": "c-example"},
    }))
    .unwrap();
    workloads::ingress(&campaign(namespace), routing.ingress.as_ref().unwrap(), &place(&routing, namespace))
}

fn http_route(namespace: &str, template: &str) -> HttpRoute {
    let parents =
        json!([{"name": "public", "namespace": "gateways", "sectionName": "https"}, {"name": "inner", "port": 8443}]);
    let routing: Routing = serde_json::from_value(json!({
        "urlTemplate": template, "httpRoute": {"parentRefs": parents, "hostnames": ["*.c.example"]},
    }))
    .unwrap();
    workloads::http_route(&campaign(namespace), routing.http_route.as_ref().unwrap(), &place(&routing, namespace))
}

/// Applies, reads back, and makes sure again: nothing may be left to do, nor after somebody else's change is put back.
async fn settles<K>(api: &Api<K>, desired: &K, theirs: &Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
{
    let name = desired.name_any();
    let found = api.get_opt(&name).await.unwrap();
    assert_eq!(apply::ensure(api, desired, found.as_ref()).await.unwrap(), Applied::Written);
    let found = api.get(&name).await.unwrap();
    assert_eq!(apply::ensure(api, desired, Some(&found)).await.unwrap(), Applied::Unchanged, "{found:#?}");
    let changed = api.patch(&name, &PatchParams::default(), &Patch::Merge(theirs)).await.unwrap();
    assert_eq!(apply::ensure(api, desired, Some(&changed)).await.unwrap(), Applied::Written, "their change is seen");
    let back = api.get(&name).await.unwrap();
    assert_eq!(apply::ensure(api, desired, Some(&back)).await.unwrap(), Applied::Unchanged, "{back:#?}");
}

/// Wrong: an Ingress is written at each look; or an annotation stays that the class has no more.
#[tokio::test]
async fn what_the_server_makes_of_an_ingress_is_no_difference() {
    let kubernetes = Kubernetes::connect().await;
    let namespace = kubernetes.namespace.as_str();
    let api: Api<Ingress> = Api::namespaced(kubernetes.client.clone(), namespace);
    let theirs = json!({"spec": {"ingressClassName": "theirs"}});
    settles(&api, &ingress(namespace, &json!({"example.com/limit": "5"})), &theirs).await;
    settles(&api, &ingress(namespace, &json!({})), &theirs).await;
    let found = api.get("first-hundred-issuer").await.unwrap();
    assert!(!found.annotations().contains_key("example.com/limit"), "{found:#?}");
    kubernetes.remove().await;
}

/// Wrong: users are led to a path that issuers do not know, and the Gateway's answer is read as another one's.
#[tokio::test]
async fn what_the_server_makes_of_an_http_route_is_no_difference() {
    let kubernetes = Kubernetes::connect().await;
    let namespace = kubernetes.namespace.as_str();
    let api: Api<HttpRoute> = Api::namespaced(kubernetes.client.clone(), namespace);
    define_http_routes(&kubernetes).await;
    until("HTTPRoutes are served", async || api.list(&Default::default()).await.ok()).await;

    let theirs = json!({"spec": {"hostnames": ["theirs.example"]}});
    settles(&api, &http_route(namespace, "https://c.example/api/coupons/{couponId}/issue"), &theirs).await;
    let rewriting = http_route(namespace, "https://c.example/{namespace}/{couponId}/issue");
    settles(&api, &rewriting, &theirs).await;
    let rest = http_route(namespace, "https://{couponId}.c.example/issue");
    settles(&api, &rest, &theirs).await;

    // As a controller writes it.
    let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-12-01T00:00:00Z", "observedGeneration": 1});
    let parent = json!({
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public", "namespace": "gateways"},
        "controllerName": "example.com/one", "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    });
    let status = json!({"status": {"parents": [parent]}});
    api.patch_status("first-hundred-issuer", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let found = api.get("first-hundred-issuer").await.unwrap();
    let parents = found.status.as_ref().unwrap().parents.clone();
    assert_eq!((parents[0].parent_ref.name.as_str(), parents[0].conditions.len()), ("public", 2));
    assert_eq!(apply::ensure(&api, &rest, Some(&found)).await.unwrap(), Applied::Unchanged, "an answer is no change");

    // One of somebody else, which says nothing of what ours says, can be read, and so left alone.
    let foreign: HttpRoute = serde_json::from_value(json!({
        "metadata": {"name": "theirs"}, "spec": {"rules": [{"matches": [{"headers": [{"name": "a", "value": "b"}]}]}]},
    }))
    .unwrap();
    api.create(&PostParams::default(), &foreign).await.unwrap();
    assert!(api.get("theirs").await.unwrap().spec.parent_refs.is_empty());
    apply::ensure(&api, &rest, Some(&found)).await.unwrap();
    api.delete("theirs", &DeleteParams::default()).await.unwrap();
    kubernetes.remove().await;
}

/// Brings the definition in, as whoever installs the Gateway API does.
async fn define_http_routes(kubernetes: &Kubernetes) {
    let folder = std::env::var("COUPON_GATEWAY_API").expect(
        "COUPON_GATEWAY_API is not set: run the tests through `make test`, or `stack install --test-packages` before",
    );
    let text = std::fs::read_to_string(format!("{folder}/httproutes.yaml")).unwrap();
    let definition: CustomResourceDefinition = coupon_core::yaml::from_str(&text).unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(kubernetes.client.clone());
    let force = PatchParams::apply("coupon-operator-tests").force();
    definitions.patch(DEFINITION, &force, &Patch::Apply(&definition)).await.unwrap();
}
