//! Writes winners to the topic.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::OwnedDeliveryResult;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use super::{client_config, lacks_a_right};
use crate::event::{CouponIssued, EVENT_TYPE, HEADER_CAMPAIGN, HEADER_EPOCH, HEADER_EVENT_TYPE, HEADER_VERSION};
use crate::format;
use crate::identity::CampaignId;
use crate::settings::Kafka;

/// How long Kafka may take to acknowledge a record. After that the outcome is unknown: the record may be written all the same.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Records that may wait in the client. Beyond it a record is refused at once.
const MAX_QUEUED: &str = "100000";

/// What the record's key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyBy {
    /// The user id: winners spread over all partitions.
    User,
    /// The coupon id: all winners in one partition, in order.
    Campaign,
}

/// How winners are written. `delivery`: how long Kafka may take to acknowledge a record.
pub(super) fn config(settings: &Kafka, client_id: &str, delivery: Duration) -> ClientConfig {
    let delivery_ms = delivery.as_millis().to_string();
    client_config(
        settings,
        client_id,
        &[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            // Winners come in batches already: waiting for more would only add to the answer's latency.
            ("linger.ms", "1"),
            ("batch.size", "131072"),
            ("compression.type", "lz4"),
            // What JVM clients use, so that tools of both worlds agree on a user's partition.
            ("partitioner", "murmur2_random"),
            ("delivery.timeout.ms", &delivery_ms),
            ("request.timeout.ms", "3000"),
            ("queue.buffering.max.messages", MAX_QUEUED),
            ("queue.buffering.max.kbytes", "65536"),
            ("retry.backoff.ms", "50"),
        ],
    )
}

/// Writes winners of one campaign.
#[derive(Clone)]
pub struct WinnerLog {
    producer: FutureProducer,
    campaign: CampaignId,
    topic: String,
    key_by: KeyBy,
}

/// Why a winner is not known to be durable.
#[derive(Debug, thiserror::Error)]
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

/// An acknowledgement under way.
pub struct Appending(rdkafka::producer::DeliveryFuture);

impl Appending {
    /// Waits until Kafka has acknowledged the record from all in-sync replicas, at most [`DELIVERY_TIMEOUT`].
    pub async fn acknowledged(self) -> Result<(), AppendError> {
        let result: Result<OwnedDeliveryResult, _> = self.0.await;
        match result {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(AppendError::Unacknowledged(error)),
            // The producer was dropped: nobody will ever know.
            Err(_) => Err(AppendError::Unacknowledged(KafkaError::Canceled)),
        }
    }
}

impl WinnerLog {
    /// A producer for the campaign's topic. Connects in the background; `client_id` names this process to the brokers.
    pub fn new(settings: &Kafka, campaign: &CampaignId, key_by: KeyBy, client_id: &str) -> Result<Self, KafkaError> {
        let config = config(settings, client_id, DELIVERY_TIMEOUT);
        Ok(Self { producer: config.create()?, campaign: campaign.clone(), topic: campaign.topic(), key_by })
    }

    /// Hands a winner to the client. The record is on its way when this returns; it is durable when it is acknowledged.
    pub fn append(&self, event: &CouponIssued) -> Result<Appending, AppendError> {
        let (value, epoch, version) = (event.encode(), event.epoch.to_string(), format::EVENT.to_string());
        let key = match self.key_by {
            KeyBy::User => event.user_id.as_str(),
            KeyBy::Campaign => &event.coupon_id,
        };
        let campaign = self.campaign.to_string();
        let headers = OwnedHeaders::new()
            .insert(Header { key: HEADER_EVENT_TYPE, value: Some(EVENT_TYPE) })
            .insert(Header { key: HEADER_VERSION, value: Some(&version) })
            .insert(Header { key: HEADER_CAMPAIGN, value: Some(&campaign) })
            .insert(Header { key: HEADER_EPOCH, value: Some(&epoch) });
        // Stamped with the present time, not the grant's: Kafka counts retention from it, and would remove a grant that is
        // published again after a week, or one whose time Redis has lost, before any consumer could read it.
        let record = FutureRecord::to(&self.topic).key(key).payload(&value).headers(headers);
        match self.producer.send_result(record) {
            Ok(delivery) => Ok(Appending(delivery)),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(AppendError::QueueFull),
            Err((error, _)) => Err(AppendError::Unacknowledged(error)),
        }
    }

    /// Asks the brokers for the topic's partitions, so that the first record does not wait for them, and returns how many
    /// there are. Blocks for at most `timeout`.
    pub fn learn_topic(&self, timeout: Duration) -> Result<usize, KafkaError> {
        let metadata = self.producer.client().fetch_metadata(Some(&self.topic), timeout)?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == self.topic) else {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic));
        };
        match topic.error() {
            None => Ok(topic.partitions().len()),
            Some(error) => Err(KafkaError::MetadataFetch(error.into())),
        }
    }

    /// Why this producer will never write again, if so: the process must be replaced.
    pub fn fatal_error(&self) -> Option<String> {
        self.producer.client().fatal_error().map(|(code, text)| format!("{code}: {text}"))
    }

    /// Records that wait for an acknowledgement.
    pub fn in_flight(&self) -> i32 {
        self.producer.in_flight_count()
    }

    /// Waits until nothing is in flight any more. Blocks; false when `timeout` came first.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.producer.flush(timeout).is_ok()
    }
}
