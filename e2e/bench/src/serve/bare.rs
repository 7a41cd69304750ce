//! The least that any service does: reads the request, counts, answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};

use super::listen::{self, Listen};
use super::wire::{Ask, issued, refused};

/// Serves until the process is ended.
///
/// # Errors
/// It cannot listen.
pub(crate) fn run(listen: &Listen) -> Result<()> {
    let router = Router::new().route("/api/coupons/{id}/issue", post(issue)).with_state(Arc::default());
    listen::runtime()?.block_on(listen::serve(listen, router))
}

async fn issue(State(ranks): State<Arc<AtomicU64>>, Path(id): Path<String>, Json(ask): Json<Ask>) -> Response {
    if id.is_empty() || ask.user_id.is_empty() {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_REQUEST");
    }
    issued(ranks.fetch_add(1, Ordering::Relaxed) + 1)
}
