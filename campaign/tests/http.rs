//! Who is in the way of others, and what becomes of them: real connections to a server with small limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::Uri;
use axum::routing::{get, post};
use campaign::http::{Limits, Server, Stats};
use campaign::telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// For what must happen, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

struct Port {
    address: SocketAddr,
    server: Arc<Server>,
    /// One permit lets one `GET /held` be answered.
    held: Arc<Semaphore>,
    /// How often `GET /held` was asked.
    asked: Arc<AtomicUsize>,
    /// The paths below `/turn/` that were asked for, in that order.
    turns: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Ten connections; heads and bodies within a second.
fn small() -> Limits {
    Limits {
        connections: 10,
        longest_body: 8 * 1024 * 1024,
        head: Duration::from_secs(1),
        body: Duration::from_secs(1),
        write: Duration::from_secs(1),
        ..Limits::internal()
    }
}

async fn start(limits: Limits) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let [stats] = Stats::register(&telemetry::registry("test"), ["users"]);
    let server = Server::new(limits, stats);
    let held = Arc::new(Semaphore::new(0));
    let asked = Arc::new(AtomicUsize::new(0));
    let (wait, count) = (Arc::clone(&held), Arc::clone(&asked));
    let turns = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&turns);
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/echo", post(async |body: Bytes| body))
        .route("/large", get(async || vec![b'x'; 4 * 1024 * 1024]))
        .route("/refuse", post(async || "no"))
        .route(
            "/turn/{who}",
            get(async move |uri: Uri| {
                taken.lock().unwrap().push(uri.path().to_owned());
                vec![b'x'; 16 * 1024]
            }),
        )
        .route(
            "/held",
            get(async move || {
                count.fetch_add(1, Ordering::Relaxed);
                wait.acquire().await.unwrap().forget();
                "held"
            }),
        );
    let stop = CancellationToken::new();
    let serving = tokio::spawn(Arc::clone(&server).serve(listener, router, stop.clone()));
    Port { address, server, held, asked, turns, stop, serving }
}

impl Port {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        // A server that has refused already may not want to hear the rest.
        let _ = stream.write_all(bytes).await;
        stream
    }

    /// What is answered until the server closes.
    async fn told(&self, bytes: &[u8]) -> String {
        rest(&mut self.send(bytes).await).await
    }

    /// Waits until so many connections are open.
    async fn open(&self, wanted: usize) {
        until("connections", || self.server.connections().0, wanted).await;
    }
}

async fn until(what: &str, count: impl Fn() -> usize, wanted: usize) {
    let begun = Instant::now();
    while count() != wanted {
        assert!(begun.elapsed() < PATIENCE, "{} {what}, not {wanted}", count());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A connection that is torn down has said what it has said.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the server closes");
    String::from_utf8_lossy(&text).into_owned()
}

/// One answer with `body`, on a connection that stays.
async fn answer(stream: &mut TcpStream, body: &str) -> String {
    let (mut text, mut piece) = (String::new(), [0; 1024]);
    while !text.ends_with(body) {
        let n = timeout(PATIENCE, stream.read(&mut piece)).await.expect("an answer").unwrap();
        assert!(n > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
    }
    text
}

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const HELD: &[u8] = b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n";
const HALF: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n";

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

/// Wrong: a kept connection that ends as soon as a head would have to be there, or one that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let port = start(Limits { idle: Duration::from_secs(3), ..small() }).await;
    let mut stream = port.send(HELLO).await;
    answer(&mut stream, "hello").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stream.write_all(HELLO).await.unwrap();
    answer(&mut stream, "hello").await;
    let idle = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(idle.elapsed() > Duration::from_secs(2), "{:?}", idle.elapsed());
    // One on which nothing was ever asked has less time.
    let begun = Instant::now();
    assert_eq!(port.told(b"").await, "");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// Wrong: a client that waits in the kernel's queue and hears nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_closes_who_is_idle_and_then_says_that_it_is_full() {
    let port = start(small()).await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut stream = port.send(HELLO).await;
        answer(&mut stream, "hello").await;
        idle.push(stream);
    }
    let mut asking = Vec::new();
    for number in 1..=10 {
        asking.push(port.send(HELD).await);
        // On a busy machine, who is not heard yet would look like one who says nothing.
        until("requests", || port.asked.load(Ordering::Relaxed), number).await;
    }
    for stream in &mut idle {
        assert_eq!(rest(stream).await, "", "who was idle made room");
    }
    port.open(10).await;
    assert_eq!(port.server.crowded(), None);
    let told = port.told(HELLO).await;
    assert!(
        told.starts_with("HTTP/1.1 503 ") && told.contains("retry-after: ") && told.contains("OVERLOADED"),
        "{told:?}"
    );
    assert_eq!((port.server.stats().evicted.get(), port.server.stats().refused.get()), (10, 1));
    assert!(port.server.crowded().unwrap().contains("all 10"));
    port.held.add_permits(10);
    for stream in &mut asking {
        answer(stream, "held").await;
    }
    answer(&mut port.send(HELLO).await, "hello").await;
}

