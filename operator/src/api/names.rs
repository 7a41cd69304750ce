//! How topics and consumer groups are called: the part of a class about it.

use coupon_core::names::{self, NamesError, Templates};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How topics and consumer groups are called, for brokers whose owners prescribe names: templates in which `{realm}`, `{namespace}` and
/// `{couponId}` are filled in. `{namespace}` and `{couponId}` must be in each, once, with `.` or `_` between placeholders: so no two
/// campaigns get one name. Cannot change: records would stay behind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.topic.contains('{namespace}') && self.topic.contains('{couponId}') && self.consumerGroup.contains('{namespace}') && self.consumerGroup.contains('{couponId}') && self.deadLetterTopic.replace('{topic}', self.topic).contains('{namespace}') && self.deadLetterTopic.replace('{topic}', self.topic).contains('{couponId}')")
        .message("kafka.names: topic, deadLetterTopic and consumerGroup need {namespace} and {couponId} each, or campaigns would share them"),
    validation = Rule::new("!(self.topic + ' ' + self.consumerGroup + ' ' + self.deadLetterTopic.replace('{topic}', self.topic)).matches('[{]realm[}][^ ]*[{]realm[}]|[{]namespace[}][^ ]*[{]namespace[}]|[{]couponId[}][^ ]*[{]couponId[}]')")
        .message("kafka.names: topic, deadLetterTopic (with {topic} filled in) and consumerGroup may hold each placeholder once"),
    validation = Rule::new("!(self.topic + ' ' + self.consumerGroup + ' ' + self.deadLetterTopic.replace('{topic}', self.topic)).matches('[}][^._ ]*[{]')")
        .message("kafka.names: put . or _ between two placeholders, which no namespace and no couponId holds; with anything else two campaigns could get one name"),
    validation = Rule::new("!self.topic.contains('{realm}') || (self.consumerGroup.contains('{realm}') && self.deadLetterTopic.replace('{topic}', self.topic).contains('{realm}'))")
        .message("kafka.names: deadLetterTopic and consumerGroup need {realm} where topic has it, or realms that share the brokers would share them"),
    validation = Rule::new("!self.topic.startsWith('__') && !self.consumerGroup.startsWith('__') && !self.deadLetterTopic.replace('{topic}', self.topic).startsWith('__')")
        .message("kafka.names: no name may begin with __, as Kafka's own topics do"),
    validation = Rule::new("size(self.topic) + (self.topic.contains('{realm}') ? 95 : 82) <= 249 && size(self.consumerGroup) + (self.consumerGroup.contains('{realm}') ? 95 : 82) <= 249 && size(self.deadLetterTopic.replace('{topic}', self.topic)) + (self.deadLetterTopic.replace('{topic}', self.topic).contains('{realm}') ? 95 : 82) <= 249")
        .message("kafka.names: a name could get more than the 249 characters that Kafka takes: a realm has up to 20, a namespace up to 63, a couponId up to 40"),
    validation = Rule::new("self.deadLetterTopic.replace('{topic}', self.topic) != self.topic")
        .message("kafka.names: topic and deadLetterTopic must differ")
)]
pub struct KafkaNames {
    /// The topic of winners.
    #[serde(default = "default_topic")]
    #[schemars(
        length(min = 1, max = 167),
        regex(pattern = r"^([A-Za-z0-9._-]|\{realm\}|\{namespace\}|\{couponId\})+$")
    )]
    pub topic: String,
    /// The topic of records that could not be stored; `{topic}` is the template of the topic. Without another end in a part of its own, as
    /// `{topic}.dlq` has, it could be another campaign's topic, and the class is refused.
    #[serde(default = "default_dead_letter_topic")]
    #[schemars(
        length(min = 1, max = 167),
        regex(pattern = r"^([A-Za-z0-9._-]|\{topic\}|\{realm\}|\{namespace\}|\{couponId\})+$")
    )]
    pub dead_letter_topic: String,
    /// The consumer group that stores winners.
    #[serde(default = "default_consumer_group")]
    #[schemars(
        length(min = 1, max = 167),
        regex(pattern = r"^([A-Za-z0-9._-]|\{realm\}|\{namespace\}|\{couponId\})+$")
    )]
    pub consumer_group: String,
}

impl KafkaNames {
    /// The templates, found right.
    ///
    /// # Errors
    /// They are not. The API server refuses most of what is wrong; not that a dead-letter topic could be another campaign's topic.
    pub fn checked(&self) -> Result<names::KafkaNames, NamesError> {
        names::KafkaNames::new(Templates {
            topic: self.topic.clone(),
            dead_letter_topic: self.dead_letter_topic.clone(),
            consumer_group: self.consumer_group.clone(),
        })
    }
}

impl Default for KafkaNames {
    fn default() -> Self {
        Self {
            topic: default_topic(),
            dead_letter_topic: default_dead_letter_topic(),
            consumer_group: default_consumer_group(),
        }
    }
}

fn default_topic() -> String {
    names::DEFAULT_TOPIC.to_owned()
}

fn default_dead_letter_topic() -> String {
    names::DEFAULT_DEAD_LETTER_TOPIC.to_owned()
}

fn default_consumer_group() -> String {
    names::DEFAULT_CONSUMER_GROUP.to_owned()
}
