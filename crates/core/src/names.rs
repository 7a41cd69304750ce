//! How topics, dead-letter topics and consumer groups are called in Kafka: by templates, as the owners of brokers prescribe names.
//!
//! No two campaigns have one name, whatever a template that is taken looks like. A name is a row of parts between `.` and `_`; a realm, a
//! namespace and a coupon id are labels, which hold neither; and a part has room for one of them at most. So a name has as many parts as its
//! template, and each part gives its label back. With another separator it would not: `{namespace}-{couponId}` makes `a-b-c` of `a-b` and
//! `c`, and of `a` and `b-c`. Kafka takes `.` and `_` for the same where it tells topics apart, and so do the rules here.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use crate::identity::{Identity, MAX_COUPON_ID, MAX_NAMESPACE, MAX_REALM};
use crate::shown::shown;

/// Longest name of a topic that Kafka takes, in characters.
pub const MAX_NAME: usize = 249;

/// The topic of winners, unless a class says otherwise.
pub const DEFAULT_TOPIC: &str = "{realm}.{namespace}.{couponId}.coupon-events";
/// The dead-letter topic, unless a class says otherwise.
pub const DEFAULT_DEAD_LETTER_TOPIC: &str = "{topic}.DLT";
/// The consumer group, unless a class says otherwise.
pub const DEFAULT_CONSUMER_GROUP: &str = "{realm}.{namespace}.{couponId}.coupon-consumer";

/// In the template of the dead-letter topic: the template of the topic.
const OF_TOPIC: &str = "{topic}";
const REALM: &str = "{realm}";
const NAMESPACE: &str = "{namespace}";
const COUPON_ID: &str = "{couponId}";
/// What is filled in, and the longest that it can be.
const PLACEHOLDERS: [(&str, usize); 3] = [(REALM, MAX_REALM), (NAMESPACE, MAX_NAMESPACE), (COUPON_ID, MAX_COUPON_ID)];
/// No namespace: what bears it is no campaign's.
const NOBODY: &str = "-";

/// What is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The topic of winners.
    Topic,
    /// The topic of records that could not be stored.
    DeadLetterTopic,
    /// The consumer group that writes winners to SQL.
    ConsumerGroup,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::DeadLetterTopic => "deadLetterTopic",
            Self::ConsumerGroup => "consumerGroup",
        })
    }
}

/// Why templates were refused. The text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// Something that Kafka does not take, or no placeholder.
    #[error(
        "{of} holds `{found}`: Kafka takes letters, digits, `.`, `_` and `-`; {{realm}}, {{namespace}} and {{couponId}} are filled in, and \
         {{topic}} in deadLetterTopic"
    )]
    Character {
        /// Which name.
        of: Named,
        /// What is wrong, cut to 64 characters.
        found: String,
    },
    /// A placeholder that must be there is not.
    #[error("{of} needs {placeholder}, or campaigns would share it")]
    Missing {
        /// Which name.
        of: Named,
        /// The placeholder.
        placeholder: &'static str,
    },
    /// A realm that only one of the names tells apart.
    #[error(
        "{of} needs {{realm}}, as topic has it: realms that share the brokers would share {of}, and nobody looks whose it is"
    )]
    RealmMissing {
        /// Which name.
        of: Named,
    },
    /// A placeholder that is there more than once.
    #[error("{of} holds {placeholder} more than once")]
    Repeated {
        /// Which name.
        of: Named,
        /// The placeholder.
        placeholder: &'static str,
    },
    /// Two placeholders in one part.
    #[error(
        "{of} has two placeholders in `{part}`: put `.` or `_` between them, which no namespace and no couponId holds; with anything else \
         two campaigns could get one name"
    )]
    NotSeparated {
        /// Which name.
        of: Named,
        /// The part.
        part: String,
    },
    /// A name that Kafka keeps for itself.
    #[error("{of} begins with `__`, as Kafka's own topics do")]
    Internal {
        /// Which name.
        of: Named,
    },
    /// Names could be too long for Kafka.
    #[error(
        "{of} may get {longest} characters, and Kafka takes {MAX_NAME}: a realm has up to {MAX_REALM}, a namespace up to {MAX_NAMESPACE}, a \
         couponId up to {MAX_COUPON_ID}"
    )]
    TooLong {
        /// Which name.
        of: Named,
        /// Its longest, in characters.
        longest: usize,
    },
    /// The topic of one campaign could be the dead-letter topic of another, or its own.
    #[error(
        "topic and deadLetterTopic can be the same, of one campaign or of two (`.` and `_` are the same to Kafka there): let them differ in a \
         part of its own, as `{{topic}}.dlq` does"
    )]
    Alike,
}

