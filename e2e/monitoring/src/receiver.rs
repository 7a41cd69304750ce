//! Stands for Slack and PagerDuty: takes what they take, refuses what they refuse, and tells who asks what came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use stack::layout::{RECEIVER_PORT, on_node};
use stack::monitoring::RECEIVED;
use tokio::net::TcpListener;

use crate::message::{Message, pagerduty, slack};

/// So many messages are kept, the newest.
const KEPT: usize = 10_000;

/// Serves until the process is ended, and tells at [`RECEIVED`] what came: a JSON list of [`Message`], the oldest first. Each message is a
/// line of its output, too.
///
/// # Errors
/// If it cannot listen.
pub async fn serve() -> Result<()> {
    let address = on_node(RECEIVER_PORT);
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    Ok(axum::serve(listener, router()).await?)
}

fn router() -> Router {
    Router::new()
        .route("/services/{team}/{bot}/{secret}", post(from_slack))
        .route("/v2/enqueue", post(from_pagerduty))
        .route(RECEIVED, get(received))
        .with_state(Kept::default())
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<VecDeque<Message>>>);

impl Kept {
    fn keep(&self, message: Message) {
        println!("{}", json!(message));
        // A thread that panicked while holding the lock left whole messages behind.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(message);
    }

    fn all(&self) -> Vec<Message> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

async fn received(State(kept): State<Kept>) -> Json<Vec<Message>> {
    Json(kept.all())
}

async fn from_slack(State(kept): State<Kept>, body: Bytes) -> (StatusCode, &'static str) {
    match slack(&body, now_ms()) {
        Ok(message) => {
            kept.keep(message);
            (StatusCode::OK, "ok")
        }
        Err(word) => {
            println!("refused as Slack would: {word}");
            (StatusCode::BAD_REQUEST, word)
        }
    }
}

async fn from_pagerduty(State(kept): State<Kept>, body: Bytes) -> (StatusCode, Json<Value>) {
    match pagerduty(&body, now_ms()) {
        Ok((message, key)) => {
            kept.keep(message);
            let taken = json!({"status": "success", "message": "Event processed", "dedup_key": key});
            (StatusCode::ACCEPTED, Json(taken))
        }
        Err(error) => {
            println!("refused as PagerDuty would: {error}");
            let refused = json!({"status": "invalid event", "message": "Event object is invalid", "errors": [error]});
            (StatusCode::BAD_REQUEST, Json(refused))
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
