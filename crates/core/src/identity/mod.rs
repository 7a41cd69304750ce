//! Who is who, and every name that follows from it. One function makes each name, so that no two parts can disagree; those in Kafka are
//! made in [`crate::names`].

mod campaign_id;
mod error;
mod label;
#[cfg(test)]
mod tests;
mod user;

pub use campaign_id::CampaignId;
pub use error::NameError;
pub use label::{Identity, MAX_COUPON_ID, MAX_NAMESPACE, MAX_REALM};
pub use user::{MAX_REQUEST_KEY, MAX_USER_ID, RequestKey, UserId, member, parse_member};
