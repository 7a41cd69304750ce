//! Writes winners to the topic.

use std::sync::Arc;
use std::time::Duration;

use coupon_core::connections::Kafka;
use coupon_core::contract::KeyBy;
use coupon_core::event::{CouponIssued, EVENT_TYPE, HEADER_CAMPAIGN, HEADER_EPOCH, HEADER_EVENT_TYPE, HEADER_VERSION};
use coupon_core::format;
use coupon_core::identity::CampaignId;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use super::acknowledgements::{Acknowledgements, Place};
use super::append_error::AppendError;
use super::client_config;

/// How long Kafka may take to acknowledge a record. After that the outcome is unknown: the record may be written all the same.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Records that may wait in the client. Beyond it a record is refused at once.
const MAX_QUEUED: &str = "100000";

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
pub struct WinnerProducer {
    producer: Arc<ThreadedProducer<Deliveries>>,
    /// The campaign, as headers name it.
    campaign: String,
    topic: String,
    key_by: KeyBy,
}

/// Hears from the client what became of its records, in the client's own thread.
struct Deliveries;

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        place.settle(match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(AppendError::Unacknowledged(error.clone())),
        });
    }
}

/// The headers of the records of one epoch.
fn headers(campaign: &str, epoch: u64) -> OwnedHeaders {
    let (epoch, version) = (epoch.to_string(), format::EVENT.to_string());
    OwnedHeaders::new_with_capacity(4)
        .insert(Header { key: HEADER_EVENT_TYPE, value: Some(EVENT_TYPE) })
        .insert(Header { key: HEADER_VERSION, value: Some(&version) })
        .insert(Header { key: HEADER_CAMPAIGN, value: Some(campaign) })
        .insert(Header { key: HEADER_EPOCH, value: Some(&epoch) })
}

impl WinnerProducer {
    /// A producer for the campaign's topic. Connects in the background; `client_id` names this process to the brokers.
    pub fn new(settings: &Kafka, campaign: &CampaignId, key_by: KeyBy, client_id: &str) -> Result<Self, KafkaError> {
        let config = config(settings, client_id, DELIVERY_TIMEOUT);
        let producer = Arc::new(config.create_with_context(Deliveries)?);
        Ok(Self { producer, campaign: campaign.to_string(), topic: campaign.topic(), key_by })
    }

    /// Hands winners to the client. Those that it takes are on their way when this returns; each is durable when it is acknowledged.
    pub fn append_all(&self, events: &[CouponIssued]) -> Acknowledgements {
        let records = Acknowledgements::of(events.len());
        let (mut value, mut of_epoch): (Vec<u8>, Option<(u64, OwnedHeaders)>) = (Vec::new(), None);
        for (at, event) in events.iter().enumerate() {
            event.encode_into(&mut value);
            let (epoch, headers) = of_epoch
                .take()
                .filter(|(epoch, _)| *epoch == event.epoch)
                .unwrap_or_else(|| (event.epoch, headers(&self.campaign, event.epoch)));
            self.append(event, &value, headers.clone(), records.place(at));
            of_epoch = Some((epoch, headers));
        }
        records
    }

    fn append(&self, event: &CouponIssued, value: &[u8], headers: OwnedHeaders, place: Place) {
        let key = match self.key_by {
            KeyBy::User => event.user_id.as_str(),
            KeyBy::Campaign => &event.coupon_id,
        };
        // Stamped with the present time, not the grant's: Kafka counts retention from it, and would remove a grant that is
        // published again after a week, or one whose time Redis has lost, before any consumer could read it.
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(place)).key(key).payload(value).headers(headers);
        let Err((error, record)) = self.producer.send(record) else { return };
        record.delivery_opaque.settle(Err(match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => AppendError::QueueFull,
            error => AppendError::Unacknowledged(error),
        }));
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
