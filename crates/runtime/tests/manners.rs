//! What every answer of the port for users gives back, whoever answers: a route, the HTTP layer, or the server when hyper is gone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Router};
use coupon_runtime::http::{Cors, CorsTerms, Limits, Manners, Peer, Server, Stats};
use coupon_runtime::telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// For what must happen, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn limits() -> Limits {
    Limits { longest_body: 1_000, head: Duration::from_secs(1), body: Duration::from_secs(1), ..Limits::internal() }
}

/// A port with these manners, or with none.
async fn start(manners: Option<Manners>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let [stats] = Stats::register(&telemetry::registry("test"), ["users"]);
    let server = match manners {
        Some(manners) => Server::for_users(limits(), stats, manners),
        None => Server::new(limits(), stats),
    };
    let router = Router::new().route("/", get(async || "hello")).route("/echo", post(async |body: Bytes| body)).route(
        "/peer",
        get(async |peer: Option<Extension<Peer>>| format!("{:?}", peer.map(|Extension(Peer(peer))| peer))),
    );
    tokio::spawn(Arc::clone(&server).serve(listener, router, CancellationToken::new()));
    address
}

/// What is answered until the server closes.
async fn told(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has refused already may not want to hear the rest.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut text = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the server closes");
    String::from_utf8(text).unwrap()
}

