//! `GET /api/coupons/{id}` and `GET /api/coupons/{id}/users/{userId}`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use coupon_core::event::CouponIssued;
use coupon_core::identity::UserId;
use coupon_ledger::database::{self, DatabaseError};
use coupon_ledger::redis::{Held, RedisKeys, RedisState, held_by};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::{App, Parts, bad_path};
use super::identity;
use super::limited::{self, Admitted};
use super::lookups::Busy;
use super::request;
use super::respond::{ApiError, Code, Failure};
use crate::pipeline::redis_link::LinkError;

/// How long the database may take; an answer does not depend on it.
const STORED_TIMEOUT: Duration = Duration::from_millis(500);

/// A campaign, as of at most 200 ms ago. Its terms, and how many are issued, are null while it is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CampaignView {
    /// The campaign's coupon id.
    #[schema(min_length = 1, max_length = 40)]
    pub(crate) coupon_id: String,
    /// Coupons in all.
    #[schema(required)]
    pub(crate) total_quantity: Option<u64>,
    /// Coupons one user may hold.
    #[schema(required)]
    pub(crate) per_user_limit: Option<u32>,
    /// When coupons are issued.
    #[schema(required)]
    pub(crate) window: Option<Window>,
    /// The clock that decides (Redis').
    #[schema(value_type = String, format = DateTime)]
    pub(crate) now: Timestamp,
    /// What asking for a coupon meets now.
    pub(crate) state: CampaignState,
    /// Whether coupons are issued now.
    pub(crate) open: bool,
    /// Coupons issued so far.
    #[schema(required)]
    pub(crate) issued_count: Option<u64>,
}

/// A span of time, RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Window {
    /// From.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) start: Timestamp,
    /// To, exclusive.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) end: Timestamp,
}

/// What asking for a coupon meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum CampaignState {
    /// The window is not open yet.
    NotStarted,
    /// Coupons are issued.
    Open,
    /// All coupons are issued.
    SoldOut,
    /// The campaign is suspended.
    Suspended,
    /// The window is over.
    Ended,
    /// This server may not issue now: the campaign is being set up or repaired.
    Closed,
}

/// The coupons of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserView {
    /// The campaign's coupon id.
    #[schema(min_length = 1, max_length = 40)]
    pub(crate) coupon_id: String,
    /// Who.
    #[schema(min_length = 1, max_length = 128)]
    pub(crate) user_id: String,
    /// Lowest n first; empty when there are none.
    #[schema(max_items = 100)]
    pub(crate) coupons: Vec<Coupon>,
    /// Whether the database could be asked; if not, `stored` coupons are shown as `accepted`.
    pub(crate) stored_known: bool,
}

/// One coupon of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Coupon {
    /// Place in the order of winners, from 1.
    #[schema(minimum = 1)]
    pub(crate) rank: u64,
    /// The user's n-th coupon, from 1.
    #[schema(minimum = 1)]
    pub(crate) n: u32,
    /// How far it has come.
    pub(crate) state: CouponState,
}

/// How far a coupon has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CouponState {
    /// The rank is taken.
    Accepted,
    /// It is a row in the database.
    Stored,
}

fn redis_away(_: LinkError) -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Code::RedisUnavailable,
        "Redis cannot be read for the moment; ask again shortly.",
    )
}

