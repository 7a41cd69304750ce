//! Gathers records into batches and makes each a row, a skipped record or a dead letter. `decide` says which.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use campaign::event::CouponIssued;
use campaign::identity::CampaignId;
use campaign::sabotage::{CrashPoint, crash_point};
use campaign::table::{LoggedWinner, Position, RowOutcome, Stored, TableError};

use crate::ceiling::{ASK_AGAIN, Ceiling};
use crate::dead_letter::DeadLetter;
use crate::decide::{Breaker, Fate, PROBE_INTERVAL, Reason, Step, Tries, fate, outage_delay};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::queue::{Progress, Record};
use crate::status::Status;

/// When a batch is full.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Most rows.
    pub rows: usize,
    /// Longest time from its first record.
    pub wait: Duration,
}

/// Records and what they say, in step.
#[derive(Debug, Default)]
struct Unit {
    records: Vec<Record>,
    winners: Vec<LoggedWinner>,
}

impl Unit {
    fn rows(&self) -> usize {
        self.records.len()
    }

    fn push(&mut self, record: Record, event: CouponIssued) {
        let position = Position { partition: record.partition(), offset: record.offset() };
        self.records.push(record);
        self.winners.push(LoggedWinner { event, position });
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self { records: self.records.split_off(at), winners: self.winners.split_off(at) }
    }

    /// Drops what belongs to partitions that are not ours any more.
    fn keep_wanted(&mut self) {
        if self.records.iter().all(Record::is_wanted) {
            return;
        }
        let pairs = self.records.drain(..).zip(self.winners.drain(..)).filter(|(record, _)| record.is_wanted());
        (self.records, self.winners) = pairs.collect::<Vec<_>>().into_iter().unzip();
    }
}

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

/// The one that writes.
pub struct Writer {
    /// Where rows go.
    pub ledger: Ledger,
    /// Whose records these are.
    pub campaign: CampaignId,
    /// Where records go that cannot be rows.
    pub letters: mpsc::Sender<DeadLetter>,
    /// Told why it waits.
    pub status: Arc<Status>,
    /// Told what became of each record.
    pub metrics: Metrics,
    /// Wakes it when records are not wanted any more.
    pub progress: Arc<Progress>,
    /// Once cancelled, an outage is not waited out any more.
    pub stop: CancellationToken,
    /// When a batch is full.
    pub limits: BatchLimits,
    /// Stops dead-lettering.
    pub breaker: Breaker,
    /// Says how long a rank above the total is waited for.
    pub ceiling: Ceiling,
    /// Records that are waited for, while those of other partitions go on. As bounded as the queue: they keep their room.
    pub aside: Aside,
}

/// Records of ranks above the total, and when they are tried again.
#[derive(Debug)]
pub struct Aside {
    unit: Unit,
    again: tokio::time::Instant,
}

impl Default for Aside {
    fn default() -> Self {
        Self { unit: Unit::default(), again: tokio::time::Instant::now() }
    }
}

/// What there is to write.
enum Gathered {
    /// Records.
    Batch(Vec<Record>),
    /// None yet, and it is time for those that were put aside.
    Time,
    /// No more will come.
    Closed,
}

impl Writer {
    /// Writes all that comes, until the other end is closed, or the process stops during an outage.
    pub async fn run(mut self, mut records: mpsc::Receiver<Record>) {
        loop {
            let batch = match self.gather(&mut records).await {
                Gathered::Batch(batch) => batch,
                Gathered::Time => Vec::new(),
                Gathered::Closed if self.aside.unit.rows() == 0 => return,
                Gathered::Closed if self.pause(ASK_AGAIN).await => Vec::new(),
                Gathered::Closed => return,
            };
            if !self.write(batch).await {
                return;
            }
        }
    }

