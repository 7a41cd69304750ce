//! Why a winner is not known to be durable.

use coupon_kafka_admin::lacks_a_right;
use rdkafka::error::KafkaError;

/// Why a winner is not known to be durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The client's queue is full: certainly not written.
    #[error("the queue to Kafka is full")]
    QueueFull,
    /// Not acknowledged. It may be written all the same.
    #[error("Kafka did not acknowledge: {0}")]
    Unacknowledged(KafkaError),
}

impl AppendError {
    /// Kafka's words, if it did not write because its user lacks a right.
    pub fn missing_right(&self) -> Option<String> {
        let Self::Unacknowledged(error) = self else { return None };
        error.rdkafka_error_code().filter(|code| lacks_a_right(*code)).map(|code| code.to_string())
    }
}
