//! The way in from outside, with the operator as it is installed: its rights, and a cluster that learns of HTTPRoutes while it runs.

use e2e::campaign::{Sale, manifest};
use e2e::install::{self, apply, kubectl};
use e2e::wait::until;
use serde_json::{Value, json};

use crate::test_context::{SOON, TestContext};

/// What the definition is called.
const DEFINITION: &str = "crd/httproutes.gateway.networking.k8s.io";

/// Waits until a condition of the class says this; its words.
async fn class_says(class: &str, condition: &str, status: &str) -> String {
    let wanted = format!("--for=condition={condition}={status}");
    kubectl(&["wait", "campaignclass", class, &wanted, "--timeout=120s"]).await.unwrap();
    let path = format!("jsonpath={{.status.conditions[?(@.type==\"{condition}\")].message}}");
    kubectl(&["get", "campaignclass", class, "-o", &path]).await.unwrap()
}

/// Waits until there is no such object.
async fn is_gone(namespace: &str, object: &str) {
    until(&format!("{object} goes"), SOON, async || {
        match kubectl(&["get", object, "-n", namespace, "--ignore-not-found", "-o", "name"]).await {
            Ok(text) if text.trim().is_empty() => Ok(()),
            Ok(text) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
}

async fn answers(namespace: &str, object: &str, status: &Value) {
    let patch = json!({ "status": status }).to_string();
    kubectl(&["patch", object, "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch]).await.unwrap();
}

/// Wrong: a cluster without the Gateway API cannot sell, or has to restart its operator to learn of it; or the chart lacks a right.
#[tokio::test]
async fn a_campaign_sells_without_the_gateway_api_and_has_its_route_once_it_is_there() {
    let context = TestContext::new("routes").await;
    let namespace = context.namespace.as_str();
    kubectl(&["delete", DEFINITION, "--ignore-not-found"]).await.unwrap();
    let class = format!("routes-{namespace}");
    let plain = install::class(&class, &context.connections, false).unwrap();
    let mut by_gateway = plain.clone();
    by_gateway["spec"]["routing"] = json!({
        "urlTemplate": "https://coupons.example/{namespace}/{couponId}/issue",
        "httpRoute": {"parentRefs": [{"name": "public", "namespace": "gateways"}]},
    });
    apply(&by_gateway).await.unwrap();
    let said = class_says(&class, "RoutingValid", "False").await;
    assert!(said.contains("install the Gateway API"), "{said}");
    let mut wanted = manifest(namespace, "outside", 10, -1, 900);
    wanted["spec"]["className"] = json!(class);
    let sale = Sale::apply(&context.client, wanted).await.unwrap();
    sale.until_condition("RouteReady", "False", "GatewayApiMissing").await.unwrap();
    sale.until_condition("Open", "True", "WindowOpen").await.unwrap();
    assert!(sale.issuer().await.unwrap().insist("anna", None, SOON).await.issued());

    let folder = std::env::var("COUPON_GATEWAY_API").expect("COUPON_GATEWAY_API: run through `make test`");
    kubectl(&["apply", "--server-side", "-f", &format!("{folder}/httproutes.yaml")]).await.unwrap();
    let message = sale.until_condition("RouteReady", "Unknown", "RouteUnanswered").await.unwrap();
    assert!(message.contains("HTTPRoute") || message.contains("was written"), "{message}");
    class_says(&class, "RoutingValid", "True").await;
    let route = "httproute/outside-issuer";
    let rewritten = "jsonpath={.spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch}";
    assert_eq!(kubectl(&["get", route, "-n", namespace, "-o", rewritten]).await.unwrap(), "/api/coupons/outside");
    let condition = |type_: &str| {
        json!({
            "type": type_, "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-12-01T00:00:00Z",
            "observedGeneration": 1,
        })
    };
    let parent = json!({
        "parentRef": {"name": "public", "namespace": "gateways"}, "controllerName": "example.com/gateways",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    });
    answers(namespace, route, &json!({"parents": [parent]})).await;
    sale.until_condition("RouteReady", "True", "RouteAccepted").await.unwrap();

    let mut by_ingress = plain.clone();
    by_ingress["spec"]["routing"] = json!({
        "urlTemplate": "https://coupons.example/api/coupons/{couponId}/issue", "httpRoute": null,
        "ingress": {"className": "nobody", "tlsSecretName": "coupons-tls"},
    });
    apply(&by_ingress).await.unwrap();
    let message = sale.until_condition("RouteReady", "False", "TlsSecretMissing").await.unwrap();
    assert!(message.contains(&format!("Secret {namespace}/coupons-tls")), "{message}");
    is_gone(namespace, route).await;
    kubectl(&["create", "secret", "generic", "coupons-tls", "-n", namespace, "--from-literal=tls.crt=x"])
        .await
        .unwrap();
    sale.until_condition("RouteReady", "Unknown", "RouteUnanswered").await.unwrap();
    let ingress = "ingress/outside-issuer";
    answers(namespace, ingress, &json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})).await;
    sale.until_condition("RouteReady", "True", "AddressAssigned").await.unwrap();

    apply(&plain).await.unwrap();
    is_gone(namespace, ingress).await;
    kubectl(&["delete", "couponcampaign", "outside", "-n", namespace]).await.unwrap();
    kubectl(&["delete", "campaignclass", &class, "--wait=false"]).await.unwrap();
    context.leave().await;
}
