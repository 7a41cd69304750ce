//! The way in from outside, over a campaign's life.

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::realm::Realm;
use super::wait::{NAME, NAMESPACE, until};

/// Of the Service, and of what leads to it.
const ISSUER: &str = "spring-issuer";

fn asks_for(cluster: &Cluster, routing: &Value) {
    cluster.api.apply("campaignclasses", "", &json!({"metadata": {"name": "main"}, "spec": {"routing": routing}}));
}

/// What Kubernetes makes of a Service that has a selector.
fn has_slices(cluster: &Cluster) {
    let labels = json!({"app.kubernetes.io/managed-by": "coupon-operator", "kubernetes.io/service-name": ISSUER});
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "spring-issuer-x", "labels": labels},
        "addressType": "IPv4", "endpoints": [],
    });
    cluster.api.apply("endpointslices", NAMESPACE, &slice);
}

fn is_accepted(cluster: &Cluster, status: &str) {
    let route = cluster.api.get("httproutes", NAMESPACE, ISSUER).unwrap();
    let condition = |type_: &str| {
        json!({
            "type": type_, "status": status, "reason": "NotAllowedByListeners", "message": "of this", "lastTransitionTime": "2026-12-01T00:00:00Z",
            "observedGeneration": route["metadata"]["generation"],
        })
    };
    let parent = json!({
        "parentRef": {"name": "public", "namespace": "gateways"}, "controllerName": "example.com/one",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    });
    let status = json!({"metadata": {"name": ISSUER}, "status": {"parents": [parent]}});
    cluster.api.apply("httproutes", NAMESPACE, &status);
}

async fn is_gone(cluster: &Cluster, kind: &str) {
    until(&format!("{kind} go"), async || cluster.api.get(kind, NAMESPACE, ISSUER).is_none().then_some(())).await;
}

/// Wrong: users who come from outside meet nobody, and status says that all is well; or what the class asks for no more stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_has_the_route_that_its_class_asks_for_as_long_as_it_does() {
    let realm = Realm::new();
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let template = json!("https://c.example/{namespace}/{couponId}/issue");
    asks_for(
        &cluster,
        &json!({"urlTemplate": template, "httpRoute": {"parentRefs": [{"name": "public", "namespace": "gateways"}]}}),
    );
    until("status says the address", async || {
        (cluster.object()?["status"]["url"] == json!("https://c.example/shop/spring/issue")).then_some(())
    })
    .await;
    assert!(cluster.api.all("httproutes", NAMESPACE).is_empty(), "there is nothing to which it could lead");
    has_slices(&cluster);
    let said = cluster.says("RouteReady", "Unknown", "RouteUnanswered").await;
    assert!(said.contains("route was written") || said.contains("Gateway gateways/public says nothing"), "{said}");
    let route = cluster.api.get("httproutes", NAMESPACE, ISSUER).unwrap();
    assert_eq!(route["metadata"]["ownerReferences"][0]["name"], json!(NAME));
    is_accepted(&cluster, "False");
    let said = cluster.says("RouteReady", "False", "RouteNotAccepted").await;
    assert!(said.contains("NotAllowedByListeners: of this"), "{said}");
    until("an event", async || cluster.events().iter().any(|reason| reason == "RouteNotReady").then_some(())).await;
    is_accepted(&cluster, "True");
    cluster.says("RouteReady", "True", "RouteAccepted").await;

    // The other kind instead.
    let served = json!("https://c.example/api/coupons/{couponId}/issue");
    asks_for(
        &cluster,
        &json!({"urlTemplate": served, "httpRoute": null, "ingress": {"className": "nginx", "tlsSecretName": "c"}}),
    );
    let said = cluster.says("RouteReady", "False", "TlsSecretMissing").await;
    assert!(said.contains("Secret shop/c"), "{said}");
    is_gone(&cluster, "httproutes").await;
    cluster.api.apply("secrets", NAMESPACE, &json!({"metadata": {"name": "c", "namespace": NAMESPACE}}));
    cluster.says("RouteReady", "Unknown", "RouteUnanswered").await;
    let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}, "metadata": {"name": ISSUER}});
    cluster.api.apply("ingresses", NAMESPACE, &address);
    cluster.says("RouteReady", "True", "AddressAssigned").await;

    // Nothing any more.
    asks_for(&cluster, &json!({"ingress": null}));
    is_gone(&cluster, "ingresses").await;
    until("nothing is said of it", async || {
        let object = cluster.object()?;
        let mut all = object["status"]["conditions"].as_array()?.iter();
        all.all(|each| each["type"] != json!("RouteReady")).then_some(())
    })
    .await;
    assert!(cluster.events().iter().any(|reason| reason == "ChildRemoved"), "{:?}", cluster.events());
}

