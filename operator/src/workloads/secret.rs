//! The Secret of a campaign's pods: the connections with the workload login, the token with which the operator authenticates itself
//! to issuers, and what these read keys of users' tokens, and values
//! of a gateway's header, with.

use std::collections::BTreeMap;

use coupon_core::contract::authentication::{CA_FILE, KEYS_FILE};
use coupon_core::contract::rate_limits::HEADER_VALUES_FILE;
use coupon_core::yaml::YamlError;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::ChildContext;
pub use super::control_tokens::{ControlError, ControlTokens, TOKEN_KEY, new_token};
pub(crate) use super::control_tokens::{PREVIOUS_TOKEN_KEY, ROTATED_ANNOTATION};

/// Key of the file that [`coupon_core::connections::Connections`] is read from.
pub const CONNECTIONS_KEY: &str = "connections.yaml";

impl ChildContext<'_> {
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
pub fn connections_secret(family: &ChildContext<'_>) -> Result<Secret, YamlError> {
    let ControlTokens { current, previous, rotated_for } = family.tokens;
    let mut data = BTreeMap::from([
        (CONNECTIONS_KEY.to_owned(), ByteString(family.connections.to_yaml()?.into_bytes())),
        (TOKEN_KEY.to_owned(), ByteString(current.clone().into_bytes())),
    ]);
    if let Some(previous) = previous {
        data.insert(PREVIOUS_TOKEN_KEY.to_owned(), ByteString(previous.clone().into_bytes()));
    }
    let files = family.issuer_files.iter();
    data.extend(files.map(|(name, text)| ((*name).to_owned(), ByteString(text.clone().into_bytes()))));
    let mut metadata = family.metadata(family.secret_name(), None);
    let rotated = rotated_for.iter().map(|value| (ROTATED_ANNOTATION.to_owned(), value.clone()));
    metadata.annotations = Some(rotated.collect()).filter(|all: &BTreeMap<_, _>| !all.is_empty());
    Ok(Secret { metadata, type_: Some("Opaque".to_owned()), data: Some(data), ..Secret::default() })
}

/// Leaves the files for issuers where they are that a Secret has and should not have any more. Pods that wait for the end of a window may
/// read them still, and new ones of theirs too; and a class whose own Secret has gone or is wrong takes nothing away.
pub(crate) fn keep_issuer_files(wanted: &mut Secret, found: &Secret) {
    let (Some(data), Some(there)) = (&mut wanted.data, &found.data) else { return };
    for name in [KEYS_FILE, CA_FILE, HEADER_VALUES_FILE] {
        if let (false, Some(file)) = (data.contains_key(name), there.get(name)) {
            data.insert(name.to_owned(), file.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer_client::pods::PodClient;
    use coupon_core::contract::control::VERSION_HEADER;
    use coupon_core::format;
    use reqwest::StatusCode;

    /// Wrong: a class whose keys come from elsewhere from now on, or whose Secret somebody deleted, takes the keys away from pods that go on with them.
    #[test]
    fn keys_of_tokens_stay_until_there_are_others() {
        let secret = |files: &[(&str, &str)]| {
            let data = files.iter().map(|(name, text)| ((*name).to_owned(), ByteString(text.as_bytes().to_vec())));
            Secret { data: Some(data.collect()), ..Secret::default() }
        };
        let found = secret(&[(KEYS_FILE, "old"), (CA_FILE, "old"), ("more", "old")]);
        for (wanted, expected) in [
            (secret(&[("more", "new")]), secret(&[("more", "new"), (KEYS_FILE, "old"), (CA_FILE, "old")])),
            (secret(&[(KEYS_FILE, "new")]), secret(&[(KEYS_FILE, "new"), (CA_FILE, "old")])),
            (secret(&[]), secret(&[(KEYS_FILE, "old"), (CA_FILE, "old")])),
        ] {
            let mut kept = wanted;
            keep_issuer_files(&mut kept, &found);
            assert_eq!(kept, expected);
        }
        let mut first = secret(&[(KEYS_FILE, "new")]);
        keep_issuer_files(&mut first, &Secret::default());
        assert_eq!(first, secret(&[(KEYS_FILE, "new")]));
    }

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
            assert_eq!(headers.get(VERSION_HEADER).unwrap(), &format::CONTROL.to_string());
            let none = version == "none";
            let version = (!none).then_some([(VERSION_HEADER, version)]);
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
            crate::workloads::tests::family(&crate::fixtures::class(), |family| {
                connections_secret(&ChildContext { tokens, ..*family }).unwrap()
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
