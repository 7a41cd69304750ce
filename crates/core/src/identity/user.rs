//! Who asks, and by which request.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::NameError;

/// Longest user id and request key, in bytes.
pub const MAX_USER_ID: usize = 128;
/// Longest request key, in bytes.
pub const MAX_REQUEST_KEY: usize = 128;

macro_rules! opaque_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks length (in bytes) and that every character can be printed.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                if text.is_empty() || text.len() > $max {
                    return Err(NameError::Length { what: $what, len: text.len(), max: $max });
                }
                if text.chars().any(char::is_control) {
                    return Err(NameError::Control { what: $what });
                }
                Ok(Self(text))
            }

            /// A text that is right by the way it is made.
            pub fn of_ours(text: String) -> Self {
                Self(text)
            }

            /// The text as given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

opaque_text!(
    /// Who asks. Compared byte by byte everywhere: `Anna` and `anna` are two users. What is taken from outside is narrower:
    /// [`crate::user_id::admit`].
    UserId,
    "userId",
    MAX_USER_ID
);
opaque_text!(
    /// What makes a repeated request the same request (the `Idempotency-Key` header, or one that the issuer minted).
    RequestKey,
    "Idempotency-Key",
    MAX_REQUEST_KEY
);

impl RequestKey {
    /// Stands for the key of a rank whose request Redis has lost.
    pub fn recovered(rank: u64) -> Self {
        Self(format!("recovered-{rank}"))
    }
}

/// A user's n-th coupon as the sorted set of winners names it: `<n>:<user>`, n from 1.
pub fn member(nth: u32, user: &UserId) -> String {
    format!("{nth}:{user}")
}

/// Reads a [`member`] back. `None` when it is not one of ours.
pub fn parse_member(text: &str) -> Option<(u32, UserId)> {
    let (nth, user) = text.split_once(':')?;
    let nth: u32 = nth.parse().ok().filter(|n| *n > 0)?;
    Some((nth, UserId::new(user).ok()?))
}
