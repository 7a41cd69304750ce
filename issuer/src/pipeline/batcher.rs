//! Gathers requests and sends them to Redis, one call at a time.
//!
//! A batch leaves as soon as the previous call was answered, with all that has gathered meanwhile. So an idle process adds no delay and a
//! busy one sends full batches. While Kafka has not acknowledged the [`TURNS`] batches before, a batch that is not full gathers on, for
//! [`GATHER`] at most: it would only make Redis and Kafka work more often for the same winners. Otherwise Kafka is not waited for here
//! ([`crate::pipeline::delivery`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use coupon_core::contract::deadlines;
use coupon_core::failpoints::{CrashPoint, crash_point};
use coupon_ledger::redis::{
    Afterwards, Batch, Executed, IssueRequest, MAX_BATCH, RedisError, RedisKeys, Refusal, Reply, issue,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::epoch::guard::{EpochGuard, InFlightPermit};
use crate::epoch::state::NotServing;
use crate::metrics::{CauseLabel, Metrics};
use crate::pipeline::admission::{Pace, SendingAway};
use crate::pipeline::delivery::{Delivery, IssuedBatch};
use crate::pipeline::outcome::RequestOutcome;
use crate::pipeline::redis_health::RedisHealth;
use crate::pipeline::redis_link::{Live, RedisLink};
use crate::pipeline::request::{MAX_UNACKNOWLEDGED, PendingRequest};
use crate::pipeline::sold_out::SoldOut;

/// How long a request may wait for its turn.
pub(crate) const QUEUE_DEADLINE: Duration = deadlines::QUEUE;
/// A request that waits longer than this for its turn is delayed. An idle process takes a request at once, a busy one after the call
/// before it, which takes a few milliseconds.
pub(crate) const DELAYED: Duration = Duration::from_millis(250);
/// So many batches may be on their way to Kafka before the next one gathers on.
const TURNS: usize = 2;
/// How long a request waits at most so that its batch gets fuller.
const GATHER: Duration = Duration::from_millis(4);
/// With less time left than this, a batch is not sent: the answer would come too late, and the outcome would be unknown.
const LEAST: Duration = Duration::from_millis(20);
/// How often a batch is sent again to a server whose error does not say whether it was executed, and the first pause; it doubles.
const REPEATS: (u32, Duration) = (3, Duration::from_millis(50));

/// The sending side of the queue. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: mpsc::Sender<PendingRequest>,
    pace: Arc<Pace>,
    behind: Arc<AtomicBool>,
    sending_away: Arc<SendingAway>,
    user_limit: Arc<AtomicU32>,
    redis_health: Arc<RedisHealth>,
    metrics: Metrics,
}

impl Queue {
    /// Puts a request into the queue, if there is room and its turn would come in time: this is the admission control. The outcome comes
    /// through the receiver.
    pub(crate) fn admit(&self, request: IssueRequest) -> Result<oneshot::Receiver<RequestOutcome>, RequestOutcome> {
        if self.pace.is_too_slow_for(self.depth()) {
            self.metrics.rejected.inc();
            return Err(RequestOutcome::Overloaded);
        }
        let (reply, answer) = oneshot::channel();
        match self.sender.try_send(PendingRequest { request, since: Instant::now(), reply }) {
            Ok(()) => {
                self.metrics.queue_depth.set(gauge(self.depth()));
                Ok(answer)
            }
            // Closed means that the process is ending.
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.metrics.rejected.inc();
                Err(RequestOutcome::Overloaded)
            }
        }
    }

    /// Requests that wait.
    pub(crate) fn depth(&self) -> usize {
        self.capacity() - self.sender.capacity()
    }

    /// Whether one who is answered now had better come back by another connection, as the last batch had to wait too long: users may be
    /// served faster by another process.
    pub(crate) fn sends_away(&self, now: Instant) -> bool {
        self.behind.load(Ordering::Relaxed) && self.sending_away.takes(now)
    }

    /// How many coupons one user may hold, as Redis said with the last batch; 0 before the first.
    pub(crate) fn user_limit(&self) -> u32 {
        self.user_limit.load(Ordering::Relaxed)
    }

    /// How calls to Redis have gone.
    pub(crate) fn redis_health(&self) -> Arc<RedisHealth> {
        Arc::clone(&self.redis_health)
    }

    /// Why no request gets through to Redis, in Redis' words, if that lasts.
    pub(crate) fn redis_failure(&self) -> Option<String> {
        self.redis_health.lasting(Instant::now())
    }

    /// Requests that may wait.
    pub(crate) fn capacity(&self) -> usize {
        self.sender.max_capacity()
    }
}

