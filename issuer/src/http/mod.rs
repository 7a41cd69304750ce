//! The interface for users.

mod app;
mod authenticated;
mod described;
mod identity;
mod issue;
mod limited;
mod lookups;
pub mod openapi;
mod problem;
mod read;
mod redis_view;
mod request;
pub(crate) mod respond;
mod schema;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use coupon_runtime::http::CorsTerms;

use self::app::App;
pub(crate) use self::app::Parts;
use self::limited::Admitted;
use self::lookups::Lookups;
pub(crate) use self::problem::of_failure;
use self::redis_view::RedisView;
use self::respond::{ApiError, Code};

/// Look-ups of users' coupons that may run at once.
const MAX_LOOKUPS: usize = 64;
/// Those about the same user.
const MAX_LOOKUPS_OF_ONE: usize = 2;

/// What pages of other origins may send and read, where the class lets them call.
pub(crate) const CORS_TERMS: CorsTerms = CorsTerms {
    methods: "GET, HEAD, POST",
    sent: "authorization, content-type, idempotency-key, x-request-id, traceparent",
    read: "idempotency-key, coupon-key-minted, retry-after, ratelimit, ratelimit-policy, www-authenticate, x-request-id, traceparent",
};

/// The routes. Each is there with a slash at its end, too, as some frameworks add one: a redirect would cost every client a
/// second request, and some their body.
///
/// # Errors
/// The OpenAPI document cannot be written as JSON.
pub(crate) fn router(parts: Parts) -> Result<Router, serde_json::Error> {
    let redis = RedisView::new(parts.link.clone(), &parts.campaign);
    let openapi = openapi::served(parts.authenticator.kind())?.into();
    let app = App { parts, redis, lookups: Lookups::new(MAX_LOOKUPS, MAX_LOOKUPS_OF_ONE), openapi };
    let routes = [
        ("/api/coupons/{id}/issue", answering_options(post(issue::issue), "OPTIONS, POST")),
        ("/api/coupons/{id}", answering_options(get(read::campaign), "GET, HEAD, OPTIONS")),
        ("/api/coupons/{id}/users/{userId}", answering_options(get(read::user), "GET, HEAD, OPTIONS")),
        ("/openapi.json", answering_options(get(serve_openapi), "GET, HEAD, OPTIONS")),
    ];
    let router = routes.into_iter().fold(Router::new(), |router, (path, methods)| {
        router.route(path, methods.clone()).route(&format!("{path}/"), methods)
    });
    Ok(router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(app))
        // All of it is of a user, or of this moment: a cache that keeps an answer tells one user's coupons to another, or a rank of before.
        .layer(map_response(async |mut response: Response| {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        })))
}

/// The methods of a path, and OPTIONS, which names them.
fn answering_options(methods: MethodRouter<Arc<App>>, all: &'static str) -> MethodRouter<Arc<App>> {
    methods.options(async move || (StatusCode::NO_CONTENT, [(header::ALLOW, all)]))
}

async fn serve_openapi(State(app): State<Arc<App>>, _: Admitted) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi.clone()).into_response()
}

async fn not_found(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(128).collect();
    ApiError::new(
        StatusCode::NOT_FOUND,
        Code::NotFound,
        format!("There is nothing at {path}; /openapi.json lists what there is."),
    )
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(128).collect();
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Code::MethodNotAllowed,
        format!("{path} does not know {method}; /openapi.json lists what there is."),
    )
}
