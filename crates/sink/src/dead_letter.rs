//! Writes records that cannot be stored to the dead letter topic: the original bytes, and where and why it failed.
//!
//! The headers are Spring Kafka's, with its binary encodings, and readable ones beside them. A record is done only when
//! the topic has acknowledged it; until then it holds its partition. What is too large for the topic is cut, and says so: its
//! copy in the campaign's topic goes with the retention, but nothing behind it waits for ever.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rdkafka::Timestamp;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use coupon_core::connections::Kafka;
use coupon_core::event::RawHeader;
use coupon_core::failpoints::{CrashPoint, crash_point};
use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use coupon_ledger::kafka::{ORIGINAL_OFFSET, ORIGINAL_PARTITION, client_config, origin, raw_headers};

use crate::decide::{DeadLetterReason, outage_delay};
use crate::letters::Grant;
use crate::observer::{Observer, Retry};
use crate::pauses::Pauses;
use crate::queue::Record;
use crate::repeated::Repeated;
use crate::rows::CampaignRows;

/// Dead letters that may wait to be written; as many again are being written.
pub const QUEUE: usize = 64;
/// Longest header for where a record first lay, in bytes, that a cut dead letter keeps.
const MAX_KEPT: usize = 1_000;
/// How long Kafka may take to answer for the topic's partitions.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Spring Kafka's headers, and ours, for the place where a record first lay.
const ORIGIN: [&str; 9] = [
    "kafka_dlt-original-topic",
    "kafka_dlt-original-partition",
    "kafka_dlt-original-offset",
    "kafka_dlt-original-timestamp",
    "kafka_dlt-original-timestamp-type",
    "kafka_dlt-original-consumer-group",
    "original_topic",
    ORIGINAL_PARTITION,
    ORIGINAL_OFFSET,
];
/// The headers for what went wrong on the latest trip.
pub const FAILURE: [&str; 4] = ["kafka_dlt-exception-fqcn", "kafka_dlt-exception-message", "exception", "retry_count"];

/// What was left out of a dead letter, such as `value`, and how large the record's value was, in bytes.
pub const TRUNCATED: [&str; 2] = ["truncated", "original_value_size"];

/// What is left out of a dead letter that the topic does not take whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cut {
    /// The value.
    value: bool,
    /// The key, and the headers that are not ours.
    rest: bool,
}

impl Cut {
    /// What to leave out next: the larger part, then both. `None`: there is nothing left to cut.
    fn further(self, message: &OwnedMessage) -> Option<Self> {
        let headers = message.headers().and_then(raw_headers).unwrap_or_default();
        let size = |text: &Option<Vec<u8>>| text.as_ref().map_or(0, Vec::len);
        let rest = message.key().map_or(0, <[u8]>::len)
            + headers.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
        match self {
            Self { value: false, rest: false } if value(message) >= rest => Some(Self { value: true, rest: false }),
            Self { value: false, rest: false } => Some(Self { value: false, rest: true }),
            Self { value: true, rest: true } => None,
            _ => Some(Self { value: true, rest: true }),
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self { value: false, rest: false } => None,
            Self { value: true, rest: false } => Some("value"),
            Self { value: false, rest: true } => Some("key,headers"),
            Self { value: true, rest: true } => Some("value,key,headers"),
        }
    }
}

/// Bytes of a record's value.
fn value(message: &OwnedMessage) -> usize {
    message.payload().map_or(0, <[u8]>::len)
}

/// A record that cannot be stored.
#[derive(Debug)]
pub struct PendingDeadLetter {
    /// The record; complete when the topic has acknowledged it.
    pub record: Record,
    /// Why.
    pub reason: DeadLetterReason,
    /// Retries that were made.
    pub retries: u32,
    /// What it says, where that can be read.
    pub(crate) grant: Option<Grant>,
}

/// Those that are to stay, by their names and the lengths of their values.
fn kept(known: &[RawHeader], stays: impl Fn(&str, usize) -> bool) -> OwnedHeaders {
    known
        .iter()
        .filter(|(name, value)| stays(name, value.as_ref().map_or(0, Vec::len)))
        .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: value.as_ref() }))
}

