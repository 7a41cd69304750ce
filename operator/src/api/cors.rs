//! Which pages of other origins may call issuers: a part of a class.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Which pages of other origins may call issuers, and read what they answer. Nothing is ever answered by a user's cookies.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        r"self.allowedOrigins.all(origin, origin == '*' || (origin.matches('^https?://([a-z0-9.-]+|\\[[0-9a-f:]+\\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$') && !origin.matches('^(https://.*:443|http://.*:80)$')))"
    )
    .message("routing.cors.allowedOrigins: write * or scheme://host as a browser does, such as https://shop.example or http://localhost:8000: in lower case, without path, and without the port that the scheme has anyway"),
    validation = Rule::new("!self.allowedOrigins.exists(origin, origin == '*') || self.allowedOrigins.size() == 1")
        .message("routing.cors.allowedOrigins: * is every origin; leave the others out, or it")
)]
pub struct Cors {
    /// The origins, as browsers write them: `https://shop.example`. `*`, alone, is every origin: any page may then ask for coupons in the
    /// name of whom it likes, as anybody may without a browser.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 270)))]
    pub allowed_origins: Vec<String>,
    /// How long a browser may go by what it was told of an origin, in seconds. Browsers have bounds of their own (Chromium 2 hours).
    #[serde(default = "default_max_age_seconds")]
    #[schemars(range(min = 0, max = 86_400))]
    pub max_age_seconds: u32,
}

fn default_max_age_seconds() -> u32 {
    600
}
