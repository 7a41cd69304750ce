//! Nothing is said and nothing is written before every watch has shown what there is: an API server whose lists come late, one kind at
//! a time, as on a large cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use clap::Parser;
use common::Kind;
use coupon_runtime::telemetry;
use kube::Client;
use operator::config::{Cli, Command};
use operator::controller::campaign;
use operator::controller::health::Health;
use operator::metrics::Metrics;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

/// All that is watched.
const KINDS: [&str; 7] = [
    "couponcampaigns",
    "campaignclasses",
    "namespaces",
    "deployments",
    "pods",
    "horizontalpodautoscalers",
    "endpointslices",
];
/// Long enough for a pass that does not wait: its first write comes within milliseconds.
const QUIET: Duration = Duration::from_secs(1);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an API server sees, and which list it keeps to itself.
struct Cluster {
    late: &'static str,
    released: watch::Sender<bool>,
    listed: watch::Sender<BTreeSet<String>>,
    written: watch::Sender<Vec<String>>,
}

fn items(kind: &str) -> Value {
    match kind {
        "couponcampaigns" => {
            let meta = json!({"namespace": "shop", "uid": "u1", "resourceVersion": "1", "generation": 1});
            json!([Kind::Campaign.patched(&json!({"metadata": meta, "spec": {"className": "main"}}))])
        }
        "campaignclasses" => {
            json!([Kind::Class.patched(&json!({"metadata": {"uid": "u2", "resourceVersion": "1", "generation": 1}}))])
        }
        "namespaces" => {
            let meta = json!({"name": "shop", "labels": {"coupon-operator.io/enabled": "true"}});
            json!([{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}])
        }
        _ => json!([]),
    }
}

async fn answer(State(cluster): State<Arc<Cluster>>, method: Method, uri: Uri, sent: Bytes) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    if method != Method::GET {
        let text = format!("{method} {} {}", uri.path(), String::from_utf8_lossy(&sent));
        cluster.written.send_modify(|written| written.push(text));
        // As it was: nobody looks at it.
        let kind = KINDS.into_iter().find(|kind| uri.path().contains(&format!("/{kind}/")));
        let object = kind.and_then(|kind| items(kind).get(0).cloned());
        return Json(object.unwrap_or_else(|| serde_json::from_slice(&sent).unwrap_or_default())).into_response();
    }
    if !KINDS.contains(&last.as_str()) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "not found"});
        return (StatusCode::NOT_FOUND, Json(status)).into_response();
    }
    if uri.query().is_some_and(|query| query.contains("watch=true")) {
        return Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>()).into_response();
    }
    cluster.listed.send_modify(|listed| {
        listed.insert(last.clone());
    });
    if last == cluster.late {
        cluster.released.subscribe().wait_for(|released| *released).await.unwrap();
    }
    let items = items(&last);
    Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
        .into_response()
}

/// Wrong: with each start some classes are called missing, and Deployments that run are taken for none and scaled anew.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_or_written_before_every_watch_has_shown_what_there_is() {
    for late in KINDS {
        let cluster = Arc::new(Cluster {
            late,
            released: watch::channel(false).0,
            listed: watch::channel(BTreeSet::new()).0,
            written: watch::channel(Vec::new()).0,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&cluster));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let client = Client::try_from(kube::Config::new(format!("http://{address}").parse().unwrap())).unwrap();
        let Command::Run(config) =
            Cli::parse_from(["coupon-operator", "run", "--image", "example.com/coupon:0"]).command
        else {
            panic!("it runs")
        };
        let (health, metrics) = (Arc::new(Health::default()), Metrics::new(&telemetry::registry("coupon")));
        let running = campaign::run(client, config, metrics, health, std::future::pending::<()>());
        tokio::select! {
            () = sees(&cluster) => {}
            () = running => panic!("the controller has ended"),
        }
        serving.abort();
    }
}

/// What the API server hears before it shows the last list, and after.
async fn sees(cluster: &Cluster) {
    let late = cluster.late;
    let mut listed = cluster.listed.subscribe();
    let all = listed.wait_for(|listed| listed.len() == KINDS.len());
    timeout(PATIENCE, all).await.expect("all kinds are listed").unwrap();
    let mut written = cluster.written.subscribe();
    if let Ok(written) = timeout(QUIET, written.wait_for(|written| !written.is_empty())).await {
        panic!("{late} were not shown yet: {:?}", *written.unwrap());
    }
    cluster.released.send_replace(true);
    // The class is there, and its Secrets are not: that is what is said, and nothing else was in between.
    let is_status = |line: &String| line.contains("/couponcampaigns/first-hundred/status");
    let said = written.wait_for(|written| written.iter().any(is_status));
    let said = timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("{late}: nothing is said")).unwrap().to_vec();
    let status = said.iter().find(|line| is_status(line)).unwrap();
    assert!(status.contains("SecretMissing"), "{late}: {status}");
    assert!(
        !said.iter().any(|line| line.contains("ClassNotFound") || line.contains("/deployments/")),
        "{late}: {said:?}"
    );
}