/// Wrong: somebody's Ingress is taken over or removed; or it stops a sale.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_has_made_is_left_alone() {
    let realm = Realm::new();
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let theirs = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": ISSUER, "namespace": NAMESPACE},
        "spec": {"ingressClassName": "theirs"},
    });
    cluster.api.apply("ingresses", NAMESPACE, &theirs);
    let before = cluster.api.get("ingresses", NAMESPACE, ISSUER);
    has_slices(&cluster);
    let template = json!("https://c.example/api/coupons/{couponId}/issue");
    asks_for(&cluster, &json!({"urlTemplate": template, "ingress": {"className": "nginx"}}));
    let said = cluster.says("RouteReady", "False", "ResourceConflict").await;
    assert!(said.contains("Ingress shop/spring-issuer exists and is not this campaign's"), "{said}");
    cluster.change(&json!({"spec": {"totalQuantity": 600_000}}));
    until("the sale goes on", async || {
        (cluster.object()?["status"]["terms"]["totalQuantity"] == json!(600_000)).then_some(())
    })
    .await;
    asks_for(&cluster, &json!({"ingress": null}));
    until("nothing is said of it", async || {
        let object = cluster.object()?;
        let mut all = object["status"]["conditions"].as_array()?.iter();
        all.all(|each| each["type"] != json!("RouteReady")).then_some(())
    })
    .await;
    assert_eq!(cluster.api.get("ingresses", NAMESPACE, ISSUER), before);
}

/// Wrong: people who ask for a coupon at one shop get one of another, as both called it the same.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_campaigns_with_one_address_the_older_has_it() {
    let realm = Realm::new();
    let cluster = realm.cluster("a");
    cluster.is_open().await;
    let labels = json!({"coupon-operator.io/enabled": "true"});
    cluster.api.apply("namespaces", "", &json!({"metadata": {"name": "books", "labels": labels}}));
    let older = json!({
        "apiVersion": "coupon-operator.io/v1alpha1", "kind": "CouponCampaign",
        "metadata": {"name": NAME, "namespace": "books", "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": cluster.object().unwrap()["spec"],
    });
    cluster.api.apply("couponcampaigns", "books", &older);
    until("the class has taken it", async || {
        cluster.api.get("couponcampaigns", "books", NAME)?["status"]["className"].as_str().map(|_| ())
    })
    .await;
    has_slices(&cluster);
    let of = |template: &str| json!({"urlTemplate": template, "httpRoute": {"parentRefs": [{"name": "public", "namespace": "gateways"}]}});
    asks_for(&cluster, &of("https://c.example/api/coupons/{couponId}/issue"));
    let said = cluster.says("RouteReady", "False", "RouteTaken").await;
    assert!(said.contains("campaign books/spring, which is older"), "{said}");
    assert!(cluster.api.all("httproutes", NAMESPACE).is_empty());
    asks_for(&cluster, &of("https://c.example/{namespace}/{couponId}/issue"));
    cluster.says("RouteReady", "Unknown", "RouteUnanswered").await;
}
