//! What the head of a request says of who asks: what every answer to it gives back.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::accept::likes_problems;
use super::cors::Cors;

/// By which a request is found again in the logs of those it passes.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The same, as W3C's Trace Context has it.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest `X-Request-Id` and `traceparent`, in bytes: what is longer is no id, and would be sent back with every answer.
const LONGEST: usize = 128;

/// Who asks. There is none of a head that says nothing of what is here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asker {
    request_id: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
    /// Whether failures are told as RFC 9457 has them.
    pub(super) likes_problems: bool,
    /// The page that asks, as its browser is to be told, if it may.
    pub(super) admitted: Option<HeaderValue>,
}

impl Asker {
    /// What a head says. What cannot be used is as if it were not there: nobody is refused a coupon for it.
    pub(super) fn of(fields: &HeaderMap, cors: Option<&Cors>) -> Option<Self> {
        let asker = Self {
            request_id: only(fields, &REQUEST_ID).filter(|value| is_id(value)).cloned(),
            traceparent: only(fields, &TRACEPARENT).filter(|value| is_traceparent(value)).cloned(),
            likes_problems: likes_problems(fields),
            admitted: cors.and_then(|cors| cors.admitted(fields)),
        };
        (asker != Self::default()).then_some(asker)
    }

    /// Gives back what came.
    pub(super) fn sign(&self, fields: &mut HeaderMap) {
        for (name, value) in [(REQUEST_ID, &self.request_id), (TRACEPARENT, &self.traceparent)] {
            if let Some(value) = value {
                fields.insert(name, value.clone());
            }
        }
    }
}

/// The value of a field that is there once.
fn only<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = fields.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_id(value: &HeaderValue) -> bool {
    (1..=LONGEST).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// `version-trace-parent-flags`, in lower-case hexadecimal digits. A version that is not known yet may have more behind another `-`.
fn is_traceparent(value: &HeaderValue) -> bool {
    const VERSION_0: usize = 55;
    let bytes = value.as_bytes();
    let Some((known, more)) = bytes.split_at_checked(VERSION_0) else { return false };
    let hexadecimal = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let given = |part: &[u8]| hexadecimal(part) && part.iter().any(|byte| *byte != b'0');
    let (version, trace, parent, flags) = (&known[..2], &known[3..35], &known[36..52], &known[53..]);
    let more_allowed = more.is_empty() || (version != b"00" && more[0] == b'-' && is_id(value));
    hexadecimal(version)
        && version != b"ff"
        && given(trace)
        && given(parent)
        && hexadecimal(flags)
        && [2, 35, 52].iter().all(|dash| known[*dash] == b'-')
        && more_allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(all: &[(&HeaderName, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
        let mut fields = HeaderMap::new();
        for (name, text) in all {
            fields.append(*name, value(text));
        }
        fields
    }

    fn given_back(name: &HeaderName, values: &[&str]) -> Option<String> {
        let asked: Vec<_> = values.iter().map(|value| (name, *value)).collect();
        let mut answer = HeaderMap::new();
        Asker::of(&fields(&asked), None)?.sign(&mut answer);
        assert_eq!(answer.len(), 1, "{answer:?}");
        Some(answer[name].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_request_id_is_given_back_as_it_came_if_it_is_one() {
        let (longest, longer) = ("x".repeat(128), "x".repeat(129));
        for good in ["7d3f", "7D3F-aa:01/{}~!", longest.as_str()] {
            assert_eq!(given_back(&REQUEST_ID, &[good]).as_deref(), Some(good));
        }
        for bad in ["", "two words", "tab\t", "ren\u{e9}", longer.as_str()] {
            assert_eq!(given_back(&REQUEST_ID, &[bad]), None, "{bad:?}");
        }
        assert_eq!(given_back(&REQUEST_ID, &["a", "b"]), None, "which of two it is, nobody knows");
        assert_eq!(Asker::of(&HeaderMap::new(), None), None, "none is made up");
    }

    #[test]
    fn a_traceparent_is_given_back_if_it_is_one() {
        let of = |version: &str, trace: &str, parent: &str, more: &str| format!("{version}-{trace}-{parent}-01{more}");
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let (no_trace, no_parent) = ("0".repeat(32), "0".repeat(16));
        for (text, good) in [
            (of("00", trace, parent, ""), true),
            (of("01", trace, parent, ""), true),
            (of("01", trace, parent, "-more"), true),
            (of("00", trace, parent, "-more"), false),
            (of("01", trace, parent, "more"), false),
            (of("01", trace, parent, &format!("-{}", "x".repeat(80))), false),
            (of("ff", trace, parent, ""), false),
            (of("00", &no_trace, parent, ""), false),
            (of("00", trace, &no_parent, ""), false),
            (of("00", &trace.to_uppercase(), parent, ""), false),
            (of("00", trace, parent, "").replace('-', "_"), false),
            (trace.to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(given_back(&TRACEPARENT, &[&text]), good.then(|| text.clone()), "{text}");
        }
    }

    #[test]
    fn both_are_given_back_and_one_that_is_none_takes_nothing_from_the_other() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut answer = fields(&[(&REQUEST_ID, "of somebody else")]);
        Asker::of(&fields(&[(&REQUEST_ID, "mine"), (&TRACEPARENT, trace)]), None).unwrap().sign(&mut answer);
        assert_eq!(answer, fields(&[(&REQUEST_ID, "mine"), (&TRACEPARENT, trace)]));
        let asker = Asker::of(&fields(&[(&REQUEST_ID, "no id"), (&TRACEPARENT, trace)]), None).unwrap();
        assert_eq!(asker, Asker { traceparent: Some(HeaderValue::from_static(trace)), ..Asker::default() });
    }
}
