//! Reads a range of a topic without joining a group: for rebuilding, draining and dead letters.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::client_config;
use crate::settings::Kafka;

/// How long nothing may arrive before reading is given up.
pub const IDLE_DEADLINE: Duration = Duration::from_secs(20);

/// A range that could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// Kafka failed.
    #[error("reading {topic}: {source}")]
    Kafka {
        /// The topic.
        topic: String,
        /// Why.
        source: KafkaError,
    },
    /// Nothing arrived for [`IDLE_DEADLINE`].
    #[error("reading {topic}: nothing arrived for {} s; partitions not finished: {unfinished:?}", IDLE_DEADLINE.as_secs())]
    Stalled {
        /// The topic.
        topic: String,
        /// Partition -> next offset wanted.
        unfinished: BTreeMap<i32, i64>,
    },
}

/// Offsets of a topic, per partition: from (inclusive), to (exclusive).
pub type Range = BTreeMap<i32, (i64, i64)>;

/// Calls `visit` for every record of `range`, each partition in order. Blocks the thread: call it on a blocking one.
/// Records that retention removed are passed over. An error of `visit` ends the reading.
pub fn read<E: From<TailError>>(
    settings: &Kafka,
    topic: &str,
    range: &Range,
    mut visit: impl FnMut(&BorrowedMessage<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |source| E::from(TailError::Kafka { topic: topic.to_owned(), source });
    let mut open: BTreeMap<i32, i64> =
        range.iter().filter(|(_, (from, to))| from < to).map(|(partition, (from, _))| (*partition, *from)).collect();
    if open.is_empty() {
        return Ok(());
    }
    let consumer: BaseConsumer = client_config(
        settings,
        "coupon-tail",
        &[
            // librdkafka wants a group id to hand out positions; it is never joined and nothing is committed to it. It starts
            // like the topic, so that one ACL on the prefix covers both.
            ("group.id", &format!("{topic}.reader")),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "earliest"),
            ("enable.partition.eof", "true"),
            ("fetch.wait.max.ms", "50"),
            // Nobody writes transactions here; one left open by a stranger must not hide what lies behind it.
            ("isolation.level", "read_uncommitted"),
            ("queued.max.messages.kbytes", "16384"),
        ],
    )
    .create()
    .map_err(failed)?;
    let mut list = TopicPartitionList::new();
    for (partition, from) in &open {
        list.add_partition_offset(topic, *partition, Offset::Offset(*from)).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    let mut last_progress = Instant::now();
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let Some((_, to)) = range.get(&partition) else { continue };
                if offset < *to && open.contains_key(&partition) {
                    visit(&message)?;
                }
                if offset + 1 >= *to {
                    open.remove(&partition);
                } else if let Some(next) = open.get_mut(&partition) {
                    *next = offset + 1;
                }
                last_progress = Instant::now();
            }
            // The last offsets of a range may hold no record. But a new leader may also know less than the old one for a
            // moment: only a position at the range's end ends it.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                if reached(&consumer, topic, partition, range) {
                    open.remove(&partition);
                    last_progress = Instant::now();
                } else if last_progress.elapsed() > IDLE_DEADLINE {
                    return Err(TailError::Stalled { topic: topic.to_owned(), unfinished: open }.into());
                }
            }
            Some(Err(source)) if is_fatal(&source) => return Err(failed(source)),
            Some(Err(_)) | None => {
                if last_progress.elapsed() > IDLE_DEADLINE {
                    return Err(TailError::Stalled { topic: topic.to_owned(), unfinished: open }.into());
                }
            }
        }
    }
    Ok(())
}

/// Whether everything up to the range's end was read or holds no record.
fn reached(consumer: &BaseConsumer, topic: &str, partition: i32, range: &Range) -> bool {
    let Some((_, to)) = range.get(&partition) else { return true };
    let Ok(position) = consumer.position() else { return false };
    match position.find_partition(topic, partition).map(|found| found.offset()) {
        Some(Offset::Offset(at)) => at >= *to,
        // Nothing was read since the assignment: the range starts at the log's end, or retention took it all.
        _ => consumer.fetch_watermarks(topic, partition, Duration::from_secs(5)).is_ok_and(|(_, end)| end >= *to),
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::Fatal
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::Authentication
        )
    )
}
