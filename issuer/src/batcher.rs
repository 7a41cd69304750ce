//! Gathers wishes and sends them to Redis, one call at a time.
//!
//! There is no timer: a batch leaves as soon as the previous call was answered, with all that has gathered meanwhile. So an
//! idle process adds no delay and a busy one sends full batches. Kafka is not waited for here ([`crate::delivery`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campaign::deadlines;
use campaign::sabotage::{CrashPoint, crash_point};
use campaign::stock::{Afterwards, Batch, Executed, MAX_BATCH, Refusal, Reply, StockError, StockKeys, Wish, issue};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::delivery::{Delivery, Granted};
use crate::gatekeeper::{Gatekeeper, Pass};
use crate::job::{Job, MAX_UNACKNOWLEDGED};
use crate::metrics::{CauseLabel, Metrics};
use crate::outcome::Outcome;
use crate::redis_link::RedisLink;
use crate::trouble::Trouble;

/// How long a wish may wait for its turn.
pub const QUEUE_DEADLINE: Duration = deadlines::QUEUE;
/// A wish that waits longer than this for its turn is delayed. An idle process takes a wish at once, a busy one after the call
/// before it, which takes a few milliseconds.
pub const DELAYED: Duration = Duration::from_millis(250);
/// With less than this left, a batch is not sent any more: nobody would hear the answer, and it would not be known.
const LEAST: Duration = Duration::from_millis(20);
/// How often a batch is sent again to a server that answers with what nobody here knows, and the first pause before; it doubles.
const REPEATS: (u32, Duration) = (3, Duration::from_millis(50));
/// The entrance of the queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    sender: mpsc::Sender<Job>,
    behind: Arc<AtomicBool>,
    trouble: Arc<Trouble>,
    metrics: Metrics,
}

impl Queue {
    /// Puts a wish into the queue, if there is room: this is the admission control. The answer comes through the receiver.
    pub fn admit(&self, wish: Wish) -> Result<oneshot::Receiver<Outcome>, Outcome> {
        let (reply, answer) = oneshot::channel();
        match self.sender.try_send(Job { wish, since: Instant::now(), reply }) {
            Ok(()) => {
                self.metrics.queue_depth.set(gauge(self.depth()));
                Ok(answer)
            }
            // Closed means that the process is ending.
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.metrics.rejected.inc();
                Err(Outcome::Overloaded)
            }
        }
    }

    /// Wishes that wait.
    pub fn depth(&self) -> usize {
        self.capacity() - self.sender.capacity()
    }

    /// Whether wishes were delayed of late. Users who come back may be better off with another process.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// What the task behind the queue meets at Redis.
    pub(crate) fn met(&self) -> Arc<Trouble> {
        Arc::clone(&self.trouble)
    }

    /// Why no wish gets through to Redis, in Redis' words, if that lasts.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lasting(Instant::now())
    }

    /// Wishes that may wait.
    pub fn capacity(&self) -> usize {
        self.sender.max_capacity()
    }
}

fn gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The task behind the queue.
pub struct Batcher {
    jobs: mpsc::Receiver<Job>,
    link: RedisLink,
    keeper: Arc<Gatekeeper>,
    keys: StockKeys,
    delivery: Delivery,
    headroom: Arc<Semaphore>,
    behind: Arc<AtomicBool>,
    trouble: Arc<Trouble>,
    metrics: Metrics,
}

/// What became of a call, repetitions included.
enum Called {
    /// Each wish was answered.
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
    /// A queue of `capacity` wishes and the task that empties it.
    pub fn new(
        capacity: usize,
        link: RedisLink,
        keeper: Arc<Gatekeeper>,
        keys: StockKeys,
        delivery: Delivery,
        metrics: Metrics,
    ) -> (Queue, Self) {
        let (sender, jobs) = mpsc::channel(capacity);
        let headroom = Arc::new(Semaphore::new(MAX_UNACKNOWLEDGED));
        let (behind, trouble) = (Arc::default(), Arc::<Trouble>::default());
        let queue =
            Queue { sender, behind: Arc::clone(&behind), trouble: Arc::clone(&trouble), metrics: metrics.clone() };
        (queue, Self { jobs, link, keeper, keys, delivery, headroom, behind, trouble, metrics })
    }

