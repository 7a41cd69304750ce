//! The bounded queue between the reader of a topic and the writer. A record that is done moves the frontier of its partition.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::message::{Message, OwnedMessage};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use coupon_core::event::{CouponIssued, DecodeError};
use coupon_core::identity::CampaignId;
use coupon_ledger::kafka::{decode_record, header_bytes};

use crate::frontier::{Frontiers, Ticket};

/// A record takes one unit of room for each 8 KiB begun, so that the queue is bounded in records and in bytes.
const UNIT: usize = 8 * 1024;

/// The frontiers, shared between the reader, the writer and the writer of dead letters.
#[derive(Debug, Default)]
pub struct Progress {
    frontiers: Mutex<Frontiers>,
    finished: Condvar,
    /// Wakes the writer from a wait: some of its records may not be wanted any more.
    pub revoked: Notify,
}

impl Progress {
    /// The frontiers, locked. Nothing slow may happen under this lock.
    pub fn frontiers(&self) -> MutexGuard<'_, Frontiers> {
        self.frontiers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until `idle` holds, at most until `deadline`. False when that came first.
    pub fn wait(&self, deadline: Instant, idle: impl Fn(&Frontiers) -> bool) -> bool {
        let mut frontiers = self.frontiers();
        while !idle(&frontiers) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            frontiers = self.finished.wait_timeout(frontiers, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// How far a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Begun,
    Done,
    /// The frontiers know already what became of it.
    Settled,
}

/// A record on its way. Dropping it without [`Record::complete`] leaves it undone: it will be read again.
#[derive(Debug)]
pub struct Record {
    /// The record as Kafka gave it.
    pub message: OwnedMessage,
    ticket: Ticket,
    progress: Arc<Progress>,
    room: Option<OwnedSemaphorePermit>,
    state: State,
}

impl Record {
    /// Partition it was read from.
    pub fn partition(&self) -> i32 {
        self.ticket.partition
    }

    /// Offset it was read at.
    pub fn offset(&self) -> i64 {
        self.ticket.offset
    }

    /// Whether its partition is still ours.
    pub fn is_wanted(&self) -> bool {
        self.progress.frontiers().is_wanted(self.ticket)
    }

    /// Work on it begins. False when its partition is not ours any more: drop the record.
    pub fn begin(&mut self) -> bool {
        let wanted = self.progress.frontiers().begin(self.ticket);
        if wanted {
            self.state = State::Begun;
        }
        wanted
    }

    /// It is stored, void or in the dead letter topic.
    pub fn complete(mut self) {
        self.state = State::Done;
    }

    /// As [`Record::begin`] for many of one queue, which takes the lock once. Those that are not wanted are dropped.
    pub(crate) fn begin_all(batch: &mut Vec<Read>) {
        let Some(progress) = batch.first().map(|read| Arc::clone(&read.record.progress)) else { return };
        {
            let mut frontiers = progress.frontiers();
            for read in batch.iter_mut().filter(|read| frontiers.begin(read.record.ticket)) {
                read.record.state = State::Begun;
            }
        }
        // Without the lock, which each that is dropped takes for itself.
        batch.retain(|read| read.record.state == State::Begun);
    }

    /// As [`Record::is_wanted`] for many of one queue, which takes the lock once.
    pub(crate) fn all_wanted(records: &[Self]) -> bool {
        let Some(first) = records.first() else { return true };
        let frontiers = first.progress.frontiers();
        records.iter().all(|record| frontiers.is_wanted(record.ticket))
    }

    /// As [`Record::complete`] for many of one queue, which takes the lock, gives back their room and wakes who waits once.
    pub(crate) fn complete_all(mut records: Vec<Self>) {
        let Some(progress) = records.first().map(|record| Arc::clone(&record.progress)) else { return };
        let mut room: Option<OwnedSemaphorePermit> = None;
        let mut frontiers = progress.frontiers();
        for record in &mut records {
            frontiers.complete(record.ticket);
            record.state = State::Settled;
            match (&mut room, record.room.take()) {
                (Some(all), Some(one)) => all.merge(one),
                (all, one) => *all = all.take().or(one),
            }
        }
        drop(frontiers);
        progress.finished.notify_all();
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.state == State::Settled {
            return;
        }
        let mut frontiers = self.progress.frontiers();
        match self.state {
            State::Queued => frontiers.release(self.ticket, false),
            State::Begun => frontiers.release(self.ticket, true),
            State::Done => frontiers.complete(self.ticket),
            State::Settled => {}
        }
        drop(frontiers);
        self.progress.finished.notify_all();
    }
}

/// A record and what it says.
#[derive(Debug)]
pub(crate) struct Read {
    /// The record.
    pub(crate) record: Record,
    /// The winner that it is, or why it is none.
    pub(crate) winner: Result<CouponIssued, DecodeError>,
}

/// Why a record was not queued.
#[derive(Debug)]
pub enum OfferError {
    /// There is no room now.
    Full(Box<Record>),
    /// The writer is gone.
    Closed,
}

/// The reader's end. Its calls block: for threads, not for tasks.
#[derive(Debug)]
pub struct Intake {
    campaign: CampaignId,
    queue: mpsc::Sender<Read>,
    room: Arc<Semaphore>,
    units: usize,
    progress: Arc<Progress>,
    runtime: Handle,
}

/// A queue of this campaign's records with room for `records` small ones. Call it inside a Tokio runtime.
pub(crate) fn queue(records: usize, campaign: CampaignId, progress: Arc<Progress>) -> (Intake, mpsc::Receiver<Read>) {
    let units = records.max(1);
    let (sender, receiver) = mpsc::channel(units);
    let room = Arc::new(Semaphore::new(units));
    (Intake { campaign, queue: sender, room, units, progress, runtime: Handle::current() }, receiver)
}

impl Intake {
    /// Makes a message a record to deal with. `None` when its partition is not ours any more.
    pub fn hand_out(&self, message: OwnedMessage) -> Option<Record> {
        let ticket = self.progress.frontiers().hand_out(message.partition(), message.offset())?;
        Some(Record { message, ticket, progress: Arc::clone(&self.progress), room: None, state: State::Queued })
    }

    /// Reads what a record says and queues it, waiting at most `patience` for room. Reading is done here, by whoever asks Kafka, so that
    /// it does not take time from the one who writes rows.
    pub fn offer(&self, mut record: Record, patience: Duration) -> Result<(), OfferError> {
        let units = u32::try_from((bytes(&record.message) / UNIT + 1).min(self.units)).unwrap_or(u32::MAX);
        let room = || Arc::clone(&self.room).try_acquire_many_owned(units);
        let room = room().ok().or_else(|| {
            let room = Arc::clone(&self.room).acquire_many_owned(units);
            self.runtime.block_on(async { tokio::time::timeout(patience, room).await }).ok()?.ok()
        });
        let Some(room) = room else {
            return if self.queue.is_closed() {
                Err(OfferError::Closed)
            } else {
                Err(OfferError::Full(Box::new(record)))
            };
        };
        record.room = Some(room);
        let winner = decode_record(&self.campaign, &record.message);
        self.queue.try_send(Read { record, winner }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(read) => OfferError::Full(Box::new(read.record)),
            mpsc::error::TrySendError::Closed(_) => OfferError::Closed,
        })
    }

    /// Whether at least half of the room is free.
    pub fn has_room(&self) -> bool {
        self.room.available_permits() * 2 >= self.units
    }
}

/// Bytes of a record. What cannot be counted takes all the room, and goes alone.
fn bytes(message: &OwnedMessage) -> usize {
    let headers = message.headers().map_or(Some(0), header_bytes).unwrap_or(usize::MAX);
    let rest = message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len);
    headers.saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders};

    use super::*;

    fn campaign() -> CampaignId {
        CampaignId::with_default_names("r", "n", "c").unwrap()
    }

    fn record(intake: &Intake, offset: i64, bytes: usize) -> Record {
        let value = Some(vec![0; bytes]);
        let message = OwnedMessage::new(value, None, "t".into(), Timestamp::NotAvailable, 0, offset, None);
        intake.hand_out(message).unwrap()
    }

    fn assigned() -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        progress.frontiers().assign(0);
        progress
    }

    /// Wrong: a database that is away, or a few huge records, fill the memory.
    #[tokio::test]
    async fn room_is_bounded_in_records_and_bytes() {
        let (intake, mut records) = queue(4, campaign(), assigned());
        let check = tokio::task::spawn_blocking(move || {
            for offset in 0..4 {
                intake.offer(record(&intake, offset, 100), Duration::ZERO).unwrap();
            }
            assert!(!intake.has_room());
            let refused = intake.offer(record(&intake, 4, 100), Duration::from_millis(1));
            assert!(matches!(refused, Err(OfferError::Full(record)) if record.offset() == 4));
            for _ in 0..4 {
                drop(records.blocking_recv());
            }
            assert!(intake.has_room());
            // Larger than all the room: it goes alone.
            intake.offer(record(&intake, 5, 1 << 20), Duration::ZERO).unwrap();
            assert!(matches!(intake.offer(record(&intake, 6, 1), Duration::ZERO), Err(OfferError::Full(_))));
            drop(records);
            assert!(matches!(intake.offer(record(&intake, 7, 1), Duration::ZERO), Err(OfferError::Closed)));
        });
        check.await.unwrap();
    }

    /// Wrong: a stranger's records of nothing but headers take any memory.
    #[test]
    fn headers_count_like_values() {
        let message = |value: &[u8], headers| {
            OwnedMessage::new(Some(value.to_vec()), None, "t".into(), Timestamp::NotAvailable, 0, 0, headers)
        };
        let many =
            (0..1_000).fold(OwnedHeaders::new(), |all, _| all.insert(Header { key: "name", value: Some("value") }));
        assert_eq!(bytes(&message(b"v", None)), 1);
        assert_eq!(bytes(&message(b"v", Some(many))), 1 + 9_000);
    }

    #[tokio::test]
    async fn waiting_ends_when_the_work_does_or_at_the_deadline() {
        let progress = assigned();
        let (intake, _records) = queue(4, campaign(), Arc::clone(&progress));
        let mut record = record(&intake, 0, 1);
        assert!(record.begin());
        let idle = |frontiers: &Frontiers| frontiers.unfinished() == 0;
        assert!(!progress.wait(Instant::now(), idle));
        let worker = std::thread::spawn(move || record.complete());
        assert!(progress.wait(Instant::now() + Duration::from_secs(60), idle));
        worker.join().unwrap();
        assert_eq!(progress.frontiers().next_offsets().get(&0), Some(&1));
    }

    /// Offsets of records that are queued and taken out again.
    async fn through(intake: Intake, records: &mut mpsc::Receiver<Read>, offsets: std::ops::Range<i64>) -> Vec<Read> {
        let count = usize::try_from(offsets.end - offsets.start).unwrap();
        let feed = tokio::task::spawn_blocking(move || {
            for offset in offsets {
                intake.offer(record(&intake, offset, 1), Duration::ZERO).unwrap();
            }
        });
        let mut batch = Vec::new();
        while batch.len() < count {
            records.recv_many(&mut batch, count).await;
        }
        feed.await.unwrap();
        batch
    }

    /// Wrong: a batch that is done leaves the frontier behind, keeps its room, or wakes nobody who waits for its end.
    #[tokio::test]
    async fn many_are_begun_and_completed_as_one_by_one() {
        let progress = assigned();
        let (intake, mut records) = queue(8, campaign(), Arc::clone(&progress));
        let room = Arc::clone(&intake.room);
        let mut batch = through(intake, &mut records, 0..5).await;
        assert_eq!((room.available_permits(), progress.frontiers().in_hand(|_| true)), (3, 0));
        Record::begin_all(&mut batch);
        assert_eq!((batch.len(), progress.frontiers().in_hand(|_| true)), (5, 5));
        let mut all: Vec<Record> = batch.into_iter().map(|read| read.record).collect();
        assert!(Record::all_wanted(&all));
        let last = all.split_off(3);
        let waiting = std::thread::spawn({
            let progress = Arc::clone(&progress);
            move || {
                progress.wait(Instant::now() + Duration::from_secs(60), |frontiers| frontiers.in_hand(|_| true) == 2)
            }
        });
        Record::complete_all(all);
        assert!(waiting.join().unwrap());
        assert_eq!((room.available_permits(), progress.frontiers().next_offsets()[&0]), (6, 3));
        // Dropped undone: the frontier stays before them.
        drop(last);
        assert_eq!((room.available_permits(), progress.frontiers().next_offsets()[&0]), (8, 3));
        assert_eq!(progress.frontiers().unfinished(), 0);
        Record::complete_all(Vec::new());
    }

    /// Wrong: what belongs to somebody else by now is stored with the rest.
    #[tokio::test]
    async fn of_a_partition_that_is_not_ours_any_more_nothing_is_begun() {
        let progress = assigned();
        let (intake, mut records) = queue(8, campaign(), Arc::clone(&progress));
        let mut batch = through(intake, &mut records, 0..3).await;
        progress.frontiers().revoke(0);
        Record::begin_all(&mut batch);
        assert!(batch.is_empty());
        assert_eq!(progress.frontiers().unfinished(), 0);
        assert!(progress.frontiers().next_offsets().is_empty());
    }
}
