//! A header that every request must have from the gateway.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use axum::http::{HeaderMap, HeaderName};
use coupon_core::contract::rate_limits::{
    MAX_HEADER_VALUE, MAX_HEADER_VALUES, MAX_HEADER_VALUES_BYTES, MIN_HEADER_SECRET,
};
use coupon_core::contract::{HeaderValues, RequiredHeader};
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;

use crate::log_throttle::LogThrottle;

type Values = Arc<[Vec<u8>]>;

/// What every request must have.
#[derive(Debug)]
pub(super) struct Required {
    name: HeaderName,
    values: RwLock<Values>,
    /// Where the values come from, if they may change.
    file: Option<PathBuf>,
    log: LogThrottle,
}

/// Why values cannot be used. None of them is repeated: they may be secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ValuesError {
    #[error("there is none")]
    None,
    #[error("there are more than {MAX_HEADER_VALUES}")]
    TooMany,
    #[error("one has fewer than {0} or more than {MAX_HEADER_VALUE} characters")]
    Length(usize),
    #[error("one has other characters than visible ones of ASCII")]
    Characters,
}

impl Required {
    /// Reads the file, where there is one.
    ///
    /// # Errors
    /// The name or the values cannot be those of a header.
    pub(super) fn new(setting: &RequiredHeader) -> anyhow::Result<Self> {
        let name = &setting.name;
        let parsed = name.parse::<HeaderName>().with_context(|| format!("`{name}` cannot be the name of a header"))?;
        let (values, file) = match &setting.values {
            HeaderValues::Listed(values) => {
                let checked = checked(values.iter().map(String::as_str), 1);
                (checked.with_context(|| format!("the values of the required header `{name}`"))?, None)
            }
            HeaderValues::File { path } => {
                let path = PathBuf::from(path);
                let bytes = std::fs::read(&path).map_err(anyhow::Error::from);
                let read = bytes.and_then(|bytes| of_file(&bytes).map_err(anyhow::Error::from));
                (read.with_context(|| unreadable(&path))?, Some(path))
            }
        };
        Ok(Self { name: parsed, values: RwLock::new(values), file, log: LogThrottle::default() })
    }

    /// Whether the header is there, once, with one of the values. How long that takes says nothing about them.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(&self.name).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        let values = Arc::clone(&self.values.read().unwrap_or_else(PoisonError::into_inner));
        values.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(value.as_bytes())).into()
    }

    /// Reads the file again, if there is one. What cannot be read takes nothing away.
    pub(super) async fn refresh(&self) {
        let Some(path) = &self.file else { return };
        let read = tokio::fs::read(path).await.map_err(|error| error.to_string());
        match read.and_then(|bytes| of_file(&bytes).map_err(|error| error.to_string())) {
            Ok(values) => {
                if self.log.recovered() {
                    tracing::info!("the values of the required header can be read again");
                }
                *self.values.write().unwrap_or_else(PoisonError::into_inner) = values;
            }
            Err(why) => {
                if self.log.should_log(&why, Instant::now()) {
                    tracing::warn!("{}: {why}; those of before count", unreadable(path));
                }
            }
        }
    }
}

fn unreadable(path: &Path) -> String {
    format!("the values of the required header cannot be read from {}", path.display())
}

/// One value a line; space around it does not count.
fn of_file(bytes: &[u8]) -> Result<Values, ValuesError> {
    if bytes.len() > MAX_HEADER_VALUES_BYTES {
        return Err(ValuesError::TooMany);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ValuesError::Characters)?;
    checked(text.lines().map(str::trim).filter(|line| !line.is_empty()), MIN_HEADER_SECRET)
}

