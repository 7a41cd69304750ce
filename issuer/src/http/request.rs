//! Reads a request to issue; what cannot be read is refused with what to change.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use coupon_core::identity::{RequestKey, UserId};
use coupon_core::minted;
use coupon_core::shown::shown;
use coupon_core::user_id;
use coupon_ledger::redis::IssueRequest;
use coupon_runtime::http::{BodyBudget, MAX_BODY};
use futures::StreamExt;
use serde::de::{Deserialize, Deserializer, IgnoredAny};
use serde_json::error::Category;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;
use utoipa::ToSchema;

use super::respond::{ApiError, Code, IDEMPOTENCY_KEY};
use crate::given_user_id::{BEYOND, GivenUserId};

/// How much of a body that is too long is read and thrown away, so that its sender can read the response.
const MAX_IGNORED: usize = 4 * 1024 * 1024;
/// Longest description of what is wrong with a body, in characters.
const MAX_WHY: usize = 200;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// A request to issue.
#[derive(Debug, Clone, serde::Deserialize, ToSchema)]
#[schema(as = IssueRequest)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IssueRequestBody {
    /// Who asks.
    #[schema(schema_with = super::schema::given_user_id, required)]
    #[serde(default, deserialize_with = "there")]
    pub(crate) user_id: Option<GivenUserId>,
}

/// Of a field that is there: `null` is no user id.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<GivenUserId>, D::Error> {
    GivenUserId::deserialize(deserializer).map(Some)
}

fn invalid(status: StatusCode, error: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::new(status, Code::InvalidRequest, error)
}

/// Checks that `Content-Type` is JSON, which is always in UTF-8: a body in another `charset` would be read wrongly.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let refused = |error: &'static str| Err(invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = given.split(';').map(str::trim);
    if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json")) {
        return refused("Send the header Content-Type: application/json.");
    }
    let charsets =
        parts.filter_map(|part| part.split_once('=')).filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
    for (_, charset) in charsets {
        // RFC 9110, section 8.3.1: with quotation marks or without.
        let charset = charset.trim_matches('"');
        if !["utf-8", "utf8"].iter().any(|known| charset.eq_ignore_ascii_case(known)) {
            return refused(
                "JSON is sent in UTF-8; send the header Content-Type: application/json, and the body in UTF-8.",
            );
        }
    }
    Ok(())
}

/// Reads the whole body, at most [`MAX_BODY`] bytes within [`BODY_TIMEOUT`], if `budget` has room for it.
pub(crate) async fn read_body(body: Body, budget: &BodyBudget) -> Result<Vec<u8>, ApiError> {
    read_body_within(body, budget, BODY_TIMEOUT).await
}

async fn read_body_within(body: Body, budget: &BodyBudget, bound: Duration) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut reserved = budget.reserve();
    let read = async {
        let (mut bytes, mut total) = (Vec::new(), 0usize);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| invalid(StatusCode::BAD_REQUEST, "The body broke off; send it again."))?;
            total += chunk.len();
            if total <= MAX_BODY {
                if !reserved.take(chunk.len()) {
                    let error =
                        "Too many large bodies arrive at once; nothing was issued; send only {\"userId\": \"...\"}.";
                    return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, error));
                }
                bytes.extend_from_slice(&chunk);
            } else if total > MAX_IGNORED {
                break;
            }
        }
        if total > MAX_BODY {
            let error = format!("The body is longer than {MAX_BODY} bytes; send only {{\"userId\": \"...\"}}.");
            return Err(invalid(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        Ok(bytes)
    };
    match tokio::time::timeout(bound, read).await {
        Ok(result) => result,
        Err(_) => {
            let error = format!("The body did not arrive within {} s; send it at once.", bound.as_secs());
            Err(invalid(StatusCode::REQUEST_TIMEOUT, error))
        }
    }
}

/// Reads the user id out of a body, if one is there.
pub(crate) fn parse_user(body: &[u8]) -> Result<Option<UserId>, ApiError> {
    // serde would take an array for an object, its fields in order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        let error = "Send a JSON object, not an array, like {\"userId\": \"user-1\"}.";
        return Err(invalid(StatusCode::UNPROCESSABLE_ENTITY, error));
    }
    let request: IssueRequestBody = serde_json::from_slice(body).map_err(|error| not_read(body, &error))?;
    request.user_id.map(|given| given.admit().map_err(|error| bad_name(&error))).transpose()
}

/// There is no body, where it need say nothing.
pub(crate) fn empty_body() -> ApiError {
    invalid(StatusCode::BAD_REQUEST, "The body is empty; send a JSON object, {} is enough.")
}

/// The user id of a body is missing, and nothing else says who asks.
pub(crate) fn missing_user() -> ApiError {
    let error = "Send a JSON object with the field userId, like {\"userId\": \"user-1\"}: missing field `userId`.";
    invalid(StatusCode::UNPROCESSABLE_ENTITY, error)
}