    /// Works until `stop`; then takes nothing new and ends when everything that was admitted has been sent.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut gathered = Vec::with_capacity(MAX_BATCH);
        loop {
            let taken = tokio::select! {
                taken = self.jobs.recv_many(&mut gathered, MAX_BATCH) => taken,
                () = stop.cancelled(), if !self.jobs.is_closed() => {
                    self.jobs.close();
                    continue;
                }
            };
            if taken == 0 {
                return;
            }
            self.metrics.queue_depth.set(gauge(self.jobs.len()));
            let now = Instant::now();
            let delayed = delayed(&gathered, now);
            self.metrics.delayed.inc_by(delayed);
            self.behind.store(delayed > 0, Ordering::Relaxed);
            let jobs = screen(std::mem::take(&mut gathered), now, &self.metrics);
            if !jobs.is_empty() {
                self.send(jobs).await;
            }
        }
    }

    async fn send(&self, jobs: Vec<Job>) {
        let pass = match self.keeper.enter(jobs.len()) {
            Ok(pass) => pass,
            Err(reason) => return answer_all(jobs, &Outcome::NotOpen(reason)),
        };
        let Some(room) = self.room(jobs.len()) else {
            self.metrics.rejected.inc_by(jobs.len() as u64);
            return answer_all(jobs, &Outcome::Overloaded);
        };
        self.metrics.batch_size.observe(jobs.len() as f64);
        let wishes: Vec<Wish> = jobs.iter().map(|job| job.wish.clone()).collect();
        match self.call(&pass, &wishes).await {
            Called::Answered { batch, asked } => {
                crash_point(CrashPoint::AfterScript);
                self.keeper.saw(pass.epoch(), batch.highest);
                self.delivery.deliver(Granted { jobs, answers: batch.answers, asked, pass, room });
            }
            Called::Refused { refusal, maybe_granted } => {
                tracing::warn!(epoch = pass.epoch(), ?refusal, "Redis refused a batch; the open epoch is read again");
                self.keeper.refused(pass.epoch(), refusal);
                // An earlier try of this batch may have been executed: then the user must ask again with the same key.
                let outcome = if maybe_granted {
                    Outcome::RedisUnavailable { maybe_granted }
                } else {
                    Outcome::NotOpen(crate::gate::Reason::Refused(refusal))
                };
                answer_all(jobs, &outcome);
            }
            Called::Unavailable { maybe_granted } => {
                answer_all(jobs, &Outcome::RedisUnavailable { maybe_granted });
            }
            Called::Stopped { maybe_granted: true } => {
                answer_all(jobs, &Outcome::RedisUnavailable { maybe_granted: true });
            }
            Called::Stopped { maybe_granted: false } => {
                let reason = self.keeper.serving().err().unwrap_or(crate::gate::Reason::Fenced);
                answer_all(jobs, &Outcome::NotOpen(reason));
            }
            Called::Broken => {
                self.keeper.broken(pass.epoch());
                answer_all(jobs, &Outcome::RedisUnavailable { maybe_granted: true });
            }
        }
    }

    /// Room for as many records as the batch can win.
    fn room(&self, wishes: usize) -> Option<OwnedSemaphorePermit> {
        let wishes = u32::try_from(wishes).ok()?;
        Arc::clone(&self.headroom).try_acquire_many_owned(wishes).ok()
    }

    /// Calls the script. After a failure the *same* wishes are sent again, which grants nothing twice; not to a server that says that
    /// it does nothing for now.
    async fn call(&self, pass: &Pass, wishes: &[Wish]) -> Called {
        let deadline = Instant::now() + deadlines::BATCH;
        let mut maybe_granted = false;
        let (mut repeats, mut pause) = REPEATS;
        loop {
            let live = self.link.live_by(deadline).await.filter(|_| Instant::now() + LEAST < deadline);
            let Some(mut live) = live else {
                let why = self.link.why_away();
                self.trouble.failed(why.as_deref().unwrap_or("no connection to Redis"), false, Instant::now());
                return Called::Unavailable { maybe_granted };
            };
            if !pass.is_valid() {
                return Called::Stopped { maybe_granted };
            }
            let started = Instant::now();
            let call = issue(&mut live.connection, &self.keys, pass.epoch(), pass.seen(), wishes);
            let error = match tokio::time::timeout_at(deadline, call).await {
                Ok(Ok(reply)) => {
                    self.metrics.redis_seconds.observe(started.elapsed().as_secs_f64());
                    live.serves();
                    return match reply {
                        Reply::Answered(batch) => {
                            self.trouble.over(Instant::now());
                            Called::Answered { batch, asked: started }
                        }
                        Reply::Refused(refusal) => {
                            self.trouble.heard(Instant::now());
                            Called::Refused { refusal, maybe_granted }
                        }
                    };
                }
                Ok(Err(error)) => error,
                Err(_) => StockError::Timeout(started.elapsed().as_millis()),
            };
            self.trouble.failed(&error.to_string(), error.is_missing_right(), Instant::now());
            let (executed, connection) = (error.executed(), error.connection());
            self.metrics.redis_failures.get_or_create(&CauseLabel { cause: cause(executed) }).inc();
            self.link.failed(&live, &error);
            match (executed, connection) {
                (Executed::No, Afterwards::GivenUp) => {}
                (Executed::No, Afterwards::Stays) => return Called::Unavailable { maybe_granted },
                (Executed::Unknown, Afterwards::GivenUp) => maybe_granted = true,
                (Executed::Unknown, Afterwards::Stays) => {
                    maybe_granted = true;
                    if repeats == 0 {
                        return Called::Unavailable { maybe_granted };
                    }
                    repeats -= 1;
                    tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
                    pause *= 2;
                }
                (Executed::Fatal, _) => {
                    tracing::error!(%error, epoch = pass.epoch(), "Redis' answer makes no sense; issuing stops until a new epoch opens");
                    return Called::Broken;
                }
            }
        }
    }
}

