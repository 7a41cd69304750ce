//! How issuers know who asks: a part of a class.

pub use coupon_core::contract::AuthenticationKind;
use coupon_core::contract::SignatureAlgorithm;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connections::CaSecretRef;

/// How issuers know who asks.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.header) == (self.type == 'Header')")
        .message("authentication.header must be set with the type Header, and only with it"),
    validation = Rule::new("has(self.jwt) == (self.type == 'Jwt')")
        .message("authentication.jwt must be set with the type Jwt, and only with it"),
    validation = Rule::new("!self.acknowledged || self.type != 'Jwt'")
        .message("authentication.acknowledged says that who reaches issuers is believed, and that this is meant so; leave it out with the type Jwt")
)]
pub struct Authentication {
    /// `None`: who asks is believed, so that users must not reach issuers but through a backend that knows them. `Header`: a gateway in
    /// front has authenticated the user, and says in a header who it is. `Jwt`: a signed token says it.
    #[serde(rename = "type", default)]
    pub kind: AuthenticationKind,
    /// With `None`: that nobody is authenticated is meant so. With `Header` and without `networkPolicy.usersFrom`: that nobody but the gateway
    /// reaches issuers is seen to otherwise. Until then the condition `Unauthenticated` says it.
    #[serde(default)]
    pub acknowledged: bool,
    /// With `Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderAuthentication>,
    /// With `Jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtAuthentication>,
}

/// A header in which a gateway says who asks.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!self.name.matches('(?i)^(accept.*|access-control-.*|authorization|baggage|cache-control|connection|content-.*|cookie|coupon-.*|dnt|expect|forwarded|from|host|idempotency-key|if-.*|keep-alive|max-forwards|origin|pragma|priority|proxy-.*|range|referer|sec-.*|te|trace(parent|state)|trailer|transfer-encoding|upgrade.*|user-agent|via|x-forwarded-(by|client-cert|for|host|port|prefix|proto|scheme|server|ssl)|x-request-id|(.*-)?(client|connecting|real|remote)-ip)$')"
).message("authentication.header.name: every client sends this header; name one that only the gateway sets, such as X-User-Id"))]
pub struct HeaderAuthentication {
    /// Its name. The gateway must take it out of every request that it gets, and nobody may reach issuers past the gateway
    /// (`networkPolicy.usersFrom`): whoever sends this header is whom it names.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$"))]
    pub name: String,
}

/// Signed tokens (RFC 7519) in `Authorization: Bearer`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.claim in ['iss', 'aud', 'exp', 'nbf', 'iat', 'jti'])")
    .message("authentication.jwt.claim: this claim names no user; take sub, or one that names the same person for ever"))]
pub struct JwtAuthentication {
    /// What `iss` of a token must be, to the letter.
    #[schemars(length(min = 1, max = 500), regex(pattern = r"^[^\s]+$"))]
    pub issuer: String,
    /// One of these must be in `aud` of a token. Have one for this service alone: a token for another one is nobody's ticket here.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 500)))]
    pub audiences: Vec<String>,
    /// The claim that names the user, as text or as a whole number. It must name the same person for ever.
    /// Another claim means other people, who may win again.
    #[serde(default = "default_claim")]
    #[schemars(length(min = 1, max = 128))]
    pub claim: String,
    /// How tokens may be signed: of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`; by default the first and
    /// `ES256`. A key signs in the one way that its `alg` says, or that its kind allows. To refuse a forged `ES384` costs ten times as much as another.
    #[serde(default = "default_algorithms")]
    #[schemars(length(min = 1, max = 9))]
    pub algorithms: Vec<SignatureAlgorithm>,
    /// By how much the clocks of provider and issuers may differ, in seconds.
    #[serde(default = "default_leeway_seconds")]
    #[schemars(range(min = 0, max = 300))]
    pub leeway_seconds: u16,
    /// Where the provider's public keys are.
    pub keys: TokenKeys,
}

/// Where a provider's public keys are, as a JWK Set (RFC 7517). Issuers read them every minute, and when a token names another one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.secretRef)")
        .message("authentication.jwt.keys needs exactly one of url and secretRef"),
    validation = Rule::new("!has(self.caSecretRef) || (has(self.url) && self.url.startsWith('https://'))")
        .message("authentication.jwt.keys.caSecretRef is about the server of an https url; leave it out without one")
)]
pub struct TokenKeys {
    /// Where issuers read them, without redirects; `jwks_uri` of the provider's discovery document. `http` only where nobody can answer
    /// in the server's place: whoever does says who is who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 500),
        regex(
            pattern = r"^https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?(/[A-Za-z0-9._~/?@!$&'()*+,;=:%-]*)?$"
        )
    )]
    pub url: Option<String>,
    /// The authority that signed that server's certificate; no other is trusted then. Default: those that the image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
    /// A Secret that holds them, for pods that reach no provider. When it changes issuers have the new keys within some two minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeysSecretRef>,
}

/// One key of a Secret that holds a JWK Set.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeysSecretRef {
    /// Name of the Secret, in `credentials.namespace`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in the Secret.
    #[serde(default = "default_keys_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_claim() -> String {
    "sub".to_owned()
}

fn default_algorithms() -> Vec<SignatureAlgorithm> {
    vec![SignatureAlgorithm::Rs256, SignatureAlgorithm::Es256]
}

fn default_leeway_seconds() -> u16 {
    30
}

fn default_keys_key() -> String {
    "jwks.json".to_owned()
}
