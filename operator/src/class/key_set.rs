//! What a Secret may hold as keys of tokens: it is copied beside the pods of every campaign of its class. Pure.

use coupon_core::contract::authentication::MAX_KEYS_BYTES;
use serde_json::{Map, Value};

/// Members that only private and shared keys have (RFC 7518, sections 6.2.2, 6.3.2 and 6.4; RFC 8037, section 2).
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Characters of a modulus of 2048 bits in base64url.
const MODULUS: usize = 342;

/// Why a text cannot be taken for keys of tokens. No word of it is repeated: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// It is none.
    #[error("is no JWK Set, {{\"keys\": [...]}} with one key at least and {MAX_KEYS_BYTES} bytes at most; correct it")]
    NotASet,
    /// Whoever reads it could sign tokens.
    #[error(
        "holds a private or a shared key (the member `{0}`), with which whoever may read Secrets of campaigns could sign tokens; put public keys only there, \
         and take another key for signing"
    )]
    Secret(&'static str),
    /// No token could be checked with it.
    #[error(
        "has no public key for signatures by RSA of 2048 bits or more, on P-256, P-384 or Ed25519, so that no token could be checked; correct it"
    )]
    NoneUsable,
}

/// Whether issuers can check tokens with these keys, and nobody can sign any with them.
pub(super) fn check(text: &str) -> Result<(), KeySetFault> {
    let set: Value = Some(text)
        .filter(|text| text.len() <= MAX_KEYS_BYTES)
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or(KeySetFault::NotASet)?;
    let keys = set.as_object().and_then(|set| set.get("keys")).and_then(Value::as_array);
    let keys = keys.filter(|keys| !keys.is_empty()).ok_or(KeySetFault::NotASet)?;
    let keys: Vec<&Map<String, Value>> = keys.iter().filter_map(Value::as_object).collect();
    for key in &keys {
        if let Some(secret) = SECRET_MEMBERS.into_iter().find(|member| key.contains_key(*member)) {
            return Err(KeySetFault::Secret(secret));
        }
    }
    if keys.iter().any(|key| is_usable(key)) { Ok(()) } else { Err(KeySetFault::NoneUsable) }
}

/// Whether it looks like a key that issuers take. They look closer.
fn is_usable(key: &Map<String, Value>) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
    let has = |name: &str| !text(name).is_empty();
    let is_for_signatures = !key.contains_key("use") || text("use") == "sig";
    is_for_signatures
        && match (text("kty"), text("crv")) {
            ("RSA", _) => text("n").len() >= MODULUS && has("e"),
            ("EC", "P-256" | "P-384") => has("x") && has("y"),
            ("OKP", "Ed25519") => has("x"),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a marketer who may read Secrets signs tokens of everybody, or issuers get keys with which they can check nothing in place of those they had.
    #[test]
    fn public_keys_for_signatures_are_taken_and_nothing_else() {
        use KeySetFault::{NoneUsable, NotASet, Secret};
        let (modulus, short) = ("A".repeat(342), "A".repeat(171));
        let ec = r#"{"kty":"EC","crv":"P-256","x":"a","y":"b"}"#;
        let set = |keys: &str| format!(r#"{{"keys":[{keys}]}}"#);
        for (text, expected) in [
            (set(ec), Ok(())),
            (set(&format!(r#"{{"kty":"RSA","n":"{modulus}","e":"AQAB","use":"sig"}}"#)), Ok(())),
            (set(r#"{"kty":"OKP","crv":"Ed25519","x":"a"}"#), Ok(())),
            (set(&format!(r#"{{"kty":"later"}},"x",{ec}"#)), Ok(())),
            ("sesame".to_owned(), Err(NotASet)),
            ("-----BEGIN PUBLIC KEY-----".to_owned(), Err(NotASet)),
            ("{}".to_owned(), Err(NotASet)),
            (set(""), Err(NotASet)),
            (r#"{"keys":{"a":1}}"#.to_owned(), Err(NotASet)),
            (format!("[[{ec}]]"), Err(NotASet)),
            (set(&format!(r#"{ec},"{}""#, "x".repeat(MAX_KEYS_BYTES))), Err(NotASet)),
            (set(r#""x""#), Err(NoneUsable)),
            (set(r#"{"kty":"EC"}"#), Err(NoneUsable)),
            (set(&format!(r#"{{"kty":"RSA","n":"{short}","e":"AQAB"}}"#)), Err(NoneUsable)),
            (set(&ec.replace("P-256", "secp256k1")), Err(NoneUsable)),
            (set(&ec.replace('}', r#","use":"enc"}"#)), Err(NoneUsable)),
            (set(&ec.replace('}', r#","d":"sesame"}"#)), Err(Secret("d"))),
            (set(&format!(r#"{ec},{{"kty":"oct","k":"sesame"}}"#)), Err(Secret("k"))),
        ] {
            let found = check(&text);
            assert_eq!(found, expected, "{}", &text[..text.len().min(200)]);
            assert!(found.is_ok() || !found.unwrap_err().to_string().contains("sesame"));
        }
    }
}
