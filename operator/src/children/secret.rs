//! The Secret beside the pods: where everything is, with the rights of a workload, and what authenticates the operator to issuers.

use std::collections::BTreeMap;
use std::fmt::Write;

use campaign::format::{self, Newer};
use campaign::yaml::YamlError;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rand::Rng;
use reqwest::{RequestBuilder, Response, StatusCode};

use super::Family;

/// Key of the file that [`campaign::settings::Connections`] is read from.
pub const CONNECTIONS_KEY: &str = "connections.yaml";
/// Key of the token that the issuers' control port asks for.
pub const TOKEN_KEY: &str = "control-token";

/// Key of the token before that, while an issuer may run that was started with it.
const PREVIOUS_TOKEN_KEY: &str = "control-token-previous";
/// On the Secret: the value of the annotation for which the token was rotated last.
const ROTATED_ANNOTATION: &str = "coupon-operator.io/control-token-rotated-for";

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
        let request = request.header(format::CONTROL_HEADER, format::CONTROL);
        let again = self.previous.as_ref().and_then(|token| Some((request.try_clone()?, token)));
        let mut response = request.bearer_auth(&self.current).send().await?;
        if let Some((again, token)) = again.filter(|_| response.status() == StatusCode::UNAUTHORIZED) {
            response = again.bearer_auth(token).send().await?;
        }
        let version =
            response.headers().get(format::CONTROL_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
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

/// A token nobody can guess: 256 random bits.
pub fn new_token() -> String {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Family<'_> {
    /// Name of the Secret.
    pub fn secret_name(&self) -> String {
        secret_name(&self.campaign.name_any())
    }
}

/// Name of a campaign's Secret.
pub fn secret_name(campaign: &str) -> String {
    format!("{campaign}-connections")
}

/// Builds the Secret.
pub fn connections_secret(family: &Family<'_>) -> Result<Secret, YamlError> {
    let ControlTokens { current, previous, rotated_for } = family.tokens;
    let mut data = BTreeMap::from([
        (CONNECTIONS_KEY.to_owned(), ByteString(family.connections.to_yaml()?.into_bytes())),
        (TOKEN_KEY.to_owned(), ByteString(current.clone().into_bytes())),
    ]);
    if let Some(previous) = previous {
        data.insert(PREVIOUS_TOKEN_KEY.to_owned(), ByteString(previous.clone().into_bytes()));
    }
    let mut metadata = family.metadata(family.secret_name(), None);
    let rotated = rotated_for.iter().map(|value| (ROTATED_ANNOTATION.to_owned(), value.clone()));
    metadata.annotations = Some(rotated.collect()).filter(|all: &BTreeMap<_, _>| !all.is_empty());
    Ok(Secret { metadata, type_: Some("Opaque".to_owned()), data: Some(data), ..Secret::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::PodClient;

    /// Wrong: an issuer that was started before the token was rotated hears no fence, and goes on granting until it is deleted.
    #[tokio::test]
    async fn an_issuer_is_spoken_to_with_the_token_that_it_was_started_with() {
        use axum::http::{HeaderMap, header};
        let check = |headers: HeaderMap| async move {
            let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if given == "Bearer old" { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().route("/fence", axum::routing::post(check));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let http = PodClient::new().unwrap();
        for (current, previous, expected) in [
            ("old", None, 200),
            ("new", Some("old"), 200),
            ("new", None, 401),
            ("new", Some("older"), 401),
            ("old", Some("older"), 200),
        ] {
            let tokens =
                ControlTokens { current: current.to_owned(), previous: previous.map(str::to_owned), rotated_for: None };
            let request = http.post(format!("http://{address}/fence")).json(&7);
            assert_eq!(tokens.send(request).await.unwrap().status().as_u16(), expected, "{tokens:?}");
        }
    }

    /// Wrong: a fence counts as confirmed by words whose meaning may have changed.
    #[tokio::test]
    async fn an_answer_of_a_newer_version_is_none() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Answers with the version that it is asked for in the path; and only to whoever says the own version.
        let answer = async |headers: http::HeaderMap, axum::extract::Path(version): axum::extract::Path<String>| {
            assert_eq!(headers.get(format::CONTROL_HEADER).unwrap(), &format::CONTROL.to_string());
            let none = version == "none";
            let version = (!none).then_some([(format::CONTROL_HEADER, version)]);
            (version.map(axum::response::AppendHeaders), "{}")
        };
        let router = axum::Router::new().route("/{version}", axum::routing::get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (http, tokens) = (PodClient::new().unwrap(), ControlTokens::first());
        for (version, known) in [("none", true), ("1", true), ("2", false)] {
            let answer = tokens.send(http.get(format!("http://{address}/{version}"))).await;
            assert_eq!(answer.is_ok(), known, "{version}");
            assert!(known || matches!(answer, Err(ControlError::Newer(_))), "{version}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let secret = |tokens: &ControlTokens| {
            crate::children::tests::family(&crate::fixtures::class(), |family| {
                connections_secret(&Family { tokens, ..*family }).unwrap()
            })
        };
        let first = ControlTokens::first();
        let both =
            ControlTokens { previous: Some("old".to_owned()), rotated_for: Some("may".to_owned()), ..first.clone() };
        for tokens in [first, both] {
            assert_eq!(ControlTokens::of(&secret(&tokens)), Some(tokens));
        }
        assert_eq!(ControlTokens::of(&Secret::default()), None);
    }
}