    async fn gather(&self, records: &mut mpsc::Receiver<Record>) -> Gathered {
        let first = tokio::select! {
            biased;
            first = records.recv() => first,
            () = tokio::time::sleep_until(self.aside.again), if self.aside.unit.rows() > 0 => return Gathered::Time,
            // Some of them may not be ours any more.
            () = self.progress.revoked.notified(), if self.aside.unit.rows() > 0 => return Gathered::Time,
        };
        let Some(first) = first else { return Gathered::Closed };
        let mut batch = vec![first];
        let deadline = tokio::time::Instant::now() + self.limits.wait;
        while batch.len() < self.limits.rows {
            let room = self.limits.rows - batch.len();
            match tokio::time::timeout_at(deadline, records.recv_many(&mut batch, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        Gathered::Batch(batch)
    }

    /// Deals with a batch. False when it gave up because the process stops.
    async fn write(&mut self, batch: Vec<Record>) -> bool {
        let mut unit = Unit::default();
        for mut record in batch {
            if !record.begin() {
                continue;
            }
            match CouponIssued::of_record(&self.campaign, &record.message) {
                Ok(event) => unit.push(record, event),
                Err(error) => {
                    if error.newer().is_some() {
                        match self.is_given_up(&record).await {
                            None => return false,
                            Some(false) => {}
                            Some(true) => {
                                self.metrics.record("discarded");
                                record.complete();
                                continue;
                            }
                        }
                    }
                    self.metrics.record("unreadable");
                    if !self.bury(record, Reason::Unreadable(error), 0).await {
                        return false;
                    }
                }
            }
        }
        let mut work = VecDeque::from([unit]);
        if self.aside.unit.rows() > 0 && self.aside.again <= tokio::time::Instant::now() {
            self.metrics.retry("above_total");
            work.push_back(std::mem::take(&mut self.aside.unit));
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
        self.aside.unit.keep_wanted();
        self.status.keep_above_total(&self.aside.unit.records.iter().map(Record::partition).collect());
        // The refused rows were revoked, and nothing is left to probe with. The breaker stays open.
        self.status.release_breaker("probing with the next record");
        true
    }

    /// Tries a unit until it is settled or there is something else to do with it.
    async fn store(&mut self, mut unit: Unit) -> Ended {
        let mut tries = Tries::default();
        loop {
            unit.keep_wanted();
            let begun = Instant::now();
            let tried = if unit.rows() > 0 {
                self.ledger.store(&unit.winners).await.map(Some)
            } else if self.status.is_database_held() {
                // Reading is paused and nothing is left to try the database with: ask it for something else.
                self.ledger.find().await.map(|_| None)
            } else {
                return Ended::Settled;
            };
            let error = match tried {
                Ok(None) => {
                    self.status.release_database();
                    return Ended::Settled;
                }
                Ok(Some(stored)) => {
                    crash_point(CrashPoint::AfterCommit);
                    self.metrics.insert_seconds.observe(begun.elapsed().as_secs_f64());
                    self.metrics.batch_rows.observe(unit.rows() as f64);
                    self.status.release_database();
                    self.breaker.success();
                    self.status.release_breaker("the database takes rows again");
                    return if self.settle(unit, &stored).await { Ended::Settled } else { Ended::GaveUp };
                }
                Err(error) => error,
            };
            let step = tries.after(error.fault(), unit.rows(), self.breaker.is_open());
            if !matches!(step, Step::Wait(_)) {
                // It answers, whatever it says.
                self.status.release_database();
            }
            match step {
                Step::Retry(delay) => {
                    self.metrics.retry("database");
                    tokio::time::sleep(delay).await;
                }
                Step::Wait(delay) => {
                    self.metrics.retry("database");
                    self.status.hold_database(error.fault(), error.to_string());
                    if !self.pause(delay).await {
                        return Ended::GaveUp;
                    }
                }
                Step::Split => return Ended::Refused(unit),
                Step::PutBack => return Ended::PutBack(unit),
                Step::DeadLetter => return self.refuse(unit, &error, tries.retries()).await,
            }
        }
    }

    /// A single row is refused for good: a dead letter, unless there have been too many.
    async fn refuse(&mut self, mut unit: Unit, error: &TableError, retries: u32) -> Ended {
        if !self.breaker.admit() {
            self.status.hold_breaker(error.to_string());
            return Ended::PutBack(unit);
        }
        for record in unit.records.drain(..) {
            self.metrics.record("rejected");
            if !self.bury(record, Reason::Rejected(error.to_string()), retries).await {
                return Ended::GaveUp;
            }
        }
        Ended::Settled
    }

    /// Does what the outcomes say. False when it gave up.
    async fn settle(&mut self, unit: Unit, stored: &Stored) -> bool {
        let given_up = self.given_up(&unit.winners, stored).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as i64);
        for (index, (record, winner)) in unit.records.into_iter().zip(unit.winners).enumerate() {
            let Some(outcome) = stored.outcomes.get(index) else { continue };
            match fate(outcome, stored.duplicates.binary_search(&index).is_ok()) {
                Fate::Stored => {
                    let age = now.saturating_sub(winner.event.occurred_at.as_millisecond()).max(0);
                    self.metrics.end_to_end_seconds.observe(age as f64 / 1e3);
                    self.metrics.record("stored");
                    record.complete();
                }
                Fate::Duplicate => {
                    self.metrics.record("duplicate");
                    record.complete();
                }
                Fate::Void => {
                    self.metrics.record("void");
                    record.complete();
                }
                Fate::DeadLetter(Reason::AboveTotal { total }) if !self.ceiling.is_final(total, Instant::now()) => {
                    self.status.hold_above_total((record.partition(), record.offset()), winner.event.rank, total);
                    self.aside.unit.push(record, winner.event);
                    self.aside.again = tokio::time::Instant::now() + ASK_AGAIN;
                }
                Fate::DeadLetter(_) if given_up.iter().any(|grant| grant.same_grant(&winner.event)) => {
                    self.metrics.record("discarded");
                    record.complete();
                }
                Fate::DeadLetter(reason) => {
                    self.metrics.record(if reason == Reason::Conflict { "conflict" } else { "above_total" });
                    if !self.bury(record, reason, 0).await {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Winners that another coupon keeps from being rows, and that people have given up already: whoever won them may ask again,
    /// and each answer is written to the topic anew.
    async fn given_up(&mut self, winners: &[LoggedWinner], stored: &Stored) -> Vec<CouponIssued> {
        let pairs = winners.iter().zip(&stored.outcomes);
        let conflicts = pairs.filter(|(_, outcome)| **outcome == RowOutcome::Conflict);
        let conflicts: Vec<&CouponIssued> = conflicts.map(|(winner, _)| &winner.event).collect();
        if conflicts.is_empty() {
            return Vec::new();
        }
        self.ledger.discarded(&conflicts).await.unwrap_or_else(|error| {
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
            let error = match self.ledger.is_discarded(at).await {
                Ok(given_up) => {
                    self.status.release_database();
                    return Some(given_up);
                }
                Err(error) => error,
            };
            self.metrics.retry("database");
            self.status.hold_database(error.fault(), error.to_string());
            if !self.pause(outage_delay(tries)).await {
                return None;
            }
            tries += 1;
        }
        Some(false)
    }

    /// Hands a record to the dead letter topic. False when the process stops before there is room for it.
    async fn bury(&self, record: Record, reason: Reason, retries: u32) -> bool {
        tracing::error!(
            campaign = %self.campaign,
            partition = record.partition(),
            offset = record.offset(),
            reason = reason.name(),
            "dead letter: {reason}"
        );
        let letter = DeadLetter { record, reason, retries };
        tokio::select! {
            // A process that stops still writes what there is room for.
            biased;
            sent = self.letters.send(letter) => sent.is_ok(),
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
