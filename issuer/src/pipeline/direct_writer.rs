//! Stores winners without Kafka: straight into their rows, with the consumer's own insert.
//!
//! One transaction is under way at a time; the next one takes everything that has gathered meanwhile. A row is written only
//! while SQL's epoch is the grant's: an insert that is late finds a newer epoch and does nothing.

use std::time::Duration;

use coupon_core::contract::deadlines;
use coupon_core::event::CouponIssued;
use coupon_core::failpoints::{CrashPoint, crash_point};
use coupon_ledger::database::{self, CampaignRowId, DatabaseError, Fault, RowOutcome, StoreMode};
use sqlx::MySqlPool;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::pipeline::request::MAX_UNACKNOWLEDGED;

/// How long a winner may wait for its transaction, and how long the transaction may take.
pub(crate) const DIRECT_DEADLINE: Duration = deadlines::DIRECT;
/// Most rows of one transaction.
const MAX_ROWS: usize = 500;
/// Tries of a transaction that lost a race for a lock, after the first; the pause grows from 50 ms.
const RETRIES: u32 = 3;

struct Waiting {
    event: CouponIssued,
    since: Instant,
    reply: oneshot::Sender<bool>,
}

/// Hands winners to the task that stores them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct DirectWriter {
    sender: mpsc::Sender<Waiting>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waiting({})", self.event.rank)
    }
}

impl DirectWriter {
    /// A handle, and the task behind it. `row` gives the campaign's row once it is known.
    pub(crate) fn new(pool: MySqlPool, row: watch::Receiver<Option<CampaignRowId>>) -> (Self, DirectWriterTask) {
        let (sender, waiting) = mpsc::channel(MAX_UNACKNOWLEDGED);
        (Self { sender }, DirectWriterTask { pool, row, waiting })
    }

    /// Stores a winner. True only when its row is committed and says what the event says.
    pub(crate) async fn store(&self, event: CouponIssued) -> bool {
        let (reply, stored) = oneshot::channel();
        // A full queue means that the database does not keep up: the winner is not confirmed, and keeps its rank.
        self.sender.try_send(Waiting { event, since: Instant::now(), reply }).is_ok() && stored.await.unwrap_or(false)
    }
}

/// The task that writes.
pub(crate) struct DirectWriterTask {
    pool: MySqlPool,
    row: watch::Receiver<Option<CampaignRowId>>,
    waiting: mpsc::Receiver<Waiting>,
}

impl DirectWriterTask {
    /// Works until every handle is dropped.
    pub(crate) async fn run(mut self) {
        let mut gathered = Vec::with_capacity(MAX_ROWS);
        while self.waiting.recv_many(&mut gathered, MAX_ROWS).await > 0 {
            let now = Instant::now();
            // Dropping the sender tells the caller that waited too long.
            gathered.retain(|waiting| now.saturating_duration_since(waiting.since) < DIRECT_DEADLINE);
            if !gathered.is_empty() {
                self.write(std::mem::take(&mut gathered)).await;
            }
        }
    }

    async fn write(&self, winners: Vec<Waiting>) {
        let (events, replies): (Vec<_>, Vec<_>) = winners.into_iter().map(|each| (each.event, each.reply)).unzip();
        let stored = match self.store(&events).await {
            Err(error) if error.fault() == Fault::Rejected && events.len() > 1 => {
                // One of them is refused: the others must not suffer for it.
                let mut each = Vec::with_capacity(events.len());
                for event in &events {
                    let outcome = self.store(std::slice::from_ref(event)).await;
                    each.push(outcome.is_ok_and(|outcomes| outcomes == [RowOutcome::Stored]));
                }
                each
            }
            Err(error) => {
                tracing::warn!(%error, winners = events.len(), "winners could not be stored directly; they keep their ranks");
                vec![false; events.len()]
            }
            Ok(outcomes) => outcomes.iter().zip(&events).map(|(outcome, event)| is_stored(outcome, event)).collect(),
        };
        crash_point(CrashPoint::AfterDirectInsert);
        for (reply, stored) in replies.into_iter().zip(stored) {
            // Nobody waits any more where Kafka was faster.
            let _ = reply.send(stored);
        }
    }

    async fn store(&self, events: &[CouponIssued]) -> Result<Vec<RowOutcome>, DatabaseError> {
        let row = *self.row.borrow();
        let Some(row) = row else { return Err(DatabaseError::NoCampaign("of this process (yet)".to_owned())) };
        let deadline = Instant::now() + DIRECT_DEADLINE;
        let mut tries = 0;
        loop {
            let storing = database::store(&self.pool, row, StoreMode::Direct(events));
            let result = match tokio::time::timeout_at(deadline, storing).await {
                Ok(result) => result,
                // It may be committed all the same, which is harmless: no success was sent, and the row belongs to the winner.
                Err(_) => Err(DatabaseError::Timeout(DIRECT_DEADLINE.as_secs())),
            };
            match result {
                Ok(stored) => return Ok(stored.outcomes),
                Err(error) if error.fault() == Fault::Contention && tries < RETRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(50) * tries).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_stored(outcome: &RowOutcome, event: &CouponIssued) -> bool {
    match outcome {
        RowOutcome::Stored => true,
        // The epoch ended meanwhile: the repair has read what Redis held, this grant too, and decides about it.
        RowOutcome::Void => false,
        RowOutcome::Conflict | RowOutcome::AboveTotal { .. } => {
            tracing::error!(?outcome, rank = event.rank, epoch = event.epoch, "a winner has no place in the database");
            false
        }
    }
}
