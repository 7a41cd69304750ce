//! The one place that reads and writes YAML, so that the library behind it can be exchanged.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::shown::shown;

/// Longest word on what is wrong, in characters.
const MAX_ERROR: usize = 300;

/// The text is not the YAML that was expected, or a value cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// Reads one document. An error says where, and repeats none of the lines there: passwords may stand in them.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| YamlError(shown(&e.to_string(), MAX_ERROR)))
}

/// Writes one document.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_saphyr::to_string(value).map_err(|e| YamlError(e.to_string()))
}
