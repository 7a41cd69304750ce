//! The one place that reads and writes YAML, so that the library behind it can be exchanged.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{DefaultMessageFormatter, Error, Location, MessageFormatter};

use crate::shown::shown;

/// Longest word on what is wrong, in characters.
const MAX_ERROR: usize = 300;

/// The text is not the YAML that was expected, or a value cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// Reads one document. An error says where, and what was expected; it repeats nothing that stands there, as that may be a password that
/// somebody wrote into the wrong line.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|e| YamlError(shown(&what_and_where(text, &e), MAX_ERROR)))
}

/// Writes one document.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_saphyr::to_string(value).map_err(|e| YamlError(e.to_string()))
}

fn what_and_where(text: &str, error: &Error) -> String {
    let error = error.without_snippet();
    let (what, of_a_field) = what(error);
    let Some(place) = error.location().filter(|place| *place != Location::UNKNOWN) else { return what };
    let place_in_words = format!("at line {}, column {}", place.line(), place.column());
    let unexpected = match error {
        Error::SerdeUnknownVariant { variant: word, .. } | Error::SerdeUnknownField { field: word, .. } => {
            Some(word.as_str())
        }
        _ => None,
    };
    match field(text, &place, unexpected).filter(|_| of_a_field) {
        Some(field) => format!("{field}: {what}, {place_in_words}"),
        None => format!("{what} {place_in_words}"),
    }
}

/// What is wrong, without a word of the text; and whether it is so with the value of a field that is known by its name.
fn what(error: &Error) -> (String, bool) {
    match error {
        Error::SerdeUnknownVariant { expected, .. } | Error::SerdeUnknownField { expected, .. } => {
            (format!("expected one of {}", expected.join(", ")), true)
        }
        Error::SerdeInvalidType { expected, .. }
        | Error::SerdeInvalidValue { expected, .. }
        | Error::SerdeInvalidLength { expected, .. } => (format!("expected {expected}"), true),
        Error::InvalidBooleanStrict { .. } | Error::InvalidScalar { ty: "bool" | "boolean", .. } => {
            ("expected true or false".to_owned(), true)
        }
        Error::InvalidScalar { ty, .. } => (format!("expected {ty}"), true),
        Error::Unexpected { expected, .. } => (format!("expected {expected}"), true),
        Error::DuplicateMappingKey { .. } => ("this key stands there twice".to_owned(), false),
        Error::NonFiniteFloat { .. }
        | Error::QuotingRequired { .. }
        | Error::TaggedEnumMismatch { .. }
        | Error::UnsupportedTag { .. }
        | Error::TaggedStructFieldName { .. }
        | Error::SerdeVariantId { .. }
        | Error::UnresolvedProperty { .. }
        | Error::InvalidPropertyName { .. }
        | Error::PropertyRequiredButUnset { .. }
        | Error::PropertyRequiredButEmpty { .. }
        | Error::CyclicInclude { .. }
        | Error::ResolverError { .. } => ("a value of this kind is not expected".to_owned(), false),
        Error::AliasError { error, .. } => (what(error).0, false),
        other => (DefaultMessageFormatter.format_message(other).into_owned(), false),
    }
}

/// The key at this place, or before it: an error stands at a key or at its value. Only a field that the reader knows has a value that it
/// expects to be of some kind, so that this is its name; but for the word itself that was not expected, where it is a key.
fn field<'a>(text: &'a str, place: &Location, unexpected: Option<&str>) -> Option<&'a str> {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let line = text.lines().nth(usize::try_from(place.line()).ok()?.checked_sub(1)?)?;
    let column = usize::try_from(place.column()).ok()?.checked_sub(1)?;
    let (before, after) = line.split_at(line.char_indices().nth(column).map_or(line.len(), |(at, _)| at));
    let name = if let Some(key) = before.trim_end().strip_suffix(':') {
        let key = key.trim_end_matches(QUOTES);
        &key[key.rfind(|c: char| !is_word(c)).map_or(0, |at| at + 1)..]
    } else {
        let key = after.trim_start_matches(QUOTES);
        let (name, rest) = key.split_at(key.find(|c: char| !is_word(c))?);
        rest.trim_start_matches(QUOTES).starts_with(':').then_some(name)?
    };
    Some(name).filter(|name| !name.is_empty() && unexpected != Some(*name))
}

const QUOTES: [char; 3] = ['"', '\'', ' '];
