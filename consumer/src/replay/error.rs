//! Why dead letters could not be replayed.

use coupon_kafka_admin::AdminError;
use coupon_ledger::database::DatabaseError;
use coupon_ledger::kafka::tail::TailError;
use coupon_ledger::redis::RedisError;
use rdkafka::error::KafkaError;

/// Why nothing more could be done. What was published stays published; running it again is harmless.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Kafka's administration failed.
    #[error(transparent)]
    Kafka(#[from] AdminError),
    /// The dead letters cannot be read.
    #[error(transparent)]
    Read(#[from] TailError),
    /// A reading thread died.
    #[error("reading dead letters: {0}")]
    Reader(#[from] tokio::task::JoinError),
    /// The database failed.
    #[error(transparent)]
    Table(#[from] DatabaseError),
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The producer cannot be made.
    #[error("the Kafka producer cannot be made: {0}; correct the connection settings")]
    Producer(KafkaError),
    /// The result cannot be written.
    #[error("writing the result: {0}")]
    Output(#[from] std::io::Error),
}

impl ReplayError {
    /// A stable name in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Kafka(error) => error.reason(),
            Self::Read(_) | Self::Reader(_) => "DeadLettersUnreadable",
            Self::Table(_) => "DatabaseFailed",
            Self::Redis(_) => "RedisFailed",
            Self::Producer(_) => "InvalidKafkaClient",
            Self::Output(_) => "OutputFailed",
        }
    }
}
