//! What authenticates the operator to issuers.

use coupon_core::contract::control::VERSION_HEADER;
use coupon_core::format::{self, Newer};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rand::Rng;
use reqwest::{RequestBuilder, Response, StatusCode};
use std::fmt::Write;

/// What authenticates the operator to issuers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ControlTokens {
    /// What issuers read that start now.
    pub current: String,
    /// What others may have read before.
    pub previous: Option<String>,
    /// The request for which it was rotated last.
    pub rotated_for: Option<String>,
}

impl std::fmt::Debug for ControlTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ControlTokens(***, previous: {}, {:?})", self.previous.is_some(), self.rotated_for)
    }
}

impl ControlTokens {
    /// The first one of a campaign.
    pub fn first() -> Self {
        Self { current: new_token(), ..Self::default() }
    }

    /// What a Secret holds, if it holds a token.
    pub fn of(secret: &Secret) -> Option<Self> {
        let text = |key: &str| {
            let bytes = secret.data.as_ref()?.get(key)?.0.clone();
            String::from_utf8(bytes).ok().filter(|token| !token.is_empty())
        };
        let rotated_for = secret.annotations().get(ROTATED_ANNOTATION).cloned();
        Some(Self { current: text(TOKEN_KEY)?, previous: text(PREVIOUS_TOKEN_KEY), rotated_for })
    }

    /// Sends a request to an issuer: with the present token, and, if that is not the one it was started with, with the one before.
    ///
    /// # Errors
    /// It could not be reached, or answers in a version that is not known here.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ControlError> {
        let request = request.header(VERSION_HEADER, format::CONTROL);
        let again = self.previous.as_ref().and_then(|token| Some((request.try_clone()?, token)));
        let mut response = request.bearer_auth(&self.current).send().await?;
        if let Some((again, token)) = again.filter(|_| response.status() == StatusCode::UNAUTHORIZED) {
            response = again.bearer_auth(token).send().await?;
        }
        let version = response.headers().get(VERSION_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        format::check("the issuer's answer", version.unwrap_or(1), format::CONTROL)?;
        Ok(response)
    }
}

/// Why an issuer was not heard.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It could not be reached.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// It is newer than this program.
    #[error(transparent)]
    Newer(#[from] Newer),
}

/// Key of the token that the issuers' control port asks for.
pub const TOKEN_KEY: &str = "control-token";

/// Key of the token before that, while an issuer may run that was started with it.
pub(crate) const PREVIOUS_TOKEN_KEY: &str = "control-token-previous";

/// On the Secret: the value of the annotation for which the token was rotated last.
pub(crate) const ROTATED_ANNOTATION: &str = "coupon-operator.io/control-token-rotated-for";

/// A token nobody can guess: 256 random bits.
pub fn new_token() -> String {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