fn not_read(body: &[u8], error: &serde_json::Error) -> ApiError {
    let why = error.to_string();
    if error.classify() != Category::Data && !is_json(body) {
        let why = shown(&why, MAX_WHY);
        return invalid(
            StatusCode::BAD_REQUEST,
            format!("The body is not JSON: {why}. Send {{\"userId\": \"user-1\"}}."),
        );
    }
    let why = if why.starts_with(NO_NUMBER_OF_RUST) { BEYOND } else { &why };
    // It repeats a text that it did not expect, however long that is.
    let why = shown(why, MAX_WHY);
    invalid(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("Send a JSON object with the field userId, like {{\"userId\": \"user-1\"}}: {why}."),
    )
}

/// How serde_json refuses a number that fits no type of Rust: as a syntax error, although JSON has no largest number.
const NO_NUMBER_OF_RUST: &str = "number out of range";

/// Whether a text is JSON, whatever its numbers and characters are.
fn is_json(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Reads a user id that stands in the path.
pub(crate) fn parse_path_user(text: &str) -> Result<UserId, ApiError> {
    user_id::admit(text).map_err(|error| bad_name(&error))
}

fn bad_name(error: &impl fmt::Display) -> ApiError {
    invalid(StatusCode::UNPROCESSABLE_ENTITY, format!("Change the request: {error}."))
}

/// The key in the header, if there is one.
pub(crate) fn given_key(headers: &HeaderMap) -> Result<Option<RequestKey>, ApiError> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(first) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(invalid(StatusCode::BAD_REQUEST, "Send the header Idempotency-Key once."));
    }
    let text = first.to_str().map_err(|_| {
        invalid(StatusCode::BAD_REQUEST, "Use printable ASCII characters in the header Idempotency-Key.")
    })?;
    RequestKey::new(text).map(Some).map_err(|error| bad_name(&error))
}

/// The request for a coupon of `user`, under the given key, or a new one if there is none.
pub(crate) fn issue_request(user: UserId, given: Option<RequestKey>) -> IssueRequest {
    match given {
        // A client that repeats its request with a key that we made still has no key of its own.
        Some(key) => IssueRequest { minted: minted::is_minted(&key, &user), user, key },
        None => IssueRequest { key: minted::mint(&user), user, minted: true },
    }
}

