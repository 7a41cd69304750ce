//! The keys with which tokens are signed, as a JWK Set (RFC 7517).

use std::ops::RangeInclusive;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use coupon_core::contract::SignatureAlgorithm;
use coupon_core::contract::authentication::MAX_KEYS_BYTES;
use serde::Deserialize;
use serde_json::Value;

use super::signature::PublicKey;

/// Most keys of a set. Providers have two or three of each kind.
const MAX_KEYS: usize = 64;
/// Bytes of a modulus of RSA: RFC 7518, section 3.3, and what `ring` takes.
const MODULUS: RangeInclusive<usize> = 2048 / 8..=8192 / 8;

/// Why a set cannot be used. What was known before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeySetError {
    /// It is longer than is read.
    #[error("it has more than {MAX_KEYS_BYTES} bytes, which no set of keys needs")]
    TooLong,
    /// It is none.
    #[error("it is no JWK Set, {{\"keys\": [...]}} (RFC 7517): {0}")]
    NotASet(String),
    /// It has too many keys.
    #[error("it has {0} keys, and at most {MAX_KEYS} are taken")]
    TooMany(usize),
    /// Of its keys none signs tokens in a way that is known here.
    #[error(
        "of its {0} keys none is for signatures (`use`) by RSA of 2048 bits or more, on P-256, P-384 or Ed25519, so nothing could be checked"
    )]
    NoneUsable(usize),
}

/// A key of a set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    /// The only way in which it signs, if the set says one.
    only: Option<SignatureAlgorithm>,
    public: PublicKey,
}

impl Key {
    fn fits(&self, algorithm: SignatureAlgorithm) -> bool {
        self.public.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether it has signed this message, in this way.
    pub(super) fn has_signed(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        self.fits(algorithm) && self.public.has_signed(algorithm, message, signature)
    }
}

/// The keys that can be used.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

/// Which key a token means.
pub(super) enum Found<'a> {
    /// This one.
    Key(&'a Key),
    /// One of that name which does not sign in that way.
    OtherAlgorithm,
    /// One that is not in the set.
    Unknown,
    /// It names none, and there is not just one that fits.
    NotNamed,
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. Keys of other kinds and for other uses are passed over, as RFC 7517, section 5, asks for.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > MAX_KEYS_BYTES {
            return Err(KeySetError::TooLong);
        }
        let Written { keys } =
            serde_json::from_slice(bytes).map_err(|error| KeySetError::NotASet(error.to_string()))?;
        let all = keys.len();
        if all > MAX_KEYS {
            return Err(KeySetError::TooMany(all));
        }
        let keys: Vec<Key> = keys.into_iter().filter_map(|value| usable(serde_json::from_value(value).ok()?)).collect();
        if keys.is_empty() { Err(KeySetError::NoneUsable(all)) } else { Ok(Self { keys }) }
    }

    /// How many keys it has.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether another set has the same keys, in whatever order.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let has = |set: &Self, key: &Key| set.keys.iter().any(|each| each == key);
        self.keys.len() == other.keys.len()
            && self.keys.iter().all(|key| has(other, key))
            && other.keys.iter().all(|key| has(self, key))
    }

    /// The key that a token of this algorithm means. Of several with one name the first counts.
    pub(super) fn find(&self, id: Option<&str>, algorithm: SignatureAlgorithm) -> Found<'_> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm));
        match id {
            Some(id) => match fitting.find(|key| key.id.as_deref() == Some(id)) {
                Some(key) => Found::Key(key),
                None if self.keys.iter().any(|key| key.id.as_deref() == Some(id)) => Found::OtherAlgorithm,
                None => Found::Unknown,
            },
            None => match (fitting.next(), fitting.next()) {
                (Some(key), None) => Found::Key(key),
                _ => Found::NotNamed,
            },
        }
    }
}

/// A key as it is written (RFC 7517, section 4, and RFC 7518, section 6). The rest of it is no matter here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The key, if it checks signatures and can be trusted to.
fn usable(jwk: Jwk) -> Option<Key> {
    let is_for_signatures = jwk.purpose.as_ref().is_none_or(|purpose| purpose == "sig");
    let verifies = jwk.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
    let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => rsa(&decoded(&jwk.n)?, &decoded(&jwk.e)?)?,
        ("EC", Some("P-256")) => PublicKey::P256(point(&decoded(&jwk.x)?, &decoded(&jwk.y)?, 32)?),
        ("EC", Some("P-384")) => PublicKey::P384(point(&decoded(&jwk.x)?, &decoded(&jwk.y)?, 48)?),
        ("OKP", Some("Ed25519")) => PublicKey::Ed25519(decoded(&jwk.x).filter(|key| key.len() == 32)?),
        // Of shared secrets, above all: who may read the set could sign.
        _ => return None,
    };
    let only = match jwk.alg {
        Some(named) => Some(named.parse().ok()?),
        None => None,
    };
    let key = Key { id: jwk.kid, only, public };
    (is_for_signatures && verifies && key.only.is_none_or(|only| key.fits(only))).then_some(key)
}

fn decoded(text: &Option<String>) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text.as_ref()?).ok()
}

/// Some libraries write leading zeros, which `ring` refuses.
fn rsa(n: &[u8], e: &[u8]) -> Option<PublicKey> {
    let without_zeros = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].to_vec()
    };
    let (n, e) = (without_zeros(n), without_zeros(e));
    MODULUS.contains(&n.len()).then_some(PublicKey::Rsa { n, e })
}

/// A point that is not compressed (SEC 1, section 2.3.3).
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4][..], x, y].concat())
}

#[cfg(test)]
mod tests;
