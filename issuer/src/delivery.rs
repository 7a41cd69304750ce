//! From Redis' answers to the users: each winner becomes durable, and only then is told.
//!
//! Durable is what Kafka has acknowledged or, while Kafka is away ([`crate::breaker`]), what SQL has committed
//! ([`crate::direct`]). Neither: the winner keeps the rank and hears "ask again".

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campaign::event::CouponIssued;
use campaign::identity::CampaignId;
use campaign::log::producer::WinnerLog;
use campaign::sabotage::{CrashPoint, crash_point};
use campaign::stock::{Answer, Grant, winner};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::batcher::{BATCH_DEADLINE, Job, answer};
use crate::breaker::{Breaker, PATIENCE, Route};
use crate::config::Acknowledge;
use crate::direct::{DIRECT_DEADLINE, Direct};
use crate::gatekeeper::Pass;
use crate::metrics::Metrics;
use crate::outcome::{Outcome, of_answer};

/// How long a winner may take to become durable: the patience with Kafka, then waiting for a transaction and the
/// transaction itself, and some time for what lies between.
pub const CONFIRM_DEADLINE: Duration = Duration::from_secs(PATIENCE.as_secs() + 2 * DIRECT_DEADLINE.as_secs() + 1);

/// From asking Redis to the last moment at which a winner is told. Where no fence can reach this process (a ledger that another cluster
/// takes over), the operator waits for as long after it has closed the campaign in Redis. So it holds whatever has kept this process from
/// running meanwhile.
pub const TELL_DEADLINE: Duration = Duration::from_secs(BATCH_DEADLINE.as_secs() + CONFIRM_DEADLINE.as_secs());

/// A batch that Redis has answered.
pub struct Granted {
    /// The wishes.
    pub jobs: Vec<Job>,
    /// One answer per wish, in order.
    pub answers: Vec<Answer>,
    /// When Redis was asked.
    pub asked: Instant,
    /// Held until the last winner is durable or given up: a fence waits for it.
    pub pass: Pass,
    /// Room for the batch's records.
    pub room: OwnedSemaphorePermit,
}

/// The ways to become durable.
pub struct Ways {
    /// To Kafka.
    pub log: WinnerLog,
    /// Around it.
    pub direct: Direct,
    /// Which of them.
    pub breaker: SharedBreaker,
}

/// The breaker as all deliveries of a process share it.
#[derive(Clone)]
pub struct SharedBreaker {
    breaker: Arc<Mutex<Breaker>>,
    metrics: Metrics,
}