#[cfg(test)]
mod decoders;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn unauthenticated(body: &[u8]) -> Result<UserId, ApiError> {
        parse_user(body)?.ok_or_else(missing_user)
    }

    #[test]
    fn bodies() {
        for (body, user) in [
            (r#"{"userId":"anna","more":1}"#, "anna"),
            (r#"{"userId":"rene\u0301"}"#, "ren\u{e9}"),
            (r#"{"userId":42}"#, "42"),
            (r#"{"userId":"42"}"#, "42"),
            (r#"{"userId":0}"#, "0"),
            (r#"{"userId":-7}"#, "-7"),
            (r#"{"userId":9007199254740991}"#, "9007199254740991"),
            (r#"{"userId":-9007199254740991}"#, "-9007199254740991"),
        ] {
            assert_eq!(unauthenticated(body.as_bytes()).unwrap().as_str(), user, "{body}");
        }
        assert_eq!(parse_path_user("rene\u{301}").unwrap().as_str(), "ren\u{e9}", "looked up as it was issued");
        for (body, status, hint) in [
            ("", 400, "not JSON"),
            ("{", 400, "not JSON"),
            ("userId=anna", 400, "not JSON"),
            ("\"anna\"", 422, "JSON object"),
            ("[]", 422, "userId"),
            (" [\"anna\"]", 422, "not an array"),
            ("{}", 422, "missing field `userId`"),
            (r#"{"userId":null}"#, 422, "invalid type: null, expected text or a whole number"),
            (r#"{"userId":true}"#, 422, "expected text or a whole number"),
            (r#"{"userId":["anna"]}"#, 422, "expected text or a whole number"),
            (r#"{"userId":{"id":7}}"#, 422, "expected text or a whole number"),
            (r#"{"userId":7.0}"#, 422, "send what is no such number as text"),
            (r#"{"userId":7e2}"#, 422, "send what is no such number as text"),
            (r#"{"userId":-0}"#, 422, "without -0; send what is no such number as text"),
            (r#"{"userId":-0.0}"#, 422, "without -0; send what is no such number as text"),
            (r#"{"userId":9007199254740992}"#, 422, "to 9007199254740991"),
            (r#"{"userId":-9007199254740992}"#, 422, "from -9007199254740991"),
            (r#"{"userId":18446744073709551616}"#, 422, "to 9007199254740991"),
            (r#"{"userId":1e999}"#, 422, "without fraction or exponent"),
            (r#"{"userId":-1e-999}"#, 422, "without fraction or exponent"),
            (r#"{"userId":1e999"#, 400, "not JSON"),
            (r#"{"userId":"\ud800"}"#, 422, "hex escape"),
            (r#"{"userId":007}"#, 400, "not JSON"),
            (r#"{"userId":+7}"#, 400, "not JSON"),
            (r#"{"userId":NaN}"#, 400, "not JSON"),
            (r#"{"userid":"anna"}"#, 422, "missing field `userId`"),
            (r#"{"userId":"a","userId":"b"}"#, 422, "duplicate"),
            (r#"{"userId":""}"#, 422, "1 to 128 bytes"),
            (r#"{"userId":"a\nb"}"#, 422, "control"),
            (r#"{"userId":" "}"#, 422, "white space"),
            (r#"{"userId":"a\u202eb"}"#, 422, "Change the request: userId must not hold U+202E"),
            (r#"{"userId":"a\u200db"}"#, 422, "U+200D"),
        ] {
            let refused = unauthenticated(body.as_bytes()).unwrap_err();
            assert_eq!((refused.status.as_u16(), refused.code), (status, Code::InvalidRequest), "{body}");
            assert!(refused.error.contains(hint), "{body}: {}", refused.error);
        }
        assert_eq!(unauthenticated(b"{\"userId\":\"\xff\"}").unwrap_err().status, 400);
        for digits in ["1".repeat(400), format!("-{}", "9".repeat(400)), format!("0.{}", "3".repeat(400))] {
            let refused = unauthenticated(format!(r#"{{"userId":{digits}}}"#).as_bytes()).unwrap_err();
            assert!(refused.status == 422 && refused.error.contains(BEYOND), "{}", refused.error);
        }
        let beside = format!(r#"{{"userId":"anna","more":{}}}"#, "1".repeat(400));
        assert_eq!(unauthenticated(beside.as_bytes()).unwrap().as_str(), "anna", "another field may hold any number");
        let long = format!(r#"{{"userId":"{}"}}"#, "x".repeat(129));
        assert!(unauthenticated(long.as_bytes()).unwrap_err().error.contains("it has 129"));
        assert_eq!(parse_user(b"{}"), Ok(None), "who is authenticated need not say it again");
        assert_eq!(parse_user(br#"{"user":"anna"}"#), Ok(None));
    }

    #[test]
    fn content_types() {
        for (value, good) in [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/json;charset=\"UTF-8\""), true),
            (Some("application/json; charset=utf8; version=1"), true),
            (Some("application/json;"), true),
            (Some("application/json; charset=latin1"), false),
            (Some("application/json; version=1; Charset=\"utf-16\""), false),
            (Some("application/json; charset="), false),
            (Some("text/plain"), false),
            (Some("application/x-www-form-urlencoded"), false),
            (Some(""), false),
            (None, false),
        ] {
            let headers = value.map(|v| (header::CONTENT_TYPE, HeaderValue::from_static(v))).into_iter().collect();
            let checked = check_content_type(&headers);
            assert_eq!(checked.is_ok(), good, "{value:?}");
            assert!(checked.err().is_none_or(|refused| refused.status == 415));
        }
    }

    #[test]
    fn keys() {
        let anna = || UserId::new("anna").unwrap();
        let with = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
            }
            headers
        };
        let read = |user: UserId, headers: &HeaderMap| given_key(headers).map(|given| issue_request(user, given));
        let given = read(anna(), &with(&[b"k1"])).unwrap();
        assert_eq!((given.key.as_str(), given.minted), ("k1", false));
        let (one, two) = (read(anna(), &with(&[])).unwrap(), read(anna(), &with(&[])).unwrap());
        assert!(one.minted && minted::is_minted(&one.key, &anna()));
        assert_ne!(one.key, two.key, "each request without a key is a new one");
        let again: HeaderMap =
            [(IDEMPOTENCY_KEY.parse().unwrap(), one.key.as_str().parse().unwrap())].into_iter().collect();
        assert_eq!(read(anna(), &again).unwrap(), one, "a key of ours stays one");
        assert!(!read(UserId::new("bert").unwrap(), &again).unwrap().minted, "but not for another user");
        for (values, status) in [
            (vec![&b"a"[..], b"b"], 400),
            (vec![&b""[..]], 422),
            (vec![&[b'x'; 129][..]], 422),
            (vec![&b"\xff"[..]], 400),
        ] {
            assert_eq!(read(anna(), &with(&values)).unwrap_err().status, status, "{values:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_refused() {
        let budget = BodyBudget::new(MAX_BODY);
        let read = async |length| read_body(Body::from(vec![b' '; length]), &budget).await;
        assert_eq!(read(MAX_BODY).await.unwrap().len(), MAX_BODY);
        assert_eq!(read(MAX_BODY + 1).await.unwrap_err().status, 413);
        assert_eq!(read(2 * MAX_IGNORED).await.unwrap_err().status, 413);
    }

    #[tokio::test]
    async fn where_large_bodies_have_no_room_small_ones_do() {
        let budget = BodyBudget::new(MAX_BODY / 2);
        let refused = read_body(Body::from(vec![b' '; MAX_BODY]), &budget).await.unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (503, Code::Overloaded));
        let mut taken = budget.reserve();
        assert!(taken.take(MAX_BODY / 2 + 1024), "all of it");
        let body = Body::from(r#"{"userId":"anna"}"#);
        assert!(read_body(body, &budget).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_given_up() {
        let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        assert_eq!(
            read_body_within(never, &BodyBudget::new(MAX_BODY), Duration::from_millis(1)).await.unwrap_err().status,
            408
        );
    }
}
