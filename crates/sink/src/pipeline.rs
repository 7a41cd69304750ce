//! From a record to a row: queue, writer and dead letters, the same for the running consumer and for draining.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use coupon_core::connections::Kafka;
use coupon_core::identity::CampaignId;

use crate::ceiling::Ceiling;
use crate::dead_letter::{self, DeadLetterWriter};
use crate::decide::Breaker;
use crate::observer::Observer;
use crate::pauses::Pauses;
use crate::queue::{Intake, Progress, queue};
use crate::rows::CampaignRows;
use crate::unit::Deferred;
use crate::writer::{BatchLimits, Writer};

/// The queue holds this many batches: one that is being written, and one that is full by then. With batches of 2,048 that is room for 32
/// MiB, of which records as ours take a tenth.
const BATCHES_QUEUED: usize = 2;

/// What a pipeline needs.
pub struct Parts<'a> {
    /// Kafka, for dead letters.
    pub kafka: &'a Kafka,
    /// Whose records these are.
    pub campaign: &'a CampaignId,
    /// Names this process to the brokers.
    pub client_id: &'a str,
    /// Where rows go.
    pub rows: CampaignRows,
    /// When a batch is full.
    pub limits: BatchLimits,
    /// How long a rank above the total is waited for.
    pub above_total: Duration,
    /// Grants that have a dead letter get no other, however often they come. Not for whoever reads a topic meanwhile.
    pub one_letter_each: bool,
    /// Holds why it waits.
    pub pauses: Arc<Pauses>,
    /// Hears what became of each record.
    pub observer: Arc<dyn Observer>,
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
        let Parts { kafka, campaign, client_id, rows, limits, above_total, one_letter_each, pauses, observer, stop } =
            parts;
        let mut dead_letters = DeadLetterWriter::new(
            kafka,
            campaign,
            client_id,
            Arc::clone(&pauses),
            Arc::clone(&observer),
            stop.clone(),
        )?;
        if one_letter_each {
            dead_letters = dead_letters.one_for_each_grant(kafka, campaign, rows.clone());
        }
        let (letters, letters_to_write) = mpsc::channel(dead_letter::QUEUE);
        let progress = Arc::new(Progress::default());
        let (intake, records) =
            queue(limits.rows.saturating_mul(BATCHES_QUEUED), campaign.clone(), Arc::clone(&progress));
        let writer = Writer {
            rows,
            campaign: campaign.clone(),
            dead_letters: letters,
            pauses,
            observer,
            progress: Arc::clone(&progress),
            stop,
            limits,
            breaker: Breaker::default(),
            ceiling: Ceiling::new(above_total),
            deferred: Deferred::default(),
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
