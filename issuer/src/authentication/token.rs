//! Whether a token is good: pure, from its text, the keys and the time.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use coupon_core::contract::{SignatureAlgorithm, TokenSettings};
use serde_json::{Map, Value};

use super::claims::{self, Claims, Holder};
use super::key_set::{Found, KeySet};
use super::refusal::Refusal;

/// Longest token that is looked at, in bytes. Providers keep theirs below 8 KiB, as many servers take no longer header.
const MAX_TOKEN: usize = 8 * 1024;

/// What was found about a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is good.
    Good(Holder),
    /// It is not.
    Bad(Refusal),
    /// All else is good, and the key that it names is not known: it may be new.
    UnknownKey,
}

/// The header of a token (RFC 7515, section 4.1). What it says of keys otherwise (`jwk`, `jku`, `x5c`) is nobody's business: who forges can say it.
type Head = Map<String, Value>;

/// A token in its parts (RFC 7515, section 3.1).
struct Parts<'a> {
    head: Vec<u8>,
    claims: Vec<u8>,
    signature: Vec<u8>,
    /// What is signed.
    message: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (head, claims) = message.split_once('.')?;
        // A fourth part would be none of base64.
        let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        Some(Self { head: decoded(head)?, claims: decoded(claims)?, signature: decoded(signature)?, message })
    }
}

/// Judges a token at the time `now`, in seconds of Unix time.
pub(super) fn judge(token: &str, settings: &TokenSettings, keys: &KeySet, now: i64) -> Verdict {
    try_judge(token, settings, keys, now).unwrap_or_else(Verdict::Bad)
}

fn try_judge(token: &str, settings: &TokenSettings, keys: &KeySet, now: i64) -> Result<Verdict, Refusal> {
    let parts = Parts::of(token).ok_or(Refusal::Malformed)?;
    let head: Head = serde_json::from_slice(&parts.head).map_err(|_| Refusal::Malformed)?;
    if head.contains_key("crit") || head.contains_key("b64") {
        return Err(Refusal::Critical);
    }
    let text = |name: &str| match head.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(Refusal::Malformed),
    };
    let (named, key_id) = (text("alg")?.ok_or(Refusal::Malformed)?, text("kid")?);
    // `none` is not among them, nor is anything with a shared secret.
    let named: SignatureAlgorithm = named.parse().map_err(|_| Refusal::Algorithm)?;
    let algorithm = settings.algorithms.iter().copied().find(|listed| *listed == named).ok_or(Refusal::Algorithm)?;
    let found = keys.find(key_id, algorithm);
    match found {
        Found::OtherAlgorithm => return Err(Refusal::Algorithm),
        Found::NotNamed => return Err(Refusal::KeyNotNamed),
        Found::Key(key) if !key.has_signed(algorithm, parts.message.as_bytes(), &parts.signature) => {
            return Err(Refusal::Signature);
        }
        Found::Key(_) | Found::Unknown => {}
    }
    let claims: Claims = serde_json::from_slice(&parts.claims).map_err(|_| Refusal::Malformed)?;
    let judged = claims::judge(&claims, settings, now);
    if matches!(found, Found::Unknown) {
        // For one that is bad anyway nobody needs to look for a key, nor to wait. What it says has nobody signed, so that is not the reason: who
        // looks at reasons can rely on it that the provider's tokens have those of claims.
        return judged.map(|_| Verdict::UnknownKey).map_err(|_| Refusal::KeyUnknown);
    }
    judged.map(Verdict::Good)
}

/// The token in `Authorization: Bearer` (RFC 6750, section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Scheme);
    }
    let text = value.to_str().map_err(|_| Refusal::Scheme)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::Scheme)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Scheme);
    }
    let token = token.trim_matches(' ');
    if token.len() > MAX_TOKEN { Err(Refusal::TooLong) } else { Ok(token) }
}

#[cfg(test)]
mod tests;
