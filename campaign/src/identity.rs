//! Who is who, and every name that follows from it. One function makes each name, so that no two parts can disagree; those in Kafka are
//! made in [`crate::names`].

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::KafkaNames;
use crate::shown::shown;

/// Longest realm, in characters.
pub const MAX_REALM: usize = 20;
/// Longest coupon id, in characters.
pub const MAX_COUPON_ID: usize = 40;
/// Longest namespace that Kubernetes allows, in characters.
pub const MAX_NAMESPACE: usize = 63;
/// Longest user id and request key, in bytes.
pub const MAX_USER_ID: usize = 128;
/// Longest request key, in bytes.
pub const MAX_REQUEST_KEY: usize = 128;

/// Why a name was refused. The text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A realm, namespace or coupon id that is no RFC 1035 label of the allowed length.
    #[error(
        "{what} `{value}` must start with a letter, hold only a-z, 0-9 and -, not end with -, and have 1 to {max} characters"
    )]
    Label {
        /// What the name is for.
        what: &'static str,
        /// The refused name, cut to 64 characters.
        value: String,
        /// Longest allowed, in characters.
        max: usize,
    },
    /// A user id or request key of a wrong length.
    #[error("{what} must have 1 to {max} bytes, it has {len}")]
    Length {
        /// What the name is for.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// Longest allowed, in bytes.
        max: usize,
    },
    /// A user id or request key with characters that cannot be printed.
    #[error("{what} must not hold control characters")]
    Control {
        /// What the name is for.
        what: &'static str,
    },
    /// A campaign identity that is not `realm/namespace/couponId`.
    #[error("a campaign is written realm/namespace/couponId, not `{0}`")]
    Shape(String),
}

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
/// makes a [`CampaignId`] of it ([`Self::named`]), so that nobody takes names for granted.
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

    /// The campaign with the names that its class gives it in Kafka.
    pub fn named(self, names: &KafkaNames) -> CampaignId {
        CampaignId { identity: self, names: names.clone() }
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

/// A campaign, and how it is called in Kafka. The identity decides and the names follow: two of the same identity are the same, and are
/// ordered, printed and written by it. There is no way from a text to this type, as a text says nothing of names.
#[derive(Clone)]
pub struct CampaignId {
    identity: Identity,
    names: KafkaNames,
}

impl CampaignId {
    /// [`Identity::new`] with the names of those who say nothing of names, for tests. Programs take them from the class, or from the
    /// settings beside them ([`crate::settings::Connections::campaign`]).
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
            pub(crate) fn of_ours(text: String) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Templates;
    use proptest::prelude::*;

    #[test]
    fn names_follow_from_the_identity() {
        let id = CampaignId::with_default_names("prod", "shop", "black-friday").unwrap();
        assert_eq!(id.topic(), "prod.shop.black-friday.coupon-events");
        assert_eq!(id.dead_letter_topic(), "prod.shop.black-friday.coupon-events.DLT");
        assert_eq!(id.group(), "prod.shop.black-friday.coupon-consumer");
        assert_eq!(id.hash_tag(), "{prod/shop/black-friday}");
        assert_eq!(id.to_string().parse::<Identity>().unwrap(), *id.identity());
    }

    /// Wrong: a campaign is another one, with a ledger of its own, as soon as its topic is called otherwise.
    #[test]
    fn the_identity_decides_and_the_names_follow() {
        let templates = Templates { topic: "x.{namespace}.{couponId}".to_owned(), ..Templates::default() };
        let usual = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
        let own = usual.identity().clone().named(&KafkaNames::new(templates).unwrap());
        assert_eq!(
            (own.topic(), own.dead_letter_topic()),
            ("x.shop.spring".to_owned(), "x.shop.spring.DLT".to_owned())
        );
        assert_eq!(own, usual);
        assert_eq!(own.cmp(&usual), Ordering::Equal);
        assert_eq!(std::collections::HashSet::from([own.clone(), usual.clone()]).len(), 1);
        for text in [own.to_string(), format!("{own:?}"), own.hash_tag(), serde_json::to_string(&own).unwrap()] {
            assert!(!text.contains('x'), "{text}");
        }
        assert_eq!(serde_json::to_string(&own).unwrap(), r#""prod/shop/spring""#);
    }

    #[test]
    fn bad_labels_are_refused_with_what_to_change() {
        for bad in ["", "Upper", "1st", "a_b", "a.b", "end-", "-start", &"a".repeat(41)] {
            let error = Identity::new("prod", "shop", bad).unwrap_err().to_string();
            assert!(error.contains("1 to 40 characters"), "{bad}: {error}");
        }
        assert!(Identity::new("prod", "2shops", "a").is_ok(), "a namespace may start with a digit");
        assert!("prod/shop".parse::<Identity>().is_err());
    }

    #[test]
    fn user_ids_have_bounds() {
        assert!(UserId::new("").is_err());
        assert!(UserId::new("a\nb").is_err());
        let long = UserId::new("x".repeat(1 << 20)).unwrap_err().to_string();
        assert_eq!(long, "userId must have 1 to 128 bytes, it has 1048576");
    }

    proptest! {
        #[test]
        fn members_read_back(nth in 1u32.., user in "[^\\p{C}]{1,30}") {
            let user = UserId::new(user).unwrap();
            prop_assert_eq!(parse_member(&member(nth, &user)), Some((nth, user)));
        }
    }
}
