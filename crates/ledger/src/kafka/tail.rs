//! Reads a range of a topic without joining a group: for rebuilding, draining and dead letters.
//!
//! What readers hold of a log that is not taken yet is bounded for the whole process, by [`MEMORY`], however many want to read,
//! and whatever the topic is like: so many read at a time, each so many partitions, in responses of this size. The client's own
//! bounds would not do: a response may be as large as all that may be queued, and every broker sends one of its own.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use coupon_core::connections::Kafka;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::reading;

/// How long nothing may arrive before reading is given up.
pub const IDLE_DEADLINE: Duration = Duration::from_secs(20);
/// How long to wait for others to have read before it is given up.
pub const TURN_DEADLINE: Duration = Duration::from_secs(60);

/// So many read at the same time.
const READERS: usize = 3;
/// Partitions that one reads at the same time: each may be led by a broker of its own, from which one response is under way.
const PARTITIONS_AT_ONCE: usize = 4;
/// Bytes of one response.
const RESPONSE: usize = 256 << 10;
/// Values that are queued before no more are asked for, in the client's unit of 1,000 bytes.
const QUEUED_KB: usize = 1_000;
/// The same in records, where values are small or empty.
const QUEUED_RECORDS: usize = 5_000;
/// What a queued byte of values takes for a winner: its key, its headers, and what the client keeps of each record.
const TAKES: usize = 4;
/// And a byte of a response, which is compressed, and then lies there twice.
const UNPACKED: usize = 9;
/// A batch that is larger than a response comes all the same. One of the largest that a topic takes by default, with the headers of a
/// dead letter.
const LARGEST_BATCH: usize = 1_048_588 + 65_536;

const fn larger(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

/// The most bytes that all readers of a process hold together. Where a class lets records be larger than Kafka's default, each
/// further MiB of `max.message.bytes` may take twelve more.
pub const MEMORY: usize =
    READERS * (QUEUED_KB * 1_000 * TAKES + PARTITIONS_AT_ONCE * larger(RESPONSE * UNPACKED, 2 * LARGEST_BATCH));

/// Partitions and the offsets that are wanted of them, in words.
fn wanted(unfinished: &BTreeMap<i32, i64>) -> String {
    let each = unfinished.iter().map(|(partition, offset)| format!("{partition} (from offset {offset} on)"));
    each.collect::<Vec<_>>().join(", ")
}

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
    #[error(
        "reading {topic}: nothing arrived for {} s{}; partitions not finished: {}",
        IDLE_DEADLINE.as_secs(), trouble.as_ref().map(|said| format!(" ({said})")).unwrap_or_default(), wanted(unfinished)
    )]
    Stalled {
        /// The topic.
        topic: String,
        /// What the client complained about last, if it did.
        trouble: Option<String>,
        /// Partition -> next offset wanted.
        unfinished: BTreeMap<i32, i64>,
    },
    /// Others were reading for [`TURN_DEADLINE`].
    #[error(
        "reading {topic}: waited {} s for {READERS} other readers of logs to end, which is as many as may read at a time; trying again",
        TURN_DEADLINE.as_secs()
    )]
    Crowded {
        /// The topic.
        topic: String,
    },
}

/// Offsets of a topic, per partition: from (inclusive), to (exclusive).
pub type Range = BTreeMap<i32, (i64, i64)>;

/// Whose turn it is to read.
#[derive(Debug)]
struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

static TURNS: Turns = Turns::new(READERS);

impl Turns {
    const fn new(turns: usize) -> Self {
        Self { free: Mutex::new(turns), freed: Condvar::new() }
    }

    /// Blocks until it is the caller's turn, which ends when the result is dropped. `None`: not within `deadline`.
    fn take(&self, deadline: Duration) -> Option<Turn<'_>> {
        // A number is whole whatever panicked beside it.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.freed.wait_timeout_while(free, deadline, |free| *free == 0);
        let (mut free, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Turn(self))
    }
}

struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// Calls `visit` for every record of `range`, each partition in order. Blocks the thread: call it on a blocking one, and wait for no
/// other reader in `visit`. Records that retention removed are passed over. An error of `visit` ends the reading.
pub fn read<E: From<TailError>>(
    settings: &Kafka,
    topic: &str,
    range: &Range,
    mut visit: impl FnMut(&BorrowedMessage<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let wanted: Vec<(i32, i64)> =
        range.iter().filter(|(_, (from, to))| from < to).map(|(partition, (from, _))| (*partition, *from)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let turn = TURNS.take(TURN_DEADLINE).ok_or_else(|| TailError::Crowded { topic: topic.to_owned() })?;
    let reader = Reader { consumer: client(settings, topic)?, topic, range };
    for some in wanted.chunks(PARTITIONS_AT_ONCE) {
        reader.read(some, &mut visit)?;
    }
    // The client first: until it is gone it holds what it has queued.
    drop(reader);
    drop(turn);
    Ok(())
}

fn client(settings: &Kafka, topic: &str) -> Result<reading::Reader, TailError> {
    let (response, queued_kb, queued) = (RESPONSE.to_string(), QUEUED_KB.to_string(), QUEUED_RECORDS.to_string());
    let bounds = [
        ("queued.max.messages.kbytes", queued_kb.as_str()),
        ("queued.min.messages", &queued),
        // What is queued is taken in milliseconds; by default no more would be asked for before a second has passed.
        ("fetch.queue.backoff.ms", "2"),
        ("fetch.message.max.bytes", &response),
        ("fetch.max.bytes", &response),
        // Of a client that writes nothing: a response could not be smaller than this.
        ("message.max.bytes", &response),
    ];
    let made = reading::reader(settings, "coupon-tail", topic, &bounds);
    made.map_err(|source| TailError::Kafka { topic: topic.to_owned(), source })
}

struct Reader<'a> {
    consumer: reading::Reader,
    topic: &'a str,
    range: &'a Range,
}

impl Reader<'_> {
    /// Reads these partitions, from these offsets on, to the end of the range.
    fn read<E: From<TailError>>(
        &self,
        partitions: &[(i32, i64)],
        visit: &mut impl FnMut(&BorrowedMessage<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { consumer, topic, range } = self;
        let failed = |source| E::from(TailError::Kafka { topic: (*topic).to_owned(), source });
        let stalled = |trouble: Option<KafkaError>, open: BTreeMap<i32, i64>| {
            let trouble = trouble.map(|error| error.to_string());
            Err(E::from(TailError::Stalled { topic: (*topic).to_owned(), trouble, unfinished: open }))
        };
        let mut trouble = None;
        let mut open: BTreeMap<i32, i64> = partitions.iter().copied().collect();
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
                    if reached(consumer, topic, partition, range) {
                        open.remove(&partition);
                        last_progress = Instant::now();
                    } else if last_progress.elapsed() > IDLE_DEADLINE {
                        return stalled(trouble, open);
                    }
                }
                Some(Err(source)) if is_fatal(&source) => return Err(failed(source)),
                nothing => {
                    trouble = nothing.and_then(Result::err).or(trouble);
                    if last_progress.elapsed() > IDLE_DEADLINE {
                        return stalled(trouble, open);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether everything up to the range's end was read or holds no record.
fn reached(consumer: &reading::Reader, topic: &str, partition: i32, range: &Range) -> bool {
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
                // What lies there will not be another the next time.
                | Code::NotImplemented
                | Code::BadCompression
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use coupon_core::connections::KafkaProtocol;

    #[test]
    fn so_many_read_at_a_time_and_the_next_one_when_one_has_ended() {
        let turns = Turns::new(2);
        let (soon, long) = (Duration::from_millis(1), Duration::from_secs(60));
        let (one, other) = (turns.take(soon).unwrap(), turns.take(soon).unwrap());
        assert!(turns.take(soon).is_none());
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| turns.take(long).is_some());
            drop(one);
            assert!(waiting.join().unwrap());
        });
        drop(other);
        let both = (turns.take(soon), turns.take(soon));
        assert!(both.0.is_some() && both.1.is_some() && turns.take(soon).is_none());
    }

    /// Wrong: librdkafka refuses the bounds, and nothing is ever read.
    #[test]
    fn the_client_takes_its_bounds() {
        let kafka = Kafka {
            bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
            protocol: KafkaProtocol::Plaintext,
            mechanism: None,
            login: coupon_core::connections::Login::default(),
            ca_pem: None,
        };
        client(&kafka, "t").map(drop).unwrap();
    }
}