/// What a campaign is, and whether it is open.
///
/// For countdowns and sold-out pages: one answer serves all who ask within 200 ms.
#[utoipa::path(
    get,
    path = "/api/coupons/{id}",
    tag = "coupons",
    operation_id = "getCampaign",
    params(("id" = String, Path, min_length = 1, max_length = 40, description = "The campaign's coupon id")),
    responses(
        (status = 200, description = "The campaign", body = CampaignView),
        (status = 403, description = "GATEWAY_PROOF_REQUIRED: the class asks for a header that its gateway sets", body = Failure),
        (status = 404, description = "UNKNOWN_CAMPAIGN", body = Failure),
        (status = 503, description = "REDIS_UNAVAILABLE", body = Failure,
            headers(("Retry-After" = u32, description = "Seconds to wait"))),
    ),
)]
pub(super) async fn campaign(
    State(app): State<Arc<App>>,
    _: Admitted,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<CampaignView>, ApiError> {
    let Path(id) = path.map_err(|_| bad_path())?;
    app.check_id(&id)?;
    let redis = app.redis.get().await.map_err(redis_away)?;
    Ok(Json(view(app.parts.campaign.coupon_id(), &redis, app.parts.epoch_guard.serving().ok())))
}

fn timestamp(ms: i64) -> Timestamp {
    // Redis' clock and checked windows are far inside the range.
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

fn view(coupon_id: &str, redis: &RedisState, serving: Option<u64>) -> CampaignView {
    let terms = redis.open.as_ref().map(|open| open.terms);
    let state = state(redis, serving);
    CampaignView {
        coupon_id: coupon_id.to_owned(),
        total_quantity: terms.map(|terms| terms.total),
        per_user_limit: terms.map(|terms| terms.limit),
        window: terms.map(|terms| Window { start: timestamp(terms.start_ms), end: timestamp(terms.end_ms) }),
        now: timestamp(redis.now_ms),
        state,
        open: state == CampaignState::Open,
        // What Redis has of a campaign that is closed may be nothing, or the half of it.
        issued_count: terms.map(|_| redis.issued),
    }
}

/// In the order in which the script checks.
fn state(redis: &RedisState, serving: Option<u64>) -> CampaignState {
    let Some(open) = redis.open.as_ref().filter(|_| serving.is_some_and(|epoch| redis.serves(epoch))) else {
        return CampaignState::Closed;
    };
    let terms = &open.terms;
    if redis.now_ms < terms.start_ms {
        CampaignState::NotStarted
    } else if redis.now_ms >= terms.end_ms {
        CampaignState::Ended
    } else if terms.suspended {
        CampaignState::Suspended
    } else if redis.issued >= terms.total {
        CampaignState::SoldOut
    } else {
        CampaignState::Open
    }
}

/// Which coupons a user holds.
///
/// `accepted`: the rank is taken, and becomes a row within seconds. `stored`: it is one.
#[utoipa::path(
    get,
    path = "/api/coupons/{id}/users/{userId}",
    tag = "coupons",
    operation_id = "getUserCoupons",
    params(
        ("id" = String, Path, min_length = 1, max_length = 40, description = "The campaign's coupon id"),
        ("userId" = inline(super::schema::UserIdText), Path, description = "Who; taken, or refused, as when a coupon is asked for"),
    ),
    responses(
        (status = 200, description = "The user's coupons, none included", body = UserView),
        (status = 400, description = "INVALID_REQUEST: the path cannot be read", body = Failure),
        (status = 403, description = "GATEWAY_PROOF_REQUIRED: the class asks for a header that its gateway sets", body = Failure),
        (status = 404, description = "UNKNOWN_CAMPAIGN", body = Failure),
        (status = 422, description = "INVALID_REQUEST: the user id cannot be one", body = Failure),
        (status = 503, description = "OVERLOADED, REDIS_UNAVAILABLE", body = Failure,
            headers(("Retry-After" = u32, description = "Seconds to wait"))),
    ),
)]
pub(super) async fn user(
    State(app): State<Arc<App>>,
    _: Admitted,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<UserView>, ApiError> {
    let Path((id, user)) = path.map_err(|_| bad_path())?;
    app.check_id(&id)?;
    let asker = identity::asker(&app.parts.authenticator, &headers).await?;
    let user = identity::agreed(asker, Some(request::parse_path_user(&user)?))?;
    limited::admit_user(&app, &user)?;
    let _under_way = app.lookups.begin(&user).map_err(busy)?;
    limited::admit_to_redis(&app)?;
    let keys = RedisKeys::of(&app.parts.campaign);
    let accepted = app.parts.link.read(|mut connection| {
        let (keys, user) = (&keys, &user);
        async move { held_by(&mut connection, keys, user).await }
    });
    let (accepted, stored) = tokio::join!(accepted, stored(&app, &user));
    let accepted = accepted.map_err(redis_away)?.unwrap_or_default();
    Ok(Json(UserView {
        coupon_id: app.parts.campaign.coupon_id().to_owned(),
        user_id: user.as_str().to_owned(),
        coupons: merge(&accepted, stored.as_deref().unwrap_or_default()),
        stored_known: stored.is_some(),
    }))
}

fn busy(busy: Busy) -> ApiError {
    let sentence = match busy {
        Busy::All => "Too many are asking at once; ask again shortly.",
        Busy::User => "This user is being looked up already; ask again shortly.",
    };
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, sentence)
}

/// The user's rows; `None` when the database does not answer in time.
async fn stored(app: &App, user: &UserId) -> Option<Vec<CouponIssued>> {
    let Parts { pool, campaign, row, .. } = &app.parts;
    let read = async {
        let known = *row.borrow();
        let row = match known {
            Some(row) => row,
            None => match database::find(pool, campaign).await? {
                Some(found) => found.id,
                None => return Ok(Vec::new()),
            },
        };
        database::held_by(pool, campaign, row, user).await
    };
    let result: Result<Vec<CouponIssued>, DatabaseError> = match tokio::time::timeout(STORED_TIMEOUT, read).await {
        Ok(result) => result,
        Err(_) => return None,
    };
    result.inspect_err(|error| tracing::debug!(%error, "stored coupons cannot be read")).ok()
}

