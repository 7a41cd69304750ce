//! Which pages of other origins may call, and read what is answered: CORS, as the Fetch standard has it.
//!
//! Cookies and logins of a browser are never asked for, so no answer says `Access-Control-Allow-Credentials`: a page can do with a
//! user's browser nothing that it cannot do without.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

/// Longest origin, in bytes: a scheme, a host of 253 and a port.
const LONGEST_ORIGIN: usize = 270;

/// An origin as a browser writes it: `https://shop.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// A text is no [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is no origin; write * or scheme://host as a browser does, such as https://shop.example or http://localhost:8000: in \
     lower case, without path, and without the port that the scheme has anyway"
)]
pub struct OriginError {
    /// What was given, or the begin of it.
    given: String,
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let value = is_origin(text).then(|| HeaderValue::from_str(text).ok()).flatten();
        value.map(Self).ok_or_else(|| OriginError { given: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

impl Origin {
    /// Whether it stands for every origin.
    fn is_any(&self) -> bool {
        self.0 == "*"
    }
}

fn is_origin(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let (rest, own_port) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, "443"),
        (_, Some(rest)) => (rest, "80"),
        _ => return false,
    };
    // A port is behind the last colon, if that is in no address of IPv6.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
    let is_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => {
            !address.is_empty() && address.bytes().all(|byte| matches!(byte, b'a'..=b'f' | b'0'..=b'9' | b':'))
        }
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    text.len() <= LONGEST_ORIGIN && is_host && port.is_none_or(|port| is_port(port) && port != own_port)
}

/// Which origins may call, and what they may send and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    any: bool,
    origins: Vec<Origin>,
    max_age: HeaderValue,
    terms: CorsTerms,
}

/// What pages may send and read, each a list as the header has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorsTerms {
    /// `Access-Control-Allow-Methods`.
    pub methods: &'static str,
    /// `Access-Control-Allow-Headers`.
    pub sent: &'static str,
    /// `Access-Control-Expose-Headers`.
    pub read: &'static str,
}

impl Cors {
    /// For pages of `origins`. A browser may go by an answer to a preflight for `max_age`.
    pub fn new(origins: Vec<Origin>, max_age: Duration, terms: CorsTerms) -> Self {
        Self { any: origins.iter().any(Origin::is_any), origins, max_age: max_age.as_secs().into(), terms }
    }

    /// What the page that asks is to be told to be: `*` or its own origin; `None` if it may not ask, or it is none that does.
    pub(super) fn admitted(&self, fields: &HeaderMap) -> Option<HeaderValue> {
        let origin = fields.get(header::ORIGIN)?;
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        self.origins.iter().find(|known| known.0 == *origin).map(|known| known.0.clone())
    }

    /// The answer to a preflight of an origin that was admitted; `None` if it is no preflight.
    pub(super) fn preflight(&self, method: &Method, fields: &HeaderMap) -> Option<Response<Vec<u8>>> {
        if method != Method::OPTIONS || !fields.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut response = Response::new(Vec::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let told = response.headers_mut();
        told.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(self.terms.methods));
        told.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(self.terms.sent));
        told.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        told.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }

    /// Lets the page that was admitted, if one was, read an answer.
    pub(super) fn sign(&self, admitted: Option<&HeaderValue>, fields: &mut HeaderMap) {
        // Also where nobody was admitted: another page may be.
        if !self.any {
            fields.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(admitted) = admitted {
            fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, admitted.clone());
            fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(self.terms.read));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: CorsTerms = CorsTerms { methods: "GET, POST", sent: "content-type", read: "retry-after" };

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(origins.iter().map(|text| text.parse().unwrap()).collect(), Duration::from_secs(600), TERMS)
    }

    fn from(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))])
    }

    /// Wrong: an origin that no browser ever sends is taken, and its page never gets through.
    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for (text, good) in [
            ("*", true),
            ("https://shop.example", true),
            ("http://localhost:8000", true),
            ("https://127.0.0.1:8443", true),
            ("http://[::1]:8000", true),
            ("https://[2001:db8::1]", true),
            ("https://xn--mnchen-3ya.example", true),
            ("https://shop.example:80", true),
            ("https://shop.example/", false),
            ("https://shop.example/path", false),
            ("https://shop.example:443", false),
            ("http://shop.example:80", false),
            ("https://shop.example:0443", false),
            ("https://shop.example:0", false),
            ("https://shop.example:65536", false),
            ("https://shop.example:", false),
            ("https://Shop.example", false),
            ("HTTPS://shop.example", false),
            ("https://*.example", false),
            ("https://me@shop.example", false),
            ("https://m\u{fc}nchen.example", false),
            ("https://[::1", false),
            ("https://[]", false),
            ("https://[2001:DB8::1]", false),
            ("https://", false),
            ("shop.example", false),
            ("null", false),
            ("ftp://shop.example", false),
            (" https://shop.example", false),
            ("", false),
        ] {
            let read = text.parse::<Origin>();
            assert_eq!(read.is_ok(), good, "{text}");
            match read {
                Ok(origin) => assert_eq!(origin.to_string(), text),
                Err(error) => assert!(error.to_string().contains("such as https://shop.example"), "{error}"),
            }
        }
        let long = format!("https://{}", "a".repeat(263));
        assert!(long.parse::<Origin>().is_err());
    }

    #[test]
    fn a_page_hears_its_own_origin_and_others_hear_nothing() {
        for (origins, asks, expected) in [
            (vec!["https://a.example", "https://b.example"], "https://b.example", Some("https://b.example")),
            (vec!["https://a.example"], "https://b.example", None),
            (vec!["https://a.example"], "http://a.example", None),
            (vec!["https://a.example"], "https://a.example.evil", None),
            (vec!["https://a.example"], "null", None),
            (vec!["*"], "https://b.example", Some("*")),
            (vec!["*"], "null", Some("*")),
            (vec![], "https://a.example", None),
        ] {
            let cors = cors(&origins);
            let admitted = cors.admitted(&from(asks));
            assert_eq!(admitted.as_ref().map(|value| value.to_str().unwrap()), expected, "{origins:?}, {asks}");
            let mut told = HeaderMap::new();
            cors.sign(admitted.as_ref(), &mut told);
            assert_eq!(told.get(header::ACCESS_CONTROL_ALLOW_ORIGIN), admitted.as_ref());
            assert_eq!(told.contains_key(header::VARY), origins != ["*"], "a cache keeps the pages apart");
            assert!(!told.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        }
        assert_eq!(cors(&["*"]).admitted(&HeaderMap::new()), None, "who is no page is told nothing of pages");
    }

    #[test]
    fn a_preflight_is_one_by_its_method_and_its_question() {
        let cors = cors(&["https://a.example"]);
        let mut asked = from("https://a.example");
        assert!(cors.preflight(&Method::OPTIONS, &asked).is_none(), "OPTIONS alone is a question to the route");
        asked.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        assert!(cors.preflight(&Method::POST, &asked).is_none());
        let told = cors.preflight(&Method::OPTIONS, &asked).unwrap();
        assert_eq!(
            (told.status().as_u16(), told.headers()[header::ACCESS_CONTROL_MAX_AGE].to_str().unwrap()),
            (204, "600")
        );
        assert_eq!(told.headers()[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
        assert_eq!(told.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], "content-type");
    }
}
