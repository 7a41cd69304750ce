//! A user id as clients and tokens write it.

use std::fmt;

use coupon_core::event::MAX_NUMBER;
use coupon_core::identity::UserId;
use coupon_core::user_id::{self, UserIdError};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A user id as it was sent: text, or a whole number in the digits of its text. (`42` and `"42"` are one user.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenUserId(String);

impl GivenUserId {
    /// The user, if it can be one.
    pub(crate) fn admit(&self) -> Result<UserId, UserIdError> {
        user_id::admit(&self.0)
    }

    /// The user, if it can be one, and is written as it is kept. Who authenticates users may tell two spellings apart that are one user here:
    /// then one of them could take the other's place.
    pub(crate) fn admit_unchanged(&self) -> Option<UserId> {
        admit_unchanged(&self.0)
    }
}

/// The same, of a text.
pub(crate) fn admit_unchanged(text: &str) -> Option<UserId> {
    user_id::admit(text).ok().filter(|user| user.as_str() == text)
}

impl<'de> Deserialize<'de> for GivenUserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenUserIdVisitor)
    }
}

struct GivenUserIdVisitor;

/// Many JSON libraries send numbers as doubles: above this, two user ids may become the same number. There is only one `0`.
pub(crate) const BEYOND: &str = "numbers go from -9007199254740991 to 9007199254740991 (2^53 - 1), without fraction or exponent, and without -0; \
    send what is no such number as text";

impl Visitor<'_> for GivenUserIdVisitor {
    type Value = GivenUserId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a whole number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<GivenUserId, E> {
        Ok(GivenUserId(text.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<GivenUserId, E> {
        (number <= MAX_NUMBER).then(|| GivenUserId(number.to_string())).ok_or_else(|| E::custom(BEYOND))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<GivenUserId, E> {
        (number.unsigned_abs() <= MAX_NUMBER).then(|| GivenUserId(number.to_string())).ok_or_else(|| E::custom(BEYOND))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<GivenUserId, E> {
        Err(E::custom(BEYOND))
    }
}
