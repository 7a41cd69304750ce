//! Settings that the operator hands to pods from a campaign's spec.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

/// When a user hears "issued".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Acknowledge {
    /// When Kafka has stored the winner: an answer given is never lost.
    #[default]
    Durable,
    /// When Redis has decided: faster, but a crash of Redis together with the issuer, or with Kafka and the database away, can
    /// lose coupons that were already answered.
    Fast,
}

/// What the key of a record is, which decides its partition.
///
/// ```
/// use coupon_core::contract::KeyBy;
///
/// assert_eq!("Campaign".parse(), Ok(KeyBy::Campaign));
/// assert_eq!(KeyBy::default().to_string(), "User");
/// assert!("user".parse::<KeyBy>().is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum KeyBy {
    /// The user: events spread over all partitions, and one user's events keep their order.
    #[default]
    User,
    /// The campaign: one partition takes all, so events keep their order and one consumer does all the work.
    Campaign,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a pod does not start, as it does not know the value that the operator writes.
    #[test]
    fn what_is_written_is_read_back() {
        for acknowledge in [Acknowledge::Durable, Acknowledge::Fast] {
            assert_eq!(acknowledge.to_string().parse(), Ok(acknowledge));
        }
        for key_by in [KeyBy::User, KeyBy::Campaign] {
            assert_eq!(key_by.to_string().parse(), Ok(key_by));
        }
        assert_eq!(Acknowledge::VARIANTS, ["Durable", "Fast"]);
    }
}