fn gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What calls to Redis need, and who learns of their answers.
pub(crate) struct RedisCalls {
    /// The connection.
    pub(crate) link: RedisLink,
    /// Which epoch is served.
    pub(crate) epoch_guard: Arc<EpochGuard>,
    /// The campaign's keys.
    pub(crate) keys: RedisKeys,
    /// Learns that all is issued.
    pub(crate) sold_out: Arc<SoldOut>,
}

/// The task behind the queue.
pub(crate) struct Batcher {
    pending: mpsc::Receiver<PendingRequest>,
    redis: RedisCalls,
    delivery: Delivery,
    headroom: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    pace: Arc<Pace>,
    behind: Arc<AtomicBool>,
    user_limit: Arc<AtomicU32>,
    redis_health: Arc<RedisHealth>,
    metrics: Metrics,
}

/// How a call ended, repetitions included.
enum CallOutcome {
    /// Each request was answered.
    Answered {
        batch: Batch,
        /// When Redis was asked for it.
        asked: Instant,
    },
    /// This try did nothing; an earlier one may have.
    Refused { refusal: Refusal, maybe_granted: bool },
    /// No answer in time.
    Unavailable { maybe_granted: bool },
    /// A fence came between two attempts.
    Stopped { maybe_granted: bool },
    /// Redis answered nonsense.
    Broken,
}

impl Batcher {
    /// A queue of `capacity` requests and the task that empties it.
    pub(crate) fn new(capacity: usize, redis: RedisCalls, delivery: Delivery, metrics: Metrics) -> (Queue, Self) {
        let (sender, pending) = mpsc::channel(capacity);
        let (headroom, turns) = (Arc::new(Semaphore::new(MAX_UNACKNOWLEDGED)), Arc::new(Semaphore::new(TURNS)));
        let (behind, user_limit, redis_health) = (Arc::default(), Arc::default(), Arc::<RedisHealth>::default());
        let pace = Arc::<Pace>::default();
        let queue = Queue {
            sender,
            pace: Arc::clone(&pace),
            behind: Arc::clone(&behind),
            sending_away: Arc::new(SendingAway::new(Instant::now())),
            user_limit: Arc::clone(&user_limit),
            redis_health: Arc::clone(&redis_health),
            metrics: metrics.clone(),
        };
        (queue, Self { pending, redis, delivery, headroom, turns, pace, behind, user_limit, redis_health, metrics })
    }

