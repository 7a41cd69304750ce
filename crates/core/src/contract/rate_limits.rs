//! How often may be asked, and through which gateway: what the operator writes, as JSON, into the arguments of an issuer's container.
//!
//! As with [`super::authentication`], nothing that is unknown is ignored: an issuer that passed over a limit would serve whom it should not.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::network::Network;

/// The argument of an issuer that carries [`RateLimits`].
pub const ARGUMENT: &str = "--rate-limits";
/// Key in the Secret beside the pods, and so the file in their folder, with the values of the required header that the class has in a Secret.
pub const HEADER_VALUES_FILE: &str = "required-header-values";
/// Longest such file that is read, in bytes.
pub const MAX_HEADER_VALUES_BYTES: usize = 4096;
/// Shortest value of such a file, in characters: a short one could be guessed.
pub const MIN_HEADER_SECRET: usize = 16;
/// Longest value of a required header, in bytes.
pub const MAX_HEADER_VALUE: usize = 256;
/// Most values of a required header.
pub const MAX_HEADER_VALUES: usize = 8;

/// How often may be asked, and through which gateway. What is not set limits nothing.
///
/// ```
/// use coupon_core::contract::RateLimits;
///
/// let limits: RateLimits = r#"{"perUser":{"requests":1,"perSeconds":2,"burst":10}}"#.parse().unwrap();
/// assert_eq!(limits.per_user.unwrap().burst.get(), 10);
/// assert!(r#"{"perUser":{"requests":1,"perSeconds":2,"burst":10,"of":"later"}}"#.parse::<RateLimits>().is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RateLimits {
    /// Of each user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_user: Option<Rate>,
    /// Of each address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_address: Option<Rate>,
    /// Of all users together, as far as one process passes them on to Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_pod: Option<Rate>,
    /// Who may say in `X-Forwarded-For` for whom it asks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// What every request must have from the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_header: Option<RequiredHeader>,
}

/// A bucket of tokens: each request takes one, and they come back evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// So many requests
    pub requests: NonZeroU32,
    /// in so many seconds, for as long as one likes.
    pub per_seconds: NonZeroU32,
    /// So many at once, after a pause.
    pub burst: NonZeroU32,
}

/// A header that only the gateway sets, such as its bot filter does for requests that it takes for those of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequiredHeader {
    /// Its name.
    pub name: String,
    /// What it may say.
    pub values: HeaderValues,
}

/// What a required header may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum HeaderValues {
    /// One of these.
    Listed(Vec<String>),
    /// One line of a file, which may change.
    File {
        /// Its path.
        path: String,
    },
}

impl RateLimits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        // Who is trusted limits nobody.
        let Self { per_user, per_address, per_pod, trusted_proxies: _, required_header } = self;
        per_user.is_none() && per_address.is_none() && per_pod.is_none() && required_header.is_none()
    }
}

impl fmt::Display for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// A setting that this program does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("how often may be asked is not understood ({0}): it is wrong, or of a newer operator; run a newer image")]
pub struct RateLimitsError(String);

impl FromStr for RateLimits {
    type Err = RateLimitsError;

    fn from_str(text: &str) -> Result<Self, RateLimitsError> {
        serde_json::from_str(text).map_err(|error| RateLimitsError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(requests: u32, per_seconds: u32, burst: u32) -> Option<Rate> {
        let number = |n| NonZeroU32::new(n).unwrap();
        Some(Rate { requests: number(requests), per_seconds: number(per_seconds), burst: number(burst) })
    }

    fn all(values: HeaderValues) -> RateLimits {
        RateLimits {
            per_user: rate(1, 2, 10),
            per_address: rate(20, 1, 100),
            per_pod: rate(5_000, 1, 5_000),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            required_header: Some(RequiredHeader { name: "x-bot-check".to_owned(), values }),
        }
    }

    /// Wrong: a pod does not start, as it does not know the value that the operator writes.
    #[test]
    fn what_is_written_is_read_back() {
        let file = HeaderValues::File { path: "/etc/coupon/required-header-values".to_owned() };
        let listed = HeaderValues::Listed(vec!["passed".to_owned()]);
        for each in [RateLimits::default(), all(file), all(listed)] {
            assert_eq!(each.to_string().parse(), Ok(each.clone()), "{each}");
        }
        assert_eq!(RateLimits::default().to_string(), "{}");
        let one = RateLimits { per_user: rate(1, 2, 10), ..RateLimits::default() };
        assert_eq!(one.to_string(), r#"{"perUser":{"requests":1,"perSeconds":2,"burst":10}}"#);
    }

    #[test]
    fn whom_one_trusts_limits_nobody() {
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(RateLimits { trusted_proxies, ..RateLimits::default() }.is_empty());
        for limits in [
            RateLimits { per_user: rate(1, 1, 1), ..RateLimits::default() },
            RateLimits { per_address: rate(1, 1, 1), ..RateLimits::default() },
            RateLimits { per_pod: rate(1, 1, 1), ..RateLimits::default() },
            all(HeaderValues::Listed(Vec::new())),
        ] {
            assert!(!limits.is_empty(), "{limits}");
        }
    }

    /// Wrong: an older issuer passes over the field by which a newer operator limits more.
    #[test]
    fn what_is_not_understood_is_refused_in_words() {
        let good = all(HeaderValues::Listed(vec!["passed".to_owned()])).to_string();
        for wrong in [
            String::new(),
            "null".to_owned(),
            r#"{"perCountry":{"requests":1,"perSeconds":2,"burst":10}}"#.to_owned(),
            good.replace(r#""burst":10,"#, r#""burst":10,"scope":"x","#)
                .replace(r#""burst":10}"#, r#""burst":10,"scope":"x"}"#),
            good.replace(r#""requests":1,"#, r#""requests":0,"#),
            good.replace(r#""perSeconds":2,"#, ""),
            good.replace("10.0.0.0/8", "0.0.0.0/0"),
            good.replace(r#""listed""#, r#""hashed""#),
        ] {
            assert_ne!(wrong, good);
            let error = wrong.parse::<RateLimits>().unwrap_err().to_string();
            assert!(error.contains("run a newer image"), "{wrong}: {error}");
        }
    }
}
