//! What is no request, or too much of one, is refused in words that its client can read.

use coupon_runtime::http::Limits;
use tokio::io::AsyncWriteExt;

use super::port::{HALF, HELD, HELLO, PATIENCE, answer, rest, small, start};

/// Wrong: an answer without a body, or none, or one that is torn down before it is read.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_in_json() {
    let port = start(Limits { connections: 100, ..small() }).await;
    let head = |more: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{more}\r\n").into_bytes();
    let fields = |n: usize| head(&(0..n).map(|i| format!("x-{i}: 1\r\n")).collect::<String>());
    let large = |bytes: usize| head(&format!("x: {}\r\n", "a".repeat(bytes)));
    let path = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(bytes)).into_bytes();
    for (what, sent, status, code) in [
        ("a head of 15 KB", large(15_000), 200, ""),
        ("a head of 17 KB", large(17_000), 431, "INVALID_REQUEST"),
        ("a head of 380 KB", large(380_000), 431, "INVALID_REQUEST"),
        ("63 more fields", fields(63), 200, ""),
        ("64 more fields", fields(64), 431, "INVALID_REQUEST"),
        ("1,000 more fields", fields(1_000), 431, "INVALID_REQUEST"),
        ("a path of 17 KB", path(17_000), 431, "INVALID_REQUEST"),
        ("no HTTP", b"hello\r\n\r\n".to_vec(), 400, "INVALID_REQUEST"),
        ("a space before the colon", head("x : 1\r\n"), 400, "INVALID_REQUEST"),
        ("two lengths", head("content-length: 1\r\ncontent-length: 2\r\n"), 400, "INVALID_REQUEST"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 400, "INVALID_REQUEST"),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400, "INVALID_REQUEST"),
        ("two hosts", head("Host: y\r\n"), 400, "INVALID_REQUEST"),
        ("half a head", HALF.to_vec(), 408, "INVALID_REQUEST"),
        (
            "half a body",
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf".to_vec(),
            408,
            "INVALID_REQUEST",
        ),
    ] {
        let mut stream = port.send(&sent).await;
        let told = if status == 200 { answer(&mut stream, "hello").await } else { rest(&mut stream).await };
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {told:?}");
        if status != 200 {
            let (_, body) = told.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{what}: {told:?}"));
            assert_eq!((&body["success"], &body["code"]), (&false.into(), &code.into()), "{what}");
        }
    }
}

/// Wrong: a body that is not understood is taken for one that is, or where it ends is guessed: two that read the same bytes see
/// different requests.
#[tokio::test(flavor = "multi_thread")]
async fn codings_that_are_not_understood_are_refused_and_end_the_connection() {
    let port = start(small()).await;
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    let with = |head: &str, body: &str| format!("POST /echo HTTP/1.1\r\nHost: x\r\n{head}\r\n{body}").into_bytes();
    for (head, body, status) in [
        ("Transfer-Encoding: gzip, chunked\r\n", chunked, "501"),
        ("Transfer-Encoding: chunked, chunked\r\n", chunked, "501"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked, "501"),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: Chunked\r\n", chunked, "501"),
        ("Transfer-Encoding: gzip\r\n", chunked, "400"),
        ("Transfer-Encoding: chunked, gzip\r\n", chunked, "400"),
        ("Content-Length: 5\r\nContent-Encoding: gzip\r\n", "hello", "415"),
        ("Transfer-Encoding: chunked\r\nContent-Encoding: br\r\n", chunked, "415"),
    ] {
        let told = port.told(&with(head, body)).await;
        assert!(
            told.starts_with(&format!("HTTP/1.1 {status} ")) && told.contains("connection: close"),
            "{head}: {told:?}"
        );
        assert!(told.ends_with("\"code\":\"INVALID_REQUEST\"}"), "{head}: {told:?}");
    }
    // A length beside a coding: the coding counts, and nothing that follows is taken for a request.
    for head in
        ["Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"]
    {
        let told = port.told(&[with(head, chunked), HELLO.to_vec()].concat()).await;
        assert!(told.starts_with("HTTP/1.1 200 ") && told.ends_with("\r\n\r\nhello"), "{head}: {told:?}");
        assert_eq!(told.matches("HTTP/1.1").count(), 1, "{head}: {told:?}");
    }
    let mut kept = port.send(&with("Transfer-Encoding: CHUNKED\r\nContent-Encoding: identity\r\n", chunked)).await;
    answer(&mut kept, "hello").await;
    kept.write_all(HELLO).await.unwrap();
    answer(&mut kept, "hello").await;
}

/// Wrong: a body that is refused anyway is waited for, asked for with `100 Continue`, or taken for the next request.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_announced_to_be_too_long_is_refused_at_once() {
    let port = start(Limits { longest_body: 1_000, body: PATIENCE, ..small() }).await;
    let head =
        |more: &str| format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n{more}\r\n").into_bytes();
    let sent_whole = [head(""), vec![b'x'; 3_000_000]].concat();
    for (what, sent) in [
        ("nothing of it", head("")),
        ("who waits to be asked", head("Expect: 100-continue\r\n")),
        ("all of it", sent_whole),
    ] {
        let told = port.told(&sent).await;
        assert!(told.starts_with("HTTP/1.1 413 ") && told.contains("connection: close"), "{what}: {told:?}");
        let (_, body) = told.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{what}: {told:?}"));
        assert!(body["error"].as_str().unwrap().contains("longer than 1000 bytes"), "{what}: {body}");
    }
    let mut echo = port.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").await;
    answer(&mut echo, "hello").await;
}

/// Wrong: an answer that its client cannot read, as what it was still sending was not read.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_still_sending_reads_the_answer() {
    let port = start(small()).await;
    let mut sent = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n".to_vec();
    sent.extend(vec![b'x'; 200_000]);
    for _ in 0..5 {
        let told = port.told(&sent).await;
        assert!(told.starts_with("HTTP/1.1 200 ") && told.ends_with("no"), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_ended_its_side_is_answered() {
    let port = start(small()).await;
    let mut stream = port.send(HELD).await;
    stream.shutdown().await.unwrap();
    port.open(1).await;
    port.held.add_permits(1);
    assert!(rest(&mut stream).await.ends_with("held"));
}
