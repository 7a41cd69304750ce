//! What users are told: one shape for success, one for every failure.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use campaign::identity::RequestKey;
use serde::Serialize;
use utoipa::ToSchema;

use crate::outcome::Outcome;

/// Header that carries the key of a wish, in both directions.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A coupon was issued, now or to the same wish before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// Always true.
    pub success: bool,
    /// A sentence for people.
    pub message: String,
    /// Place in the order of winners, from 1.
    #[schema(minimum = 1)]
    pub rank: u64,
    /// Coupons issued at that moment, this one included.
    pub issued_count: u64,
}

/// Nothing was issued, or it is not known for certain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Always false.
    pub success: bool,
    /// A sentence for people: why, and what to change.
    pub error: String,
    /// Stable, for programs.
    pub code: Code,
}

/// Why nothing was issued. Codes are never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
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
    /// No such path.
    NotFound,
    /// The path does not know that method.
    MethodNotAllowed,
}

impl Code {
    /// As written in answers and metrics.
    pub fn as_str(self) -> &'static str {
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
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
        }
    }
}

/// An answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code.
    pub code: Code,
    /// A sentence for people.
    pub error: String,
}

impl Refused {
    /// The three parts of a failure.
    pub fn new(status: StatusCode, code: Code, error: impl Into<String>) -> Self {
        Self { status, code, error: error.into() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Json(Failure { success: false, error: self.error, code: self.code });
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            // Spread, or all who were refused together come back together.
            let seconds = HeaderValue::from(rand::random_range(1..=3u16));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

const AGAIN: &str = "ask again with the same Idempotency-Key";

/// What a user is told about the end of a wish.
pub fn told(outcome: &Outcome) -> Result<Issued, Refused> {
    let refused = |code, error: &str| Err(Refused::new(StatusCode::BAD_REQUEST, code, error));
    let unavailable = |code, error: String| Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, code, error));
    match outcome {
        Outcome::Issued { grant, repeated } => Ok(Issued {
            success: true,
            message: if *repeated { "The coupon was issued to you already." } else { "The coupon is issued to you." }
                .into(),
            rank: grant.rank,
            issued_count: grant.issued_count,
        }),
        Outcome::AlreadyIssued => refused(Code::AlreadyIssued, "You hold as many coupons of this campaign as one may."),
        Outcome::SoldOut => refused(Code::SoldOut, "All coupons are issued."),
        Outcome::NotStarted => refused(Code::NotStarted, "The campaign has not started yet."),
        Outcome::Ended => refused(Code::Ended, "The campaign is over."),
        Outcome::Suspended => refused(Code::Suspended, "The campaign is suspended for now."),
        Outcome::Overloaded => unavailable(Code::Overloaded, "Too many are asking at once; ask again shortly.".into()),
        Outcome::RedisUnavailable { maybe_granted: false } => unavailable(
            Code::RedisUnavailable,
            "Redis gives no ranks for the moment; nothing was issued; ask again shortly.".into(),
        ),
        Outcome::RedisUnavailable { maybe_granted: true } => {
            unavailable(Code::RedisUnavailable, format!("Redis did not answer; you may hold a coupon; {AGAIN}."))
        }
        Outcome::Unconfirmed => {
            unavailable(Code::Unconfirmed, format!("The coupon is not confirmed yet; you may hold a coupon; {AGAIN}."))
        }
        Outcome::NotOpen(reason) => {
            unavailable(Code::NotOpen, format!("Nothing is issued for the moment: {reason}; ask again shortly."))
        }
    }
}

/// As counted in metrics.
pub fn label(outcome: &Outcome) -> &'static str {
    match (outcome, told(outcome)) {
        (Outcome::Issued { repeated: true, .. }, _) => "REPEATED",
        (_, Ok(_)) => "ISSUED",
        (_, Err(refused)) => refused.code.as_str(),
    }
}

