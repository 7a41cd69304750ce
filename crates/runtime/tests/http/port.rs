//! A server with small limits, and raw connections to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::Uri;
use axum::routing::{get, post};
use coupon_runtime::http::{Limits, Server, Stats};
use coupon_runtime::telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// For what must happen, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    pub(crate) server: Arc<Server>,
    /// One permit lets one `GET /held` be answered.
    pub(crate) held: Arc<Semaphore>,
    /// How often `GET /held` was asked.
    pub(crate) asked: Arc<AtomicUsize>,
    /// The paths below `/turn/` that were asked for, in that order.
    pub(crate) turns: Arc<Mutex<Vec<String>>>,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

/// Ten connections; heads and bodies within a second.
pub(crate) fn small() -> Limits {
    Limits {
        connections: 10,
        longest_body: 8 * 1024 * 1024,
        head: Duration::from_secs(1),
        body: Duration::from_secs(1),
        write: Duration::from_secs(1),
        ..Limits::internal()
    }
}

pub(crate) async fn start(limits: Limits) -> Port {
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
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        // A server that has refused already may not want to hear the rest.
        let _ = stream.write_all(bytes).await;
        stream
    }

    /// What is answered until the server closes.
    pub(crate) async fn told(&self, bytes: &[u8]) -> String {
        rest(&mut self.send(bytes).await).await
    }

    /// Waits until so many connections are open.
    pub(crate) async fn open(&self, wanted: usize) {
        until("connections", || self.server.connections().0, wanted).await;
    }
}

pub(crate) async fn until(what: &str, count: impl Fn() -> usize, wanted: usize) {
    let begun = Instant::now();
    while count() != wanted {
        assert!(begun.elapsed() < PATIENCE, "{} {what}, not {wanted}", count());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A connection that is torn down has said what it has said.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the server closes");
    String::from_utf8_lossy(&text).into_owned()
}

/// One answer with `body`, on a connection that stays.
pub(crate) async fn answer(stream: &mut TcpStream, body: &str) -> String {
    let (mut text, mut piece) = (String::new(), [0; 1024]);
    while !text.ends_with(body) {
        let n = timeout(PATIENCE, stream.read(&mut piece)).await.expect("an answer").unwrap();
        assert!(n > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
    }
    text
}

pub(crate) const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
pub(crate) const HELD: &[u8] = b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n";
pub(crate) const HALF: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n";
