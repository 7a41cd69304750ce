//! Many classes of one operator, most of which cannot work, against an API server that the test plays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body as Sent;
use clap::Parser;
use coupon_runtime::telemetry;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use operator::config::{Cli, Command};
use operator::controller::campaign;
use operator::controller::health::Health;
use operator::metrics::Metrics;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower_test::mock::Handle;

use crate::stage::{class, connections};
use crate::unreachable::nowhere;

/// A class that works is Ready within this long, whatever the others do.
const PROMISED: Duration = Duration::from_secs(10);
/// By then every class has been told what is wrong.
const PATIENCE: Duration = Duration::from_secs(90);

/// Conditions by class, as last written: type, then status and reason.
type Told = BTreeMap<String, BTreeMap<String, (String, String)>>;

fn body(value: &Value) -> Sent {
    Sent::from(serde_json::to_vec(value).unwrap())
}

fn missing() -> Response<Sent> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no"});
    Response::builder().status(404).body(body(&status)).unwrap()
}

async fn serve(
    mut server: Handle<Request<Body>, Response<Sent>>,
    classes: BTreeMap<String, Value>,
    secrets: BTreeMap<String, Value>,
    told: watch::Sender<Told>,
) {
    while let Some((request, answer)) = server.next_request().await {
        let (head, sent) = request.into_parts();
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        let last = path.rsplit('/').next().unwrap_or_default().to_owned();
        let response = if head.method == Method::PATCH && path.contains("/campaignclasses/") {
            let name = path.rsplit('/').nth(1).unwrap().to_owned();
            let patch: Value = serde_json::from_slice(&sent.collect_bytes().await.unwrap()).unwrap();
            let text = |each: &Value, key: &str| each[key].as_str().unwrap().to_owned();
            let conditions = patch["status"]["conditions"].as_array().unwrap().iter();
            let conditions =
                conditions.map(|each| (text(each, "type"), (text(each, "status"), text(each, "reason")))).collect();
            told.send_modify(|told| drop(told.insert(name.clone(), conditions)));
            let mut class = classes[&name].clone();
            class["status"] = patch["status"].clone();
            Response::new(body(&class))
        } else if head.method != Method::GET {
            Response::new(Sent::from(sent.collect_bytes().await.unwrap()))
        } else if query.contains("watch=true") {
            Response::new(Sent::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()))
        } else if path.contains("/secrets/") {
            secrets.get(&last).map_or_else(missing, |secret| Response::new(body(secret)))
        } else {
            let items: Vec<&Value> = if last == "campaignclasses" { classes.values().collect() } else { Vec::new() };
            Response::new(body(
                &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}),
            ))
        };
        answer.send_response(response);
    }
}

/// A Secret with the login of the operator or of the pods; `wrong`: the key whose value is not the right one.
fn secret(name: &str, workload: bool, wrong: Option<&str>) -> (String, Value) {
    let all = connections();
    let own = if workload { all.workload } else { all.operator };
    let mut data = json!({
        "redis-username": own.redis.login.username, "redis-password": own.redis.login.password,
        "database-username": own.database.login.username, "database-password": own.database.login.password,
    });
    if let Some(key) = wrong {
        data[key] = json!("wrong");
    }
    let encoded: serde_json::Map<String, Value> = data
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (key.clone(), json!(k8s_openapi::ByteString(value.as_str().unwrap().as_bytes().to_vec()))))
        .collect();
    (name.to_owned(), json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}))
}