/// What is stored stands; what only Redis holds is on its way.
fn merge(accepted: &[Held], stored: &[CouponIssued]) -> Vec<Coupon> {
    let mut by_n: BTreeMap<u32, Coupon> = accepted
        .iter()
        .map(|held| (held.n, Coupon { rank: held.rank, n: held.n, state: CouponState::Accepted }))
        .collect();
    by_n.extend(stored.iter().map(|row| (row.n, Coupon { rank: row.rank, n: row.n, state: CouponState::Stored })));
    by_n.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coupon_core::identity::RequestKey;
    use coupon_ledger::redis::{OpenInRedis, Terms};

    fn redis(issued: u64, suspended: bool, now_ms: i64) -> RedisState {
        let terms = Terms { total: 10, limit: 2, start_ms: 1_000, end_ms: 2_000, suspended };
        RedisState {
            clock_ms: now_ms,
            now_ms,
            history: "h".into(),
            issued,
            open: Some(OpenInRedis { epoch: 3, history: "h".into(), terms, number: 1, highest: issued, misfit: None }),
        }
    }

    #[test]
    fn states() {
        use CampaignState::{Closed, Ended, NotStarted, Open, SoldOut, Suspended};
        let moved = RedisState { history: "other".into(), ..redis(1, false, 1_500) };
        let closed = RedisState { open: None, ..redis(1, false, 1_500) };
        for (redis, serving, expected) in [
            (redis(1, false, 999), Some(3), NotStarted),
            (redis(1, false, 1_000), Some(3), Open),
            (redis(1, false, 1_999), Some(3), Open),
            (redis(1, false, 2_000), Some(3), Ended),
            (redis(1, true, 1_500), Some(3), Suspended),
            (redis(1, true, 500), Some(3), NotStarted),
            (redis(10, false, 1_500), Some(3), SoldOut),
            (redis(1, false, 1_500), Some(4), Closed),
            (redis(1, false, 1_500), None, Closed),
            (moved, Some(3), Closed),
            (closed, Some(3), Closed),
        ] {
            let view = view("spring", &redis, serving);
            assert_eq!((view.state, view.open), (expected, expected == Open), "{redis:?} serving {serving:?}");
        }
    }

    #[test]
    fn times_are_rfc_3339_and_a_closed_campaign_has_no_terms() {
        let json = serde_json::to_value(view("spring", &redis(4, false, 1_500), Some(3))).unwrap();
        let expected = serde_json::json!({
            "couponId": "spring", "totalQuantity": 10, "perUserLimit": 2, "now": "1970-01-01T00:00:01.5Z",
            "window": {"start": "1970-01-01T00:00:01Z", "end": "1970-01-01T00:00:02Z"},
            "state": "OPEN", "open": true, "issuedCount": 4
        });
        assert_eq!(json, expected);
        let closed = RedisState { open: None, ..redis(4, false, 1_500) };
        let json = serde_json::to_value(view("spring", &closed, Some(3))).unwrap();
        assert!(json["window"].is_null() && json["totalQuantity"].is_null() && json["open"] == false);
    }

    #[test]
    fn rows_stand_over_what_redis_says() {
        let user = UserId::new("anna").unwrap();
        let held = |n, rank| Held { user: user.clone(), rank, n, granted: None };
        let row = |n, rank| CouponIssued {
            coupon_id: "spring".into(),
            user_id: user.clone(),
            rank,
            issued_count: rank,
            occurred_at: Timestamp::UNIX_EPOCH,
            n,
            epoch: 1,
            request_key: RequestKey::new("k").unwrap(),
        };
        let coupon = |n, rank, state| Coupon { rank, n, state };
        use CouponState::{Accepted, Stored};
        assert_eq!(merge(&[], &[]), []);
        assert_eq!(merge(&[held(1, 5), held(2, 9)], &[]), [coupon(1, 5, Accepted), coupon(2, 9, Accepted)]);
        assert_eq!(
            merge(&[held(2, 9), held(1, 5)], &[row(1, 5), row(3, 2)]),
            [coupon(1, 5, Stored), coupon(2, 9, Accepted), coupon(3, 2, Stored)]
        );
        assert_eq!(merge(&[held(1, 5)], &[row(1, 4)]), [coupon(1, 4, Stored)]);
    }
}