/// The headers of a dead letter: all of the original's, then where it first lay and what went wrong now. A record that
/// was a dead letter before keeps its first origin; what went wrong then is replaced.
fn headers(message: &OwnedMessage, group: &str, reason: &DeadLetterReason, retries: u32, cut: Cut) -> OwnedHeaders {
    let known = message.headers().and_then(raw_headers).unwrap_or_default();
    let has_any = |wanted: &[&str]| known.iter().any(|(name, _)| wanted.contains(&name.as_str()));
    let is_origin = |name: &str, length: usize| ORIGIN.contains(&name) && (!cut.rest || length <= MAX_KEPT);
    let mut all = match message.headers() {
        None => OwnedHeaders::new(),
        Some(_) if cut.rest => kept(&known, is_origin),
        Some(_) if has_any(&FAILURE) => kept(&known, |name, _| !FAILURE.contains(&name)),
        // A copy by librdkafka itself: byte for byte, whatever is in them.
        Some(original) => original.clone(),
    };
    let mut add = |key: &str, value: &[u8]| {
        all = std::mem::take(&mut all).insert(Header { key, value: Some(value) });
    };
    // Of what stays: one that is too long to be kept says nothing any more.
    if !known.iter().any(|(name, value)| is_origin(name, value.as_ref().map_or(0, Vec::len))) {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        let (timestamp, timestamp_type) = match message.timestamp() {
            Timestamp::CreateTime(millis) => (millis, "CreateTime"),
            Timestamp::LogAppendTime(millis) => (millis, "LogAppendTime"),
            Timestamp::NotAvailable => (-1, "NoTimestampType"),
        };
        add(ORIGIN[0], topic.as_bytes());
        add(ORIGIN[1], &partition.to_be_bytes());
        add(ORIGIN[2], &offset.to_be_bytes());
        add(ORIGIN[3], &timestamp.to_be_bytes());
        add(ORIGIN[4], timestamp_type.as_bytes());
        add(ORIGIN[5], group.as_bytes());
        add(ORIGIN[6], topic.as_bytes());
        add(ORIGIN[7], partition.to_string().as_bytes());
        add(ORIGIN[8], offset.to_string().as_bytes());
    }
    let (name, text) = (reason.name(), reason.to_string());
    add(FAILURE[0], format!("coupon.consumer.{name}").as_bytes());
    add(FAILURE[1], text.as_bytes());
    add(FAILURE[2], format!("{name}: {text}").as_bytes());
    add(FAILURE[3], retries.to_string().as_bytes());
    if let Some(name) = cut.name() {
        add(TRUNCATED[0], name.as_bytes());
        add(TRUNCATED[1], value(message).to_string().as_bytes());
    }
    all
}

/// The writer of dead letters of one campaign.
pub struct DeadLetterWriter {
    producer: FutureProducer,
    topic: String,
    group: String,
    /// How many partitions the topic has; `None` while not known.
    partitions: Mutex<Option<i32>>,
    pauses: Arc<Pauses>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
    /// Which grants have a letter; `None`: each record has one of its own.
    repeated: Option<Repeated>,
}

