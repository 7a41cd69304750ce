//! One of the three systems.

use crate::api::ConditionType;
use std::time::Duration;

/// One of the three systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum System {
    /// Where winners become durable.
    Kafka,
    /// Where ranks are given.
    Redis,
    /// Where winners are rows.
    #[strum(to_string = "the database")]
    Database,
}

impl System {
    /// The condition that speaks of it.
    pub fn condition(self) -> ConditionType {
        match self {
            Self::Kafka => ConditionType::KafkaReady,
            Self::Redis => ConditionType::RedisReady,
            Self::Database => ConditionType::DatabaseReady,
        }
    }
}

/// For a question to a server.
pub(crate) const CALL: Duration = Duration::from_secs(3);

/// For one system, with one login. Longer than the steps within may take each, so that their words come through.
pub(crate) const EACH: Duration = Duration::from_secs(13);
