//! Who asks, as a gateway's header says.

use axum::http::{HeaderMap, HeaderName};
use coupon_core::identity::UserId;

use super::refusal::Refusal;
use crate::given_user_id::admit_unchanged;

/// The user that the header names, once. Servers and scripts between a gateway and here may take `_` for `-`, or join two headers with a comma:
/// where a client could have added one of its own, nobody is believed.
pub(super) fn user(headers: &HeaderMap, name: &HeaderName) -> Result<UserId, Refusal> {
    if headers.keys().any(|other| other != name && is_spelled_alike(other.as_str(), name.as_str())) {
        return Err(Refusal::HeaderRepeated);
    }
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::HeaderRepeated);
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Refusal::HeaderInvalid)?;
    if text.contains(',') {
        return Err(Refusal::HeaderInvalid);
    }
    admit_unchanged(text).ok_or(Refusal::HeaderInvalid)
}

/// Whether two names differ in `_` for `-` only. Both are in lower case.
fn is_spelled_alike(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    /// The headers of a request.
    type Given<'a> = &'a [(&'a str, &'a [u8])];

    #[test]
    fn one_header_is_believed_and_nothing_that_somebody_may_have_added() {
        let cases: [(Given<'_>, Result<&str, Refusal>); 14] = [
            (&[("x-user-id", b"anna")], Ok("anna")),
            (&[("x-user-id", b"anna"), ("x-user", b"bert")], Ok("anna")),
            (&[("x-user-id", "ren\u{e9}".as_bytes())], Ok("ren\u{e9}")),
            (&[("x-user-id", "rene\u{301}".as_bytes())], Err(Refusal::HeaderInvalid)),
            (&[("x-user-id", b"4711")], Ok("4711")),
            (&[], Err(Refusal::Missing)),
            (&[("x-user_id", b"anna")], Err(Refusal::HeaderRepeated)),
            (&[("x-user-id", b"anna"), ("x-user-id", b"bert")], Err(Refusal::HeaderRepeated)),
            (&[("x-user-id", b"anna"), ("x-user-id", b"anna")], Err(Refusal::HeaderRepeated)),
            (&[("x-user-id", b"anna"), ("x_user-id", b"bert")], Err(Refusal::HeaderRepeated)),
            (&[("x-user-id", b"anna,bert")], Err(Refusal::HeaderInvalid)),
            (&[("x-user-id", b"")], Err(Refusal::HeaderInvalid)),
            (&[("x-user-id", b"ann\xff")], Err(Refusal::HeaderInvalid)),
            (&[("x-user-id", "anna\u{200b}".as_bytes())], Err(Refusal::HeaderInvalid)),
        ];
        let name = HeaderName::from_static("x-user-id");
        for (given, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers
                    .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
            }
            let found = user(&headers, &name);
            assert_eq!(found.as_ref().map(UserId::as_str).map_err(|refusal| *refusal), expected, "{given:?}");
        }
    }
}
