//! The interface for users.

pub mod answer;
mod app;
mod issue;
mod lookups;
pub mod openapi;
mod read;
mod request;
mod schema;
mod stock_view;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::answer::{Code, Refused};
use self::app::App;
pub use self::app::Parts;
use self::lookups::Lookups;
use self::stock_view::StockView;

/// Look-ups of users' coupons that may run at once.
const MAX_LOOKUPS: usize = 64;
/// Those about the same user.
const MAX_LOOKUPS_OF_ONE: usize = 2;

/// The routes.
///
/// # Errors
/// The OpenAPI document cannot be written as JSON.
pub fn router(parts: Parts) -> Result<Router, serde_json::Error> {
    let stock = StockView::new(parts.link.clone(), &parts.campaign);
    let app = App {
        parts,
        stock,
        lookups: Lookups::new(MAX_LOOKUPS, MAX_LOOKUPS_OF_ONE),
        openapi: openapi::document()?.into(),
    };
    Ok(Router::new()
        .route("/api/coupons/{id}/issue", post(issue::issue))
        .route("/api/coupons/{id}", get(read::campaign))
        .route("/api/coupons/{id}/users/{userId}", get(read::user))
        .route("/openapi.json", get(serve_openapi))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(app))
        // All of it is of a user, or of this moment: a cache that keeps an answer tells one user's coupons to another, or a rank of before.
        .layer(map_response(async |mut response: Response| {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        })))
}

async fn serve_openapi(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi.clone()).into_response()
}

async fn not_found(uri: Uri) -> Refused {
    let path: String = uri.path().chars().take(128).collect();
    Refused::new(
        StatusCode::NOT_FOUND,
        Code::NotFound,
        format!("There is nothing at {path}; /openapi.json lists what there is."),
    )
}

async fn method_not_allowed(method: Method, uri: Uri) -> Refused {
    let path: String = uri.path().chars().take(128).collect();
    Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Code::MethodNotAllowed,
        format!("{path} does not know {method}; /openapi.json lists what there is."),
    )
}
