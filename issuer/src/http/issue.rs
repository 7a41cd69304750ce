//! `POST /api/coupons/{id}/issue`.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coupon_core::contract::deadlines;
use coupon_core::identity::{RequestKey, UserId};
use coupon_ledger::redis::IssueRequest;
use std::sync::Arc;
use tokio::time::Instant;

use super::app::{App, bad_path};
use super::identity;
use super::limited::{self, Admitted};
use super::request::{self, IssueRequestBody};
use super::respond::{self, ApiError, Code, Failure, Issued};
use crate::metrics::OutcomeLabel;
use crate::pipeline::outcome::RequestOutcome;

/// Ask for a coupon.
///
/// Ask again after a 503, or where no answer came, with the same Idempotency-Key: it is the same wish, and wins once.
#[utoipa::path(
    post,
    path = "/api/coupons/{id}/issue",
    tag = "coupons",
    operation_id = "issueCoupon",
    params(
        ("id" = String, Path, min_length = 1, max_length = 40, description = "The campaign's coupon id"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 128, pattern = r"^[!-~](?:[ -~]*[!-~])?$",
            description = "1 to 128 printable ASCII characters. Asking again with the same user and key gives the same rank. Without \
            it each request is a new wish, unless a user may hold one coupon only."),
    ),
    request_body = IssueRequestBody,
    responses(
        (status = 200, description = "Issued, now or to the same wish before", body = Issued,
            headers(("Idempotency-Key" = String, description = "The key that won it, if this request sent it or came without one and won"),
                ("Coupon-Key-Minted" = String, description = "`true`: no key came, and where a user may hold several coupons each such \
                request is another wish. Send a key"))),
        (status = 400, description = "Not issued (SOLD_OUT, ALREADY_ISSUED, NOT_STARTED, ENDED, SUSPENDED), or not JSON (INVALID_REQUEST)", body = Failure),
        (status = 403, description = "GATEWAY_PROOF_REQUIRED: the class asks for a header that its gateway sets", body = Failure),
        (status = 404, description = "UNKNOWN_CAMPAIGN", body = Failure),
        (status = 408, description = "INVALID_REQUEST: the body did not arrive", body = Failure),
        (status = 413, description = "INVALID_REQUEST: the body is longer than 16 KiB", body = Failure),
        (status = 415, description = "INVALID_REQUEST: the body is not announced as JSON, or is in another charset than UTF-8 or in a Content-Encoding", body = Failure),
        (status = 422, description = "INVALID_REQUEST: a field is missing or wrong", body = Failure),
        (status = 429, description = "RATE_LIMITED: this user or address asks too often, and nothing was issued. Ask again after the seconds of \
            Retry-After, with the same Idempotency-Key", body = Failure,
            headers(("Retry-After" = u32, description = "Seconds to wait"),
                ("RateLimit-Policy" = String, description = "How often may be asked, as draft-ietf-httpapi-ratelimit-headers has it"),
                ("RateLimit" = String, description = "In how many seconds one request comes back"))),
        (status = 501, description = "INVALID_REQUEST: of Transfer-Encoding only chunked is understood, once", body = Failure),
        (status = 503, description = "OVERLOADED, REDIS_UNAVAILABLE, UNCONFIRMED, NOT_OPEN: ask again after the seconds of \
            Retry-After, with the same Idempotency-Key", body = Failure,
            headers(("Retry-After" = u32, description = "Seconds to wait"),
                ("Idempotency-Key" = String, description = "The key to ask again with, when a coupon may have been issued"))),
    ),
)]
pub(super) async fn issue(
    State(app): State<Arc<App>>,
    admitted: Result<Admitted, ApiError>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let started = Instant::now();
    let read = async { read(&app, path, &headers, body, admitted?).await };
    let (code, mut response) = match read.await {
        Ok((user, given)) => answer(&app, user, given).await,
        Err(refused) => told(refused),
    };
    // A client that keeps its connection to a process that is behind would never reach the processes that were added.
    if app.parts.queue.sends_away(Instant::now()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let metrics = &app.parts.metrics;
    metrics.requests.get_or_create(&OutcomeLabel { code }).inc();
    // Who is sent away to ask less often is neither work that was done nor a quick answer.
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        if !response.status().is_server_error() {
            metrics.answered.inc();
        }
        // Who is nobody may have waited for keys of a name that was made up: that is no answer by which issuers are judged.
        if !is_of_nobody(code) {
            metrics.issue_seconds.observe(started.elapsed().as_secs_f64());
        }
    }
    response
}