    /// Works until `stop`; then takes nothing new and ends when everything that was admitted has been sent.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut gathered = Vec::with_capacity(MAX_BATCH);
        loop {
            let taken = tokio::select! {
                taken = self.pending.recv_many(&mut gathered, MAX_BATCH) => taken,
                () = stop.cancelled(), if !self.pending.is_closed() => {
                    self.pending.close();
                    continue;
                }
            };
            if taken == 0 {
                return;
            }
            let turn = fill_batch(&mut self.pending, &self.turns, &mut gathered).await;
            self.metrics.queue_depth.set(gauge(self.pending.len()));
            let (now, taken) = (Instant::now(), gathered.len());
            let delayed = delayed(&gathered, now);
            self.metrics.delayed.inc_by(delayed);
            self.behind.store(delayed > 0, Ordering::Relaxed);
            let pending = screen(std::mem::take(&mut gathered), now, &self.metrics);
            if !pending.is_empty() {
                self.send(pending, turn).await;
            }
            self.pace.saw(taken, now.elapsed());
        }
    }

    async fn send(&self, pending: Vec<PendingRequest>, turn: Option<OwnedSemaphorePermit>) {
        let permit = match self.redis.epoch_guard.enter(pending.len()) {
            Ok(permit) => permit,
            Err(reason) => return respond_all(pending, &RequestOutcome::NotOpen(reason)),
        };
        let Some(room) = self.room(pending.len()) else {
            self.metrics.rejected.inc_by(pending.len() as u64);
            return respond_all(pending, &RequestOutcome::Overloaded);
        };
        self.metrics.batch_size.observe(pending.len() as f64);
        match self.call(&permit, &pending).await {
            CallOutcome::Answered { batch, asked } => {
                crash_point(CrashPoint::AfterScript);
                self.redis.epoch_guard.saw(permit.epoch(), batch.highest);
                self.redis.sold_out.saw(permit.epoch(), &batch);
                self.user_limit.store(batch.limit, Ordering::Relaxed);
                self.delivery.deliver(IssuedBatch { pending, answers: batch.answers, asked, permit, room, turn });
            }
            CallOutcome::Refused { refusal, maybe_granted } => {
                tracing::warn!(epoch = permit.epoch(), ?refusal, "Redis refused a batch; the open epoch is read again");
                self.redis.epoch_guard.refused(permit.epoch(), refusal);
                // An earlier try of this batch may have been executed: then the user must ask again with the same key.
                let outcome = if maybe_granted {
                    RequestOutcome::RedisUnavailable { maybe_granted }
                } else {
                    RequestOutcome::NotOpen(NotServing::Refused(refusal))
                };
                respond_all(pending, &outcome);
            }
            CallOutcome::Unavailable { maybe_granted } => {
                respond_all(pending, &RequestOutcome::RedisUnavailable { maybe_granted });
            }
            CallOutcome::Stopped { maybe_granted: true } => {
                respond_all(pending, &RequestOutcome::RedisUnavailable { maybe_granted: true });
            }
            CallOutcome::Stopped { maybe_granted: false } => {
                let reason = self.redis.epoch_guard.serving().err().unwrap_or(NotServing::Fenced);
                respond_all(pending, &RequestOutcome::NotOpen(reason));
            }
            CallOutcome::Broken => {
                self.redis.epoch_guard.broken(permit.epoch());
                respond_all(pending, &RequestOutcome::RedisUnavailable { maybe_granted: true });
            }
        }
    }

    /// Room for as many records as the batch can win.
    fn room(&self, requests: usize) -> Option<OwnedSemaphorePermit> {
        let requests = u32::try_from(requests).ok()?;
        Arc::clone(&self.headroom).try_acquire_many_owned(requests).ok()
    }

    /// Calls the script until it answers or [`deadlines::BATCH`] is over. After a failure the *same* requests are sent again, which grants
    /// nothing twice; but not to a server that says that it does nothing for now.
    async fn call(&self, permit: &InFlightPermit, requests: &[PendingRequest]) -> CallOutcome {
        let deadline = Instant::now() + deadlines::BATCH;
        let mut maybe_granted = false;
        let (mut repeats, mut pause) = REPEATS;
        loop {
            let live = self.redis.link.live_by(deadline).await.filter(|_| Instant::now() + LEAST < deadline);
            let Some(mut live) = live else {
                let why = self.redis.link.why_away();
                self.redis_health.failed(why.as_deref().unwrap_or("no connection to Redis"), false, Instant::now());
                return CallOutcome::Unavailable { maybe_granted };
            };
            if !permit.is_valid() {
                return CallOutcome::Stopped { maybe_granted };
            }
            let asked = Instant::now();
            let error = match self.call_once(&mut live, permit, requests, deadline).await {
                Ok(Reply::Answered(batch)) => return CallOutcome::Answered { batch, asked },
                Ok(Reply::Refused(refusal)) => return CallOutcome::Refused { refusal, maybe_granted },
                Err(error) => error,
            };
            match (error.executed(), error.connection()) {
                (Executed::No, Afterwards::GivenUp) => {}
                (Executed::No, Afterwards::Stays) => return CallOutcome::Unavailable { maybe_granted },
                (Executed::Unknown, Afterwards::GivenUp) => maybe_granted = true,
                (Executed::Unknown, Afterwards::Stays) => {
                    maybe_granted = true;
                    if repeats == 0 {
                        return CallOutcome::Unavailable { maybe_granted };
                    }
                    repeats -= 1;
                    tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
                    pause *= 2;
                }
                (Executed::Fatal, _) => {
                    tracing::error!(%error, epoch = permit.epoch(), "Redis' answer makes no sense; issuing stops until a new epoch opens");
                    return CallOutcome::Broken;
                }
            }
        }
    }

    /// One call. Records how it went, for metrics, the connection and the operator.
    async fn call_once(
        &self,
        live: &mut Live,
        permit: &InFlightPermit,
        requests: &[PendingRequest],
        deadline: Instant,
    ) -> Result<Reply, RedisError> {
        let started = Instant::now();
        let call = issue(&mut live.connection, &self.redis.keys, permit.epoch(), permit.highest_rank(), requests);
        let error = match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(reply)) => {
                self.metrics.redis_seconds.observe(started.elapsed().as_secs_f64());
                live.serves();
                match &reply {
                    Reply::Answered(_) => self.redis_health.succeeded(Instant::now()),
                    Reply::Refused(_) => self.redis_health.refused(Instant::now()),
                }
                return Ok(reply);
            }
            Ok(Err(error)) => error,
            Err(_) => RedisError::Timeout(started.elapsed().as_millis()),
        };
        self.redis_health.failed(&error.to_string(), error.is_missing_right(), Instant::now());
        self.metrics.redis_failures.get_or_create(&CauseLabel::of(error.executed())).inc();
        self.redis.link.failed(live, &error);
        Err(error)
    }
}