/// The three templates, as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Templates {
    /// Of the topic of winners.
    pub topic: String,
    /// Of the topic of records that could not be stored.
    pub dead_letter_topic: String,
    /// Of the consumer group.
    pub consumer_group: String,
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            topic: DEFAULT_TOPIC.to_owned(),
            dead_letter_topic: DEFAULT_DEAD_LETTER_TOPIC.to_owned(),
            consumer_group: DEFAULT_CONSUMER_GROUP.to_owned(),
        }
    }
}

/// Templates that were found right: the one place where names in Kafka are made. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Templates", into = "Templates")]
pub struct KafkaNames(Arc<Templates>);

/// The templates of those who say nothing.
static DEFAULT: LazyLock<KafkaNames> = LazyLock::new(|| KafkaNames(Arc::default()));

impl Default for KafkaNames {
    fn default() -> Self {
        DEFAULT.clone()
    }
}

impl fmt::Debug for KafkaNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The names that some identity has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The topic of winners.
    pub topic: String,
    /// The topic of records that could not be stored.
    pub dead_letter_topic: String,
    /// The consumer group.
    pub group: String,
}

impl KafkaNames {
    /// Checks templates.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub fn new(templates: Templates) -> Result<Self, NamesError> {
        let Templates { topic, dead_letter_topic, consumer_group } = &templates;
        let dead = dead_letter_topic.replace(OF_TOPIC, topic);
        // First the topic: what is wrong with it is wrong with the other as well.
        check(Named::Topic, topic)?;
        check(Named::DeadLetterTopic, &dead)?;
        check(Named::ConsumerGroup, consumer_group)?;
        for (of, template) in [(Named::DeadLetterTopic, &dead), (Named::ConsumerGroup, consumer_group)] {
            if topic.contains(REALM) && !template.contains(REALM) {
                return Err(NamesError::RealmMissing { of });
            }
        }
        if can_be_alike(topic, &dead) {
            return Err(NamesError::Alike);
        }
        Ok(Self(Arc::new(templates)))
    }

    /// Whether they are those that have always been.
    pub fn are_default(&self) -> bool {
        self == &*DEFAULT
    }

    /// The topic of winners of a campaign.
    pub fn topic(&self, id: &Identity) -> String {
        filled(&self.0.topic, id.realm(), id.namespace(), id.coupon_id())
    }

    /// The topic of records of a campaign that could not be stored.
    pub fn dead_letter_topic(&self, id: &Identity) -> String {
        filled(&self.dead(), id.realm(), id.namespace(), id.coupon_id())
    }

    /// The consumer group of a campaign.
    pub fn group(&self, id: &Identity) -> String {
        filled(&self.0.consumer_group, id.realm(), id.namespace(), id.coupon_id())
    }

    /// Names like a campaign's that none can have, as no namespace is called `-`: what is allowed by their beginnings and ends, is allowed
    /// for them.
    pub fn of_nobody(&self, realm: &str, what: &str) -> Names {
        let name = |template: &str| filled(template, realm, NOBODY, what);
        Names { topic: name(&self.0.topic), dead_letter_topic: name(&self.dead()), group: name(&self.0.consumer_group) }
    }

    fn dead(&self) -> String {
        self.0.dead_letter_topic.replace(OF_TOPIC, &self.0.topic)
    }
}

/// Why templates of a file were refused: what is wrong, and no word of them.
#[derive(Debug)]
pub struct Unrepeated(NamesError);

