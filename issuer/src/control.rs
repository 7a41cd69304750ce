//! The port for the operator alone: fence, and how hard this process is pressed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use campaign::format;
use campaign::http::{MAX_INTERNAL_BODY, Server};
use campaign::later;
use campaign::shown::shown;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::batcher::{BATCH_DEADLINE, Queue};
use crate::delivery::{CONFIRM_DEADLINE, SharedBreaker};
use crate::gate::Reason;
use crate::gatekeeper::Gatekeeper;
use crate::metrics::Metrics;
use crate::redis_link::RedisLink;

/// How long a fence may wait for what is under way: a batch, then its winners.
pub const FENCE_TIMEOUT: Duration = Duration::from_secs(BATCH_DEADLINE.as_secs() + CONFIRM_DEADLINE.as_secs() + 1);

/// What the routes need.
pub struct Control {
    /// What `Authorization: Bearer` must carry.
    pub token: String,
    /// The gate.
    pub keeper: Arc<Gatekeeper>,
    /// Entrance of the queue.
    pub queue: Queue,
    /// The connection to Redis: while there is none, wishes are refused before they come to the queue.
    pub link: RedisLink,
    /// Whether Kafka takes winners.
    pub breaker: SharedBreaker,
    /// The users' port.
    pub users: Arc<Server>,
    /// Counters.
    pub metrics: Metrics,
}

#[derive(Debug, Deserialize)]
struct FenceRequest {
    floor: u64,
}

#[derive(Debug, Serialize)]
struct FenceAnswer {
    /// The floor in force, at least the one asked for.
    floor: u64,
    /// Whether nothing below it is under way any more.
    drained: bool,
    /// Wishes under way below it.
    outstanding: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    later: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pressure {
    /// Wishes that wait.
    queue_depth: usize,
    /// Wishes that may wait.
    queue_capacity: usize,
    /// Wishes refused because there was no room, since the process started.
    rejected: u64,
    /// Wishes that waited too long for their turn, since the process started.
    delayed: u64,
    /// Wishes answered with a rank or a no, rather than told to come back, since the process started.
    answered: u64,
    /// Wishes sent to Redis that are not over yet.
    outstanding: usize,
    /// The epoch under which is granted; null when nothing is.
    epoch: Option<u64>,
    /// Below this epoch nothing is granted.
    floor: u64,
    /// Why nothing is granted; null while something is.
    reason: Option<&'static str>,
    /// Why nothing gets through although it would be granted: Redis' words; null while something does.
    failing: Option<String>,
    /// Why Kafka takes no winners, if its user lacks a right: Kafka's words; null otherwise.
    kafka_refuses: Option<String>,
    /// Connections of users.
    connections: usize,
    /// Connections that users may have.
    connection_capacity: usize,
    /// Connections refused because all were asking or being answered, since the process started.
    refused: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    later: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Problem {
    error: String,
}

fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Problem { error: error.into() })).into_response()
}

/// `POST /fence`, `GET /pressure`; everything asks for the token.
pub fn router(control: Control) -> Router {
    let control = Arc::new(control);
    Router::new()
        .route("/fence", post(fence))
        .route("/pressure", get(pressure))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is only POST /fence and GET /pressure") })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "there is only POST /fence and GET /pressure")
        })
        .layer(DefaultBodyLimit::max(MAX_INTERNAL_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&control), authorize))
        .with_state(control)
}

async fn authorize(State(control): State<Arc<Control>>, request: Request, next: Next) -> Response {
    let mut response = judge(&control, request, next).await;
    response.headers_mut().insert(format::CONTROL_HEADER, format::CONTROL.into());
    response
}

async fn judge(control: &Control, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    // In constant time, so that the time of a refusal tells nothing about the token.
    if bool::from(given.ct_eq(control.token.as_bytes())) {
        let version = request.headers().get(format::CONTROL_HEADER).map(|value| value.to_str().ok()?.parse().ok());
        match version.unwrap_or(Some(1)) {
            Some(version) => match format::check("the request", version, format::CONTROL) {
                Ok(()) => next.run(request).await,
                Err(newer) => problem(StatusCode::BAD_REQUEST, newer.to_string()),
            },
            None => problem(StatusCode::BAD_REQUEST, format!("{} must be a number", format::CONTROL_HEADER)),
        }
    } else {
        let mut response = problem(StatusCode::UNAUTHORIZED, "send Authorization: Bearer with the control token");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        response
    }
}

async fn fence(State(control): State<Arc<Control>>, body: Result<Json<FenceRequest>, JsonRejection>) -> Response {
    let Json(FenceRequest { floor }) = match body {
        Ok(body) => body,
        Err(rejection) => return problem(rejection.status(), shown(&rejection.body_text(), 200)),
    };
    let highest = control.keeper.highest_fence();
    if floor > highest {
        tracing::warn!(floor, highest, "a fence beyond every epoch was refused");
        let text =
            format!("floor {floor} is beyond every epoch; at most {highest} is taken, and it would never fall again");
        return problem(StatusCode::UNPROCESSABLE_ENTITY, text);
    }
    let drained = control.keeper.fence(floor, FENCE_TIMEOUT).await;
    let answer = FenceAnswer {
        floor: drained.floor,
        drained: drained.outstanding == 0,
        outstanding: drained.outstanding,
        later: later::field(),
    };
    tracing::info!(asked = floor, floor = answer.floor, outstanding = answer.outstanding, "fenced");
    let status = if answer.drained { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(answer)).into_response()
}

async fn pressure(State(control): State<Arc<Control>>) -> Json<Pressure> {
    let serving = control.keeper.serving();
    let (connections, connection_capacity) = control.users.connections();
    Json(Pressure {
        connections,
        connection_capacity,
        refused: control.users.stats().refused.get(),
        later: later::field(),
        queue_depth: control.queue.depth(),
        queue_capacity: control.queue.capacity(),
        rejected: control.metrics.rejected.get(),
        delayed: control.metrics.delayed.get(),
        answered: control.metrics.answered.get(),
        outstanding: control.keeper.outstanding(),
        epoch: serving.ok(),
        floor: control.keeper.floor(),
        reason: serving.err().map(Reason::name),
        failing: control.link.why_away().map(|why| why.to_string()).or_else(|| control.queue.trouble()),
        kafka_refuses: control.breaker.refusal(),
    })
}
