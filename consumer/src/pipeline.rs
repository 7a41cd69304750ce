//! From a record to a row: queue, writer and dead letters, the same for the running consumer and for draining.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use campaign::identity::CampaignId;
use campaign::settings::Kafka;

use crate::ceiling::Ceiling;
use crate::dead_letter::{self, DeadLetters};
use crate::decide::Breaker;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::queue::{Intake, Progress, queue};
use crate::status::Status;
use crate::writer::{Aside, BatchLimits, Writer};

/// The queue holds this many batches.
const BATCHES_QUEUED: usize = 4;

/// What a pipeline needs.
pub struct Parts<'a> {
    /// Kafka, for dead letters.
    pub kafka: &'a Kafka,
    /// Whose records these are.
    pub campaign: &'a CampaignId,
    /// Names this process to the brokers.
    pub client_id: &'a str,
    /// Where rows go.
    pub ledger: Ledger,
    /// When a batch is full.
    pub limits: BatchLimits,
    /// How long a rank above the total is waited for.
    pub above_total: Duration,
    /// Told why it waits.
    pub status: Arc<Status>,
    /// Told what became of each record.
    pub metrics: Metrics,
    /// Once cancelled, no outage is waited out any more.
    pub stop: CancellationToken,
}

/// A running pipeline. It ends by itself when its [`Intake`] is dropped and everything is written.
pub struct Pipeline {
    /// How far each partition is.
    pub progress: Arc<Progress>,
    work: JoinHandle<bool>,
}

impl Pipeline {
    /// Starts it. Records go into the intake.
    ///
    /// # Errors
    /// [`KafkaError`] for settings that librdkafka refuses.
    pub fn start(parts: Parts<'_>) -> Result<(Self, Intake), KafkaError> {
        let Parts { kafka, campaign, client_id, ledger, limits, above_total, status, metrics, stop } = parts;
        let dead_letters =
            DeadLetters::new(kafka, campaign, client_id, Arc::clone(&status), metrics.clone(), stop.clone())?;
        let (letters, letters_to_write) = mpsc::channel(dead_letter::QUEUE);
        let progress = Arc::new(Progress::default());
        let (intake, records) = queue(limits.rows.saturating_mul(BATCHES_QUEUED), Arc::clone(&progress));
        let writer = Writer {
            ledger,
            campaign: campaign.clone(),
            letters,
            status,
            metrics,
            progress: Arc::clone(&progress),
            stop,
            limits,
            breaker: Breaker::default(),
            ceiling: Ceiling::new(above_total),
            aside: Aside::default(),
        };
        let work = tokio::spawn(async move {
            let letters = tokio::spawn(dead_letters.run(letters_to_write));
            writer.run(records).await;
            letters.await.is_ok()
        });
        Ok((Self { progress, work }, intake))
    }

    /// Waits until everything that was taken in is dealt with or given up. False when a part of it broke.
    /// Not to be called again once it has answered.
    pub async fn ended(&mut self) -> bool {
        (&mut self.work).await.unwrap_or(false)
    }

    /// As [`Pipeline::ended`], at most `patience`.
    pub async fn ended_within(&mut self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.ended()).await.unwrap_or(false)
    }
}
