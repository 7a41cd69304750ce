//! What every route works with.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use campaign::http::BodyBudget;
use campaign::identity::CampaignId;
use campaign::table::CampaignRowId;
use sqlx::MySqlPool;
use tokio::sync::watch;

use super::answer::{Code, Refused};
use super::lookups::Lookups;
use super::stock_view::StockView;
use crate::batcher::Queue;
use crate::gatekeeper::Gatekeeper;
use crate::metrics::Metrics;
use crate::redis_link::RedisLink;

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

/// [`Parts`], and what the routes share between requests.
pub(super) struct App {
    pub(super) parts: Parts,
    pub(super) stock: StockView,
    pub(super) lookups: Arc<Lookups>,
    pub(super) openapi: Bytes,
}

impl App {
    /// Whether `id` is the coupon that this process issues.
    pub(super) fn check_id(&self, id: &str) -> Result<(), Refused> {
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

/// A path with an escape that is not UTF-8.
pub(super) fn bad_path() -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, "The path is not valid; escape it as UTF-8.")
}
