//! Reads what SQL, Kafka and Redis hold of a campaign, for opening an epoch.

use std::collections::BTreeMap;

use coupon_core::connections::Kafka;
use coupon_core::event::CouponIssued;
use coupon_core::format::Newer;
use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use coupon_ledger::database::Barriers;
use coupon_ledger::kafka;
use coupon_ledger::kafka::decode_record;
use coupon_ledger::kafka::tail::{self, Range, TailError};
use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::EpochError;
use crate::ledger::dead_letters::log::DeadLog;

/// What readers of logs may hold together, bytes. The chart allows the operator 128 MiB, of which a thousand campaigns take 60.
const READERS_MAY_HOLD: usize = 48 << 20;
const _: () = assert!(tail::MEMORY <= READERS_MAY_HOLD);
/// Records that are handed on together.
const CHUNK: usize = 1_000;
/// Chunks that a thread may have read ahead.
const CHUNKS_AHEAD: usize = 2;

/// From the committed offsets (missing = the beginning) to `ends`.
pub(crate) fn range(committed: &BTreeMap<i32, Option<i64>>, ends: &BTreeMap<i32, i64>) -> Range {
    let from = |partition: &i32| committed.get(partition).copied().flatten().unwrap_or(0);
    ends.iter().map(|(partition, end)| (*partition, (from(partition), *end))).collect()
}

/// How many records lie in a range, at most.
pub(crate) fn size(range: &Range) -> u64 {
    range.values().map(|(from, to)| to.saturating_sub(*from).max(0).unsigned_abs()).sum()
}

/// Winners in a range of the topic that are not void.
pub(crate) fn tail(settings: &Kafka, campaign: &CampaignId, range: Range, barriers: Barriers) -> Records<CouponIssued> {
    Records::read(settings, campaign, campaign.topic(), range, move |event, message| {
        let at = place(message);
        match event {
            Ok(event) => Ok((!barriers.voids(event.epoch, at.partition, at.offset)).then_some(event)),
            Err(_) if barriers.has_discarded(at) => Ok(None),
            Err(newer) => Err(newer),
        }
    })
}

/// A dead letter that may hold a rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeadLetter {
    /// A winner who holds one.
    Winner(CouponIssued),
    /// It lies there, and only a newer program can read it.
    Newer(Position, Newer),
}

/// Dead letters that may hold ranks by these barriers.
pub(crate) fn dead_letters(
    settings: &Kafka,
    campaign: &CampaignId,
    log: DeadLog,
    barriers: Barriers,
) -> Records<DeadLetter> {
    read_dead_letters(settings, campaign, log, barriers, Ok)
}

/// The same where what only a newer program can read ends the reading.
pub(crate) fn dead_winners(
    settings: &Kafka,
    campaign: &CampaignId,
    log: DeadLog,
    barriers: Barriers,
) -> Records<CouponIssued> {
    read_dead_letters(settings, campaign, log, barriers, |letter| match letter {
        DeadLetter::Winner(event) => Ok(event),
        DeadLetter::Newer(_, newer) => Err(newer),
    })
}

/// Dead letters that may hold ranks, each as `of` makes it. One that is given up holds none, whatever it is.
fn read_dead_letters<T: Send + 'static>(
    settings: &Kafka,
    campaign: &CampaignId,
    log: DeadLog,
    barriers: Barriers,
    of: impl Fn(DeadLetter) -> Result<T, Newer> + Send + 'static,
) -> Records<T> {
    let DeadLog { range, discarded } = log;
    Records::read(settings, campaign, campaign.dead_letter_topic(), range, move |event, message| {
        let letter = match event {
            _ if discarded.contains(&place(message)) => return Ok(None),
            Ok(event) if holds_its_rank(event.epoch, kafka::origin(message), &barriers) => DeadLetter::Winner(event),
            Ok(_) => return Ok(None),
            Err(newer) => DeadLetter::Newer(place(message), newer),
        };
        of(letter).map(Some)
    })
}

fn place(message: &BorrowedMessage<'_>) -> Position {
    Position { partition: message.partition(), offset: message.offset() }
}

/// Whether a dead letter of this epoch, whose record lay there, still holds its rank: it does unless the record was void where
/// it lay. (It may be written long after the consumer read the record, when a newer epoch has given its rank to somebody else.)
pub(crate) fn holds_its_rank(epoch: u64, origin: Option<Position>, barriers: &Barriers) -> bool {
    !origin.is_some_and(|at| barriers.voids(epoch, at.partition, at.offset))
}