/// Takes a turn at Kafka, and what has come until then. Without a turn the batch is full, or has waited long enough.
async fn fill_batch(
    pending: &mut mpsc::Receiver<PendingRequest>,
    turns: &Arc<Semaphore>,
    gathered: &mut Vec<PendingRequest>,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(turn) = Arc::clone(turns).try_acquire_owned() {
        return Some(turn);
    }
    let oldest = gathered.first().filter(|_| gathered.len() < MAX_BATCH)?.since;
    let turn = tokio::time::timeout_at(oldest + GATHER, Arc::clone(turns).acquire_owned()).await;
    while gathered.len() < MAX_BATCH
        && let Ok(entry) = pending.try_recv()
    {
        gathered.push(entry);
    }
    turn.ok().and_then(Result::ok)
}

/// How many have waited too long for this moment.
fn delayed(pending: &[PendingRequest], now: Instant) -> u64 {
    pending.iter().filter(|entry| now.saturating_duration_since(entry.since) > DELAYED).count() as u64
}

/// Drops requests whose user has left and refuses those that waited too long: before they are sent, never after.
fn screen(pending: Vec<PendingRequest>, now: Instant, metrics: &Metrics) -> Vec<PendingRequest> {
    let mut kept = Vec::with_capacity(pending.len());
    for entry in pending {
        if entry.reply.is_closed() {
            continue;
        }
        if now.saturating_duration_since(entry.since) > QUEUE_DEADLINE {
            metrics.rejected.inc();
            entry.respond(RequestOutcome::Overloaded);
        } else {
            kept.push(entry);
        }
    }
    kept
}

fn respond_all(pending: Vec<PendingRequest>, outcome: &RequestOutcome) {
    for entry in pending {
        entry.respond(outcome.clone());
    }
}

#[cfg(test)]
mod tests;