fn checked<'a>(values: impl Iterator<Item = &'a str>, shortest: usize) -> Result<Values, ValuesError> {
    let mut all = Vec::new();
    for value in values {
        if !(shortest..=MAX_HEADER_VALUE).contains(&value.len()) {
            return Err(ValuesError::Length(shortest));
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ValuesError::Characters);
        }
        all.push(value.as_bytes().to_vec());
    }
    match all.len() {
        0 => Err(ValuesError::None),
        1..=MAX_HEADER_VALUES => Ok(all.into()),
        _ => Err(ValuesError::TooMany),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn listed(values: &[&str]) -> anyhow::Result<Required> {
        let values = HeaderValues::Listed(values.iter().map(|value| (*value).to_owned()).collect());
        Required::new(&RequiredHeader { name: "x-bot-check".to_owned(), values })
    }

    fn with(given: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// Wrong: a client that comes past the gateway, or adds a header of its own on the way through it, is taken for one that was looked at.
    #[test]
    fn a_request_has_the_header_once_with_a_value_that_is_known() {
        let required = listed(&["passed", "passed-2"]).unwrap();
        let cases: [(&[(&str, &str)], bool); 10] = [
            (&[("x-bot-check", "passed")], true),
            (&[("x-bot-check", "passed-2"), ("x-other", "1")], true),
            (&[], false),
            (&[("x-bot-check", "")], false),
            (&[("x-bot-check", "Passed")], false),
            (&[("x-bot-check", "passed ")], false),
            (&[("x-bot-check", "passe")], false),
            (&[("x-bot-check", "passed, passed")], false),
            (&[("x-bot-check", "passed"), ("x-bot-check", "passed")], false),
            (&[("x_bot_check", "passed")], false),
        ];
        for (given, expected) in cases {
            assert_eq!(required.is_in(&with(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn values_that_are_none_end_the_process_and_are_not_repeated() {
        let nine = ["v"; 9];
        for (values, hint) in [
            (&[][..], "there is none"),
            (&[""][..], "fewer than 1"),
            (&["ses ame"][..], "visible"),
            (&["ses\u{e9}me"][..], "visible"),
            (&nine[..], "more than 8"),
        ] {
            let error = format!("{:#}", listed(values).unwrap_err());
            assert!(error.contains(hint) && error.contains("x-bot-check") && !error.contains("ses"), "{error}");
        }
        let values = HeaderValues::Listed(vec!["passed".to_owned()]);
        assert!(Required::new(&RequiredHeader { name: "x bot".to_owned(), values }).is_err());
    }

    /// Wrong: a secret that is replaced cuts off everybody until pods are, or what cannot be read lets everybody in.
    #[tokio::test]
    async fn a_secret_is_read_again_and_what_cannot_be_read_takes_nothing_away() {
        let folder = std::env::temp_dir().join(format!("coupon-required-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("values");
        let setting = RequiredHeader {
            name: "x-gateway".to_owned(),
            values: HeaderValues::File { path: path.to_string_lossy().into_owned() },
        };
        let (old, new) = ("0123456789abcdef", "fedcba9876543210");
        assert!(format!("{:#}", Required::new(&setting).unwrap_err()).contains("cannot be read from"));
        let long = "x".repeat(5_000);
        for wrong in ["", "\n \n", "too-short", &long] {
            std::fs::write(&path, wrong).unwrap();
            let error = format!("{:#}", Required::new(&setting).unwrap_err());
            assert!(!error.contains("too-short"), "{error}");
        }
        std::fs::write(&path, format!("{old}\n")).unwrap();
        let required = Required::new(&setting).unwrap();
        let taken = || [old, new].map(|value| required.is_in(&with(&[("x-gateway", value)])));
        for (written, expected) in [
            (format!("{old}\n\n  {new}\r\n"), [true, true]),
            (new.to_owned(), [false, true]),
            (String::new(), [false, true]),
            ("too-short".to_owned(), [false, true]),
            (old.to_owned(), [true, false]),
        ] {
            std::fs::write(&path, &written).unwrap();
            required.refresh().await;
            assert_eq!(taken(), expected, "{written:?}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
        required.refresh().await;
        assert_eq!(taken(), [true, false]);
    }
}