/// Wrong: whoever opens connections and says nothing, or half of something, keeps everybody else out.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_locks_nobody_out() {
    let slow_body = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf".as_slice();
    for (what, slow) in [("nothing", b"".as_slice()), ("half a head", HALF), ("half a body", slow_body)] {
        let port = start(Limits { connections: 20, head: PATIENCE, body: PATIENCE, ..small() }).await;
        let mut others = Vec::new();
        for _ in 0..20 {
            others.push(port.send(slow).await);
        }
        port.open(20).await;
        // Not before it is known that they are slow.
        let begun = Instant::now();
        loop {
            let mut stream = port.send(HELLO).await;
            let mut status = [0; 12];
            if timeout(PATIENCE, stream.read_exact(&mut status)).await.expect("an answer").is_ok()
                && status.ends_with(b"200")
            {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{what}: nobody gets in");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Wrong: everybody waits until those who send many requests in one piece have their answers. One thread has all tasks here, so that what
/// comes before what is no matter of time.
#[tokio::test]
async fn who_asks_for_much_at_once_lets_others_have_their_turn() {
    const MANY: usize = 200;
    let port = start(Limits { connections: 2 * MANY, ..small() }).await;
    let mut clients = Vec::new();
    for _ in 0..=MANY {
        let mut stream = port.send(HELLO).await;
        answer(&mut stream, "hello").await;
        clients.push(stream);
    }
    let ask =
        |path: &str, times: usize| format!("GET /turn/{path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(times).into_bytes();
    let mut honest = clients.pop().unwrap();
    for (number, client) in clients.iter().enumerate() {
        let sent = ask(&number.to_string(), 16);
        assert_eq!(client.try_write(&sent).unwrap(), sent.len());
    }
    // After all others, and before the server has seen any of them.
    let sent = ask("honest", 1);
    assert_eq!(honest.try_write(&sent).unwrap(), sent.len());
    answer(&mut honest, "xxx").await;
    let turns = port.turns.lock().unwrap();
    let before = turns.iter().position(|path| path == "/turn/honest").unwrap();
    assert!(before <= 2 * MANY, "{before} of {} requests came first", 16 * MANY);
}

/// Wrong: each request of a client that reads nothing is answered, into megabytes of the kernel's memory.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_answered_no_more_than_what_it_may_hold() {
    let port = start(small()).await;
    let stream = port.send(&b"GET /turn/on HTTP/1.1\r\nHost: x\r\n\r\n".repeat(400)).await;
    port.open(1).await;
    port.open(0).await;
    assert_eq!(port.server.stats().overdue.get(), 1);
    let answered = port.turns.lock().unwrap().len();
    assert!((1..=40).contains(&answered), "{answered} of 400");
    drop(stream);
}

/// Wrong: memory that is held by whoever asks for much and reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_its_answer_is_let_go() {
    let port = start(small()).await;
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    let stream = port.send(&request).await;
    port.open(1).await;
    port.open(0).await;
    assert_eq!(port.server.stats().overdue.get(), 1);
    drop(stream);
}

/// Wrong: a client that keeps its connection hears of the end by losing a request.
#[tokio::test(flavor = "multi_thread")]
async fn before_the_end_answers_say_that_the_connection_ends() {
    let port = start(small()).await;
    let mut kept = port.send(HELLO).await;
    assert!(!answer(&mut kept, "hello").await.contains("connection: close"));
    port.server.announce_close();
    kept.write_all(HELLO).await.unwrap();
    assert!(rest(&mut kept).await.contains("connection: close"));
    let told = port.told(HELLO).await;
    assert!(told.contains("connection: close") && told.ends_with("hello"), "new ones are served: {told:?}");
}

/// Wrong: a request that was begun and is not answered, or an end that never comes.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_what_was_begun_is_answered() {
    let port = start(small()).await;
    let mut idle = port.send(HELLO).await;
    answer(&mut idle, "hello").await;
    let mut asking = port.send(HELD).await;
    port.open(2).await;
    port.stop.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert!(TcpStream::connect(port.address).await.is_err(), "nothing new is taken");
    port.held.add_permits(1);
    assert!(rest(&mut asking).await.contains("connection: close"));
    timeout(PATIENCE, port.serving).await.expect("it ends").unwrap();
}

/// Wrong: who has connected is cut off without an answer, as a busy machine has not come to look at the listener since.
#[tokio::test]
async fn at_the_end_who_has_connected_is_let_in_although_nobody_has_looked_yet() {
    let port = start(small()).await;
    // The one thread of this runtime is kept busy: nobody looks at anything meanwhile.
    let connected: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(port.address).unwrap()).collect();
    port.stop.cancel();
    for stream in connected {
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream).unwrap();
        stream.write_all(HELLO).await.unwrap();
        assert!(rest(&mut stream).await.ends_with("hello"));
    }
    timeout(PATIENCE, port.serving).await.expect("it ends").unwrap();
}