fn cause(executed: Executed) -> &'static str {
    match executed {
        Executed::No => "not_executed",
        Executed::Unknown => "unknown",
        Executed::Fatal => "fatal",
    }
}

/// How many have waited too long for this moment.
fn delayed(jobs: &[Job], now: Instant) -> u64 {
    jobs.iter().filter(|job| now.saturating_duration_since(job.since) > DELAYED).count() as u64
}

/// Drops wishes whose user has left and refuses those that waited too long: before they are sent, never after.
fn screen(jobs: Vec<Job>, now: Instant, metrics: &Metrics) -> Vec<Job> {
    let mut wanted = Vec::with_capacity(jobs.len());
    for job in jobs {
        if job.reply.is_closed() {
            continue;
        }
        if now.saturating_duration_since(job.since) > QUEUE_DEADLINE {
            metrics.rejected.inc();
            job.answer(Outcome::Overloaded);
        } else {
            wanted.push(job);
        }
    }
    wanted
}

fn answer_all(jobs: Vec<Job>, outcome: &Outcome) {
    for job in jobs {
        job.answer(outcome.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use campaign::identity::{RequestKey, UserId};

    fn wish(user: &str) -> Wish {
        Wish { user: UserId::new(user).unwrap(), key: RequestKey::new("k").unwrap(), minted: false }
    }

    fn metrics() -> Metrics {
        Metrics::register(&campaign::telemetry::registry("test"))
    }

    #[tokio::test]
    async fn who_left_is_dropped_and_who_waited_too_long_is_told() {
        let now = Instant::now() + Duration::from_secs(10);
        let job = |user: &str, waited: Duration| {
            let (reply, answer) = oneshot::channel();
            (Job { wish: wish(user), since: now - waited, reply }, answer)
        };
        let (fresh, _fresh_answer) = job("fresh", Duration::from_secs(1));
        let (late, mut late_answer) = job("late", Duration::from_secs(3));
        let (gone, gone_answer) = job("gone", Duration::from_secs(1));
        drop(gone_answer);
        let of = |job: Job| delayed(&[job], now);
        assert_eq!([of(job("a", DELAYED).0), of(job("b", DELAYED * 2).0)], [0, 1]);
        let kept = screen(vec![late, gone, fresh], now, &metrics());
        assert_eq!(kept.iter().map(|job| job.wish.user.as_str()).collect::<Vec<_>>(), ["fresh"]);
        assert_eq!(late_answer.try_recv().unwrap(), Outcome::Overloaded);
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let (sender, jobs) = mpsc::channel(2);
        let queue = Queue { sender, behind: Arc::default(), trouble: Arc::default(), metrics: metrics() };
        let _answers = [queue.admit(wish("a")).unwrap(), queue.admit(wish("b")).unwrap()];
        assert_eq!(queue.admit(wish("c")).unwrap_err(), Outcome::Overloaded);
        assert_eq!((queue.depth(), queue.capacity(), queue.metrics.rejected.get()), (2, 2, 1));
        drop(jobs);
        assert_eq!(queue.admit(wish("d")).unwrap_err(), Outcome::Overloaded, "a process that ends takes nothing new");
    }
}
