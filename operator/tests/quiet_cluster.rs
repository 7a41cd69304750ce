//! Liveness where nothing happens: an API server that answers lists and renewals and keeps its watches silent, as that of a quiet
//! cluster does. Time is simulated.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as Sent;
use clap::Parser;
use coupon_runtime::telemetry::{self, Probes};
use futures::StreamExt;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use operator::config::{Cli, Command};
use operator::controller::campaign;
use operator::controller::health::{Health, Subsystem};
use operator::controller::leader_election::Election;
use operator::metrics::Metrics;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower_test::mock::Handle;

/// What a watch asks for by default, after which the API server ends it.
const WATCH: Duration = Duration::from_secs(290);

/// An answer that brings nothing and ends after [`WATCH`].
fn silence() -> Sent {
    let nothing =
        futures::stream::once(sleep(WATCH)).filter_map(|()| async { None::<Result<Vec<u8>, std::io::Error>> });
    Sent::from_stream(nothing)
}

fn body(value: &Value) -> Sent {
    Sent::from(serde_json::to_vec(value).unwrap())
}

/// Answers until nobody asks any more. Counts how often each kind was watched.
async fn serve(mut server: Handle<Request<Body>, Response<Sent>>, watched: watch::Sender<BTreeMap<String, u32>>) {
    let mut lease = None;
    while let Some((request, answer)) = server.next_request().await {
        let (head, sent) = request.into_parts();
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default());
        let response = if path.contains("/leases") {
            if head.method == Method::GET {
                match &lease {
                    Some(lease) => Response::new(body(lease)),
                    None => {
                        let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                            "code": 404, "message": "not found"});
                        Response::builder().status(404).body(body(&missing)).unwrap()
                    }
                }
            } else {
                let written: Value = serde_json::from_slice(&sent.collect_bytes().await.unwrap()).unwrap();
                Response::new(body(lease.insert(written)))
            }
        } else if query.contains("watch=true") {
            watched.send_modify(|watched| *watched.entry(path).or_default() += 1);
            Response::new(silence())
        } else {
            let empty = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []});
            Response::new(body(&empty))
        };
        answer.send_response(response);
    }
}

/// The parts of a leading operator, each polled only while the test says so.
struct Operator {
    health: Arc<Health>,
    controller: Pin<Box<dyn Future<Output = ()>>>,
    lease: Pin<Box<dyn Future<Output = ()>>>,
    watched: watch::Receiver<BTreeMap<String, u32>>,
}

fn operator() -> Operator {
    let (service, server) = tower_test::mock::pair::<Request<Body>, Response<Sent>>();
    let client = Client::new(service, "default");
    let (sender, watched) = watch::channel(BTreeMap::new());
    tokio::spawn(serve(server, sender));
    let Command::Run(config) = Cli::parse_from(["coupon-operator", "run", "--image", "example.com/coupon:0"]).command
    else {
        panic!("it runs")
    };
    let health = Arc::new(Health::default());
    let metrics = Metrics::new(&telemetry::registry("coupon"));
    let controller = campaign::run(client.clone(), config, metrics, Arc::clone(&health), std::future::pending::<()>());
    let (renewed, beating) = (Arc::clone(&health), Arc::clone(&health));
    tokio::spawn(async move { beating.beat(Subsystem::Runtime).await });
    let lease = Box::pin(async move {
        let election = Election::new(client, "coupon-system", "me");
        election.acquire().await;
        let lost = election.renew(|| renewed.heard(Subsystem::Lease)).await;
        panic!("{lost}");
    });
    Operator { health, controller: Box::pin(controller), lease, watched }
}

/// Wrong: the kubelet kills an operator that has nothing to do, again and again.
#[tokio::test(start_paused = true)]
async fn an_operator_with_nothing_to_do_stays_alive() {
    let Operator { health, mut controller, mut lease, watched } = operator();
    let looking = async {
        for minute in 0..30 {
            sleep(Duration::from_secs(30)).await;
            assert_eq!(health.alive(), Ok(()), "after {} s", 30 * (minute + 1));
            assert_eq!(health.ready(), Ok(()));
        }
    };
    tokio::select! {
        () = looking => {}
        () = &mut controller => panic!("the controller has ended"),
        () = &mut lease => {}
    }
    let watched = watched.borrow().clone();
    assert!(watched.len() >= 6 && watched.values().all(|times| *times >= 3), "all kinds, again and again: {watched:?}");
}

/// Wrong: an operator that does nothing any more stays, and holds the lease.
#[tokio::test(start_paused = true)]
async fn a_controller_that_is_not_polled_any_more_is_found() {
    let Operator { health, mut controller, mut lease, .. } = operator();
    let begun = async {
        tokio::select! { () = &mut controller => {}, () = &mut lease => {} }
    };
    assert!(timeout(Duration::from_secs(30), begun).await.is_err());
    assert_eq!(health.alive(), Ok(()));
    assert!(timeout(Duration::from_secs(70), &mut lease).await.is_err());
    let said = health.alive().unwrap_err();
    assert!(said.starts_with("the controller's loop has been silent for "), "{said}");
    assert!(!said.contains(';'), "nothing else is blamed: {said}");
}

/// Wrong: nobody renews the lease, another operator takes over, and this one goes on.
#[tokio::test(start_paused = true)]
async fn a_lease_task_that_is_gone_is_found() {
    let Operator { health, mut controller, mut lease, .. } = operator();
    let begun = async {
        tokio::select! { () = &mut controller => {}, () = &mut lease => {} }
    };
    assert!(timeout(Duration::from_secs(30), begun).await.is_err());
    drop(lease);
    assert!(timeout(Duration::from_secs(70), &mut controller).await.is_err());
    let said = health.alive().unwrap_err();
    assert!(said.starts_with("the renewal of the lease has been silent for "), "{said}");
    assert!(!said.contains(';'), "nothing else is blamed: {said}");
}
