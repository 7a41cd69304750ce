//! The bounded way from whoever reads records to the writer, and back: what is done moves the frontier.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::message::{Message, OwnedMessage};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use campaign::log::header_bytes;

use crate::frontier::{Frontiers, Ticket};

/// A record takes one unit of room for each 8 KiB begun, so that the queue is bounded in records and in bytes.
const UNIT: usize = 8 * 1024;

/// The frontiers, shared between the reader and whoever finishes records.
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

    /// Whether it is still ours to deal with.
    pub fn is_wanted(&self) -> bool {
        self.progress.frontiers().is_wanted(self.ticket)
    }

    /// Somebody begins to work on it. False when it is not wanted any more: drop it.
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
}

impl Drop for Record {
    fn drop(&mut self) {
        let mut frontiers = self.progress.frontiers();
        match self.state {
            State::Queued => frontiers.release(self.ticket, false),
            State::Begun => frontiers.release(self.ticket, true),
            State::Done => frontiers.complete(self.ticket),
        }
        drop(frontiers);
        self.progress.finished.notify_all();
    }
}

/// A record that was not taken.
#[derive(Debug)]
pub enum Refused {
    /// There is no room now.
    Full(Box<Record>),
    /// The writer is gone.
    Closed,
}

/// The reader's end. Its calls block: for threads, not for tasks.
#[derive(Debug)]
pub struct Intake {
    queue: mpsc::Sender<Record>,
    room: Arc<Semaphore>,
    units: usize,
    progress: Arc<Progress>,
    runtime: Handle,
}

/// A queue with room for `records` small records. Call it inside a Tokio runtime.
pub fn queue(records: usize, progress: Arc<Progress>) -> (Intake, mpsc::Receiver<Record>) {
    let units = records.max(1);
    let (sender, receiver) = mpsc::channel(units);
    let room = Arc::new(Semaphore::new(units));
    (Intake { queue: sender, room, units, progress, runtime: Handle::current() }, receiver)
}

impl Intake {
    /// Makes a message a record to deal with. `None` when its partition is not ours any more.
    pub fn hand_out(&self, message: OwnedMessage) -> Option<Record> {
        let ticket = self.progress.frontiers().hand_out(message.partition(), message.offset())?;
        Some(Record { message, ticket, progress: Arc::clone(&self.progress), room: None, state: State::Queued })
    }

    /// Queues a record, waiting at most `patience` for room.
    pub fn offer(&self, mut record: Record, patience: Duration) -> Result<(), Refused> {
        let units = u32::try_from((bytes(&record.message) / UNIT + 1).min(self.units)).unwrap_or(u32::MAX);
        let room = || Arc::clone(&self.room).try_acquire_many_owned(units);
        let room = room().ok().or_else(|| {
            let room = Arc::clone(&self.room).acquire_many_owned(units);
            self.runtime.block_on(async { tokio::time::timeout(patience, room).await }).ok()?.ok()
        });
        let Some(room) = room else {
            return if self.queue.is_closed() { Err(Refused::Closed) } else { Err(Refused::Full(Box::new(record))) };
        };
        record.room = Some(room);
        self.queue.try_send(record).map_err(|error| match error {
            mpsc::error::TrySendError::Full(record) => Refused::Full(Box::new(record)),
            mpsc::error::TrySendError::Closed(_) => Refused::Closed,
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
        let (intake, mut records) = queue(4, assigned());
        let check = tokio::task::spawn_blocking(move || {
            for offset in 0..4 {
                intake.offer(record(&intake, offset, 100), Duration::ZERO).unwrap();
            }
            assert!(!intake.has_room());
            let refused = intake.offer(record(&intake, 4, 100), Duration::from_millis(1));
            assert!(matches!(refused, Err(Refused::Full(record)) if record.offset() == 4));
            for _ in 0..4 {
                drop(records.blocking_recv());
            }
            assert!(intake.has_room());
            // Larger than all the room: it goes alone.
            intake.offer(record(&intake, 5, 1 << 20), Duration::ZERO).unwrap();
            assert!(matches!(intake.offer(record(&intake, 6, 1), Duration::ZERO), Err(Refused::Full(_))));
            drop(records);
            assert!(matches!(intake.offer(record(&intake, 7, 1), Duration::ZERO), Err(Refused::Closed)));
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
        let (intake, _records) = queue(4, Arc::clone(&progress));
        let mut record = record(&intake, 0, 1);
        assert!(record.begin());
        let idle = |frontiers: &Frontiers| frontiers.unfinished() == 0;
        assert!(!progress.wait(Instant::now(), idle));
        let worker = std::thread::spawn(move || record.complete());
        assert!(progress.wait(Instant::now() + Duration::from_secs(60), idle));
        worker.join().unwrap();
        assert_eq!(progress.frontiers().next_offsets().get(&0), Some(&1));
    }
}
