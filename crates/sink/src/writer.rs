//! Gathers records into batches and makes each a row, a skipped record or a dead letter. `decide` says which.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use coupon_core::event::CouponIssued;
use coupon_core::failpoints::{CrashPoint, crash_point};
use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use coupon_ledger::database::{DatabaseError, LoggedWinner, RowOutcome, Stored};

use crate::ceiling::{ASK_AGAIN, Ceiling};
use crate::dead_letter::PendingDeadLetter;
use crate::decide::{Breaker, DeadLetterReason, Fate, NextStep, PROBE_INTERVAL, Tries, fate, outage_delay};
use crate::letters::Grant;
use crate::observer::{Observer, RecordOutcome, Retry};
use crate::pauses::Pauses;
use crate::queue::{Progress, Read, Record};
use crate::rows::CampaignRows;
use crate::unit::{Deferred, Unit};

/// When a batch is full.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Most rows.
    pub rows: usize,
    /// Longest time from its first record.
    pub wait: Duration,
}

/// What a batch costs whatever is in it (questions, the commit) is little beside 2,048 rows, which are one statement
/// ([`coupon_ledger::database::store`]). The campaign's row is held for as long: some 15 ms.
impl Default for BatchLimits {
    fn default() -> Self {
        Self { rows: 2_048, wait: Duration::from_millis(20) }
    }
}

/// How often is looked for more records before a batch is closed unfilled.
const LOOKS: u32 = 4;

/// How the work on a unit ended.
enum Ended {
    /// Nothing is left of it.
    Settled,
    /// Some row of it is refused.
    Refused(Unit),
    /// Its one row is refused while nothing is dead-lettered.
    PutBack(Unit),
    /// The process stops before the database is back.
    GaveUp,
}

/// Writes the records of one campaign.
pub(crate) struct Writer {
    /// Where rows go.
    pub rows: CampaignRows,
    /// Whose records these are.
    pub campaign: CampaignId,
    /// Where records go that cannot be rows.
    pub dead_letters: mpsc::Sender<PendingDeadLetter>,
    /// Holds why it waits.
    pub pauses: Arc<Pauses>,
    /// Hears what became of each record.
    pub observer: Arc<dyn Observer>,
    /// Wakes it when partitions are revoked.
    pub progress: Arc<Progress>,
    /// Once cancelled, an outage is not waited out any more.
    pub stop: CancellationToken,
    /// When a batch is full.
    pub limits: BatchLimits,
    /// Stops dead-lettering.
    pub breaker: Breaker,
    /// Says how long a rank above the total is waited for.
    pub ceiling: Ceiling,
    /// Records with ranks above the total. Bounded as the queue is, whose room they keep.
    pub deferred: Deferred,
}

/// What there is to write.
enum NextBatch {
    /// Records.
    Batch(Vec<Read>),
    /// None yet, and it is time to try the deferred ones again.
    Time,
    /// No more will come.
    Closed,
}

impl Writer {
    /// Writes all that comes, until the other end is closed, or the process stops during an outage.
    pub(crate) async fn run(mut self, mut records: mpsc::Receiver<Read>) {
        loop {
            let batch = match self.next_batch(&mut records).await {
                NextBatch::Batch(batch) => batch,
                NextBatch::Time => Vec::new(),
                NextBatch::Closed if self.deferred.unit.rows() == 0 => return,
                NextBatch::Closed if self.pause(ASK_AGAIN).await => Vec::new(),
                NextBatch::Closed => return,
            };
            if !self.write(batch).await {
                return;
            }
        }
    }

    async fn next_batch(&self, records: &mut mpsc::Receiver<Read>) -> NextBatch {
        let first = tokio::select! {
            biased;
            first = records.recv() => first,
            () = tokio::time::sleep_until(self.deferred.again), if self.deferred.unit.rows() > 0 => return NextBatch::Time,
            // Some of them may not be ours any more.
            () = self.progress.revoked.notified(), if self.deferred.unit.rows() > 0 => return NextBatch::Time,
        };
        let Some(first) = first else { return NextBatch::Closed };
        let mut batch = Vec::with_capacity(self.limits.rows.min(records.len() + 1));
        batch.push(first);
        let deadline = tokio::time::Instant::now() + self.limits.wait;
        loop {
            while batch.len() < self.limits.rows
                && let Ok(next) = records.try_recv()
            {
                batch.push(next);
            }
            let now = tokio::time::Instant::now();
            if batch.len() >= self.limits.rows || now >= deadline || records.is_closed() {
                return NextBatch::Batch(batch);
            }
            // Not for each record: under load that would be a switch of threads for each.
            tokio::time::sleep_until(deadline.min(now + self.limits.wait / LOOKS)).await;
        }
    }