/// The answer to a wish whose key was `key`. It names that key if it won the coupon, or may have: a client that sent none learns the
/// one that was made for it. A key that somebody else sent for the same user is nobody's business: it may be the number of an order.
pub fn respond(outcome: &Outcome, key: &RequestKey) -> Response {
    let mut response = match told(outcome) {
        Ok(issued) => Json(issued).into_response(),
        Err(refused) => refused.into_response(),
    };
    let names_key = match outcome {
        Outcome::Issued { grant, .. } => grant.key == *key,
        Outcome::Unconfirmed => true,
        Outcome::RedisUnavailable { maybe_granted } => *maybe_granted,
        _ => false,
    };
    if names_key && let Ok(value) = HeaderValue::from_str(key.as_str()) {
        response.headers_mut().insert(IDEMPOTENCY_KEY, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Reason;
    use campaign::stock::Grant;

    fn grant() -> Grant {
        Grant { rank: 7, n: 1, issued_count: 9, granted_ms: 0, key: RequestKey::new("won-with").unwrap() }
    }

    #[test]
    fn every_outcome_has_its_status_and_code() {
        for (outcome, status, code) in [
            (Outcome::AlreadyIssued, 400, "ALREADY_ISSUED"),
            (Outcome::SoldOut, 400, "SOLD_OUT"),
            (Outcome::NotStarted, 400, "NOT_STARTED"),
            (Outcome::Ended, 400, "ENDED"),
            (Outcome::Suspended, 400, "SUSPENDED"),
            (Outcome::Overloaded, 503, "OVERLOADED"),
            (Outcome::RedisUnavailable { maybe_granted: false }, 503, "REDIS_UNAVAILABLE"),
            (Outcome::RedisUnavailable { maybe_granted: true }, 503, "REDIS_UNAVAILABLE"),
            (Outcome::Unconfirmed, 503, "UNCONFIRMED"),
            (Outcome::NotOpen(Reason::Fenced), 503, "NOT_OPEN"),
        ] {
            let refused = told(&outcome).unwrap_err();
            assert_eq!((refused.status.as_u16(), refused.code.as_str()), (status, code), "{outcome:?}");
            assert_eq!(serde_json::to_value(refused.code).unwrap(), code, "JSON and metrics use one name");
            assert_eq!(label(&outcome), code);
            let response = respond(&outcome, &RequestKey::new("mine").unwrap());
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503, "{outcome:?}");
        }
        assert_eq!(label(&Outcome::Issued { grant: grant(), repeated: false }), "ISSUED");
        assert_eq!(label(&Outcome::Issued { grant: grant(), repeated: true }), "REPEATED");
    }

    #[test]
    fn a_success_has_the_contract_s_shape() {
        let issued = told(&Outcome::Issued { grant: grant(), repeated: false }).unwrap();
        let expected = serde_json::json!({
            "success": true, "message": "The coupon is issued to you.", "rank": 7, "issuedCount": 9
        });
        assert_eq!(serde_json::to_value(issued).unwrap(), expected);
    }

    #[test]
    fn who_may_hold_a_coupon_learns_the_key_to_ask_with_and_nobody_elses() {
        let key = RequestKey::new("mine").unwrap();
        let mine = || Grant { key: key.clone(), ..grant() };
        for (outcome, expected) in [
            (Outcome::Issued { grant: mine(), repeated: false }, Some("mine")),
            (Outcome::Issued { grant: mine(), repeated: true }, Some("mine")),
            (Outcome::Issued { grant: grant(), repeated: true }, None),
            (Outcome::Unconfirmed, Some("mine")),
            (Outcome::RedisUnavailable { maybe_granted: true }, Some("mine")),
            (Outcome::RedisUnavailable { maybe_granted: false }, None),
            (Outcome::SoldOut, None),
        ] {
            let response = respond(&outcome, &key);
            let found = response.headers().get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{outcome:?}");
        }
        for uncertain in [Outcome::Unconfirmed, Outcome::RedisUnavailable { maybe_granted: true }] {
            assert!(
                told(&uncertain)
                    .unwrap_err()
                    .error
                    .contains("you may hold a coupon; ask again with the same Idempotency-Key")
            );
        }
    }
}
