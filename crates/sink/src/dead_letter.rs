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
use coupon_ledger::kafka::{ORIGINAL_OFFSET, ORIGINAL_PARTITION, client_config, raw_headers};

use crate::decide::{DeadLetterReason, outage_delay};
use crate::observer::{Observer, Retry};
use crate::pauses::Pauses;
use crate::queue::Record;

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
            topic: campaign.dead_letter_topic(),
            group: campaign.group(),
            partitions: Mutex::new(None),
            pauses,
            observer,
            stop,
        })
    }

    /// Writes all that comes, until the other end is closed and everything is written or left undone.
    pub async fn run(self, letters: mpsc::Receiver<PendingDeadLetter>) {
        let this = &self;
        futures::stream::unfold(letters, async |mut letters| Some((letters.recv().await?, letters)))
            .for_each_concurrent(QUEUE, async |letter| this.write(letter).await)
            .await;
    }

    async fn write(&self, letter: PendingDeadLetter) {
        let partition = letter.record.partition();
        let (mut failures, mut cut) = (0, Cut::default());
        while letter.record.is_wanted() {
            let Err(error) = self.try_write(&letter, cut).await else {
                crash_point(CrashPoint::AfterDeadLetter);
                self.observer.dead_letter(letter.reason.name());
                letter.record.complete();
                break;
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
    }

    async fn try_write(&self, letter: &PendingDeadLetter, cut: Cut) -> Result<(), KafkaError> {
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
            Ok(Ok(_)) => Ok(()),
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
mod tests {
    use rdkafka::message::Headers;

    use super::*;

    fn message(headers: Option<OwnedHeaders>, offset: i64) -> OwnedMessage {
        let (timestamp, topic) = (Timestamp::LogAppendTime(258), "t".to_owned());
        OwnedMessage::new(Some(b"v".to_vec()), None, topic, timestamp, 1, offset, headers)
    }

    fn read(headers: &OwnedHeaders) -> Vec<(String, Option<Vec<u8>>)> {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    }

    fn values<'a>(all: &'a [(String, Option<Vec<u8>>)], name: &str) -> Vec<&'a [u8]> {
        all.iter().filter(|(key, _)| key == name).filter_map(|(_, value)| value.as_deref()).collect()
    }

    #[test]
    fn numbers_are_big_endian_as_spring_writes_them() {
        let all = read(&headers(&message(None, 513), "g", &DeadLetterReason::Conflict, 0, Cut::default()));
        assert_eq!(values(&all, "kafka_dlt-original-partition"), [[0, 0, 0, 1]]);
        assert_eq!(values(&all, "kafka_dlt-original-offset"), [[0, 0, 0, 0, 0, 0, 2, 1]]);
        assert_eq!(values(&all, "kafka_dlt-original-timestamp"), [[0, 0, 0, 0, 0, 0, 1, 2]]);
        assert_eq!(values(&all, "kafka_dlt-original-timestamp-type"), [b"LogAppendTime"]);
        assert_eq!(all.len(), ORIGIN.len() + FAILURE.len());
    }

    /// Wrong: after a replay that failed again nobody finds the record that started it.
    #[test]
    fn a_second_trip_keeps_the_first_origin_and_says_what_went_wrong_last() {
        let own = OwnedHeaders::new()
            .insert(Header { key: "trace", value: Some("a") })
            .insert(Header { key: "trace", value: None::<&str> });
        let first =
            headers(&message(Some(own), 7), "g", &DeadLetterReason::Rejected("first".into()), 5, Cut::default());
        let second = read(&headers(
            &message(Some(first.clone()), 99),
            "g2",
            &DeadLetterReason::AboveTotal { total: 3 },
            0,
            Cut::default(),
        ));
        let first = read(&first);
        assert_eq!(second[..2], first[..2], "the record's own headers stay, in order, null and all");
        for name in ORIGIN {
            assert_eq!(values(&second, name), values(&first, name), "{name}");
        }
        assert_eq!(values(&second, "exception"), [b"RankAboveTotal: the rank is above the campaign's total of 3"]);
        assert_eq!(values(&second, "retry_count"), [b"0"]);
        assert_eq!(second.len(), first.len());
    }

    /// Wrong: a winner's value is thrown away because of a stranger's headers, or a letter is cut without an end.
    #[test]
    fn the_larger_part_is_cut_first_and_then_the_rest() {
        let record = |value: usize, header: usize| {
            let headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some(&vec![b'x'; header]) });
            let (timestamp, key) = (Timestamp::NotAvailable, Some(b"key".to_vec()));
            OwnedMessage::new(Some(vec![b'v'; value]), key, "t".to_owned(), timestamp, 1, 7, Some(headers))
        };
        let cuts = |message: &OwnedMessage| -> Vec<&str> {
            std::iter::successors(Cut::default().further(message), |cut| cut.further(message))
                .filter_map(Cut::name)
                .collect()
        };
        assert_eq!(cuts(&record(5_000, 10)), ["value", "value,key,headers"]);
        assert_eq!(cuts(&record(10, 5_000)), ["key,headers", "value,key,headers"]);

        let cut = Cut { value: true, rest: true };
        let all = read(&headers(&record(5_000, 10), "g", &DeadLetterReason::Conflict, 0, cut));
        assert_eq!(values(&all, "truncated"), [b"value,key,headers"]);
        assert_eq!(values(&all, "original_value_size"), [b"5000"]);
        assert_eq!(values(&all, ORIGINAL_OFFSET), [b"7"]);
        assert!(values(&all, "trace").is_empty());

        let long = OwnedHeaders::new().insert(Header { key: ORIGINAL_OFFSET, value: Some(&vec![b'7'; MAX_KEPT + 1]) });
        let all = read(&headers(&message(Some(long), 7), "g", &DeadLetterReason::Conflict, 0, cut));
        assert_eq!(values(&all, ORIGINAL_OFFSET), [b"7"], "a letter always says where its record lay");
    }
}
