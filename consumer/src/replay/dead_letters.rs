//! Reads the dead-letter topic.

use std::collections::BTreeMap;

use rdkafka::message::{Message, OwnedMessage};

use coupon_core::event::{CouponIssued, DecodeError, RawHeader};
use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use coupon_core::shown::shown;
use coupon_ledger::kafka::tail::{self, Range, TailError};
use coupon_ledger::kafka::{self, decode_record, raw_headers};

use super::progress::Progress;
use super::{DeadTopic, MAX_LETTERS, ReplayError, ReplayService};

/// Stands for the reason of a letter that does not say it.
pub(crate) const UNKNOWN: &str = "Unknown";
/// Bytes of letters that are kept in one run, the first one in any case.
const MAX_BYTES: usize = 64 << 20;
/// Longest explanation that is kept, in characters.
const MAX_EXPLANATION: usize = 300;

/// A dead letter.
#[derive(Debug)]
pub struct DeadLetter {
    /// Where it lies in the dead-letter topic.
    pub position: Position,
    /// Where the record first lay in the campaign's topic, if it says so.
    pub origin: Option<Position>,
    /// Why it is a dead letter: one of the consumer's reasons, or [`UNKNOWN`].
    pub reason: String,
    /// The same in a sentence.
    pub explanation: String,
    /// How often the consumer had tried again.
    pub retries: u32,
    /// When it was written, milliseconds since 1970.
    pub written_ms: Option<i64>,
    /// The winner, if it is one.
    pub event: Result<CouponIssued, DecodeError>,
    /// All of it.
    pub message: OwnedMessage,
}

/// What was found.
pub(crate) struct FoundDeadLetters {
    /// Id of their topic.
    pub topic_id: String,
    /// The oldest, in the order of their partitions and offsets.
    pub all: Vec<DeadLetter>,
    /// Others that were asked for by their places.
    pub named: Vec<DeadLetter>,
    /// How many more there are, those among them.
    pub left: u64,
    /// The end of each partition when reading began.
    pub ends: BTreeMap<i32, i64>,
}

impl DeadLetter {
    /// Reads a message of the dead-letter topic.
    pub fn of(campaign: &CampaignId, message: OwnedMessage) -> Self {
        let headers = message.headers().and_then(raw_headers).unwrap_or_default();
        let text = |name: &str| last(&headers, name).map(|value| printable(&value));
        let reason = text("kafka_dlt-exception-fqcn")
            .and_then(|name| name.strip_prefix("coupon.consumer.").map(str::to_owned))
            .unwrap_or_else(|| UNKNOWN.to_owned());
        let number = |name: &str| text(name)?.parse::<i64>().ok();
        Self {
            position: Position { partition: message.partition(), offset: message.offset() },
            origin: kafka::origin(&message),
            reason,
            explanation: text("kafka_dlt-exception-message").unwrap_or_default(),
            retries: number("retry_count").and_then(|count| count.try_into().ok()).unwrap_or(0),
            written_ms: message.timestamp().to_millis(),
            event: decode_record(campaign, &message),
            message,
        }
    }

    /// About what it takes.
    fn size(&self) -> usize {
        let headers = self.message.headers().and_then(raw_headers).unwrap_or_default();
        let headers = headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        let part = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        part(self.message.payload()) + part(self.message.key()) + headers.sum::<usize>()
    }
}

fn last(headers: &[RawHeader], name: &str) -> Option<Vec<u8>> {
    headers.iter().rev().find(|(key, _)| key == name).and_then(|(_, value)| value.clone())
}

/// Text that is safe on a terminal.
fn printable(bytes: &[u8]) -> String {
    shown(&String::from_utf8_lossy(bytes), MAX_EXPLANATION)
}

/// The oldest letters, at most [`MAX_LETTERS`] and [`MAX_BYTES`], and those of these places.
pub(crate) async fn read(
    service: &ReplayService,
    places: &[Position],
    progress: &Progress,
) -> Result<FoundDeadLetters, ReplayError> {
    let DeadTopic { id: topic_id, span } = service.dead_topic().await?;
    let (range, _) = oldest(&span, MAX_LETTERS);
    let ReadPart { all, next, .. } = read_range(service, range, progress.clone()).await?;
    let mut named: Vec<DeadLetter> = Vec::new();
    for Position { partition, offset } in places {
        let Some((_, end)) = span.get(partition) else { continue };
        if (next.get(partition).copied().unwrap_or(*end)..*end).contains(offset) {
            let one = Range::from([(*partition, (*offset, *offset + 1))]);
            named.extend(read_range(service, one, Progress::hidden()).await?.all);
        }
    }
    named.sort_by_key(|letter| letter.position);
    named.dedup_by_key(|letter| letter.position);
    let left = |(partition, (start, end)): (&i32, &(i64, i64))| end - next.get(partition).copied().unwrap_or(*start);
    let left = span.iter().map(|each| left(each).max(0).unsigned_abs()).sum();
    let ends = span.into_iter().map(|(partition, (_, end))| (partition, end)).collect();
    Ok(FoundDeadLetters { topic_id, all, named, left, ends })
}

impl FoundDeadLetters {
    /// All that were read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &DeadLetter> {
        self.all.iter().chain(&self.named)
    }
}

/// What was read of a range.
#[derive(Debug)]
pub(crate) struct ReadPart {
    /// In the order of their partitions and offsets.
    pub all: Vec<DeadLetter>,
    /// Where each partition goes on: the end of the range, unless the letters before were too large.
    pub next: BTreeMap<i32, i64>,
    bytes: usize,
}

