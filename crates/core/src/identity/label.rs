//! Who a campaign is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::NameError;
use crate::shown::shown;

/// Longest realm, in characters.
pub const MAX_REALM: usize = 20;
/// Longest coupon id, in characters.
pub const MAX_COUPON_ID: usize = 40;
/// Longest namespace that Kubernetes allows, in characters.
pub const MAX_NAMESPACE: usize = 63;

fn is_label(value: &str, max: usize, digit_first: bool) -> bool {
    let bytes = value.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    bytes.len() <= max
        && (first.is_ascii_lowercase() || (digit_first && first.is_ascii_digit()))
        && (last.is_ascii_lowercase() || last.is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn label(what: &'static str, value: &str, max: usize, digit_first: bool) -> Result<String, NameError> {
    if is_label(value, max, digit_first) {
        Ok(value.to_owned())
    } else {
        Err(NameError::Label { what, value: shown(value, 64), max })
    }
}

/// Who a campaign is: `realm/namespace/couponId`. Not the object's UID: a manifest that is applied again must find its ledger.
///
/// That is all that a text says of a campaign. How its topics and its consumer group are called, class and settings say: who needs them
/// makes a [`CampaignId`](super::CampaignId) of it ([`Self::named`]), so that nobody takes names for granted.
///
/// ```
/// use coupon_core::identity::Identity;
///
/// let identity: Identity = "prod/shop/spring".parse()?;
/// assert_eq!((identity.realm(), identity.namespace(), identity.coupon_id()), ("prod", "shop", "spring"));
/// assert_eq!(identity.hash_tag(), "{prod/shop/spring}");
/// assert!("prod/shop".parse::<Identity>().is_err());
/// # Ok::<(), coupon_core::identity::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity {
    realm: String,
    namespace: String,
    coupon_id: String,
}

impl Identity {
    /// Checks the three parts: RFC 1035 labels of at most [`MAX_REALM`], [`MAX_NAMESPACE`] (may start with a digit, as
    /// namespaces may) and [`MAX_COUPON_ID`] characters.
    pub fn new(realm: &str, namespace: &str, coupon_id: &str) -> Result<Self, NameError> {
        Ok(Self {
            realm: label("realm", realm, MAX_REALM, false)?,
            namespace: label("namespace", namespace, MAX_NAMESPACE, true)?,
            coupon_id: label("couponId", coupon_id, MAX_COUPON_ID, false)?,
        })
    }

    /// The realm, which keeps clusters that share Kafka, Redis or SQL apart.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The Kubernetes namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What stands in the URL and in the event.
    pub fn coupon_id(&self) -> &str {
        &self.coupon_id
    }

    /// Whether this text is how it is written, without writing it: asked for each record.
    pub fn is_written(&self, text: &str) -> bool {
        let mut rest = Some(text);
        for part in [&self.realm, &self.namespace] {
            rest = rest.and_then(|rest| rest.strip_prefix(part.as_str())?.strip_prefix('/'));
        }
        rest == Some(self.coupon_id.as_str())
    }

    /// The Redis hash tag, braces included: it keeps a campaign's keys in one cluster slot.
    pub fn hash_tag(&self) -> String {
        format!("{{{self}}}")
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.realm, self.namespace, self.coupon_id)
    }
}

impl FromStr for Identity {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [realm, namespace, coupon_id] => Self::new(realm, namespace, coupon_id),
            _ => Err(NameError::Shape(shown(text, 64))),
        }
    }
}

impl TryFrom<String> for Identity {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(id: Identity) -> Self {
        id.to_string()
    }
}