impl SharedBreaker {
    /// Closed.
    pub fn new(metrics: Metrics) -> Self {
        Self { breaker: Arc::default(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        // One assignment per change: it is whole whatever happened.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether winners go straight to SQL.
    pub fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    /// Kafka failed, or is late.
    pub fn failed(&self, why: &str) {
        if self.lock().failed(Instant::now()) {
            self.metrics.breaker_open.set(1);
            tracing::warn!(why, "Kafka does not take winners in time; they are stored directly until it does");
        }
    }

    /// Kafka does not let its user write, in its words.
    fn refused(&self, words: String) {
        self.lock().refused(words);
    }

    /// Why Kafka takes no winners, if it is that its user lacks a right.
    pub fn refusal(&self) -> Option<String> {
        self.lock().refusal().map(str::to_owned)
    }

    /// Kafka has answered what it was asked at `handed`.
    pub fn acknowledged(&self, handed: Instant) {
        if let Some(open) = self.lock().acknowledged(handed, Instant::now()) {
            self.metrics.breaker_open.set(0);
            tracing::info!(open_ms = open.as_millis(), "Kafka takes winners again");
        }
    }
}

/// Delivers batches in the background. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    campaign: CampaignId,
    ways: Arc<Ways>,
    acknowledge: Acknowledge,
    metrics: Metrics,
    tracker: TaskTracker,
}

impl Delivery {
    /// `tracker` knows what is still under way.
    pub fn new(
        campaign: CampaignId,
        ways: Ways,
        acknowledge: Acknowledge,
        metrics: Metrics,
        tracker: TaskTracker,
    ) -> Self {
        Self { campaign, ways: Arc::new(ways), acknowledge, metrics, tracker }
    }

    /// Delivers a batch. Returns at once.
    pub fn deliver(&self, granted: Granted) {
        let delivery = self.clone();
        self.tracker.spawn(async move { delivery.run(granted).await });
    }

    async fn run(&self, granted: Granted) {
        let Granted { jobs, answers, asked, pass, mut room } = granted;
        let mut winners = FuturesUnordered::new();
        for (job, given) in jobs.into_iter().zip(answers) {
            let slot = room.split(1);
            match of_answer(given) {
                Outcome::Issued { grant, repeated } => {
                    let winner = self.winner(pass.epoch(), job, grant, repeated, asked);
                    winners.push(async move {
                        let confirmed = winner.await;
                        drop(slot);
                        confirmed
                    });
                }
                other => answer(job, other),
            }
        }
        drop(room);
        if !winners.is_empty() {
            crash_point(CrashPoint::AfterProduce);
        }
        let mut unconfirmed = 0u64;
        while let Some(confirmed) = winners.next().await {
            unconfirmed += u64::from(!confirmed);
        }
        if unconfirmed > 0 {
            self.metrics.unconfirmed.inc_by(unconfirmed);
            tracing::warn!(
                unconfirmed,
                epoch = pass.epoch(),
                "neither Kafka nor the database has taken winners; they keep their ranks"
            );
        }
        drop(pass);
    }

    /// Sends one winner on its way now; the future tells the user and says whether the winner is durable. A repeated answer
    /// is written again, so that it is as durable as the first.
    fn winner(
        &self,
        epoch: u64,
        job: Job,
        grant: Grant,
        repeated: bool,
        asked: Instant,
    ) -> impl Future<Output = bool> + use<> {
        let event = winner(&self.campaign, epoch, &job.wish.user, &grant);
        let (in_log, confirming) = self.confirm(event, asked);
        // Even the fast way does not say yes to a record that Kafka's client did not take.
        let at_once = self.acknowledge == Acknowledge::Fast && in_log;
        async move {
            let issued = Outcome::Issued { grant, repeated };
            if at_once {
                answer(job, issued);
                return confirming.await;
            }
            let confirmed = confirming.await;
            crash_point(CrashPoint::BeforeAnswer);
            answer(job, if confirmed { issued } else { Outcome::Unconfirmed });
            confirmed
        }
    }

    /// Makes a winner durable, one way or the other. Kafka's client has its record, if that is its way, when this returns;
    /// the first part of the answer says so.
    fn confirm(&self, event: CouponIssued, asked: Instant) -> (bool, BoxFuture<'static, bool>) {
        let ways = Arc::clone(&self.ways);
        let handed = Instant::now();
        let deadline = handed + CONFIRM_DEADLINE;
        let route = ways.breaker.lock().route(handed);
        let appending = match route {
            Route::Direct => None,
            Route::Log | Route::Probe => Some(ways.log.append(&event)),
        };
        let in_log = matches!(appending, Some(Ok(_)));
        let (seconds, stored_directly) = (self.metrics.kafka_seconds.clone(), self.metrics.stored_directly.clone());
        let acknowledged = {
            let breaker = ways.breaker.clone();
            async move {
                let result = match appending {
                    Some(Ok(appending)) => appending.acknowledged().await,
                    Some(Err(error)) => Err(error),
                    None => return false,
                };
                match result {
                    Ok(()) => {
                        seconds.observe(handed.elapsed().as_secs_f64());
                        breaker.acknowledged(handed);
                        true
                    }
                    Err(error) => {
                        breaker.failed(&error.to_string());
                        if let Some(words) = error.missing_right() {
                            breaker.refused(words);
                        }
                        false
                    }
                }
            }
        };
        // What became of a probe is heard whoever is first, or a database that is faster than Kafka would keep it out for ever.
        let mut acknowledged = match route {
            Route::Probe => self.tracker.spawn(acknowledged).map(|ended| ended.unwrap_or(false)).boxed(),
            Route::Log | Route::Direct => acknowledged.boxed(),
        };
        let confirming = async move {
            if route == Route::Log {
                match tokio::time::timeout(PATIENCE, &mut acknowledged).await {
                    Ok(true) => return true,
                    Ok(false) => acknowledged = async { false }.boxed(),
                    Err(_) => ways.breaker.failed("no acknowledgement in time"),
                }
            }
            let again = (route == Route::Direct).then(|| event.clone());
            let stored = async {
                let stored = ways.direct.store(event).await;
                stored_directly.inc_by(u64::from(stored));
                stored
            };
            if either(acknowledged, stored.boxed()).await {
                return true;
            }
            // The database is away too. Kafka may be back: it was not asked for this winner.
            match again.map(|event| ways.log.append(&event)) {
                Some(Ok(appending)) => appending.acknowledged().await.is_ok(),
                Some(Err(_)) | None => false,
            }
        };
        let confirming = async move {
            let confirmed = tokio::time::timeout_at(deadline, confirming).await.unwrap_or(false);
            // A timer that has gone off does not keep an answer away that came while this process stood still.
            confirmed && is_in_time(asked, Instant::now())
        };
        (in_log, confirming.boxed())
    }
}

/// Whether a winner may still be told `now`.
fn is_in_time(asked: Instant, now: Instant) -> bool {
    now.saturating_duration_since(asked) <= TELL_DEADLINE
}

/// True as soon as one of them is; false when both are not.
async fn either(one: BoxFuture<'_, bool>, other: BoxFuture<'_, bool>) -> bool {
    let (first, rest) = futures::future::select(one, other).await.factor_first();
    first || rest.await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a process that was frozen between Redis' answer and Kafka's tells a winner of whom nobody knows any more.
    #[test]
    fn nobody_is_told_who_was_granted_too_long_ago() {
        let asked = Instant::now();
        assert!(is_in_time(asked, asked + TELL_DEADLINE));
        assert!(!is_in_time(asked, asked + TELL_DEADLINE + Duration::from_millis(1)));
    }

    #[tokio::test]
    async fn one_way_is_enough_and_the_slower_one_counts_too() {
        let never = || std::future::pending().boxed();
        let now = |value: bool| async move { value }.boxed();
        let soon = |value: bool| {
            async move {
                tokio::task::yield_now().await;
                value
            }
            .boxed()
        };
        assert!(either(now(true), never()).await);
        assert!(either(never(), soon(true)).await);
        assert!(either(now(false), soon(true)).await, "a no of one way is not a no of both");
        assert!(!either(now(false), soon(false)).await);
    }
}
