//! The Secret beside the pods: where everything is, with the rights of a workload, and what authenticates the operator to issuers.

use std::collections::BTreeMap;
use std::fmt::Write;

use campaign::yaml::{self, YamlError};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rand::Rng;

use super::Family;

/// Key of the file that [`campaign::settings::Connections`] is read from.
pub const CONNECTIONS_KEY: &str = "connections.yaml";
/// Key of the token that the issuers' control port asks for.
pub const TOKEN_KEY: &str = "control-token";

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

/// Builds the Secret. `token` stays the same over the campaign's life.
pub fn connections_secret(family: &Family<'_>, token: &str) -> Result<Secret, YamlError> {
    let data = BTreeMap::from([
        (CONNECTIONS_KEY.to_owned(), ByteString(yaml::to_string(family.connections)?.into_bytes())),
        (TOKEN_KEY.to_owned(), ByteString(token.as_bytes().to_vec())),
    ]);
    Ok(Secret {
        metadata: family.metadata(family.secret_name(), None),
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    })
}