fn is_of_nobody(code: &str) -> bool {
    [Code::Unauthenticated, Code::InvalidToken, Code::AuthenticationUnavailable].iter().any(|of| of.as_str() == code)
}

/// A refusal, and how it is counted.
fn told(refused: ApiError) -> (&'static str, Response) {
    (refused.code.as_str(), refused.into_response())
}

/// The answer to a request that is whole, and how it is counted.
async fn answer(app: &App, user: UserId, given: Option<RequestKey>) -> (&'static str, Response) {
    if let Some(outcome) = known_outcome(app, &user) {
        return (respond::label(&outcome), respond::respond(&outcome, None));
    }
    if let Err(refused) = limited::admit_to_redis(app) {
        return told(refused);
    }
    let is_keyless = given.is_none();
    let request = request::issue_request(user, given);
    let key = request.key.clone();
    let outcome = ask(app, request).await;
    let mut response = respond::respond(&outcome, Some(&key));
    if is_keyless && app.parts.queue.user_limit() > 1 {
        response.headers_mut().insert(respond::KEY_MINTED, HeaderValue::from_static("true"));
    }
    (respond::label(&outcome), response)
}

async fn read(
    app: &App,
    path: Result<Path<String>, PathRejection>,
    headers: &HeaderMap,
    body: Body,
    _: Admitted,
) -> Result<(UserId, Option<RequestKey>), ApiError> {
    let Path(id) = path.map_err(|_| bad_path())?;
    app.check_id(&id)?;
    let asker = identity::asker(&app.parts.authenticator, headers).await?;
    // Also where the body need not say anything: a page of another origin cannot send this type without having been let to, and so cannot ask
    // in the name of who is logged in at a gateway.
    request::check_content_type(headers)?;
    let body = request::read_body(body, &app.parts.bodies).await?;
    if asker.is_some() && body.is_empty() {
        return Err(request::empty_body());
    }
    let named = request::parse_user(&body)?;
    let user = identity::agreed(asker, named)?;
    limited::admit_user(app, &user)?;
    Ok((user, request::given_key(headers)?))
}

/// The outcome of a request that Redis need not be asked for: what is known to fail fails at once.
fn known_outcome(app: &App, user: &UserId) -> Option<RequestOutcome> {
    if app.parts.link.is_away() {
        return Some(RequestOutcome::RedisUnavailable { maybe_granted: false });
    }
    let epoch = match app.parts.epoch_guard.serving() {
        Ok(epoch) => epoch,
        Err(reason) => return Some(RequestOutcome::NotOpen(reason)),
    };
    app.parts.sold_out.refuses(user, epoch, Instant::now()).then(|| {
        app.parts.metrics.known_losers.inc();
        RequestOutcome::SoldOut
    })
}

/// Waits for the outcome of a request.
async fn ask(app: &App, request: IssueRequest) -> RequestOutcome {
    let outcome = match app.parts.queue.admit(request) {
        Ok(outcome) => outcome,
        Err(outcome) => return outcome,
    };
    match tokio::time::timeout(deadlines::ANSWER, outcome).await {
        Ok(Ok(outcome)) => outcome,
        // Neither should happen. Whether a coupon was issued is not known then.
        Ok(Err(_)) | Err(_) => RequestOutcome::Unconfirmed,
    }
}
