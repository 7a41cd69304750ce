//! What every route works with.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::CampaignRowId;
use coupon_runtime::http::BodyBudget;
use sqlx::MySqlPool;
use tokio::sync::watch;

use super::lookups::Lookups;
use super::redis_view::RedisView;
use super::respond::{ApiError, Code};
use crate::authentication::Authenticator;
use crate::epoch::guard::EpochGuard;
use crate::metrics::Metrics;
use crate::pipeline::batcher::Queue;
use crate::pipeline::redis_link::RedisLink;
use crate::pipeline::sold_out::SoldOut;
use crate::rate_limits::RateLimiter;

/// What the routes need.
pub(crate) struct Parts {
    /// The campaign.
    pub(crate) campaign: CampaignId,
    /// Knows who asks.
    pub(crate) authenticator: Arc<Authenticator>,
    /// Knows who asks too often; none where nothing is limited.
    pub(crate) rate_limiter: Option<Arc<RateLimiter>>,
    /// The queue.
    pub(crate) queue: Queue,
    /// Who need not be asked about any more.
    pub(crate) sold_out: Arc<SoldOut>,
    /// Which epoch is served.
    pub(crate) epoch_guard: Arc<EpochGuard>,
    /// Redis.
    pub(crate) link: RedisLink,
    /// The database, for look-ups alone: what they do with its few connections holds up nobody else.
    pub(crate) pool: MySqlPool,
    /// Number of the campaign's row, once it is known.
    pub(crate) row: watch::Receiver<Option<CampaignRowId>>,
    /// The memory for bodies.
    pub(crate) bodies: BodyBudget,
    /// Counters.
    pub(crate) metrics: Metrics,
}

/// [`Parts`], and what the routes share between requests.
pub(super) struct App {
    pub(super) parts: Parts,
    pub(super) redis: RedisView,
    pub(super) lookups: Arc<Lookups>,
    pub(super) openapi: Bytes,
}

impl App {
    /// Whether `id` is the coupon that this process issues.
    pub(super) fn check_id(&self, id: &str) -> Result<(), ApiError> {
        if id == self.parts.campaign.coupon_id() {
            return Ok(());
        }
        let id: String = id.chars().take(64).collect();
        Err(ApiError::new(
            StatusCode::NOT_FOUND,
            Code::UnknownCampaign,
            format!("There is no campaign `{id}` here; check the coupon id in the path."),
        ))
    }
}

/// A path with an escape that is not UTF-8.
pub(super) fn bad_path() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, "The path is not valid; escape it as UTF-8.")
}
