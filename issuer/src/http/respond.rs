//! Responses to users: one shape for success, one for every failure.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coupon_core::identity::RequestKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::metrics::ISSUED;
use crate::pipeline::outcome::RequestOutcome;

/// Header that carries the key of a request, in both directions.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header that warns who sent no key where a user may hold several coupons: to ask again would be another wish.
pub(crate) const KEY_MINTED: HeaderName = HeaderName::from_static("coupon-key-minted");

/// Headers that say how often may be asked (draft-ietf-httpapi-ratelimit-headers-11), of who did more often.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A coupon was issued, now or to the same wish before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Issued {
    /// Always true.
    pub(crate) success: bool,
    /// A sentence for people.
    #[schema(max_length = 100)]
    pub(crate) message: &'static str,
    /// Place in the order of winners, from 1.
    #[schema(minimum = 1)]
    pub(crate) rank: u64,
    /// Coupons issued at that moment, this one included.
    pub(crate) issued_count: u64,
}

/// Nothing was issued, or it is not known for certain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    /// Always false.
    pub(crate) success: bool,
    /// A sentence for people: why, and what to change.
    #[schema(max_length = 1000)]
    pub(crate) error: Cow<'static, str>,
    /// Stable, for programs.
    pub(crate) code: Code,
}

/// Why nothing was issued. Codes are never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, strum::VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Code {
    /// All coupons are issued.
    SoldOut,
    /// The user holds as many as one may.
    AlreadyIssued,
    /// The window is not open yet.
    NotStarted,
    /// The window is over.
    Ended,
    /// The campaign is suspended.
    Suspended,
    /// This server does not issue for that coupon id.
    UnknownCampaign,
    /// The request cannot be understood.
    InvalidRequest,
    /// Too many are asking. Ask again.
    Overloaded,
    /// Redis does not answer. Ask again with the same key.
    RedisUnavailable,
    /// A rank was taken but is not known to be durable. Ask again with the same key.
    Unconfirmed,
    /// Nothing can be issued for the moment. Ask again.
    NotOpen,
    /// Nothing says who asks.
    Unauthenticated,
    /// The token is not taken, whatever is wrong with it.
    InvalidToken,
    /// The request names another user than the one who is authenticated.
    UserMismatch,
    /// Tokens cannot be checked. Ask again.
    AuthenticationUnavailable,
    /// No such path.
    NotFound,
    /// The path does not know that method.
    MethodNotAllowed,
    /// This user, or this address, asks too often. Ask again.
    RateLimited,
    /// The request lacks what the gateway gives to those that it has checked.
    GatewayProofRequired,
}

impl Code {
    /// As written in responses and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SoldOut => "SOLD_OUT",
            Self::AlreadyIssued => "ALREADY_ISSUED",
            Self::NotStarted => "NOT_STARTED",
            Self::Ended => "ENDED",
            Self::Suspended => "SUSPENDED",
            Self::UnknownCampaign => "UNKNOWN_CAMPAIGN",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::Overloaded => "OVERLOADED",
            Self::RedisUnavailable => "REDIS_UNAVAILABLE",
            Self::Unconfirmed => "UNCONFIRMED",
            Self::NotOpen => "NOT_OPEN",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::InvalidToken => "INVALID_TOKEN",
            Self::UserMismatch => "USER_MISMATCH",
            Self::AuthenticationUnavailable => "AUTHENTICATION_UNAVAILABLE",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::RateLimited => "RATE_LIMITED",
            Self::GatewayProofRequired => "GATEWAY_PROOF_REQUIRED",
        }
    }
}

/// A response that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// Stable code.
    pub(crate) code: Code,
    /// A sentence for people.
    pub(crate) error: Cow<'static, str>,
    /// How to authenticate oneself, as `WWW-Authenticate` says it.
    pub(crate) challenge: Option<&'static str>,
    /// When to ask again, where that is known. In a box, as few answers have it.
    pub(crate) again: Option<Box<Again>>,
}

/// When to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Again {
    /// Seconds from now.
    pub(crate) seconds: u64,
    /// How often may be asked, if that is told.
    pub(crate) quota: Option<QuotaFields>,
}

