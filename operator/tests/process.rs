//! The operator's program itself, against an API server of which the test is in charge: no real one can be told to keep a list to
//! itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stack::child::{self, Running};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// From SIGTERM to the end. `main.rs` sees to it at compile time that what it waits for itself is below this.
const PROMISED: Duration = Duration::from_secs(2);
/// What a busy machine may add. An operator that waits for a list waits for minutes.
const BUSY: Duration = Duration::from_secs(4);
/// Campaigns, classes, namespaces, Deployments, pods, autoscalers.
const KINDS: usize = 6;

/// What becomes of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// They are answered, and nothing is there.
    Empty,
    /// They are never answered.
    Hang,
    /// They are refused, as without a right.
    Refused,
    /// They fail, as while etcd has no leader.
    Failed,
}

struct Cluster {
    lists: Lists,
    /// Nothing is answered at all.
    silent: bool,
    lease: Mutex<Option<Value>>,
    /// How often each path was listed, and watched.
    listed: Mutex<BTreeMap<String, u32>>,
    watched: Mutex<BTreeMap<String, u32>>,
}

/// The answer to a question that is not answered.
async fn never() -> Response {
    std::future::pending().await
}

fn refusal(code: StatusCode, reason: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16(),
        "message": format!("{reason}, says the test")});
    (code, Json(status)).into_response()
}

async fn answer(State(cluster): State<Arc<Cluster>>, method: Method, uri: Uri, sent: Bytes) -> Response {
    if cluster.silent {
        return never().await;
    }
    if uri.path().contains("/leases") {
        let mut lease = cluster.lease.lock().unwrap();
        if method != Method::GET {
            *lease = Some(serde_json::from_slice(&sent).unwrap());
        }
        return match &*lease {
            Some(lease) => Json(lease).into_response(),
            None => refusal(StatusCode::NOT_FOUND, "NotFound"),
        };
    }
    let count = |of: &Mutex<BTreeMap<String, u32>>| *of.lock().unwrap().entry(uri.path().to_owned()).or_default() += 1;
    if uri.query().is_some_and(|query| query.contains("watch=true")) {
        count(&cluster.watched);
        // Silent and open, as that of a quiet cluster.
        return Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>()).into_response();
    }
    count(&cluster.listed);
    match cluster.lists {
        Lists::Empty => {
            Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}))
                .into_response()
        }
        Lists::Hang => never().await,
        Lists::Refused => refusal(StatusCode::FORBIDDEN, "Forbidden"),
        Lists::Failed => refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    }
}

impl Cluster {
    fn of(lists: Lists) -> Self {
        Self { lists, silent: false, lease: Mutex::default(), listed: Mutex::default(), watched: Mutex::default() }
    }

    async fn serve(self) -> (Arc<Self>, SocketAddr) {
        let cluster = Arc::new(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&cluster));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (cluster, address)
    }

    fn holder(&self) -> Option<String> {
        self.lease.lock().unwrap().as_ref()?["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    /// Whether every kind was asked for so often.
    fn each(of: &Mutex<BTreeMap<String, u32>>, times: u32) -> bool {
        let of = of.lock().unwrap();
        of.len() >= KINDS && of.values().all(|count| *count >= times)
    }
}

/// The program, for which `server` is the API server.
fn program(folder: &Path, server: SocketAddr, probe: &str) -> Command {
    let kubeconfig = folder.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{server}")}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-operator"));
    command
        .arg("run")
        .env("KUBECONFIG", &kubeconfig)
        .env("COUPON_IMAGE", "example.com/coupon:0")
        .env("COUPON_PROBE_LISTEN", probe)
        .env("POD_NAME", "operator-0");
    command
}

/// It runs; and where its probes are.
fn start(server: SocketAddr) -> (Running, SocketAddr) {
    let folder = child::folder("coupon-operator").unwrap();
    let command = program(&folder, server, "127.0.0.1:0");
    let running = Running::start("coupon-operator", command, folder).unwrap();
    let probe = running.addresses(PATIENCE).unwrap()["probe"];
    (running, probe)
}