    /// Deals with a batch. False when it gave up because the process stops.
    async fn write(&mut self, mut batch: Vec<Read>) -> bool {
        let mut unit = Unit::default();
        Record::begin_all(&mut batch);
        for Read { record, winner } in batch {
            match winner {
                Ok(event) => unit.push(record, event),
                Err(error) => {
                    if error.newer().is_some() {
                        match self.is_given_up(&record).await {
                            None => return false,
                            Some(false) => {}
                            Some(true) => {
                                self.observer.records(RecordOutcome::Discarded, 1);
                                record.complete();
                                continue;
                            }
                        }
                    }
                    self.observer.records(RecordOutcome::Unreadable, 1);
                    if !self.dead_letter(record, None, DeadLetterReason::Unreadable(error), 0).await {
                        return false;
                    }
                }
            }
        }
        let mut work = VecDeque::from([unit]);
        if self.deferred.unit.rows() > 0 && self.deferred.again <= tokio::time::Instant::now() {
            self.observer.retry(Retry::AboveTotal);
            work.push_back(std::mem::take(&mut self.deferred.unit));
        }
        while let Some(mut unit) = work.pop_front() {
            if self.breaker.is_open() {
                // One record at a time, and each time another one: if only some are bad, a good one will show it.
                if !self.pause(PROBE_INTERVAL).await {
                    return false;
                }
                if unit.rows() > 1 {
                    work.push_front(unit.split_off(1));
                }
            }
            match self.store(unit).await {
                Ended::Settled => {}
                Ended::Refused(mut unit) => {
                    work.push_front(unit.split_off(unit.rows() / 2));
                    work.push_front(unit);
                }
                Ended::PutBack(unit) => work.push_back(unit),
                Ended::GaveUp => return false,
            }
        }
        self.deferred.unit.retain_wanted();
        self.pauses.retain_above_total(&self.deferred.unit.records.iter().map(Record::partition).collect());
        // The refused rows were revoked, and nothing is left to probe with. The breaker stays open.
        self.pauses.release_breaker("probing with the next record");
        true
    }

    /// Tries a unit until it is settled or there is something else to do with it.
    async fn store(&mut self, mut unit: Unit) -> Ended {
        let mut tries = Tries::default();
        loop {
            unit.retain_wanted();
            let begun = Instant::now();
            let tried = if unit.rows() > 0 {
                self.rows.store(&unit.winners).await.map(Some)
            } else if self.pauses.is_database_held() {
                // Reading is paused and nothing is left to try the database with: ask it for something else.
                self.rows.find().await.map(|_| None)
            } else {
                return Ended::Settled;
            };
            let error = match tried {
                Ok(None) => {
                    self.pauses.release_database();
                    return Ended::Settled;
                }
                Ok(Some(stored)) => {
                    crash_point(CrashPoint::AfterCommit);
                    self.observer.transaction(begun.elapsed(), unit.rows());
                    self.pauses.release_database();
                    self.breaker.success();
                    self.pauses.release_breaker("the database takes rows again");
                    return if self.settle(unit, &stored).await { Ended::Settled } else { Ended::GaveUp };
                }
                Err(error) => error,
            };
            let step = tries.after(error.fault(), unit.rows(), self.breaker.is_open());
            if !matches!(step, NextStep::Wait(_)) {
                // It answers, whatever it says.
                self.pauses.release_database();
            }
            match step {
                NextStep::Retry(delay) => {
                    self.observer.retry(Retry::Database);
                    tokio::time::sleep(delay).await;
                }
                NextStep::Wait(delay) => {
                    self.observer.retry(Retry::Database);
                    self.pauses.hold_database(error.fault(), error.to_string());
                    if !self.pause(delay).await {
                        return Ended::GaveUp;
                    }
                }
                NextStep::Split => return Ended::Refused(unit),
                NextStep::PutBack => return Ended::PutBack(unit),
                NextStep::DeadLetter => return self.refuse(unit, &error, tries.retries()).await,
            }
        }
    }

    /// A single row is refused for good: a dead letter, unless there have been too many.
    async fn refuse(&mut self, mut unit: Unit, error: &DatabaseError, retries: u32) -> Ended {
        if !self.breaker.admit() {
            self.pauses.hold_breaker(error.to_string());
            return Ended::PutBack(unit);
        }
        for (record, winner) in unit.records.drain(..).zip(unit.winners.drain(..)) {
            self.observer.records(RecordOutcome::Rejected, 1);
            let reason = DeadLetterReason::Rejected(error.to_string());
            if !self.dead_letter(record, Some(&winner.event), reason, retries).await {
                return Ended::GaveUp;
            }
        }
        Ended::Settled
    }

