use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::client::Body;

use super::*;
use crate::api::CampaignClass;
use crate::fixtures;
use crate::workloads::tests::{deployment_of, with_resources};

/// What was sent: method, path with query, body.
pub(crate) type Sent = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// An API server that takes every patch, and writes down what it was asked. What it holds has a UID.
pub(crate) fn server() -> (Api<Deployment>, Sent) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let sent = Sent::default();
    let log = sent.clone();
    tokio::spawn(async move {
        while let Some((request, answer)) = handle.next_request().await {
            let (method, uri) = (request.method().clone(), request.uri().to_string());
            let body = request.into_body().collect_bytes().await.unwrap();
            let mut held: Value = serde_json::from_slice(&body).unwrap();
            log.lock().unwrap().push((method, uri, held.clone()));
            // A merge patch is no object.
            if serde_json::from_slice::<Deployment>(&body).is_err() {
                held = json!({});
            }
            held["metadata"]["uid"] = json!("0007");
            answer.send_response(Response::new(Body::from(serde_json::to_vec(&held).unwrap())));
        }
    });
    (Api::namespaced(Client::new(service, "shop"), "shop"), sent)
}

/// What the server would hold after `desired` was applied: with a default of its own, a status, and quantities in its writing.
async fn held_after(desired: &Deployment) -> Deployment {
    let (api, sent) = server();
    ensure(&api, desired, None).await.unwrap();
    let mut held = sent.lock().unwrap().remove(0).2;
    held["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    held["spec"]["replicas"] = json!(1);
    held["status"] = json!({"readyReplicas": 1});
    held["metadata"]["uid"] = json!("0007");
    let container = &mut held["spec"]["template"]["spec"]["containers"][0];
    container["terminationMessagePath"] = json!("/dev/termination-log");
    if container["resources"]["limits"]["cpu"] == "1000m" {
        container["resources"] = json!({"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "500m"}});
    }
    serde_json::from_value(held).unwrap()
}

/// What was sent to make sure of `desired` where `found` is.
async fn sent_for(desired: &Deployment, found: Option<&Deployment>) -> (Applied, Vec<(Method, String, Value)>) {
    let (api, sent) = server();
    let applied = ensure(&api, desired, found).await.unwrap();
    let sent = sent.lock().unwrap().clone();
    (applied, sent)
}

#[tokio::test]
async fn nothing_is_sent_when_all_is_as_it_should_be() {
    // One request per reconciliation and object would be a write loop over all campaigns.
    let desired = deployment_of(&fixtures::class());
    let found = held_after(&desired).await;
    assert_eq!(sent_for(&desired, Some(&found)).await, (Applied::Unchanged, vec![]));
}

#[tokio::test]
async fn one_apply_is_sent_when_something_differs_and_forced_onto_what_was_looked_at_only() {
    let desired = deployment_of(&fixtures::class());
    let mut changed = held_after(&desired).await;
    changed.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some("evil".to_owned());
    for found in [None, Some(&changed)] {
        let (applied, sent) = sent_for(&desired, found).await;
        assert_eq!((applied, sent.len()), (Applied::Written, 1));
        let (method, uri, body) = &sent[0];
        assert_eq!(method, Method::PATCH);
        assert!(uri.starts_with("/apis/apps/v1/namespaces/shop/deployments/spring-consumer?"), "{uri}");
        assert!(uri.contains("fieldManager=coupon-operator"), "{uri}");
        assert!(!uri.contains("coupon-operator-scale"), "{uri}");
        assert_eq!(uri.contains("force=true"), found.is_some(), "{uri}: nobody's object is taken by force");
        assert_eq!(body["metadata"].get("uid"), found.and(Some(&json!("0007"))), "no other object than that");
        assert_eq!((&body["kind"], &body["apiVersion"]), (&json!("Deployment"), &json!("apps/v1")));
        assert_eq!(body["spec"].get("replicas"), None, "the number of replicas is another manager's");
    }
}

/// Wrong: a webhook that adds a sidecar, or a variable set by hand, costs a write with every pass, for ever.
#[tokio::test]
async fn what_others_add_to_lists_costs_no_write() {
    let mut class = fixtures::class();
    class.spec.pods.tolerations = vec![Default::default()];
    let desired = deployment_of(&class);
    let mut found = held_after(&desired).await;
    let pod = found.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    let named = |name: &str| json!({"name": name});
    pod.containers[0].env.as_mut().unwrap().insert(0, serde_json::from_value(named("FOO")).unwrap());
    let mount = json!({"name": "trust", "mountPath": "/trust"});
    pod.containers[0].volume_mounts.as_mut().unwrap().insert(0, serde_json::from_value(mount).unwrap());
    pod.containers[0].ports.as_mut().unwrap().push(serde_json::from_value(json!({"containerPort": 15020})).unwrap());
    pod.volumes.as_mut().unwrap().insert(0, serde_json::from_value(named("trust")).unwrap());
    pod.containers.insert(0, serde_json::from_value(named("istio-proxy")).unwrap());
    pod.tolerations.as_mut().unwrap().insert(0, serde_json::from_value(json!({"key": "spot"})).unwrap());
    pod.image_pull_secrets = Some(vec![serde_json::from_value(named("pull")).unwrap()]);
    assert_eq!(sent_for(&desired, Some(&found)).await, (Applied::Unchanged, vec![]));

    let pod = found.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    pod.containers[1].env.as_mut().unwrap()[2].value = Some("theirs".to_owned());
    assert_eq!(sent_for(&desired, Some(&found)).await.0, Applied::Written, "what is ours is put back");
}

#[tokio::test]
async fn quantities_in_another_writing_are_no_difference() {
    let unusual = json!({"limits": {"cpu": "1000m", "memory": "0.5Gi"}, "requests": {"cpu": "0.5"}, "claims": []});
    let desired = deployment_of(&with_resources(unusual));
    let found = held_after(&desired).await;
    assert_eq!(sent_for(&desired, Some(&found)).await, (Applied::Unchanged, vec![]));

    let more = deployment_of(&with_resources(json!({"limits": {"cpu": "2000m", "memory": "0.5Gi"}})));
    assert_eq!(sent_for(&more, Some(&found)).await.0, Applied::Written, "another amount is one");
}

#[tokio::test]
async fn a_field_that_is_wanted_no_more_is_taken_away() {
    // What is there still covers all that is wanted: only the fingerprint tells.
    let pinned: CampaignClass = {
        let mut class = fixtures::class();
        class.spec.pods.node_selector.insert("disk".to_owned(), "ssd".to_owned());
        class
    };
    let found = held_after(&deployment_of(&pinned)).await;
    let (applied, sent) = sent_for(&deployment_of(&fixtures::class()), Some(&found)).await;
    assert_eq!(applied, Applied::Written);
    assert_eq!(sent[0].2["spec"]["template"]["spec"].get("nodeSelector"), None);
}

#[tokio::test]
async fn the_first_apply_with_replicas_is_no_other_object() {
    // Else an operator that starts over right after it would drop the replicas before the scaler owns them.
    let desired = deployment_of(&fixtures::class());
    let mut first = desired.clone();
    first.spec.as_mut().unwrap().replicas = Some(3);
    let found = held_after(&first).await;
    assert_eq!(sent_for(&desired, Some(&found)).await.0, Applied::Unchanged);
}

#[tokio::test]
async fn scaling_touches_replicas_only_as_a_manager_of_its_own() {
    let (api, sent) = server();
    let mut found = deployment_of(&fixtures::class());
    found.metadata.uid = Some("0007".to_owned());
    scale(&api, &found, 2).await.unwrap();
    let (method, uri, body) = sent.lock().unwrap().remove(0);
    assert_eq!(method, Method::PATCH);
    assert!(uri.contains("fieldManager=coupon-operator-scale") && uri.contains("force=true"), "{uri}");
    let expected = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "spring-consumer", "uid": "0007"}, "spec": {"replicas": 2}
    });
    assert_eq!(body, expected);
}