async fn get(probe: SocketAddr, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{probe}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Tells it to end, and sees that it does.
async fn ends(running: &Running, what: &str) {
    let signalled = Instant::now();
    running.signal(Signal::SIGTERM).unwrap();
    let status = running.ended(PATIENCE).await.unwrap();
    let took = signalled.elapsed();
    assert_eq!(status.code(), Some(0), "{what}: {status}\n{}", running.said());
    println!("{what}: ended after {} ms", took.as_millis());
    assert!(took < PROMISED + BUSY, "{what}: only after {took:?}\n{}", running.said());
}

/// Wrong: an image for tests, with faults that its environment arms, takes a cluster's campaigns in hand.
#[test]
fn a_test_build_works_only_inside_of_a_stack() {
    let run = |arguments: &[&str], stack: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-operator"));
        command.args(arguments).env("KUBECONFIG", "/nowhere").env("COUPON_STACK", stack);
        let output = child::output("coupon-operator", command, PATIENCE).unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let leads = &["run", "--image", "example.com/coupon:0"][..];
    for (arguments, stack, code, says) in [
        (leads, "", 1, "this is a test build"),
        (leads, "demo", 1, "cannot connect to the Kubernetes API"),
        (&["migrations", "print"], "", 0, ""),
        (&["migrations", "views"], "", 0, ""),
        (&["--version"], "", 0, ""),
    ] {
        let (ended, said) = run(arguments, stack);
        assert!(ended == Some(code) && said.contains(says), "{arguments:?} in `{stack}`: {ended:?}, {said}");
    }
}

/// Wrong: with each rollout the next leader waits until a lease has expired, or the kubelet has to kill the old one.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_it_is_told_to_whatever_becomes_of_lists() {
    for lists in [Lists::Empty, Lists::Hang, Lists::Refused, Lists::Failed] {
        let (cluster, address) = Cluster::of(lists).serve().await;
        let (running, probe) = start(address);
        // In the middle of it: the lists are waited for, or have been tried again already, or the watches are open.
        let in_the_middle = async || {
            let begun = match lists {
                Lists::Empty => Cluster::each(&cluster.watched, 1),
                Lists::Hang => Cluster::each(&cluster.listed, 1),
                Lists::Refused | Lists::Failed => Cluster::each(&cluster.listed, 2),
            };
            begun.then_some(())
        };
        running.eventually("it asks for all that it watches", PATIENCE, in_the_middle).await.unwrap();
        assert_eq!(cluster.holder().as_deref(), Some("operator-0"), "{lists:?}");
        assert_eq!(get(probe, "/healthz").await.0, 200, "{lists:?}: it is alive");
        assert!(get(probe, "/metrics").await.1.contains("coupon_operator_leader 1"), "{lists:?}");
        ends(&running, &format!("{lists:?}")).await;
        assert_eq!(cluster.holder(), None, "{lists:?}: the lease is given back");
    }
}

/// Wrong: one that stands by, or that finds no API server, has to be killed.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_it_is_told_to_while_it_does_not_lead() {
    let stands_by = Cluster::of(Lists::Empty);
    let other = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "coupon-operator", "resourceVersion": "7"},
        "spec": {"holderIdentity": "operator-1", "leaseDurationSeconds": 3600, "renewTime": "2026-01-01T00:00:00.000000Z"},
    });
    *stands_by.lease.lock().unwrap() = Some(other);
    for cluster in [stands_by, Cluster { silent: true, ..Cluster::of(Lists::Empty) }] {
        let what = if cluster.silent { "no API server" } else { "standing by" };
        let (cluster, address) = cluster.serve().await;
        let (running, probe) = start(address);
        assert_eq!(get(probe, "/healthz").await.0, 200, "{what}: it is alive");
        assert!(!running.said().contains("leading"), "{what}");
        ends(&running, what).await;
        assert!(cluster.listed.lock().unwrap().is_empty(), "{what}: it does nothing");
        assert_ne!(cluster.holder().as_deref(), Some("operator-0"), "{what}");
    }
}

/// Wrong: an API server that is slow for some seconds puts both operators into the kubelet's back-off, for minutes.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_loses_the_lease_stands_by_again_in_the_same_process_and_leads_when_it_may() {
    let (cluster, address) = Cluster::of(Lists::Empty).serve().await;
    let (running, _) = start(address);
    let times = |what: &str| running.said().matches(what).count();
    running.eventually("it leads", PATIENCE, async || (times("leading") == 1).then_some(())).await.unwrap();
    let lease = |holder: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "coupon-operator", "resourceVersion": "7"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"},
        })
    };
    *cluster.lease.lock().unwrap() = Some(lease("operator-1"));
    let stands_by = async || (times("standing by: another operator holds the lease") == 1).then_some(());
    running.eventually("it stands by", PATIENCE, stands_by).await.unwrap();
    assert_eq!(cluster.holder().as_deref(), Some("operator-1"));
    assert!(running.said().contains("the lease was lost: somebody else holds it; standing by again"));
    *cluster.lease.lock().unwrap() = Some(lease(""));
    running.eventually("it leads again", PATIENCE, async || (times("leading") == 2).then_some(())).await.unwrap();
    ends(&running, "after it stood by").await;
    assert_eq!(cluster.holder(), None, "the lease is given back");
}

/// Wrong: a pod that cannot work looks alive, or says nothing that helps.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_ends_the_process_with_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = child::folder("coupon-operator").unwrap();
    let port = program(&folder, address, &address.to_string());
    let mut nowhere = program(&folder, address, "127.0.0.1:0");
    nowhere.env("KUBECONFIG", "/nowhere/kubeconfig");
    for (command, sentence) in [
        (port, format!("cannot listen on {} for probes", address)),
        (nowhere, "cannot connect to the Kubernetes API".to_owned()),
    ] {
        let ran = tokio::task::spawn_blocking(|| child::output("coupon-operator", command, PATIENCE).unwrap());
        let ran = ran.await.unwrap();
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(ran.status.code() == Some(1) && said.contains(&sentence), "{}: {said}", ran.status);
    }
    std::fs::remove_dir_all(folder).unwrap();
}
