//! Who a campaign is, and how it is called in Kafka.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use serde::Serialize;

use super::error::NameError;
use super::label::Identity;
use crate::names::KafkaNames;

/// A campaign, and how it is called in Kafka. The identity decides and the names follow: two of the same identity are the same, and are
/// ordered, printed and written by it. There is no way from a text to this type, as a text says nothing of names.
///
/// ```
/// use coupon_core::identity::Identity;
/// use coupon_core::names::KafkaNames;
///
/// let campaign = Identity::new("prod", "shop", "spring")?.named(&KafkaNames::default());
/// assert_eq!(campaign.topic(), "prod.shop.spring.coupon-events");
/// assert_eq!(campaign.dead_letter_topic(), "prod.shop.spring.coupon-events.DLT");
/// assert_eq!(campaign.to_string(), "prod/shop/spring");
/// # Ok::<(), coupon_core::identity::NameError>(())
/// ```
#[derive(Clone)]
pub struct CampaignId {
    identity: Identity,
    names: KafkaNames,
}

impl Identity {
    /// The campaign with the names that its class gives it in Kafka.
    pub fn named(self, names: &KafkaNames) -> CampaignId {
        CampaignId { identity: self, names: names.clone() }
    }
}

impl CampaignId {
    /// [`Identity::new`] with the names of those who say nothing of names, for tests. Programs take them from the class, or from the
    /// settings beside them ([`crate::connections::Connections::campaign`]).
    pub fn with_default_names(realm: &str, namespace: &str, coupon_id: &str) -> Result<Self, NameError> {
        Ok(Identity::new(realm, namespace, coupon_id)?.named(&KafkaNames::default()))
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The topic of winners.
    pub fn topic(&self) -> String {
        self.names.topic(&self.identity)
    }

    /// The topic of records that could not be stored.
    pub fn dead_letter_topic(&self) -> String {
        self.names.dead_letter_topic(&self.identity)
    }

    /// The consumer group that writes winners to SQL.
    pub fn group(&self) -> String {
        self.names.group(&self.identity)
    }
}

impl Deref for CampaignId {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

impl PartialEq for CampaignId {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for CampaignId {}

impl Hash for CampaignId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl PartialOrd for CampaignId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CampaignId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity.cmp(&other.identity)
    }
}

impl fmt::Debug for CampaignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}

impl fmt::Display for CampaignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}

impl Serialize for CampaignId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.identity.serialize(serializer)
    }
}
