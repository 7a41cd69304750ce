//! From Redis' answers to the users: each winner is written to the topic, acknowledged, and only then told.

use campaign::identity::CampaignId;
use campaign::log::producer::WinnerLog;
use campaign::stock::{Answer, Grant, winner};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::batcher::{Job, answer};
use crate::config::Acknowledge;
use crate::gatekeeper::Pass;
use crate::metrics::Metrics;
use crate::outcome::{Outcome, of_answer};

/// A batch that Redis has answered.
pub struct Granted {
    /// The wishes.
    pub jobs: Vec<Job>,
    /// One answer per wish, in order.
    pub answers: Vec<Answer>,
    /// Held until the last record is acknowledged or given up: a fence waits for it.
    pub pass: Pass,
    /// Room for the batch's records.
    pub room: OwnedSemaphorePermit,
}

/// Delivers batches in the background. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    campaign: CampaignId,
    log: WinnerLog,
    acknowledge: Acknowledge,
    metrics: Metrics,
    tracker: TaskTracker,
}

impl Delivery {
    /// `tracker` knows what is still under way.
    pub fn new(
        campaign: CampaignId,
        log: WinnerLog,
        acknowledge: Acknowledge,
        metrics: Metrics,
        tracker: TaskTracker,
    ) -> Self {
        Self { campaign, log, acknowledge, metrics, tracker }
    }

    /// Delivers a batch. Returns at once.
    pub fn deliver(&self, granted: Granted) {
        let delivery = self.clone();
        self.tracker.spawn(async move { delivery.run(granted).await });
    }

    async fn run(&self, granted: Granted) {
        let Granted { jobs, answers, pass, mut room } = granted;
        let mut records = FuturesUnordered::new();
        for (job, given) in jobs.into_iter().zip(answers) {
            let slot = room.split(1);
            match of_answer(given) {
                Outcome::Issued { grant, repeated } => {
                    let record = self.record(pass.epoch(), job, grant, repeated);
                    records.push(async move {
                        let confirmed = record.await;
                        drop(slot);
                        confirmed
                    });
                }
                other => answer(job, other),
            }
        }
        drop(room);
        let mut unconfirmed = 0u64;
        while let Some(confirmed) = records.next().await {
            unconfirmed += u64::from(!confirmed);
        }
        if unconfirmed > 0 {
            self.metrics.unconfirmed.inc_by(unconfirmed);
            tracing::warn!(
                unconfirmed,
                epoch = pass.epoch(),
                "Kafka did not acknowledge winners; they keep their ranks"
            );
        }
        drop(pass);
    }

    /// Hands one winner to Kafka now; the future tells the user and says whether the winner is durable. A repeated answer
    /// is written again, so that it is as durable as the first.
    fn record(&self, epoch: u64, job: Job, grant: Grant, repeated: bool) -> impl Future<Output = bool> + use<> {
        let handed = Instant::now();
        let appending = self.log.append(&winner(&self.campaign, epoch, &job.wish.user, &grant));
        let (acknowledge, seconds) = (self.acknowledge, self.metrics.kafka_seconds.clone());
        async move {
            let issued = Outcome::Issued { grant, repeated };
            let mut waiting = Some(job);
            // Even the fast way does not say yes to a record that Kafka's client did not take.
            if acknowledge == Acknowledge::Fast
                && appending.is_ok()
                && let Some(job) = waiting.take()
            {
                answer(job, issued.clone());
            }
            let result = match appending {
                Ok(appending) => appending.acknowledged().await,
                Err(error) => Err(error),
            };
            match &result {
                Ok(()) => seconds.observe(handed.elapsed().as_secs_f64()),
                Err(error) => tracing::debug!(%error, "a winner is not confirmed"),
            }
            if let Some(job) = waiting {
                answer(job, if result.is_ok() { issued } else { Outcome::Unconfirmed });
            }
            result.is_ok()
        }
    }
}