impl DeadLetterWriter {
    /// Connects in the background. Once `stop` is cancelled, what cannot be written at once is left undone.
    ///
    /// # Errors
    /// [`KafkaError`] for settings that librdkafka refuses.
    pub fn new(
        kafka: &Kafka,
        campaign: &CampaignId,
        client_id: &str,
        pauses: Arc<Pauses>,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Result<Self, KafkaError> {
        let overrides = [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            // The topic's bound is for a batch: beside another letter, one that fits would be refused.
            ("batch.num.messages", "1"),
            ("linger.ms", "0"),
            // As the issuer's producer, for letters that cannot keep their partition.
            ("partitioner", "murmur2_random"),
            ("delivery.timeout.ms", "10000"),
            ("request.timeout.ms", "5000"),
            ("queue.buffering.max.messages", "1000"),
            // The topic's own bound decides, not this client's: a dead letter is larger than the record it was. What came here
            // compressed must be allowed to go on compressed.
            ("message.max.bytes", "134217728"),
            ("compression.type", "lz4"),
        ];
        Ok(Self {
            producer: client_config(kafka, client_id, &overrides).create()?,
            repeated: None,
            topic: campaign.dead_letter_topic(),
            group: campaign.group(),
            partitions: Mutex::new(None),
            pauses,
            observer,
            stop,
        })
    }

    /// From now on a grant has one letter, however often it is said. `rows` tells which letters are given up. The topic is read for that: not
    /// for whoever reads a topic at the same time, as only so many may read at a time.
    #[must_use]
    pub fn one_for_each_grant(mut self, kafka: &Kafka, campaign: &CampaignId, rows: CampaignRows) -> Self {
        self.repeated = Some(Repeated::new(kafka, campaign, self.producer.clone(), rows));
        self
    }

    /// Writes all that comes, until the other end is closed and everything is written or left undone.
    pub async fn run(self, letters: mpsc::Receiver<PendingDeadLetter>) {
        let this = &self;
        futures::stream::unfold(letters, async |mut letters| Some((letters.recv().await?, letters)))
            .for_each_concurrent(QUEUE, async |letter| this.write(letter).await)
            .await;
    }

    /// Writes a letter, unless its grant has one. What was a letter before and was replayed has one more: whoever replayed it waits for it.
    async fn write(&self, mut letter: PendingDeadLetter) {
        let at = Position { partition: letter.record.partition(), offset: letter.record.offset() };
        let grant = letter.grant.take().filter(|_| origin(&letter.record.message).is_none());
        let Some((repeated, grant)) = self.repeated.as_ref().zip(grant).filter(|_| letter.record.is_wanted()) else {
            self.write_until_taken(letter).await;
            return;
        };
        let turn = repeated.turn(&grant).await;
        if let Some(known) = repeated.letter_of(&grant, at).await {
            let (partition, offset, letter_at) = (at.partition, at.offset, known.offset);
            tracing::info!(partition, offset, letter_at, "its grant has a dead letter already, and needs no other");
            letter.record.complete();
        } else if let Some(written) = self.write_until_taken(letter).await {
            repeated.written(grant, written, at).await;
        }
        drop(turn);
    }

    /// Tries until the topic has it, which answers where; or until nobody wants it any more.
    async fn write_until_taken(&self, letter: PendingDeadLetter) -> Option<Position> {
        let partition = letter.record.partition();
        let mut written = None;
        let (mut failures, mut cut) = (0, Cut::default());
        while letter.record.is_wanted() {
            let error = match self.try_write(&letter, cut).await {
                Ok(at) => {
                    crash_point(CrashPoint::AfterDeadLetter);
                    self.observer.dead_letter(letter.reason.name());
                    letter.record.complete();
                    // What was cut says nothing any more.
                    written = (cut == Cut::default()).then_some(at);
                    break;
                }
                Err(error) => error,
            };
            if let Some(further) = cut.further(&letter.record.message).filter(|_| is_too_large(&error)) {
                let (offset, without) = (letter.record.offset(), further.name());
                tracing::warn!(partition, offset, without, %error, "a dead letter is too large for its topic, and is cut");
                cut = further;
                continue;
            }
            if failures == 0 {
                self.pauses.hold_partition(partition, error.to_string());
            }
            self.observer.retry(Retry::DeadLetterTopic);
            // Whatever went wrong may be about the partitions: ask for them anew.
            *self.partitions.lock().await = None;
            tokio::select! {
                () = tokio::time::sleep(outage_delay(failures)) => {}
                () = self.stop.cancelled() => {
                    failures += 1;
                    break;
                }
            }
            failures += 1;
        }
        if failures > 0 {
            self.pauses.release_partition(partition);
        }
        written
    }

    async fn try_write(&self, letter: &PendingDeadLetter, cut: Cut) -> Result<Position, KafkaError> {
        let message = &letter.record.message;
        let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic).headers(headers(
            message,
            &self.group,
            &letter.reason,
            letter.retries,
            cut,
        ));
        record.key = message.key().filter(|_| !cut.rest);
        record.payload = message.payload().filter(|_| !cut.value);
        if self.has_partition(message.partition()).await? {
            record.partition = Some(message.partition());
        }
        let delivery = self.producer.send_result(record).map_err(|(error, _)| error)?;
        match delivery.await {
            Ok(Ok(taken)) => Ok(Position { partition: taken.partition, offset: taken.offset }),
            Ok(Err((error, _))) => Err(error),
            Err(_) => Err(KafkaError::Canceled),
        }
    }

    /// Whether the dead letter topic has this partition. Asks Kafka when it is not known to: the topic may have grown.
    async fn has_partition(&self, partition: i32) -> Result<bool, KafkaError> {
        let mut known = self.partitions.lock().await;
        if known.is_some_and(|count| partition < count) {
            return Ok(true);
        }
        let (producer, topic) = (self.producer.clone(), self.topic.clone());
        let asked =
            tokio::task::spawn_blocking(move || producer.client().fetch_metadata(Some(&topic), METADATA_TIMEOUT));
        let metadata = asked.await.map_err(|_| KafkaError::Canceled)??;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if count == 0 {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        *known = Some(count);
        Ok(partition < count)
    }
}

/// Whether the topic, or the client, says that the record is larger than it takes.
fn is_too_large(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge))
}

#[cfg(test)]
mod decoders;

#[cfg(test)]
mod tests;
