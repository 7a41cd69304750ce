//! What stands in for an issuer, and says what it is told to: most codes are heard only when something is wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A status and a code.
type Refusal = (u16, &'static str);

/// Every code but that of the opening, which is another scene, with its status and the words that the page has for it.
pub const SENTENCES: [(u16, &str, &str); 19] = [
    (400, "SOLD_OUT", "Sold out."),
    (400, "ALREADY_ISSUED", "You have one already."),
    (400, "ENDED", "It is over."),
    (400, "SUSPENDED", "It is paused for now."),
    (401, "UNAUTHENTICATED", "Please log in."),
    (401, "INVALID_TOKEN", "Please log in again."),
    (403, "USER_MISMATCH", "That is our mistake"),
    (403, "GATEWAY_PROOF_REQUIRED", "That is our mistake"),
    (404, "UNKNOWN_CAMPAIGN", "That is our mistake"),
    (404, "NOT_FOUND", "That is our mistake"),
    (405, "METHOD_NOT_ALLOWED", "That is our mistake"),
    (422, "INVALID_REQUEST", "That is our mistake"),
    (408, "INVALID_REQUEST", "It takes a little longer."),
    (429, "RATE_LIMITED", "That was too often."),
    (503, "OVERLOADED", "It takes a little longer."),
    (503, "NOT_OPEN", "It takes a little longer."),
    (503, "AUTHENTICATION_UNAVAILABLE", "It takes a little longer."),
    (503, "REDIS_UNAVAILABLE", "It takes a little longer."),
    (503, "UNCONFIRMED", "It takes a little longer."),
];

/// Stands in for an issuer; ends when it is dropped.
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    refusal: Arc<Mutex<Refusal>>,
    serving: JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl StandIn {
    /// One that lets every page ask.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the stand-in cannot listen")?;
        let (address, refusal) = (listener.local_addr()?, Arc::new(Mutex::new((503, "NOT_OPEN"))));
        let router = Router::new()
            .route("/api/coupons/{id}", get(|| async { told(200, json!({"state": "OPEN"})) }).options(preflight))
            .route(
                "/api/coupons/{id}/users/{user}",
                get(|| async { told(200, json!({"coupons": []})) }).options(preflight),
            )
            .route("/api/coupons/{id}/issue", post(refuse).options(preflight))
            .with_state(Arc::clone(&refusal));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the stand-in has ended: {error}");
            }
        });
        Ok(Self { address, refusal, serving })
    }

    /// Refuses everybody so from now on.
    pub fn says(&self, status: u16, code: &'static str) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = (status, code);
    }
}

async fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, idempotency-key"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn refuse(State(refusal): State<Arc<Mutex<Refusal>>>) -> Response {
    let (status, code) = *refusal.lock().unwrap_or_else(PoisonError::into_inner);
    told(status, json!({"success": false, "error": "A sentence.", "code": code}))
}

fn told(status: u16, body: Value) -> Response {
    let headers = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (header::ACCESS_CONTROL_EXPOSE_HEADERS, "retry-after")];
    let mut response = (headers, Json(body)).into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if matches!(status, 429 | 503) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1_u16));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Wrong: a code is added, and nobody thinks of what a page says then.
    #[test]
    fn every_code_of_the_contract_is_tried() {
        let contract: Value = serde_json::from_str(include_str!("../../../issuer/openapi.json")).unwrap();
        let codes = contract["components"]["schemas"]["Code"]["enum"].as_array().unwrap();
        let codes: BTreeSet<_> = codes.iter().map(|code| code.as_str().unwrap()).collect();
        let tried: BTreeSet<_> = SENTENCES.iter().map(|(_, code, _)| *code).chain(["NOT_STARTED"]).collect();
        assert_eq!(tried, codes);
    }

    /// Wrong: a code is added, and docs/integrate.md does not say what to do about it.
    #[test]
    fn every_code_of_the_contract_is_in_the_guide() {
        let guide = include_str!("../../../docs/integrate.md");
        let rows: Vec<_> = guide.lines().filter(|line| line.starts_with('|')).collect();
        for (status, code, _) in SENTENCES.iter().chain(&[(400, "NOT_STARTED", "")]) {
            let (code_cell, status) = (format!("`{code}`"), status.to_string());
            let named = rows.iter().any(|row| row.contains(&code_cell) && row.contains(&status));
            assert!(named, "{status} {code}");
        }
    }
}
