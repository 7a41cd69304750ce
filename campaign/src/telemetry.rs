//! Logs, metrics and probes, the same in every process.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::http::{Limits, Server, Stats};

/// Whether a question about this process is answered with yes; a no says why.
pub type Verdict = Result<(), String>;

/// Answers the two probes. Called on each probe; must be cheap and must not block.
pub trait Probes: Send + Sync + 'static {
    /// Whether the process makes progress. A no makes the kubelet restart it.
    fn alive(&self) -> Verdict;
    /// Whether the process can do its work now.
    fn ready(&self) -> Verdict;
    /// What keeps it from some of its work although it is ready, for people.
    fn note(&self) -> Option<String> {
        None
    }
}

/// Logs to stderr: JSON with `json`, plain lines otherwise, in colours only on a terminal. The level comes from `RUST_LOG`, `info` by
/// default.
pub fn init_logging(json: bool) {
    let coloured = wants_colours(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    // A second initialisation (tests) keeps the first; there is nothing to do about it.
    let _ = if json {
        registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()
    } else {
        registry.with(tracing_subscriber::fmt::layer().with_ansi(coloured).with_writer(std::io::stderr)).try_init()
    };
}

/// Logs are kept in files and shown in browsers, where colours are noise. `no_color`: <https://no-color.org>.
fn wants_colours(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

/// The metrics of a process, shared by those who register and the one who serves.
pub type SharedRegistry = Arc<RwLock<Registry>>;

/// An empty registry whose metrics start with `prefix_`.
pub fn registry(prefix: &str) -> SharedRegistry {
    Arc::new(RwLock::new(Registry::with_prefix(prefix)))
}

struct Served {
    registry: SharedRegistry,
    probes: Arc<dyn Probes>,
}

/// What `/readyz` answers before the note of a process that is ready and does only some of its work.
pub const BUT: &str = "ok, but ";

/// `GET /healthz`, `/readyz` (200, or 503 with the reason as text) and `/metrics` (OpenMetrics).
pub fn router(registry: SharedRegistry, probes: Arc<dyn Probes>) -> Router {
    Router::new()
        .route("/healthz", get(|State(s): State<Arc<Served>>| async move { answer(s.probes.alive(), None) }))
        .route("/readyz", get(|State(s): State<Arc<Served>>| async move { answer(s.probes.ready(), s.probes.note()) }))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Served { registry, probes }))
}

/// Serves [`router`] until the process ends, with the bounds of an internal port.
pub async fn serve(listener: TcpListener, registry: SharedRegistry, probes: Arc<dyn Probes>) {
    let [stats] = Stats::register(&registry, ["probes"]);
    let server = Server::new(Limits::internal(), stats);
    server.serve(listener, router(registry, probes), CancellationToken::new()).await;
}

fn answer(verdict: Verdict, note: Option<String>) -> (StatusCode, String) {
    match verdict {
        Ok(()) => (StatusCode::OK, note.map_or_else(|| "ok\n".to_owned(), |note| format!("{BUT}{note}\n"))),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(served): State<Arc<Served>>) -> impl IntoResponse {
    let mut text = String::new();
    let encoded = match served.registry.read() {
        Ok(registry) => prometheus_client::encoding::text::encode(&mut text, &registry).is_ok(),
        Err(_) => false,
    };
    let status = if encoded { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (status, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// Upper bounds, in seconds, of every latency histogram: 1 ms to 10 s, finest around the 500 ms that an answer may take.
pub const LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The wish that the process ends: SIGTERM or SIGINT. Until this is there such a signal kills without a word, or, as process 1 of a
/// container, is not heard at all. So it comes before anything by which others can tell that the process is there.
#[derive(Debug)]
pub struct ShutdownSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl ShutdownSignal {
    /// From now on signals are heard, also those that come before [`Self::received`]. Inside of a runtime.
    ///
    /// # Errors
    /// The system takes no handler.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Ends when one has come.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a process that is told to end as soon as somebody sees its port dies of the signal, or, as process 1, does not hear it.
    #[tokio::test]
    async fn a_wish_to_end_is_heard_from_the_moment_at_which_it_is_listened_for() {
        for wish in [nix::sys::signal::SIGTERM, nix::sys::signal::SIGINT] {
            let mut signal = ShutdownSignal::install().unwrap();
            nix::sys::signal::raise(wish).unwrap();
            tokio::time::timeout(std::time::Duration::from_secs(10), signal.received()).await.expect("it was heard");
        }
    }

    #[test]
    fn colours_are_for_terminals_whose_owner_wants_them() {
        for (terminal, no_color, expected) in [
            (true, None, true),
            (true, Some(""), true),
            (true, Some("1"), false),
            (false, None, false),
            (false, Some(""), false),
        ] {
            assert_eq!(wants_colours(terminal, no_color.map(OsStr::new)), expected, "{terminal} {no_color:?}");
        }
    }
}