    /// Does what the outcomes say. False when it gave up.
    async fn settle(&mut self, unit: Unit, stored: &Stored) -> bool {
        let given_up = self.given_up(&unit.winners, stored).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as i64);
        let (mut done, mut letters) = (Vec::with_capacity(unit.rows()), Vec::new());
        let mut counts: BTreeMap<RecordOutcome, usize> = BTreeMap::new();
        for (index, (record, winner)) in unit.records.into_iter().zip(unit.winners).enumerate() {
            let Some(outcome) = stored.outcomes.get(index) else { continue };
            let became = match fate(outcome, stored.duplicates.binary_search(&index).is_ok()) {
                Fate::Stored => {
                    let age = now.saturating_sub(winner.event.occurred_at.as_millisecond());
                    self.observer.end_to_end(Duration::from_millis(age.try_into().unwrap_or(0)));
                    RecordOutcome::Stored
                }
                Fate::Duplicate => RecordOutcome::Duplicate,
                Fate::Void => RecordOutcome::Void,
                Fate::DeadLetter(DeadLetterReason::AboveTotal { total })
                    if !self.ceiling.is_final(total, Instant::now()) =>
                {
                    self.pauses.hold_above_total((record.partition(), record.offset()), winner.event.rank, total);
                    self.deferred.unit.push(record, winner.event);
                    self.deferred.again = tokio::time::Instant::now() + ASK_AGAIN;
                    continue;
                }
                Fate::DeadLetter(_) if given_up.iter().any(|grant| grant.same_grant(&winner.event)) => {
                    RecordOutcome::Discarded
                }
                Fate::DeadLetter(reason) => {
                    letters.push((record, winner.event, reason));
                    continue;
                }
            };
            *counts.entry(became).or_insert(0) += 1;
            done.push(record);
        }
        Record::complete_all(done);
        counts.into_iter().for_each(|(outcome, count)| self.observer.records(outcome, count));
        for (record, event, reason) in letters {
            let conflict = reason == DeadLetterReason::Conflict;
            self.observer.records(if conflict { RecordOutcome::Conflict } else { RecordOutcome::AboveTotal }, 1);
            if !self.dead_letter(record, Some(&event), reason, 0).await {
                return false;
            }
        }
        true
    }

    /// Winners that another coupon keeps from being rows, and that people have given up already. They may arrive more than once: a user
    /// who asks again gets the same answer, and each answer is written to the topic.
    async fn given_up(&mut self, winners: &[LoggedWinner], stored: &Stored) -> Vec<CouponIssued> {
        let pairs = winners.iter().zip(&stored.outcomes);
        let conflicts = pairs.filter(|(_, outcome)| **outcome == RowOutcome::Conflict);
        let conflicts: Vec<&CouponIssued> = conflicts.map(|(winner, _)| &winner.event).collect();
        if conflicts.is_empty() {
            return Vec::new();
        }
        self.rows.discarded(&conflicts).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "it cannot be read which grants are given up; conflicts become dead letters");
            Vec::new()
        })
    }

    /// Whether people have given up this record, which nobody here can read: a group that has lost its offsets reads it again. `None`: the
    /// process stops before the database has said so.
    async fn is_given_up(&mut self, record: &Record) -> Option<bool> {
        let at = Position { partition: record.partition(), offset: record.offset() };
        let mut tries = 0;
        while record.is_wanted() {
            let error = match self.rows.is_discarded(at).await {
                Ok(given_up) => {
                    self.pauses.release_database();
                    return Some(given_up);
                }
                Err(error) => error,
            };
            self.observer.retry(Retry::Database);
            self.pauses.hold_database(error.fault(), error.to_string());
            if !self.pause(outage_delay(tries)).await {
                return None;
            }
            tries += 1;
        }
        Some(false)
    }

    /// Hands a record to the dead letter topic. False when the process stops before there is room for it.
    async fn dead_letter(
        &self,
        record: Record,
        event: Option<&CouponIssued>,
        reason: DeadLetterReason,
        retries: u32,
    ) -> bool {
        tracing::error!(
            campaign = %self.campaign,
            partition = record.partition(),
            offset = record.offset(),
            reason = reason.name(),
            "dead letter: {reason}"
        );
        let grant = event.map(|event| Grant::of(record.partition(), event));
        let letter = PendingDeadLetter { record, reason, retries, grant };
        tokio::select! {
            // A process that stops still writes what there is room for.
            biased;
            sent = self.dead_letters.send(letter) => sent.is_ok(),
            () = self.stop.cancelled() => false,
        }
    }

    /// Waits, less long when records are revoked. False when the process stops.
    async fn pause(&self, delay: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(delay) => true,
            () = self.progress.revoked.notified() => true,
            () = self.stop.cancelled() => false,
        }
    }
}
