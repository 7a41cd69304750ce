//! The port for the operator only: fences, and reports how loaded this process is.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use coupon_core::contract::control::{FENCE_PATH, PRESSURE_PATH, VERSION_HEADER};
use coupon_core::contract::{FenceRequest, FenceResponse, Pressure, deadlines};
use coupon_core::format;
use coupon_core::later::{self, Written};
use coupon_core::shown::shown;
use coupon_runtime::http::{MAX_INTERNAL_BODY, Server};
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::epoch::guard::EpochGuard;
use crate::metrics::Metrics;
use crate::pipeline::batcher::Queue;
use crate::pipeline::redis_link::RedisLink;
use crate::pipeline::shared_breaker::SharedBreaker;

/// How long a fence may wait for what is under way: a batch, then its winners.
pub(crate) const FENCE_TIMEOUT: Duration = deadlines::FENCE;

/// What the routes need.
pub(crate) struct Control {
    /// What `Authorization: Bearer` must carry.
    pub(crate) token: String,
    /// Which epoch is served.
    pub(crate) epoch_guard: Arc<EpochGuard>,
    /// The queue.
    pub(crate) queue: Queue,
    /// The connection to Redis: while there is none, requests are refused before they come to the queue.
    pub(crate) link: RedisLink,
    /// Whether Kafka takes winners.
    pub(crate) breaker: SharedBreaker,
    /// The users' port.
    pub(crate) users: Arc<Server>,
    /// Counters.
    pub(crate) metrics: Metrics,
}

#[derive(Debug, Serialize)]
struct Problem {
    error: String,
}

fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Problem { error: error.into() })).into_response()
}

/// `POST /fence`, `GET /pressure`; everything asks for the token.
pub(crate) fn router(control: Control) -> Router {
    let control = Arc::new(control);
    Router::new()
        .route(&format!("/{FENCE_PATH}"), post(fence))
        .route(&format!("/{PRESSURE_PATH}"), get(pressure))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is only POST /fence and GET /pressure") })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "there is only POST /fence and GET /pressure")
        })
        .layer(DefaultBodyLimit::max(MAX_INTERNAL_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&control), authorize))
        .with_state(control)
}

async fn authorize(State(control): State<Arc<Control>>, request: Request, next: Next) -> Response {
    let mut response = respond_if_authorized(&control, request, next).await;
    response.headers_mut().insert(VERSION_HEADER, format::CONTROL.into());
    response
}

async fn respond_if_authorized(control: &Control, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    // In constant time, so that the time of a refusal tells nothing about the token.
    if bool::from(given.ct_eq(control.token.as_bytes())) {
        let version = request.headers().get(VERSION_HEADER).map(|value| value.to_str().ok()?.parse().ok());
        match version.unwrap_or(Some(1)) {
            Some(version) => match format::check("the request", version, format::CONTROL) {
                Ok(()) => next.run(request).await,
                Err(newer) => problem(StatusCode::BAD_REQUEST, newer.to_string()),
            },
            None => problem(StatusCode::BAD_REQUEST, format!("{VERSION_HEADER} must be a number")),
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
    let highest = control.epoch_guard.highest_fence();
    if floor > highest {
        tracing::warn!(floor, highest, "a fence beyond every epoch was refused");
        let text =
            format!("floor {floor} is beyond every epoch; at most {highest} is taken, and it would never fall again");
        return problem(StatusCode::UNPROCESSABLE_ENTITY, text);
    }
    let drained = control.epoch_guard.fence(floor, FENCE_TIMEOUT).await;
    let response = FenceResponse {
        floor: drained.floor,
        drained: drained.outstanding == 0,
        outstanding: drained.outstanding as u64,
    };
    tracing::info!(asked = floor, floor = response.floor, outstanding = response.outstanding, "fenced");
    let status = if response.drained { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(later::written(response))).into_response()
}

async fn pressure(State(control): State<Arc<Control>>) -> Json<Written<Pressure>> {
    let serving = control.epoch_guard.serving();
    let (connections, connection_capacity) = control.users.connections();
    Json(later::written(Pressure {
        queue_depth: control.queue.depth() as u64,
        queue_capacity: control.queue.capacity() as u64,
        rejected: control.metrics.rejected.get(),
        delayed: control.metrics.delayed.get(),
        answered: control.metrics.answered.get(),
        outstanding: control.epoch_guard.outstanding() as u64,
        epoch: serving.ok(),
        floor: control.epoch_guard.floor(),
        reason: serving.err().map(|reason| reason.name().to_owned()),
        failing: control.link.why_away().map(|why| why.to_string()).or_else(|| control.queue.redis_failure()),
        kafka_refuses: control.breaker.refusal(),
        connections: connections as u64,
        connection_capacity: connection_capacity as u64,
        refused: control.users.stats().refused.get(),
    }))
}

#[cfg(test)]
mod decoders;