#[test]
fn what_the_server_adds_is_no_difference_and_what_somebody_changed_is() {
    let wanted = json!({"kind": "X", "spec": {"a": 1, "list": [{"name": "x", "none": ""}], "empty": {}}});
    for (found, same) in [
        (json!({"spec": {"a": 1, "list": [{"name": "x", "protocol": "TCP"}], "default": 3}, "status": {}}), true),
        (json!({"spec": {"a": 2, "list": [{"name": "x"}]}}), false),
        (json!({"spec": {"list": [{"name": "x"}]}}), false),
        // What others put into lists is theirs.
        (json!({"spec": {"a": 1, "list": [{"name": "y"}, {"name": "x"}]}}), true),
        (json!({"spec": {"a": 1, "list": [{"name": "y"}]}}), false),
    ] {
        assert_eq!(covers(&found, &wanted), same, "{found}");
    }
    let command = json!({"command": ["a", "b"]});
    assert!(!covers(&json!({"command": ["a", "b", "c"]}), &command), "words are no names");
    assert!(!covers(&json!({"command": ["b", "a"]}), &command));
}

/// Wrong: one label more in a Service's selector, and users reach nobody, while all seems to be as it should.
#[tokio::test]
async fn what_others_put_into_a_selector_is_taken_out_again() {
    let desired = deployment_of(&fixtures::class());
    let mut found = serde_json::to_value(held_after(&desired).await).unwrap();
    found["spec"]["selector"]["matchLabels"]["app"] = json!("x");
    let found: Deployment = serde_json::from_value(found).unwrap();
    let (applied, sent) = sent_for(&desired, Some(&found)).await;
    assert_eq!((applied, sent.len()), (Applied::Written, 2));
    let removal = json!({"metadata": {"uid": "0007"}, "spec": {"selector": {"matchLabels": {"app": null}}}});
    assert_eq!(sent[0].2, removal, "an apply would leave it where it is");
    assert_eq!(sent[1].2["spec"]["selector"], serde_json::to_value(&desired).unwrap()["spec"]["selector"]);
}
