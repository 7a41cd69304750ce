//! A failure as RFC 9457 has it: for who asks for `application/problem+json`.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::respond::{Code, Failure};

/// What stands before the code in a type. Types are names, and lead nowhere: docs/integrate.md says what each means.
const TYPE: &str = "urn:coupon-operator:problem:";

/// Nothing was issued, or it is not known for certain, as RFC 9457 has it. All that a `Failure` has is here, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// `urn:coupon-operator:problem:` and the code in lower case, with `-` for `_`.
    #[serde(rename = "type")]
    #[schema(max_length = 64, pattern = "^urn:coupon-operator:problem:[a-z-]+$")]
    pub(crate) kind: String,
    /// What the code means.
    #[schema(max_length = 100)]
    pub(crate) title: &'static str,
    /// The answer's status.
    #[schema(minimum = 400, maximum = 599)]
    pub(crate) status: u16,
    /// A sentence for people: why, and what to change.
    #[schema(max_length = 1000)]
    pub(crate) detail: Cow<'static, str>,
    /// Always false.
    pub(crate) success: bool,
    /// The same as `detail`.
    #[schema(max_length = 1000)]
    pub(crate) error: Cow<'static, str>,
    /// Stable, for programs.
    pub(crate) code: Code,
}

impl Problem {
    /// The same failure in the other shape.
    pub(crate) fn of(status: StatusCode, failure: Failure) -> Self {
        let Failure { success, error, code } = failure;
        Self {
            kind: format!("{TYPE}{}", code.as_str().to_ascii_lowercase().replace('_', "-")),
            title: title(code),
            status: status.as_u16(),
            detail: error.clone(),
            success,
            error,
            code,
        }
    }
}

/// The body of a failure in the other shape; `None` if it is no failure of this interface.
pub(crate) fn of_failure(status: StatusCode, body: &[u8]) -> Option<Vec<u8>> {
    serde_json::to_vec(&Problem::of(status, serde_json::from_slice(body).ok()?)).ok()
}

/// The same for every failure with this code.
pub(crate) fn title(code: Code) -> &'static str {
    match code {
        Code::SoldOut => "All coupons are issued",
        Code::AlreadyIssued => "The user holds as many coupons as one may",
        Code::NotStarted => "The campaign has not started",
        Code::Ended => "The campaign is over",
        Code::Suspended => "The campaign is suspended",
        Code::UnknownCampaign => "There is no such campaign here",
        Code::InvalidRequest => "The request cannot be understood",
        Code::Overloaded => "Too many are asking at once",
        Code::RedisUnavailable => "Redis does not answer",
        Code::Unconfirmed => "The coupon is not known to be durable yet",
        Code::NotOpen => "Nothing can be issued for the moment",
        Code::Unauthenticated => "It is not known who asks",
        Code::InvalidToken => "The token is not taken",
        Code::UserMismatch => "The request names another user than the one who is authenticated",
        Code::AuthenticationUnavailable => "Tokens cannot be checked for the moment",
        Code::NotFound => "There is nothing at this path",
        Code::MethodNotAllowed => "The path does not know this method",
        Code::RateLimited => "Too many requests of one user or address",
        Code::GatewayProofRequired => "The request has not passed the gateway's check",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use strum::VariantArray;

    /// Wrong: who changes the shape loses what the other one says.
    #[test]
    fn a_problem_says_all_that_a_failure_says_and_what_the_rfc_asks_for() {
        let body = br#"{"success":false,"error":"All coupons are issued.","code":"SOLD_OUT"}"#;
        let problem = of_failure(StatusCode::BAD_REQUEST, body).unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
        let expected = serde_json::json!({
            "type": "urn:coupon-operator:problem:sold-out", "title": "All coupons are issued", "status": 400,
            "detail": "All coupons are issued.", "success": false, "error": "All coupons are issued.", "code": "SOLD_OUT"
        });
        assert_eq!(problem, expected);
    }

    #[test]
    fn every_code_has_a_type_and_a_title_of_its_own() {
        let failure = |code| Failure { success: false, error: "x".into(), code };
        let all = Code::VARIANTS.iter().map(|code| Problem::of(StatusCode::BAD_REQUEST, failure(*code)));
        let (kinds, titles): (BTreeSet<_>, BTreeSet<_>) = all.map(|problem| (problem.kind, problem.title)).unzip();
        assert_eq!((kinds.len(), titles.len()), (Code::VARIANTS.len(), Code::VARIANTS.len()));
        assert!(kinds.contains("urn:coupon-operator:problem:redis-unavailable"), "{kinds:?}");
        for kind in kinds {
            let tail = kind.strip_prefix(TYPE).unwrap();
            assert!(kind.len() <= 64 && tail.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{kind}");
        }
    }

    #[test]
    fn what_is_no_failure_stays_as_it_is() {
        for body in ["", "no", "{}", r#"{"success":true,"rank":1}"#, r#"{"success":false,"error":"x","code":"NEW"}"#] {
            assert_eq!(of_failure(StatusCode::BAD_REQUEST, body.as_bytes()), None, "{body}");
        }
    }
}
