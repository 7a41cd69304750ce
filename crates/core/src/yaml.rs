//! The one place that reads and writes YAML, so that the library behind it can be exchanged.

use std::fmt::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment, Track};
use serde_saphyr::{DefaultMessageFormatter, Error, Location, MessageFormatter};

use crate::shown::shown;

/// Longest word on what is wrong, in characters.
const MAX_ERROR: usize = 300;

/// The text is not the YAML that was expected, or a value cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// Reads one document. An error says where, and what was expected; it repeats nothing that stands there, as that may be a password that
/// somebody wrote into the wrong line. What YAML takes for a number, or for true or false, is no text unless it is in quotes: `1e3` and `no`
/// were meant as they are written, or they were not, and nobody can tell.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let options = serde_saphyr::options! { with_snippet: false, no_schema: true };
    let mut track = Track::new();
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        T::deserialize(serde_path_to_error::Deserializer::new(deserializer, &mut track))
    });
    read.map_err(|error| YamlError(shown(&what_and_where(&track.path(), &error), MAX_ERROR)))
}

/// Writes one document.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_saphyr::to_string(value).map_err(|e| YamlError(e.to_string()))
}

fn what_and_where(path: &Path, error: &Error) -> String {
    let error = error.without_snippet();
    let (what, of_a_field) = what(error);
    let unexpected = match error {
        Error::SerdeUnknownVariant { variant: word, .. } | Error::SerdeUnknownField { field: word, .. } => {
            Some(word.as_str())
        }
        _ => None,
    };
    let field = if of_a_field { field(path, unexpected) } else { String::new() };
    let place = error.location().filter(|place| *place != Location::UNKNOWN);
    let place = place.map(|place| format!("at line {}, column {}", place.line(), place.column()));
    match (field.is_empty(), place) {
        (false, Some(place)) => format!("{field}: {what}, {place}"),
        (false, None) => format!("{field}: {what}"),
        (true, Some(place)) => format!("{what} {place}"),
        (true, None) => what,
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
        Error::Unexpected { expected, .. } => (format!("expected {}", node(expected)), true),
        Error::QuotingRequired { .. } => {
            ("YAML takes this for a number, for true or false, or for nothing: put it in quotes".to_owned(), true)
        }
        Error::NullIntoString { .. } => ("nothing stands here: write a text, or '' for an empty one".to_owned(), true),
        Error::TaggedScalarCannotDeserializeIntoString { .. } => ("expected a text without a tag".to_owned(), true),
        Error::SerdeMissingField { field, .. } => (format!("{field} is missing"), true),
        Error::Message { .. } => (DefaultMessageFormatter.format_message(error).into_owned(), true),
        Error::ExpectedStringKeyForExternallyTaggedEnum { .. }
        | Error::ExternallyTaggedEnumExpectedScalarOrMapping { .. }
        | Error::UnexpectedValueForUnitEnumVariant { .. }
        | Error::TaggedEnumMismatch { .. } => ("a value of this kind is not expected".to_owned(), true),
        Error::DuplicateMappingKey { .. } => ("this key stands there twice".to_owned(), false),
        Error::NonFiniteFloat { .. }
        | Error::UnsupportedTag { .. }
        | Error::TaggedStructFieldName { .. }
        | Error::SerdeVariantId { .. }
        | Error::UnresolvedProperty { .. }
        | Error::InvalidPropertyName { .. }
        | Error::PropertyRequiredButUnset { .. }
        | Error::PropertyRequiredButEmpty { .. }
        | Error::CyclicInclude { .. }
        | Error::ResolverError { .. } => ("a value of this kind is not expected".to_owned(), false),
        Error::AliasError { error, .. } => what(error),
        other => (DefaultMessageFormatter.format_message(other).into_owned(), false),
    }
}

/// A word of the library, in ours.
fn node(expected: &str) -> &str {
    match expected {
        "sequence start" => "a list",
        "mapping start" => "keys with values",
        "string scalar" | "scalar" => "a text",
        other => other,
    }
}

/// The way to a field whose value is not as the reader expects. Only of fields that it knows it expects anything, so that these are their
/// names; but for the word itself that was not expected, where it is a key.
fn field(path: &Path, unexpected: Option<&str>) -> String {
    let mut all = String::new();
    for segment in path {
        match segment {
            Segment::Map { key: name } | Segment::Enum { variant: name } if Some(name.as_str()) != unexpected => {
                if !all.is_empty() {
                    all.push('.');
                }
                all.push_str(name);
            }
            // Writing to a text does not fail.
            Segment::Seq { index } => drop(write!(all, "[{index}]")),
            Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    all
}