impl fmt::Display for Unrepeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            NamesError::Character { of, .. } => write!(
                f,
                "{of} holds what Kafka does not take, or a placeholder that there is none of: letters, digits, `.`, `_` and `-` are taken, and \
                 {REALM}, {NAMESPACE} and {COUPON_ID} filled in, and {OF_TOPIC} in deadLetterTopic"
            ),
            NamesError::NotSeparated { of, .. } => {
                write!(
                    f,
                    "{of} has two placeholders with neither `.` nor `_` between them: two campaigns could get one name"
                )
            }
            other => write!(f, "{other}"),
        }
    }
}

impl TryFrom<Templates> for KafkaNames {
    type Error = Unrepeated;

    fn try_from(templates: Templates) -> Result<Self, Unrepeated> {
        Self::new(templates).map_err(Unrepeated)
    }
}

impl From<KafkaNames> for Templates {
    fn from(names: KafkaNames) -> Self {
        Arc::unwrap_or_clone(names.0)
    }
}

/// What is filled in holds no braces, so that nothing is filled in twice.
fn filled(template: &str, realm: &str, namespace: &str, coupon_id: &str) -> String {
    template.replace(REALM, realm).replace(NAMESPACE, namespace).replace(COUPON_ID, coupon_id)
}

/// The parts of a template, which are those of its names: no placeholder holds a separator.
fn parts(template: &str) -> impl Iterator<Item = &str> {
    template.split(['.', '_'])
}

fn check(of: Named, template: &str) -> Result<(), NamesError> {
    let mut bare = template.to_owned();
    let mut longest = template.chars().count();
    for (placeholder, max) in PLACEHOLDERS {
        match template.matches(placeholder).count() {
            0 => {}
            1 => longest = (longest + max).saturating_sub(placeholder.len()),
            _ => return Err(NamesError::Repeated { of, placeholder }),
        }
        bare = bare.replace(placeholder, "");
    }
    if let Some(at) = bare.find(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)) {
        // A placeholder that there is none of is shown as a whole.
        let rest = bare.get(at..).unwrap_or_default();
        let one = rest.chars().next().map_or(0, char::len_utf8);
        let end = if rest.starts_with('{') { rest.find('}').map_or(one, |end| end + 1) } else { one };
        return Err(NamesError::Character { of, found: shown(rest.get(..end).unwrap_or(rest), 64) });
    }
    for placeholder in [NAMESPACE, COUPON_ID] {
        if !template.contains(placeholder) {
            return Err(NamesError::Missing { of, placeholder });
        }
    }
    if let Some(part) = parts(template).find(|part| part.matches('{').count() > 1) {
        return Err(NamesError::NotSeparated { of, part: part.to_owned() });
    }
    if template.starts_with("__") {
        return Err(NamesError::Internal { of });
    }
    if longest > MAX_NAME {
        return Err(NamesError::TooLong { of, longest });
    }
    Ok(())
}

/// Whether one name can be made of both, with whatever labels. Where that is doubtful, it can.
fn can_be_alike(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (parts(one), parts(other));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if parts_can_be_alike(one, other) => {}
            _ => return false,
        }
    }
}

fn parts_can_be_alike(one: &str, other: &str) -> bool {
    match (around(one), around(other)) {
        (None, None) => one == other,
        (Some(around), None) => is_made_of(other, around),
        (None, Some(around)) => is_made_of(one, around),
        (Some((before, after)), Some((other_before, other_after))) => {
            let starts = before.starts_with(other_before) || other_before.starts_with(before);
            let ends = after.ends_with(other_after) || other_after.ends_with(after);
            starts && ends
        }
    }
}

/// What stands before and after the placeholder of a part, if it has one.
fn around(part: &str) -> Option<(&str, &str)> {
    let (before, rest) = part.split_once('{')?;
    let (_, after) = rest.split_once('}')?;
    Some((before, after))
}

/// Whether a text can be such a part, with something in it that consists of what labels consist of.
fn is_made_of(text: &str, (before, after): (&str, &str)) -> bool {
    let label = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    label.is_some_and(|label| {
        let of_labels = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        !label.is_empty() && label.bytes().all(of_labels)
    })
}

#[cfg(test)]
mod tests;
