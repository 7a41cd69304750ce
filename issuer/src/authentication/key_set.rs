//! The keys with which tokens are signed, as a JWK Set (RFC 7517).

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use coupon_core::contract::SignatureAlgorithm;
use coupon_core::contract::authentication::MAX_KEYS_BYTES;
use ring::agreement;
use ring::rand::SystemRandom;
use serde::Deserialize;
use serde_json::Value;

use super::signature::PublicKey;

/// Most keys of a set. Providers have two or three of each kind.
const MAX_KEYS: usize = 64;
/// Bytes of a modulus of RSA: RFC 7518, section 3.3, and what `ring` takes.
const MODULUS: RangeInclusive<usize> = 2048 / 8..=8192 / 8;
/// Most bytes of an exponent of RSA: `ring` takes 33 bits.
const MAX_EXPONENT: usize = 5;

/// Why a set cannot be used. What was known before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeySetError {
    /// It is longer than is read.
    #[error("it has more than {MAX_KEYS_BYTES} bytes, which no set of keys needs")]
    TooLong,
    /// It is none.
    #[error("it is no JWK Set, {{\"keys\": [...]}} (RFC 7517){0}")]
    NotASet(NotASet),
    /// It has too many keys.
    #[error("it has {0} keys, and at most {MAX_KEYS} are taken")]
    TooMany(usize),
    /// Of its keys none signs tokens in a way that the class takes.
    #[error(
        "of its {0} keys none is for signatures (`use`) by RSA of 2048 bits or more, on P-256, P-384 or Ed25519, in one of the algorithms that the class \
         lists, so nothing could be checked"
    )]
    NoneUsable(usize),
}

/// What it is instead, as far as that helps. Its text is not repeated: it stands in places that more people read than may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotASet {
    /// No JSON, from here on.
    Json { line: usize, column: usize },
    /// PEM.
    Pem,
    /// A provider's discovery document (OpenID Connect Discovery 1.0, section 3).
    Discovery,
    /// Other JSON.
    NoKeys,
}

impl fmt::Display for NotASet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { line, column } => write!(f, ": no JSON at line {line}, column {column}"),
            Self::Pem => f.write_str(": it is PEM; convert the public key to a JWK"),
            Self::Discovery => f.write_str(": it is a discovery document; name the URL that it has as jwks_uri"),
            Self::NoKeys => f.write_str(": it has no list `keys`"),
        }
    }
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

impl KeySet {
    /// Reads a set. Keys of other kinds and for other uses are passed over, as RFC 7517, section 5, asks for, and those that sign in none of these ways.
    pub(crate) fn parse(bytes: &[u8], algorithms: &[SignatureAlgorithm]) -> Result<Self, KeySetError> {
        if bytes.len() > MAX_KEYS_BYTES {
            return Err(KeySetError::TooLong);
        }
        let keys = written(bytes).map_err(KeySetError::NotASet)?;
        let all = keys.len();
        if all > MAX_KEYS {
            return Err(KeySetError::TooMany(all));
        }
        // serde would take an array for an object, its fields in order.
        let objects = keys.into_iter().filter(Value::is_object);
        let keys: Vec<Key> = objects
            .filter_map(|value| usable(serde_json::from_value(value).ok()?))
            .filter(|key| algorithms.iter().any(|algorithm| key.fits(*algorithm)))
            .collect();
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

/// The list of keys, if it is one.
fn written(bytes: &[u8]) -> Result<Vec<Value>, NotASet> {
    let read: Value = serde_json::from_slice(bytes).map_err(|error| {
        let is_pem = bytes.trim_ascii_start().starts_with(b"-----BEGIN");
        if is_pem { NotASet::Pem } else { NotASet::Json { line: error.line(), column: error.column() } }
    })?;
    match read {
        Value::Object(mut set) => match set.remove("keys") {
            Some(Value::Array(keys)) => Ok(keys),
            None if set.contains_key("jwks_uri") => Err(NotASet::Discovery),
            _ => Err(NotASet::NoKeys),
        },
        _ => Err(NotASet::NoKeys),
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
        ("EC", Some("P-256")) => {
            PublicKey::P256(point(&decoded(&jwk.x)?, &decoded(&jwk.y)?, 32, &agreement::ECDH_P256)?)
        }
        ("EC", Some("P-384")) => {
            PublicKey::P384(point(&decoded(&jwk.x)?, &decoded(&jwk.y)?, 48, &agreement::ECDH_P384)?)
        }
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
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    // Of another kind no signature would ever be good: it must not take the place of a key that is.
    (MODULUS.contains(&n.len()) && is_odd(&n) && is_odd(&e) && e.len() <= MAX_EXPONENT && e != [1])
        .then_some(PublicKey::Rsa { n, e })
}

/// A point that is not compressed (SEC 1, section 2.3.3), if it is one of the curve.
fn point(x: &[u8], y: &[u8], length: usize, curve: &'static agreement::Algorithm) -> Option<Vec<u8>> {
    let point = (x.len() == length && y.len() == length).then(|| [&[4][..], x, y].concat())?;
    // An agreement on a key is what looks at the point (SEC 1, section 3.2.2); what is agreed on is no matter.
    let own = agreement::EphemeralPrivateKey::generate(curve, &SystemRandom::new()).ok()?;
    agreement::agree_ephemeral(own, &agreement::UnparsedPublicKey::new(curve, &point), |_| ()).ok()?;
    Some(point)
}

#[cfg(test)]
mod tests;