/// Records that a thread reads, some at a time: it waits while nobody takes them, and ends when this is dropped. Only so many read at
/// a time (`tail`): a caller that has one must keep reading it, and must not wait for another one meanwhile.
pub(crate) struct Records<T> {
    arriving: mpsc::Receiver<Vec<T>>,
    thread: Option<JoinHandle<Result<(), EpochError>>>,
}

/// Why a thread stopped reading before the end.
enum ReadEnd {
    Tail(TailError),
    /// A record that only a newer program can read.
    Newer(Position, Newer),
    /// Nobody wants the records any more.
    Unwanted,
}

impl From<TailError> for ReadEnd {
    fn from(error: TailError) -> Self {
        Self::Tail(error)
    }
}

impl<T: Send + 'static> Records<T> {
    fn read(
        settings: &Kafka,
        campaign: &CampaignId,
        topic: String,
        range: Range,
        keep: impl Fn(Result<CouponIssued, Newer>, &BorrowedMessage<'_>) -> Result<Option<T>, Newer> + Send + 'static,
    ) -> Self {
        let (sender, arriving) = mpsc::channel(CHUNKS_AHEAD);
        if range.values().all(|(from, to)| from >= to) {
            return Self { arriving, thread: None };
        }
        let (settings, campaign) = (settings.clone(), campaign.clone());
        let thread = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::new();
            let read = tail::read::<ReadEnd>(&settings, &topic, &range, |message| {
                let read = match decode_record(&campaign, message) {
                    Ok(event) => Ok(event),
                    Err(error) => match error.newer() {
                        Some(newer) => Err(newer),
                        // What is no winner of ours is the consumer's to judge; it holds no rank.
                        None => return Ok(()),
                    },
                };
                // One that is newer may be a winner: without it the rank would be given to somebody else.
                chunk.extend(keep(read, message).map_err(|newer| ReadEnd::Newer(place(message), newer))?);
                if chunk.len() < CHUNK {
                    return Ok(());
                }
                sender.blocking_send(std::mem::take(&mut chunk)).map_err(|_| ReadEnd::Unwanted)
            });
            match read {
                Err(ReadEnd::Tail(error)) => return Err(error.into()),
                Err(ReadEnd::Newer(at, newer)) => return Err(EpochError::NewerRecord { topic, at, newer }),
                Err(ReadEnd::Unwanted) => return Ok(()),
                // Nobody is there to miss the last ones if they cannot be sent.
                Ok(()) => drop(sender.blocking_send(chunk)),
            }
            Ok(())
        });
        Self { arriving, thread: Some(thread) }
    }

    /// The next ones; `None` when all were read.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<T>>, EpochError> {
        if let Some(some) = self.arriving.recv().await {
            return Ok(Some(some));
        }
        match self.thread.take() {
            Some(thread) => thread.await?.map(|()| None),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use coupon_ledger::database::Barrier;

    use super::*;

    /// Wrong: a dead letter that a newer epoch has made void hides a winner of its rank that only Redis holds.
    #[test]
    fn a_letter_that_was_void_where_its_record_lay_holds_no_rank() {
        let at = |offset| Some(Position { partition: 0, offset });
        let barriers = Barriers::new(vec![Barrier { epoch: 2, ends: BTreeMap::from([(0, 10)]) }]);
        for (epoch, origin, holds) in
            [(1, at(9), true), (1, at(10), false), (2, at(10), true), (1, None, true), (1, at(11), false)]
        {
            assert!(holds_its_rank(epoch, origin, &Barriers::default()), "without barriers");
            assert_eq!(holds_its_rank(epoch, origin, &barriers), holds, "{epoch} {origin:?}");
        }
    }

    /// Wrong: repairs of logs that nobody has read end with the operator being killed for its memory.
    #[test]
    fn readers_leave_room_under_the_limit_that_the_chart_sets() {
        const OTHERS: usize = 64 << 20;
        let values = include_str!("../../../../charts/coupon-operator/values.yaml");
        let values: serde_json::Value = coupon_core::yaml::from_str(values).unwrap();
        let limit = values.pointer("/resources/limits/memory").and_then(serde_json::Value::as_str).unwrap();
        let limit: usize = limit.strip_suffix("Mi").unwrap().parse().unwrap();
        assert!(READERS_MAY_HOLD + OTHERS <= limit << 20, "{limit} MiB");
    }

    #[test]
    fn a_group_without_a_commit_starts_at_the_beginning() {
        let committed = BTreeMap::from([(0, Some(5)), (1, None)]);
        let ends = BTreeMap::from([(0, 7), (1, 3), (2, 1)]);
        let expected = BTreeMap::from([(0, (5, 7)), (1, (0, 3)), (2, (0, 1))]);
        assert_eq!(range(&committed, &ends), expected);
    }
}
