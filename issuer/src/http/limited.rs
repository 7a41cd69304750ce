//! What is told to those who ask too often, or past the gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use coupon_core::identity::UserId;
use coupon_runtime::http::Peer;

use super::app::App;
use super::respond::{Again, ApiError, Code, QuotaFields};
use crate::rate_limits::{Quota, Refusal};

/// A request that may be looked at: it came through the gateway, and not too many came from its address. The head alone decides.
pub(super) struct Admitted;

impl FromRequestParts<Arc<App>> for Admitted {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Some(limiter) = &app.parts.rate_limiter else { return Ok(Self) };
        // The port tells it wherever addresses are counted; and if not, all are of one.
        let peer = head.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| *peer);
        limiter.admit(peer, &head.headers).map(|()| Self).map_err(refused)
    }
}

/// Whether this user may ask once more.
pub(super) fn admit_user(app: &App, user: &UserId) -> Result<(), ApiError> {
    let Some(limiter) = &app.parts.rate_limiter else { return Ok(()) };
    limiter.admit_user(user).map_err(refused)
}

/// Whether one more request may go to Redis.
pub(super) fn admit_to_redis(app: &App) -> Result<(), ApiError> {
    let Some(limiter) = &app.parts.rate_limiter else { return Ok(()) };
    limiter.admit_to_redis().map_err(refused)
}

/// Who has asked too often is told so (429); that all together have is nobody's fault, and what is told whenever there is no room (503).
fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Header => {
            let error = "The request has not passed the gateway's check; nothing was issued; come through the gateway.";
            ApiError::new(StatusCode::FORBIDDEN, Code::GatewayProofRequired, error)
        }
        Refusal::User(quota) => {
            let error = "You ask too often; nothing was issued to this request; ask again after the seconds of Retry-After, with the same \
                         Idempotency-Key.";
            too_often(error, quota)
        }
        Refusal::Address(quota) => {
            let error = "Too many requests come from your address; nothing was issued to this one; ask again after the seconds of \
                         Retry-After, with the same Idempotency-Key.";
            too_often(error, quota)
        }
        Refusal::Pod(seconds) => {
            let error = "Too many are asking at once; nothing was issued to this request; ask again after the seconds of Retry-After, with \
                         the same Idempotency-Key.";
            let refused = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, error);
            refused.again_after(Again { seconds, quota: None })
        }
    }
}

fn too_often(error: &'static str, quota: Quota) -> ApiError {
    let Quota { retry_after: seconds, policy, limit } = quota;
    let quota = Some(QuotaFields { policy, limit });
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, error).again_after(Again { seconds, quota })
}

#[cfg(test)]
mod cost;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderMap, HeaderValue};
    use axum::response::IntoResponse;

    fn quota() -> Quota {
        Quota {
            retry_after: 7,
            policy: HeaderValue::from_static("\"user\";q=3;w=30"),
            limit: HeaderValue::from_static("\"user\";r=0;t=4"),
        }
    }

    /// Wrong: a client that is refused cannot tell whether it has a coupon, or when to ask again.
    #[test]
    fn who_is_refused_is_told_that_nothing_was_issued_and_when_to_ask_again() {
        let fields = [Some("7"), Some("\"user\";q=3;w=30"), Some("\"user\";r=0;t=4")];
        for (refusal, status, code, expected) in [
            (Refusal::Header, 403, Code::GatewayProofRequired, [None; 3]),
            (Refusal::User(quota()), 429, Code::RateLimited, fields),
            (Refusal::Address(quota()), 429, Code::RateLimited, fields),
            (Refusal::Pod(7), 503, Code::Overloaded, [Some("7"), None, None]),
        ] {
            let told = refused(refusal.clone());
            assert_eq!((told.status.as_u16(), told.code), (status, code), "{refusal:?}");
            assert!(told.error.contains("nothing was issued"), "{refusal:?}");
            assert_eq!(told.error.contains("same Idempotency-Key"), status != 403, "{refusal:?}");
            let headers = told.into_response().headers().clone();
            let given = |name: &str| HeaderMap::get(&headers, name).map(|value| value.to_str().unwrap());
            assert_eq!(["retry-after", "ratelimit-policy", "ratelimit"].map(given), expected, "{refusal:?}");
        }
    }
}