/// Wrong: two classes that work have no status for minutes since twenty others do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_broken_classes_delay_no_healthy_one() {
    let (refused, silent) = nowhere().await;
    let silent = silent.local_addr().map(|address| (silent, address.to_string())).unwrap();
    let stack = connections().operator;
    let coupon_core::connections::RedisServer::Address(redis) = stack.redis.server.clone() else {
        panic!("no Sentinel")
    };
    let healthy = |name: &str| {
        let mut class = class(name);
        class["spec"]["redis"]["url"] = json!(format!("redis://{redis}"));
        class["spec"]["database"] = json!({"host": stack.database.host, "port": stack.database.port, "name": stack.database.name, "tls": "Disabled"});
        class
    };
    let sql = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap();
        json!({"host": host, "port": port.parse::<u16>().unwrap(), "name": stack.database.name, "tls": "Disabled"})
    };
    let kafka = |address: &str| json!([address]);
    let url = |address: &str| json!(format!("redis://{address}"));
    let unknown = "no-such-host.invalid:1234";
    let mut broken: Vec<(&str, Value, &str)> = Vec::new();
    for address in [refused.as_str(), silent.1.as_str(), unknown] {
        broken.push(("/spec/redis/url", url(address), "RedisUnavailable"));
        broken.push(("/spec/database", sql(address), "DatabaseUnavailable"));
        broken.push(("/spec/kafka/bootstrapServers", kafka(address), "KafkaUnreachable"));
    }
    let logins = ["wrong-redis", "wrong-database"];
    broken.extend([
        ("/spec/redis/url", json!(format!("rediss://{redis}")), "RedisUnavailable"),
        ("/spec/redis/url", url(&format!("{}:{}", stack.database.host, stack.database.port)), "RedisUnavailable"),
        ("/spec/database", sql(&redis), "DatabaseUnavailable"),
        ("/spec/credentials/operator/secretName", json!(logins[0]), "RedisAuthenticationFailed"),
        ("/spec/credentials/operator/secretName", json!(logins[1]), "DatabaseAccessDenied"),
        ("/spec/credentials/workload/secretName", json!("pods-wrong-redis"), "RedisAuthenticationFailed"),
        ("/spec/credentials/workload/secretName", json!("pods-wrong-database"), "DatabaseAccessDenied"),
        ("/spec/credentials/workload/secretName", json!("nowhere"), "SecretMissing"),
        ("/spec/database/name", json!("nothing_here"), "DatabaseAccessDenied"),
        ("/spec/redis/url", url(&silent.1), "RedisUnavailable"),
        ("/spec/database", sql(&silent.1), "DatabaseUnavailable"),
    ]);
    assert_eq!(broken.len(), 20);
    let mut classes: BTreeMap<String, Value> =
        ["healthy-1", "healthy-2"].map(|name| (name.to_owned(), healthy(name))).into();
    let mut expected = BTreeMap::new();
    for (number, (pointer, value, reason)) in broken.into_iter().enumerate() {
        // Before and behind the healthy ones, in the order of the alphabet.
        let name = format!("{}-{number}", if number % 2 == 0 { "broken" } else { "unwell" });
        let mut class = healthy(&name);
        *class.pointer_mut(pointer).unwrap() = value;
        classes.insert(name.clone(), class);
        expected.insert(name, reason);
    }
    let secrets = [
        secret("operator", false, None),
        secret("workload", true, None),
        secret(logins[0], false, Some("redis-password")),
        secret(logins[1], false, Some("database-password")),
        secret("pods-wrong-redis", true, Some("redis-password")),
        secret("pods-wrong-database", true, Some("database-password")),
    ];
    let (service, server) = tower_test::mock::pair::<Request<Body>, Response<Sent>>();
    let (sender, mut told) = watch::channel(Told::new());
    tokio::spawn(serve(server, classes, secrets.into(), sender));
    let Command::Run(config) = Cli::parse_from(["coupon-operator", "run", "--image", "example.com/coupon:0"]).command
    else {
        panic!("it runs")
    };
    let metrics = Metrics::new(&telemetry::registry("coupon"));
    let began = Instant::now();
    tokio::spawn(campaign::run(
        Client::new(service, "default"),
        config,
        metrics,
        Arc::new(Health::default()),
        std::future::pending::<()>(),
    ));
    let ready = |told: &Told, name: &str| told.get(name).and_then(|each| each.get("Ready")).cloned();
    let is_ready = |told: &Told| {
        ["healthy-1", "healthy-2"].iter().all(|name| ready(told, name).is_some_and(|(status, _)| status == "True"))
    };
    let healthy = tokio::time::timeout(PROMISED, told.wait_for(is_ready)).await.map(|told| told.is_ok());
    let took = began.elapsed();
    assert_eq!(healthy.ok(), Some(true), "after {took:?}: {:?}", told.borrow());
    let all_told = |told: &Told| {
        expected.iter().all(|(name, reason)| {
            ready(told, name).is_some_and(|found| found == ("False".to_owned(), (*reason).to_owned()))
        })
    };
    let named = tokio::time::timeout(PATIENCE, told.wait_for(all_told)).await.map(|told| told.is_ok());
    let wrong: Vec<_> = expected.iter().map(|(name, reason)| (name, reason, ready(&told.borrow(), name))).collect();
    assert_eq!(named.ok(), Some(true), "{wrong:#?}");
    println!("healthy after {took:?}, all after {:?}", began.elapsed());
}
