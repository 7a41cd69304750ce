//! Refusals below the routes: the same JSON that users get from everywhere else.

use std::borrow::Cow;

use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// What the HTTP layer refuses by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The head cannot be read as HTTP/1.1.
    NotHttp,
    /// HTTP/1.1 asks for one `Host`.
    Host,
    /// The request did not arrive in time.
    Slow,
    /// The path is too long.
    LongPath,
    /// The head is too long, or has too many fields.
    LargeHead,
    /// The body is announced to be longer than so many bytes, which is the most.
    LongBody(usize),
    /// The body is in a transfer coding other than `chunked` once.
    TransferCoding,
    /// The body is in a content coding.
    ContentCoding,
    /// There is no room for another connection.
    Full,
}

impl Failure {
    /// What hyper means with a status that it answers by itself.
    pub(super) fn of_status(status: u16) -> Option<Self> {
        match status {
            400 => Some(Self::NotHttp),
            414 => Some(Self::LongPath),
            431 => Some(Self::LargeHead),
            _ => None,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NotHttp | Self::Host => StatusCode::BAD_REQUEST,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::LongPath => StatusCode::URI_TOO_LONG,
            Self::LargeHead => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::LongBody(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::ContentCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn body(self) -> Cow<'static, str> {
        let text = match self {
            Self::LongBody(most) => {
                return format!(
                    r#"{{"success":false,"error":"The body is longer than {most} bytes; send a shorter one. Nothing was done.","code":"INVALID_REQUEST"}}"#
                )
                .into();
            }
            Self::NotHttp => {
                r#"{"success":false,"error":"This is no request of HTTP/1.1; nothing was done.","code":"INVALID_REQUEST"}"#
            }
            Self::Host => {
                r#"{"success":false,"error":"Send the header Host once; nothing was done.","code":"INVALID_REQUEST"}"#
            }
            Self::Slow => {
                r#"{"success":false,"error":"The request did not arrive in time; send it at once. Nothing was done.","code":"INVALID_REQUEST"}"#
            }
            Self::LongPath => {
                r#"{"success":false,"error":"The path is too long; nothing was done.","code":"INVALID_REQUEST"}"#
            }
            Self::LargeHead => {
                r#"{"success":false,"error":"The head of the request is larger than 16 KiB or has more than 64 fields; send fewer or shorter header fields. Nothing was done.","code":"INVALID_REQUEST"}"#
            }
            Self::TransferCoding => {
                r#"{"success":false,"error":"Of Transfer-Encoding only chunked is understood, once; send the body so, or with a Content-Length. Nothing was done.","code":"INVALID_REQUEST"}"#
            }
            Self::ContentCoding => {
                r#"{"success":false,"error":"No Content-Encoding is understood; send the body as it is. Nothing was done.","code":"INVALID_REQUEST"}"#
            }
            Self::Full => {
                r#"{"success":false,"error":"Too many are connected at once; nothing was issued; ask again shortly.","code":"OVERLOADED"}"#
            }
        };
        text.into()
    }

    /// The header that says what to do instead, if there is one for it.
    fn advice(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            // Random, so that clients that were refused together do not all come back together.
            Self::Full => Some((header::RETRY_AFTER, HeaderValue::from(rand::random_range(1..=3u16)))),
            // Tells a content coding from a media type that is not supported: RFC 9110, section 12.5.3.
            Self::ContentCoding => Some((header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            _ => None,
        }
    }

    /// The whole answer, for a connection that hyper does not have, or has no more.
    pub(super) fn bytes(self) -> Vec<u8> {
        written(self.response())
    }

    /// The answer, after which the connection is closed.
    pub(super) fn response(self) -> Response<Vec<u8>> {
        let mut response = Response::new(self.body().into_owned().into_bytes());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some((name, value)) = self.advice() {
            headers.insert(name, value);
        }
        response
    }
}

/// An answer as HTTP/1.1 has it.
pub(super) fn written(response: Response<Vec<u8>>) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let (code, reason) = (head.status.as_str(), head.status.canonical_reason().unwrap_or_default());
    let mut bytes = format!("HTTP/1.1 {code} {reason}\r\n").into_bytes();
    for (name, value) in &head.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    bytes.extend(body);
    bytes
}

/// Where hyper's own refusal, which has no body, begins in what it is about to write. It is always the last on a connection. No
/// answer of ours ends like it, as ours have bodies.
pub(super) fn find_bare_refusal(written: &[u8]) -> Option<(usize, Failure)> {
    if !written.ends_with(b"\r\n\r\n") {
        return None;
    }
    let start = written.windows(HEAD.len()).rposition(|window| window == HEAD)?;
    let head = std::str::from_utf8(&written[start..]).ok()?;
    let status = head.get(HEAD.len()..HEAD.len() + 3)?.parse().ok()?;
    let bare = head.contains("\r\ncontent-length: 0\r\n") && head.contains("\r\nconnection: close\r\n");
    Failure::of_status(status).filter(|_| bare).map(|failure| (start, failure))
}

const HEAD: &[u8] = b"HTTP/1.1 ";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_is_json_with_the_three_fields() {
        for failure in [
            Failure::NotHttp,
            Failure::Host,
            Failure::Slow,
            Failure::LongPath,
            Failure::LargeHead,
            Failure::LongBody(16),
            Failure::TransferCoding,
            Failure::ContentCoding,
            Failure::Full,
        ] {
            let text = String::from_utf8(failure.bytes()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(json["success"] == false && json["error"].is_string() && json["code"].is_string(), "{body}");
            assert_eq!(find_bare_refusal(text.as_bytes()), None);
        }
    }

    /// Wrong: who found no room together comes back together.
    #[test]
    fn who_finds_no_room_is_asked_back_at_different_times() {
        let after = |_| Failure::Full.response().headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        let all: BTreeSet<u16> = (0..200).map(after).collect();
        assert_eq!(all, BTreeSet::from([1, 2, 3]));
    }

    #[test]
    fn what_hyper_refuses_by_itself_is_told_from_every_answer() {
        let bare =
            "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(find_bare_refusal(bare.as_bytes()), Some((0, Failure::LargeHead)));
        let both = format!("{answer}{bare}");
        assert_eq!(find_bare_refusal(both.as_bytes()), Some((answer.len(), Failure::LargeHead)));
        for other in [
            answer,
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "\r\n\r\n",
            "",
        ] {
            assert_eq!(find_bare_refusal(other.as_bytes()), None, "{other}");
        }
    }
}
