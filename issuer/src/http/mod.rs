//! The interface for users.

pub mod answer;
mod issue;
mod lookups;
pub mod openapi;
mod read;
mod request;
mod stock_view;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use campaign::http::BodyBudget;
use campaign::identity::CampaignId;
use campaign::table::CampaignRowId;
use sqlx::MySqlPool;
use tokio::sync::watch;

use self::answer::{Code, Refused};
use self::lookups::Lookups;
use self::stock_view::StockView;
use crate::batcher::Queue;
use crate::gatekeeper::Gatekeeper;
use crate::metrics::Metrics;
use crate::redis_link::RedisLink;

/// Look-ups of users' coupons that may run at once.
const MAX_LOOKUPS: usize = 64;
/// Those about the same user.
const MAX_LOOKUPS_OF_ONE: usize = 2;

/// What the routes need.
pub struct Parts {
    /// The campaign.
    pub campaign: CampaignId,
    /// Entrance of the queue.
    pub queue: Queue,
    /// The gate.
    pub keeper: Arc<Gatekeeper>,
    /// Redis.
    pub link: RedisLink,
    /// The database, for look-ups alone: what they do with its few connections holds up nobody else.
    pub pool: MySqlPool,
    /// Number of the campaign's row, once it is known.
    pub row: watch::Receiver<Option<CampaignRowId>>,
    /// The memory for bodies.
    pub bodies: BodyBudget,
    /// Counters.
    pub metrics: Metrics,
}

struct App {
    parts: Parts,
    stock: StockView,
    lookups: Arc<Lookups>,
    openapi: Bytes,
}

impl App {
    /// Whether `id` is the coupon that this process issues.
    fn check_id(&self, id: &str) -> Result<(), Refused> {
        if id == self.parts.campaign.coupon_id() {
            return Ok(());
        }
        let id: String = id.chars().take(64).collect();
        Err(Refused::new(
            StatusCode::NOT_FOUND,
            Code::UnknownCampaign,
            format!("There is no campaign `{id}` here; check the coupon id in the path."),
        ))
    }
}

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

/// A path with an escape that is not UTF-8.
fn bad_path() -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, "The path is not valid; escape it as UTF-8.")
}
