//! What the kubelet and Prometheus ask a process.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::registry::{SharedRegistry, scrape};
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
    let (status, text) = match scrape(&served.registry) {
        Some(text) => (StatusCode::OK, text),
        None => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    };
    (status, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