/// How often may be asked, as header fields say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuotaFields {
    /// `RateLimit-Policy`.
    pub(crate) policy: HeaderValue,
    /// `RateLimit`.
    pub(crate) limit: HeaderValue,
}

impl ApiError {
    /// The three parts of a failure.
    pub(crate) fn new(status: StatusCode, code: Code, error: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, error: error.into(), challenge: None, again: None }
    }

    /// Says how to authenticate oneself.
    pub(crate) fn with_challenge(self, challenge: &'static str) -> Self {
        Self { challenge: Some(challenge), ..self }
    }

    /// Says when to ask again.
    pub(crate) fn again_after(self, again: Again) -> Self {
        Self { again: Some(Box::new(again)), ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(Failure { success: false, error: self.error, code: self.code });
        let mut response = (self.status, body).into_response();
        if let Some(again) = self.again {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, again.seconds.into());
            if let Some(QuotaFields { policy, limit }) = again.quota {
                headers.insert(RATE_LIMIT_POLICY, policy);
                headers.insert(RATE_LIMIT, limit);
            }
        } else if self.status == StatusCode::SERVICE_UNAVAILABLE {
            // Random, so that clients that were refused together do not all come back together.
            let seconds = HeaderValue::from(rand::random_range(1..=3u16));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

const AGAIN: &str = "ask again with the same Idempotency-Key";

/// The body of the response to a request that ended like this.
pub(crate) fn issued(outcome: &RequestOutcome) -> Result<Issued, ApiError> {
    let refused = |code, error: &'static str| Err(ApiError::new(StatusCode::BAD_REQUEST, code, error));
    let unavailable = |code, error: Cow<'static, str>| Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, error));
    match outcome {
        RequestOutcome::Issued { grant, repeated } => Ok(Issued {
            success: true,
            message: if *repeated { "The coupon was issued to you already." } else { "The coupon is issued to you." },
            rank: grant.rank,
            issued_count: grant.issued_count,
        }),
        RequestOutcome::AlreadyIssued => {
            refused(Code::AlreadyIssued, "You hold as many coupons of this campaign as one may.")
        }
        RequestOutcome::SoldOut => refused(Code::SoldOut, "All coupons are issued."),
        RequestOutcome::NotStarted => refused(Code::NotStarted, "The campaign has not started yet."),
        RequestOutcome::Ended => refused(Code::Ended, "The campaign is over."),
        RequestOutcome::Suspended => refused(Code::Suspended, "The campaign is suspended for now."),
        RequestOutcome::Overloaded => {
            unavailable(Code::Overloaded, "Too many are asking at once; ask again shortly.".into())
        }
        RequestOutcome::RedisUnavailable { maybe_granted: false } => unavailable(
            Code::RedisUnavailable,
            "Redis gives no ranks for the moment; nothing was issued; ask again shortly.".into(),
        ),
        RequestOutcome::RedisUnavailable { maybe_granted: true } => {
            unavailable(Code::RedisUnavailable, format!("Redis did not answer; you may hold a coupon; {AGAIN}.").into())
        }
        RequestOutcome::Unconfirmed => unavailable(
            Code::Unconfirmed,
            format!("The coupon is not confirmed yet; you may hold a coupon; {AGAIN}.").into(),
        ),
        RequestOutcome::NotOpen(reason) => {
            unavailable(Code::NotOpen, format!("Nothing is issued for the moment: {reason}; ask again shortly.").into())
        }
    }
}

/// As counted in metrics.
pub(crate) fn label(outcome: &RequestOutcome) -> &'static str {
    match (outcome, issued(outcome)) {
        (RequestOutcome::Issued { repeated: true, .. }, _) => "REPEATED",
        (_, Ok(_)) => ISSUED,
        (_, Err(refused)) => refused.code.as_str(),
    }
}

/// The response to a request whose key was `key`, if it had one yet. It names that key if the key won the coupon, or may have: so a client that sent none
/// learns the key that was made for it. A key that another client sent for the same user is not shown: it may be an order number.
pub(crate) fn respond(outcome: &RequestOutcome, key: Option<&RequestKey>) -> Response {
    let mut response = match issued(outcome) {
        Ok(body) => Json(body).into_response(),
        Err(refused) => refused.into_response(),
    };
    let names_key = match outcome {
        RequestOutcome::Issued { grant, .. } => key == Some(&grant.key),
        RequestOutcome::Unconfirmed => true,
        RequestOutcome::RedisUnavailable { maybe_granted } => *maybe_granted,
        _ => false,
    };
    if names_key
        && let Some(key) = key
        && let Ok(value) = HeaderValue::from_str(key.as_str())
    {
        response.headers_mut().insert(IDEMPOTENCY_KEY, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::state::NotServing;
    use coupon_ledger::redis::Grant;

    fn grant() -> Grant {
        Grant { rank: 7, n: 1, issued_count: 9, granted_ms: 0, key: RequestKey::new("won-with").unwrap() }
    }

    #[test]
    fn every_outcome_has_its_status_and_code() {
        for (outcome, status, code) in [
            (RequestOutcome::AlreadyIssued, 400, "ALREADY_ISSUED"),
            (RequestOutcome::SoldOut, 400, "SOLD_OUT"),
            (RequestOutcome::NotStarted, 400, "NOT_STARTED"),
            (RequestOutcome::Ended, 400, "ENDED"),
            (RequestOutcome::Suspended, 400, "SUSPENDED"),
            (RequestOutcome::Overloaded, 503, "OVERLOADED"),
            (RequestOutcome::RedisUnavailable { maybe_granted: false }, 503, "REDIS_UNAVAILABLE"),
            (RequestOutcome::RedisUnavailable { maybe_granted: true }, 503, "REDIS_UNAVAILABLE"),
            (RequestOutcome::Unconfirmed, 503, "UNCONFIRMED"),
            (RequestOutcome::NotOpen(NotServing::Fenced), 503, "NOT_OPEN"),
        ] {
            let refused = issued(&outcome).unwrap_err();
            assert_eq!((refused.status.as_u16(), refused.code.as_str()), (status, code), "{outcome:?}");
            assert_eq!(serde_json::to_value(refused.code).unwrap(), code, "JSON and metrics use one name");
            assert_eq!(label(&outcome), code);
            let response = respond(&outcome, Some(&RequestKey::new("mine").unwrap()));
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503, "{outcome:?}");
        }
        assert_eq!(label(&RequestOutcome::Issued { grant: grant(), repeated: false }), "ISSUED");
        assert_eq!(label(&RequestOutcome::Issued { grant: grant(), repeated: true }), "REPEATED");
    }

    #[test]
    fn a_success_has_the_contract_s_shape() {
        let body = issued(&RequestOutcome::Issued { grant: grant(), repeated: false }).unwrap();
        let expected = serde_json::json!({
            "success": true, "message": "The coupon is issued to you.", "rank": 7, "issuedCount": 9
        });
        assert_eq!(serde_json::to_value(body).unwrap(), expected);
    }

    #[test]
    fn who_may_hold_a_coupon_learns_the_key_to_ask_with_and_nobody_elses() {
        let key = RequestKey::new("mine").unwrap();
        let mine = || Grant { key: key.clone(), ..grant() };
        for (outcome, expected) in [
            (RequestOutcome::Issued { grant: mine(), repeated: false }, Some("mine")),
            (RequestOutcome::Issued { grant: mine(), repeated: true }, Some("mine")),
            (RequestOutcome::Issued { grant: grant(), repeated: true }, None),
            (RequestOutcome::Unconfirmed, Some("mine")),
            (RequestOutcome::RedisUnavailable { maybe_granted: true }, Some("mine")),
            (RequestOutcome::RedisUnavailable { maybe_granted: false }, None),
            (RequestOutcome::SoldOut, None),
        ] {
            let response = respond(&outcome, Some(&key));
            let found = response.headers().get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{outcome:?}");
        }
        for uncertain in [RequestOutcome::Unconfirmed, RequestOutcome::RedisUnavailable { maybe_granted: true }] {
            assert!(
                issued(&uncertain)
                    .unwrap_err()
                    .error
                    .contains("you may hold a coupon; ask again with the same Idempotency-Key")
            );
        }
    }
}
