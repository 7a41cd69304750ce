//! How often users may ask, and through which gateway: a part of a class.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often users may ask, and through which gateway. Whatever is refused, nothing was issued to it, and Redis was not asked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("size(self.trustedProxies) == 0 || has(self.perAddress)")
        .message("rateLimits.trustedProxies says whose X-Forwarded-For counts for rateLimits.perAddress; set that as well, or leave it out"),
    validation = Rule::new("self.trustedProxies.all(network, isCIDR(network) && cidr(network).prefixLength() > 0)")
        .message("rateLimits.trustedProxies: write networks as 10.0.0.0/8 or fd00::/8, and not all addresses, as everybody would say then for whom they ask")
)]
pub struct RateLimits {
    /// Of each user, by each issuer pod: asking for coupons, and looking up one's own. Whoever is beyond it hears 429 `RATE_LIMITED`. Where nobody is
    /// authenticated the user counts that the request names. Default: as often as one likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_user: Option<RateLimit>,
    /// Of each address, by each issuer pod: every request of the API. Of IPv6 the first 64 bits are an address. Whole offices, schools and mobile networks have
    /// one together: allow for them. Default: as often as one likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_address: Option<RateLimit>,
    /// Of all users together, as many as each issuer pod passes on to Redis; 503 `OVERLOADED` beyond it. For a Redis that campaigns share with others. No pods are
    /// added for those that are refused. Default: as many as the pod can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_pod: Option<RateLimit>,
    /// Networks of the proxies in front, as 10.0.0.0/8: where a connection comes from one of them, the last address in its `X-Forwarded-For` that is in none of
    /// them counts for `perAddress`. Name the gateway's only: whoever is in one of them says for whom it asks. Default: the connection's own address counts.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 43)))]
    pub trusted_proxies: Vec<String>,
    /// What every request must have from the gateway in front, such as its bot filter sets for those that it lets through. Others hear 403
    /// `GATEWAY_PROOF_REQUIRED`. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_header: Option<RequiredHeader>,
}

/// A bucket of tokens: each request takes one, and they come back evenly.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// So many requests in `perSeconds`, for as long as one likes.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// In how many seconds.
    #[serde(default = "default_per_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub per_seconds: u32,
    /// So many at once, after a pause.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u32,
}

/// A header that only the gateway sets.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.values) != has(self.valueSecretRef)")
        .message("rateLimits.requiredHeader needs exactly one of values and valueSecretRef"),
    validation = Rule::new(
        "!self.name.matches('(?i)^(accept.*|access-control-.*|authorization|connection|content-.*|cookie|forwarded|host|idempotency-key|origin|referer|te|traceparent|transfer-encoding|upgrade|user-agent|x-forwarded-(for|host|proto)|x-request-id)$')"
    ).message("rateLimits.requiredHeader.name: every client sends this header; name one that only the gateway sets, such as X-Bot-Check")
)]
pub struct RequiredHeader {
    /// Its name. The gateway must take it out of every request that it gets, before it sets it.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// What it may say, to the letter. They are no secret: whoever reaches issuers past the gateway can send them (`networkPolicy.usersFrom`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 256), regex(pattern = r"^[!-~]+$")))]
    pub values: Option<Vec<String>>,
    /// A Secret that holds them, one a line, each of 16 to 256 characters, at most 8. When it changes issuers take the new ones within some two minutes: have both
    /// in it meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_secret_ref: Option<ValueSecretRef>,
}

/// One key of a Secret that holds values of a header.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ValueSecretRef {
    /// Name of the Secret, in `credentials.namespace`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in the Secret.
    #[serde(default = "default_value_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_per_seconds() -> u32 {
    1
}

fn default_value_key() -> String {
    "value".to_owned()
}
