//! How an issuer knows who asks: what the operator writes, as JSON, into the arguments of its container.
//!
//! Here nothing that is unknown is ignored: an issuer that does not understand how users are authenticated must not answer anybody.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The argument of an issuer that carries an [`Authentication`].
pub const ARGUMENT: &str = "--authentication";
/// Key in the Secret beside the pods, and so the file in their folder, with the keys that the class has in a Secret.
pub const KEYS_FILE: &str = "token-keys.json";
/// The same with the authorities that vouch for the server of the keys.
pub const CA_FILE: &str = "token-keys-ca.crt";
/// Longest set of keys that is read, in bytes. Sets of large providers have some 10 KiB.
pub const MAX_KEYS_BYTES: usize = 256 * 1024;

/// How an issuer knows who asks.
///
/// ```
/// use coupon_core::contract::Authentication;
///
/// let header = Authentication::Header { name: "x-user-id".to_owned() };
/// assert_eq!(header.to_string(), r#"{"header":{"name":"x-user-id"}}"#);
/// assert_eq!(header.to_string().parse(), Ok(header));
/// assert!(r#"{"header":{"name":"x-user-id","of":"later"}}"#.parse::<Authentication>().is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Authentication {
    /// It does not: who asks is believed.
    #[default]
    None,
    /// A gateway in front has authenticated the user, and writes who it is into a header.
    Header {
        /// Name of the header.
        name: String,
    },
    /// By a signed token (RFC 7519) in `Authorization: Bearer`.
    Jwt(TokenSettings),
}

/// The ways of [`Authentication`], by the names that a class has for them.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum AuthenticationKind {
    /// Who asks is believed.
    #[default]
    None,
    /// A gateway's header says it.
    Header,
    /// A signed token says it.
    Jwt,
}

/// Which tokens are good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenSettings {
    /// What `iss` must be.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audiences: Vec<String>,
    /// The claim that names the user.
    pub claim: String,
    /// How tokens may be signed.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// By how much clocks may differ, in seconds.
    pub leeway_seconds: u32,
    /// Where the keys of signatures are.
    pub keys: KeySource,
}

/// Where the keys of signatures are, as a JWK Set (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum KeySource {
    /// At a server.
    #[serde(rename_all = "camelCase")]
    Url {
        /// `http` or `https`.
        url: String,
        /// File with the authorities that may vouch for the server; without it, those of the image.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca_file: Option<String>,
    },
    /// In a file, which may change.
    File {
        /// Its path.
        path: String,
    },
}

/// A way to sign a token (RFC 7518, section 3.1, and RFC 8037), of those that need no shared secret.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    #[strum(serialize = "EdDSA")]
    EdDsa,
}

impl Authentication {
    /// Which way it is.
    pub fn kind(&self) -> AuthenticationKind {
        match self {
            Self::None => AuthenticationKind::None,
            Self::Header { .. } => AuthenticationKind::Header,
            Self::Jwt(_) => AuthenticationKind::Jwt,
        }
    }
}

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// A setting that this program does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("how users are authenticated is not understood ({0}): it is wrong, or of a newer operator; run a newer image")]
pub struct AuthenticationError(String);

impl FromStr for Authentication {
    type Err = AuthenticationError;

    fn from_str(text: &str) -> Result<Self, AuthenticationError> {
        serde_json::from_str(text).map_err(|error| AuthenticationError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::VariantArray;

    fn tokens(keys: KeySource) -> Authentication {
        Authentication::Jwt(TokenSettings {
            issuer: "https://login.example".to_owned(),
            audiences: vec!["coupons".to_owned()],
            claim: "sub".to_owned(),
            algorithms: SignatureAlgorithm::VARIANTS.to_vec(),
            leeway_seconds: 30,
            keys,
        })
    }

    /// Wrong: a pod does not start, as it does not know the value that the operator writes.
    #[test]
    fn what_is_written_is_read_back() {
        let url = |ca_file| KeySource::Url { url: "https://login.example/keys".to_owned(), ca_file };
        for each in [
            Authentication::None,
            Authentication::Header { name: "x-user".to_owned() },
            tokens(url(None)),
            tokens(url(Some("/etc/coupon/ca.crt".to_owned()))),
            tokens(KeySource::File { path: "/etc/coupon/keys.json".to_owned() }),
        ] {
            assert_eq!(each.to_string().parse(), Ok(each.clone()), "{each}");
        }
        let written = tokens(url(None)).to_string();
        assert!(written.contains(r#""algorithms":["RS256","RS384""#) && written.contains(r#""EdDSA"]"#), "{written}");
        assert_eq!(
            (SignatureAlgorithm::Es256.to_string(), SignatureAlgorithm::EdDsa.to_string()),
            ("ES256".into(), "EdDSA".into())
        );
    }

    /// Wrong: an older issuer passes over the field by which a newer operator asks for more, and lets in whom it should not.
    #[test]
    fn what_is_not_understood_is_refused_in_words() {
        let good = tokens(KeySource::File { path: "k".to_owned() }).to_string();
        for wrong in [
            String::new(),
            "{}".to_owned(),
            r#""spiffe""#.to_owned(),
            r#"{"header":{}}"#.to_owned(),
            r#"{"header":{"name":"a","scope":"b"}}"#.to_owned(),
            good.replace(r#""claim""#, r#""scope":"x","claim""#),
            good.replace("RS256", "HS256"),
            good.replace("RS256", "none"),
            good.replace(r#"{"path":"k"}"#, r#"{"path":"k","url":"x"}"#),
        ] {
            let error = wrong.parse::<Authentication>().unwrap_err().to_string();
            assert!(error.contains("run a newer image"), "{wrong}: {error}");
        }
    }
}
