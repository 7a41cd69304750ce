//! `POST /api/coupons/{id}/issue`.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use campaign::deadlines;
use campaign::stock::Wish;
use std::sync::Arc;
use tokio::time::Instant;

use super::answer::{self, Failure, Issued, Refused};
use super::app::{App, bad_path};
use super::request::{self, IssueRequest};
use crate::metrics::OutcomeLabel;
use crate::outcome::Outcome;

/// Ask for a coupon.
#[utoipa::path(
    post,
    path = "/api/coupons/{id}/issue",
    tag = "coupons",
    operation_id = "issueCoupon",
    params(
        ("id" = String, Path, description = "The campaign's coupon id"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 128, pattern = r"^[!-~](?:[ -~]*[!-~])?$",
            description = "1 to 128 printable ASCII characters. Asking again with the same user and key gives the same rank. Without \
            it each request is a new wish, unless a user may hold one coupon only."),
    ),
    request_body = IssueRequest,
    responses(
        (status = 200, description = "Issued, now or to the same wish before", body = Issued,
            headers(("Idempotency-Key" = String, description = "The key that won it, if this request sent it or came without one and won"))),
        (status = 400, description = "Not issued (SOLD_OUT, ALREADY_ISSUED, NOT_STARTED, ENDED, SUSPENDED), or not JSON (INVALID_REQUEST)", body = Failure),
        (status = 404, description = "UNKNOWN_CAMPAIGN", body = Failure),
        (status = 408, description = "INVALID_REQUEST: the body did not arrive", body = Failure),
        (status = 413, description = "INVALID_REQUEST: the body is longer than 16 KiB", body = Failure),
        (status = 415, description = "INVALID_REQUEST: the body is not announced as JSON, or is in another charset than UTF-8 or in a Content-Encoding", body = Failure),
        (status = 422, description = "INVALID_REQUEST: a field is missing or wrong", body = Failure),
        (status = 501, description = "INVALID_REQUEST: of Transfer-Encoding only chunked is understood, once", body = Failure),
        (status = 503, description = "OVERLOADED, REDIS_UNAVAILABLE, UNCONFIRMED, NOT_OPEN: ask again after the seconds of \
            Retry-After, with the same Idempotency-Key", body = Failure,
            headers(("Retry-After" = u32, description = "Seconds to wait"),
                ("Idempotency-Key" = String, description = "The key to ask again with, when a coupon may have been issued"))),
    ),
)]
pub(super) async fn issue(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let started = Instant::now();
    let (code, mut response) = match read(&app, path, &headers, body).await {
        Ok(wish) => {
            let key = wish.key.clone();
            let outcome = ask(&app, wish).await;
            (answer::label(&outcome), answer::respond(&outcome, &key))
        }
        Err(refused) => (refused.code.as_str(), refused.into_response()),
    };
    // Whoever keeps a connection to a process that is behind would never meet those that were added for it.
    if app.parts.queue.is_behind() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let metrics = &app.parts.metrics;
    metrics.requests.get_or_create(&OutcomeLabel { code }).inc();
    if !response.status().is_server_error() {
        metrics.answered.inc();
    }
    metrics.issue_seconds.observe(started.elapsed().as_secs_f64());
    response
}

async fn read(
    app: &App,
    path: Result<Path<String>, PathRejection>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Wish, Refused> {
    let Path(id) = path.map_err(|_| bad_path())?;
    app.check_id(&id)?;
    request::check_content_type(headers)?;
    let user = request::parse_user(&request::read_body(body, &app.parts.bodies).await?)?;
    request::wish(user, headers)
}

/// Waits for the end of a wish. What is known to fail fails at once.
async fn ask(app: &App, wish: Wish) -> Outcome {
    if app.parts.link.is_away() {
        return Outcome::RedisUnavailable { maybe_granted: false };
    }
    if let Err(reason) = app.parts.keeper.serving() {
        return Outcome::NotOpen(reason);
    }
    let answer = match app.parts.queue.admit(wish) {
        Ok(answer) => answer,
        Err(outcome) => return outcome,
    };
    match tokio::time::timeout(deadlines::ANSWER, answer).await {
        Ok(Ok(outcome)) => outcome,
        // Neither may happen; what became of the wish is not known.
        Ok(Err(_)) | Err(_) => Outcome::Unconfirmed,
    }
}