/// Why reading ended early.
enum Ended {
    Failed(TailError),
    Enough,
}

impl From<TailError> for Ended {
    fn from(error: TailError) -> Self {
        Self::Failed(error)
    }
}

impl ReadPart {
    fn new(range: &Range) -> Self {
        let next = range.iter().map(|(partition, (from, _))| (*partition, *from)).collect();
        Self { all: Vec::new(), next, bytes: 0 }
    }

    /// False, and nothing is taken: there is no room for more.
    fn push(&mut self, letter: DeadLetter) -> bool {
        // One is always taken, or a letter that is larger than all the room would hide those behind it.
        if !self.all.is_empty() && self.bytes + letter.size() > MAX_BYTES {
            return false;
        }
        self.bytes += letter.size();
        self.next.insert(letter.position.partition, letter.position.offset + 1);
        self.all.push(letter);
        true
    }
}

/// The letters of a range, as many as there is room for.
pub(crate) async fn read_range(
    service: &ReplayService,
    range: Range,
    progress: Progress,
) -> Result<ReadPart, ReplayError> {
    let (kafka, campaign) = (service.connections.kafka.clone(), service.campaign.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut part = ReadPart::new(&range);
        let ended = tail::read::<Ended>(&kafka, &campaign.dead_letter_topic(), &range, |message| {
            if !part.push(DeadLetter::of(&campaign, message.detach())) {
                return Err(Ended::Enough);
            }
            progress.advance(1);
            Ok(())
        });
        match ended {
            Ok(()) => part.next = range.iter().map(|(partition, (from, to))| (*partition, *from.max(to))).collect(),
            Err(Ended::Enough) => {}
            Err(Ended::Failed(error)) => return Err(error),
        }
        part.all.sort_by_key(|letter| (letter.position.partition, letter.position.offset));
        Ok::<_, TailError>(part)
    });
    Ok(reading.await??)
}

/// The first part of each partition, in all at most `most` records (one for each partition at least), and what is left.
fn oldest(span: &BTreeMap<i32, (i64, i64)>, most: u64) -> (Range, u64) {
    let mut open: Vec<(i32, i64, i64)> = span.iter().map(|(id, (start, end))| (*id, *start, *end)).collect();
    // Short partitions first: what they do not need is the others'.
    open.sort_by_key(|(_, start, end)| end - start);
    let (mut range, mut left, mut room) = (Range::new(), 0, i64::try_from(most).unwrap_or(i64::MAX));
    let mut others = i64::try_from(open.len()).unwrap_or(i64::MAX);
    for (partition, start, end) in open {
        let to = end.min(start + (room / others.max(1)).max(1));
        range.insert(partition, (start, to));
        room -= to - start;
        others -= 1;
        left += (end - to).unsigned_abs();
    }
    (range, left)
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders};

    use super::*;

    #[test]
    fn the_oldest_are_read_first_and_the_rest_is_counted() {
        let span = BTreeMap::from([(0, (10, 30)), (1, (0, 2)), (2, (5, 5)), (3, (0, 100))]);
        let (range, left) = oldest(&span, 32);
        assert_eq!(range, BTreeMap::from([(0, (10, 25)), (1, (0, 2)), (2, (5, 5)), (3, (0, 15))]));
        assert_eq!(left, 5 + 85);
        let (range, left) = oldest(&span, 1_000);
        assert_eq!((range, left), (span, 0));
    }

    /// Wrong: some large letters end the tool that should show them, and then those behind them are never seen.
    #[test]
    fn letters_that_are_large_are_read_a_part_at_a_time() {
        let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
        let letter = |partition, offset, size: usize| {
            let (payload, topic) = (Some(vec![b'x'; size]), "t".to_owned());
            DeadLetter::of(
                &campaign,
                OwnedMessage::new(payload, None, topic, Timestamp::NotAvailable, partition, offset, None),
            )
        };
        let mut part = ReadPart::new(&BTreeMap::from([(0, (4, 100)), (1, (7, 100))]));
        assert!(part.push(letter(0, 4, MAX_BYTES / 2)) && part.push(letter(1, 7, MAX_BYTES / 2)));
        assert!(!part.push(letter(0, 5, 1)));
        assert_eq!((part.all.len(), part.next), (2, BTreeMap::from([(0, 5), (1, 8)])));
        let mut part = ReadPart::new(&BTreeMap::from([(0, (5, 100))]));
        assert!(part.push(letter(0, 5, 2 * MAX_BYTES)), "it hides nothing behind it");
        assert!(!part.push(letter(0, 6, 1)));
        assert_eq!(part.next, BTreeMap::from([(0, 6)]));
    }

    /// Wrong: one strange record, or an escape sequence in a text, breaks the tool that should show it.
    #[test]
    fn a_stranger_s_letter_is_shown_all_the_same() {
        let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
        let headers = OwnedHeaders::new()
            .insert(Header { key: "kafka_dlt-exception-message", value: Some("\u{1b}[31mred") })
            .insert(Header { key: "retry_count", value: Some("many") });
        let message =
            OwnedMessage::new(Some(b"?".to_vec()), None, "t".into(), Timestamp::NotAvailable, 1, 2, Some(headers));
        let letter = DeadLetter::of(&campaign, message);
        assert_eq!((letter.reason.as_str(), letter.explanation.as_str(), letter.retries), (UNKNOWN, " [31mred", 0));
        assert_eq!((letter.origin, letter.written_ms), (None, None));
        assert!(letter.event.is_err());
    }
}
