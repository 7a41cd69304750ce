use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// An API server that shows one issuer, which runs somewhere and cannot be spoken to, and takes no deletion of it.
fn server(refusal: u16) -> (Api<Pod>, Arc<Mutex<Vec<Value>>>) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let deletions: Arc<Mutex<Vec<Value>>> = Arc::default();
    let log = Arc::clone(&deletions);
    tokio::spawn(async move {
        let pod = |uid: &str| json!({"metadata": {"name": "spring-issuer-1", "uid": uid}, "spec": {"nodeName": "n1", "containers": []}});
        while let Some((request, answer)) = handle.next_request().await {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let body = request.into_body().collect_bytes().await.unwrap();
            let reason = if refusal == 409 { "Conflict" } else { "Forbidden" };
            let refused =
                json!({"kind": "Status", "status": "Failure", "reason": reason, "code": refusal, "message": "no"});
            let (code, said) = match (&method, path.ends_with("/pods")) {
                (&Method::DELETE, _) => {
                    log.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                    (refusal, refused)
                }
                (_, true) => {
                    (200, json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod("u1")]}))
                }
                // Who is there by then.
                (_, false) => (200, pod("u2")),
            };
            let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&said).unwrap()));
            answer.send_response(response.unwrap());
        }
    });
    (Api::namespaced(Client::new(service, "shop"), "shop"), deletions)
}

fn issuers(pods: Api<Pod>) -> Issuers {
    let http = PodClient::new().unwrap();
    Issuers { pods, selector: "x=y".to_owned(), tokens: ControlTokens::default(), http, vouched_gone: Vec::new() }
}

/// Wrong: between our look and our deletion a pod of that name was replaced, and the new one, which grants nothing old, is ended.
#[tokio::test]
async fn only_the_very_pod_that_did_not_confirm_is_deleted() {
    let (pods, deletions) = server(409);
    fence(&issuers(pods), 7).await.unwrap();
    let sent = deletions.lock().unwrap().clone();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["preconditions"], json!({"uid": "u1"}));
    assert_eq!(sent[0].get("gracePeriodSeconds"), None, "never by force");

    let (pods, _) = server(403);
    assert!(fence(&issuers(pods), 7).await.is_err(), "a pod that may not be deleted is not fenced");
}

/// An API server with one pod, which is as `look` says at each reading; a deletion takes it away.
fn kubelet(mut look: impl FnMut(usize) -> Value + Send + 'static) -> (Api<Pod>, Arc<Mutex<usize>>) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let deletions: Arc<Mutex<usize>> = Arc::default();
    let deleted = Arc::clone(&deletions);
    tokio::spawn(async move {
        let mut readings = 0;
        while let Some((request, answer)) = handle.next_request().await {
            let is_list = request.uri().path().ends_with("/pods");
            let is_gone = *deleted.lock().unwrap() > 0;
            let nothing =
                || json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no"});
            let (code, said) = match request.method() {
                &Method::DELETE => {
                    *deleted.lock().unwrap() += 1;
                    (200, json!({"kind": "Status", "status": "Success"}))
                }
                _ if is_gone => (404, nothing()),
                _ => {
                    readings += 1;
                    let pod = look(readings);
                    let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod.clone()]});
                    (200, if is_list { list } else { pod })
                }
            };
            let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&said).unwrap()));
            answer.send_response(response.unwrap());
        }
    });
    (Api::namespaced(Client::new(service, "shop"), "shop"), deletions)
}

/// A pod that was made so many seconds ago and runs somewhere.
fn pod(age_s: i64, status: &Value) -> Value {
    let created = Timestamp::from_second(Timestamp::now().as_second() - age_s).unwrap();
    json!({"metadata": {"name": "spring-issuer-1", "uid": "u1", "creationTimestamp": created.to_string()},
        "spec": {"nodeName": "n1", "containers": []}, "status": status})
}

/// Wrong: a campaign that is applied again while its window is open deletes the issuers that were just made for it, and is closed until
/// they are gone.
#[tokio::test]
async fn a_pod_that_is_starting_is_asked_again_until_it_confirms() {
    let host = "127.9.14.1";
    let floors: Arc<Mutex<Vec<Value>>> = Arc::default();
    let heard = Arc::clone(&floors);
    let (pods, deletions) = kubelet(move |reading| {
        if reading == 3 {
            // Its address is known before anybody listens there.
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                let listener = tokio::net::TcpListener::bind((host, ports::CONTROL)).await.unwrap();
                let fence = async move |axum::Json(body): axum::Json<Value>| {
                    heard.lock().unwrap().push(body);
                    axum::Json(json!({"floor": 7, "drained": true, "outstanding": 0}))
                };
                axum::serve(listener, axum::Router::new().route("/fence", axum::routing::post(fence))).await.unwrap();
            });
        }
        pod(1, &if reading < 2 { json!({"phase": "Pending"}) } else { json!({"phase": "Running", "podIP": host}) })
    });
    fence(&issuers(pods), 7).await.unwrap();
    assert_eq!(*deletions.lock().unwrap(), 0);
    let floors = floors.lock().unwrap();
    assert_eq!(floors.first().map(|asked| asked["floor"].clone()), Some(json!(7)), "{floors:?}");
}

/// Wrong: the ledger is read while a pod that never answered may serve an older epoch.
#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_come_up_is_deleted_in_the_end() {
    let begun = Instant::now();
    let (pods, deletions) = kubelet(|_| pod(1, &json!({"phase": "Pending"})));
    fence(&issuers(pods), 7).await.unwrap();
    assert_eq!(*deletions.lock().unwrap(), 1);
    let asked_for = begun.elapsed();
    assert!(asked_for + AGAIN >= CONFIRM_TIMEOUT && asked_for <= CONFIRM_TIMEOUT, "{asked_for:?}");
}

/// Wrong: each repair waits for a pod that will not come up, or one that served is taken for a new one.
#[test]
fn only_what_is_on_its_way_up_is_starting() {
    let waits = |why: &str| {
        json!({"phase": "Pending", "containerStatuses": [{"name": "coupon", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": {"reason": why}}}]})
    };
    let ready = |status: &str| json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status}]});
    let again = json!({"phase": "Running", "containerStatuses": [{"name": "coupon", "image": "", "imageID": "", "ready": false,
        "restartCount": 1}]});
    for (what, age_s, status, expected) in [
        ("nothing is said of it yet", 0, json!(null), true),
        ("by a clock behind the API server's", -5, json!(null), true),
        ("its container is made", 3, waits("ContainerCreating"), true),
        ("it runs, and is not ready", 3, ready("False"), true),
        ("it is ready", 3, ready("True"), false),
        ("its image cannot be had", 3, waits("ImagePullBackOff"), false),
        ("it has ended once", 3, again, false),
        ("it takes too long", YOUNG_S, ready("False"), false),
    ] {
        let found: Pod = serde_json::from_value(pod(age_s, &status)).unwrap();
        assert_eq!(is_starting(&found, Timestamp::now()), expected, "{what}");
    }
    let mut leaving = pod(3, &json!({"phase": "Running"}));
    leaving["metadata"]["deletionTimestamp"] = json!(Timestamp::now().to_string());
    assert!(!is_starting(&serde_json::from_value(leaving).unwrap(), Timestamp::now()), "it is being deleted");
}