/// Requests that are answered by every part of the server, each with `fields`: what it is, the request, the status.
fn requests(fields: &str) -> Vec<(&'static str, String, u16)> {
    let close = "Connection: close\r\n";
    let many: String = (0..64).map(|n| format!("x-{n}: 1\r\n")).collect();
    let post = |more: &str| format!("POST /echo HTTP/1.1\r\nHost: x\r\n{close}{fields}{more}");
    vec![
        ("a route", format!("GET / HTTP/1.1\r\nHost: x\r\n{close}{fields}\r\n"), 200),
        ("no route", format!("GET /nowhere HTTP/1.1\r\nHost: x\r\n{close}{fields}\r\n"), 404),
        ("no method", format!("DELETE / HTTP/1.1\r\nHost: x\r\n{close}{fields}\r\n"), 405),
        ("a body", post("Content-Length: 5\r\n\r\nhello"), 200),
        ("no host", format!("GET / HTTP/1.1\r\n{fields}\r\n"), 400),
        ("too many fields", format!("GET / HTTP/1.1\r\nHost: x\r\n{many}{fields}\r\n"), 431),
        ("a long body", post("Content-Length: 1001\r\n\r\n"), 413),
        ("a transfer coding", post("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501),
        ("a content coding", post("Content-Length: 1\r\nContent-Encoding: br\r\n\r\nx"), 415),
        ("half a body", post("Content-Length: 9\r\n\r\nhalf"), 408),
    ]
}

fn given(answer: &str, name: &str) -> Vec<String> {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

/// Wrong: a request that went wrong cannot be found in the logs of the gateway that sent it.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_a_head_that_was_read_has_its_ids() {
    let address = start(Some(Manners::default())).await;
    for (what, request, status) in requests(&format!("X-Request-Id: order-7\r\nTraceParent: {TRACE}\r\n")) {
        let told = told(address, &request).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {told:?}");
        assert_eq!(given(&told, "x-request-id"), ["order-7"], "{what}: {told:?}");
        assert_eq!(given(&told, "traceparent"), [TRACE], "{what}: {told:?}");
    }
    for (what, request) in [
        ("no HTTP", "hello\r\nX-Request-Id: order-7\r\n\r\n"),
        ("half a head", "GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: order-7\r\n"),
        ("two ids", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n"),
        ("none", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    ] {
        assert_eq!(given(&told(address, request).await, "x-request-id"), [""; 0], "{what}: none is made up");
    }
}

/// Wrong: half a body of a request without an id is answered with the id of the one before.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_of_one_request_only() {
    let address = start(Some(Manners::default())).await;
    let first = b"POST /echo HTTP/1.1\r\nHost: x\r\nX-Request-Id: first\r\nContent-Length: 5\r\n\r\nhello";
    let half_a_body = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf";
    let half_a_head = "POST /echo HTTP/1.1\r\nHost: x\r\nConte";
    for second in [half_a_body, half_a_head] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let (mut text, mut piece) = (Vec::new(), [0; 1024]);
        while !text.ends_with(b"hello") {
            let n = timeout(PATIENCE, stream.read(&mut piece)).await.expect("an answer").unwrap();
            assert!(n > 0, "closed after {text:?}");
            text.extend_from_slice(&piece[..n]);
        }
        stream.write_all(second.as_bytes()).await.unwrap();
        timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the server closes").unwrap();
        let told = String::from_utf8(text).unwrap();
        assert!(told.contains("HTTP/1.1 408 "), "{told:?}");
        assert_eq!(told.matches("x-request-id: first").count(), 1, "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_without_manners_gives_back_nothing() {
    let address = start(None).await;
    for (what, request, status) in requests(&format!("X-Request-Id: order-7\r\nTraceParent: {TRACE}\r\n")) {
        let told = told(address, &request).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {told:?}");
        assert!(given(&told, "x-request-id").is_empty() && given(&told, "traceparent").is_empty(), "{what}: {told:?}");
    }
}

/// Wrong: who asks is counted for an address that is not its own, or a port that needs none pays for it.
#[tokio::test(flavor = "multi_thread")]
async fn routes_hear_who_holds_the_other_end_where_they_are_to() {
    let request = "GET /peer HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";
    for (tells_peer, expected) in [(true, "Some(127.0.0.1)"), (false, "None")] {
        let address = start(Some(Manners { tells_peer, ..Manners::default() })).await;
        let told = told(address, request).await;
        assert!(told.ends_with(&format!("\r\n\r\n{expected}")), "{told:?}");
    }
}

fn problem(status: StatusCode, body: &[u8]) -> Option<Vec<u8>> {
    let failure: serde_json::Value = serde_json::from_slice(body).ok()?;
    serde_json::to_vec(&serde_json::json!({"status": status.as_u16(), "detail": failure["error"]})).ok()
}

/// Wrong: a client that reads problems cannot read what the HTTP layer refuses.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_problems_gets_them_from_the_http_layer_too() {
    let address = start(Some(Manners { problem: Some(problem), ..Manners::default() })).await;
    for (accept, media) in [
        ("application/problem+json", "application/problem+json"),
        ("application/problem+json;q=0.1, application/json", "application/json"),
        ("*/*", "application/json"),
    ] {
        for (what, request, status) in requests(&format!("Accept: {accept}\r\n")) {
            let told = told(address, &request).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {told:?}");
            let (_, body) = told.split_once("\r\n\r\n").unwrap();
            assert_eq!(given(&told, "content-length"), [body.len().to_string()], "{what}: {told:?}");
            // The routes of this test fail without a body, which is no failure of anybody.
            if body.starts_with('{') {
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                assert_eq!(given(&told, "content-type"), [media], "{what}: {told:?}");
                let has_status = (media == "application/problem+json").then(|| status.into());
                assert_eq!(body.get("status").cloned(), has_status, "{what}: {told:?}");
            } else {
                assert!([200, 404, 405].contains(&status), "{what}: {told:?}");
            }
        }
    }
}

/// Wrong: a page cannot call, or cannot read why it was refused, or every page may.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_known_origins_may_call_and_read_every_answer() {
    const TERMS: CorsTerms = CorsTerms { methods: "GET, POST", sent: "content-type", read: "x-request-id" };
    let origins = vec!["https://shop.example".parse().unwrap()];
    let cors = Cors::new(origins, Duration::from_secs(60), TERMS);
    let address = start(Some(Manners { cors: Some(cors), ..Manners::default() })).await;
    for (origin, admitted) in [("https://shop.example", &["https://shop.example"][..]), ("https://evil.example", &[])] {
        for (what, request, status) in requests(&format!("Origin: {origin}\r\n")) {
            let told = told(address, &request).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {told:?}");
            assert_eq!(given(&told, "access-control-allow-origin"), admitted, "{what}: {told:?}");
            assert_eq!(given(&told, "access-control-expose-headers").len(), admitted.len(), "{what}: {told:?}");
            assert_eq!(given(&told, "vary"), ["origin"], "{what}: {told:?}");
        }
        let preflight = format!(
            "OPTIONS /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\nX-Request-Id: order-7\r\n\r\n"
        );
        let told = told(address, &preflight).await;
        assert_eq!(told.starts_with("HTTP/1.1 204 "), !admitted.is_empty(), "no route hears of it: {told:?}");
        assert_eq!(given(&told, "access-control-allow-methods").is_empty(), admitted.is_empty(), "{told:?}");
        assert_eq!(
            (given(&told, "vary"), given(&told, "x-request-id")),
            (vec!["origin".to_owned()], vec!["order-7".to_owned()])
        );
        assert_eq!(given(&told, "access-control-allow-credentials"), [""; 0]);
    }
    let told = told(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!((given(&told, "vary").len(), given(&told, "access-control-allow-origin").len()), (1, 0), "{told:?}");
}
