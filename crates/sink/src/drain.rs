//! Stores a range of a campaign's topic without joining its group: what is left when no consumer is to run any more.
//!
//! The same pipeline as the running consumer's: same rows, same decisions, same dead letters. It commits no offsets:
//! the caller commits [`Drained::next`] to the group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use sqlx::mysql::MySqlPool;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use coupon_core::connections::Kafka;
use coupon_core::identity::CampaignId;
use coupon_ledger::kafka::tail::{self, Range, TailError};

use crate::observer::{Observer, RecordOutcome};
use crate::pauses::Pauses;
use crate::pipeline::{Parts, Pipeline};
use crate::queue::{Intake, OfferError};
use crate::rows::CampaignRows;
use crate::writer::BatchLimits;

/// Smaller than a consumer's: an operator drains several campaigns at a time, in little memory.
const LIMITS: BatchLimits = BatchLimits { rows: 512, wait: Duration::from_millis(20) };
/// Time between two calls of the progress callback.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// How long the reader waits for room before it looks whether it should stop.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the pipeline may take to give up once the deadline has passed: a transaction may be under way.
const GIVE_UP: Duration = Duration::from_secs(15);

/// What became of the records so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drained {
    /// New rows.
    pub stored: u64,
    /// Records whose rows were there already.
    pub duplicates: u64,
    /// Records of an epoch that had ended before they arrived.
    pub void: u64,
    /// Records in the dead letter topic, acknowledged.
    pub dead_lettered: u64,
    /// Next offset of each partition of the range: everything before it is dealt with.
    pub next: BTreeMap<i32, i64>,
}

/// A range that is not drained to its end. What is in `drained` is done all the same.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The time was up.
    #[error("draining took longer than {} s: {trouble}", deadline.as_secs())]
    Deadline {
        /// The time allowed.
        deadline: Duration,
        /// What held it up.
        trouble: String,
        /// What was done.
        drained: Box<Drained>,
    },
    /// The topic cannot be read.
    #[error("{source}")]
    Read {
        /// Why.
        source: TailError,
        /// What was done.
        drained: Box<Drained>,
    },
    /// The dead letter producer cannot be made.
    #[error("the Kafka producer cannot be made: {0}; correct the connection settings")]
    Producer(KafkaError),
    /// A part of the pipeline broke.
    #[error("draining broke off unexpectedly")]
    Broken {
        /// What was done.
        drained: Box<Drained>,
    },
}

impl DrainError {
    /// A stable name in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Deadline { .. } => "DrainDeadline",
            Self::Read { .. } => "DrainReadFailed",
            Self::Producer(_) => "InvalidKafkaClient",
            Self::Broken { .. } => "DrainBroken",
        }
    }

    /// What was done before it failed.
    pub fn drained(&self) -> Option<&Drained> {
        match self {
            Self::Deadline { drained, .. } | Self::Read { drained, .. } | Self::Broken { drained } => {
                Some(drained.as_ref())
            }
            Self::Producer(_) => None,
        }
    }
}

/// Counts what becomes of the records.
#[derive(Debug, Default)]
struct Counts {
    stored: AtomicU64,
    duplicates: AtomicU64,
    void: AtomicU64,
    dead_lettered: AtomicU64,
}

impl Observer for Counts {
    fn records(&self, outcome: RecordOutcome, count: usize) {
        let counted = match outcome {
            RecordOutcome::Stored => &self.stored,
            RecordOutcome::Duplicate => &self.duplicates,
            RecordOutcome::Void => &self.void,
            // A dead letter counts once it is acknowledged.
            RecordOutcome::Conflict
            | RecordOutcome::AboveTotal
            | RecordOutcome::Unreadable
            | RecordOutcome::Rejected
            | RecordOutcome::Discarded => return,
        };
        counted.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn dead_letter(&self, _reason: &'static str) {
        self.dead_lettered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn drained(&self, next: BTreeMap<i32, i64>) -> Drained {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Drained {
            stored: of(&self.stored),
            duplicates: of(&self.duplicates),
            void: of(&self.void),
            dead_lettered: of(&self.dead_lettered),
            next,
        }
    }
}

/// What to drain, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Kafka.
    pub kafka: &'a Kafka,
    /// The database.
    pub pool: &'a MySqlPool,
    /// Whose topic it is.
    pub campaign: &'a CampaignId,
    /// From which offsets to which.
    pub range: &'a Range,
}

/// Why the reader ended early.
enum ReadEnd {
    Failed(TailError),
    /// The pipeline takes no more.
    Closed,
}

impl From<TailError> for ReadEnd {
    fn from(error: TailError) -> Self {
        Self::Failed(error)
    }
}

/// Stores the range. Calls `report` now and then with what is done so far. Takes no longer than `deadline` and some seconds.
///
/// # Errors
/// [`DrainError`], with what was done nevertheless.
pub async fn drain(
    source: Source<'_>,
    deadline: Duration,
    mut report: impl FnMut(&Drained) + Send,
) -> Result<Drained, DrainError> {
    let Source { kafka, pool, campaign, range } = source;
    let begun = Instant::now();
    let stop = CancellationToken::new();
    // Dropping this future stops its tasks.
    let _stop_on_drop = stop.clone().drop_guard();
    let counts = Arc::new(Counts::default());
    let observer: Arc<dyn Observer> = Arc::<Counts>::clone(&counts);
    let pauses = Arc::new(Pauses::new(campaign, Arc::clone(&observer)));
    let (mut pipeline, intake) = Pipeline::start(Parts {
        kafka,
        campaign,
        client_id: "coupon-drain",
        rows: CampaignRows::new(pool.clone(), campaign.clone()),
        limits: LIMITS,
        // The caller has just made sure of the total.
        above_total: Duration::ZERO,
        // Each reader of a topic has a turn, and one that waits for another's would wait for itself.
        one_letter_each: false,
        pauses: Arc::clone(&pauses),
        observer,
        stop: stop.clone(),
    })
    .map_err(DrainError::Producer)?;
    let progress = Arc::clone(&pipeline.progress);
    range.keys().for_each(|partition| progress.frontiers().assign(*partition));
    let so_far = || {
        let next = progress.frontiers().next_offsets();
        let next = range.iter().map(|(id, (from, _))| (*id, next.get(id).copied().unwrap_or(*from))).collect();
        counts.drained(next)
    };

    let mut reader = tokio::task::spawn_blocking({
        let (kafka, topic, range, stop) = (kafka.clone(), campaign.topic(), range.clone(), stop.clone());
        move || read(&kafka, &topic, &range, &intake, &stop)
    });
    let mut tick = tokio::time::interval(REPORT_INTERVAL);
    let mut read = None;
    loop {
        let left = deadline.saturating_sub(begun.elapsed());
        tokio::select! {
            ended = &mut reader, if read.is_none() => read = Some(ended),
            // It ends after the reader, which holds its entrance.
            whole = pipeline.ended(), if read.is_some() => {
                let drained = so_far();
                report(&drained);
                return ended(read, whole && progress.frontiers().all_done(), range, drained);
            }
            _ = tick.tick() => report(&so_far()),
            () = tokio::time::sleep(left) => {
                stop.cancel();
                pipeline.ended_within(GIVE_UP).await;
                let trouble = pauses.trouble().unwrap_or_else(|| "there is more to do than fits".to_owned());
                return Err(DrainError::Deadline { deadline, trouble, drained: Box::new(so_far()) });
            }
        }
    }
}

/// What has come of a drain whose reader and pipeline have both ended.
fn ended(
    read: Option<Result<Result<(), ReadEnd>, JoinError>>,
    all_done: bool,
    range: &Range,
    drained: Drained,
) -> Result<Drained, DrainError> {
    match read {
        Some(Ok(Ok(()))) if all_done => Ok(Drained {
            // The last offsets of a range may hold no record.
            next: range.iter().map(|(id, (from, to))| (*id, *from.max(to))).collect(),
            ..drained
        }),
        Some(Ok(Err(ReadEnd::Failed(source)))) => Err(DrainError::Read { source, drained: Box::new(drained) }),
        _ => Err(DrainError::Broken { drained: Box::new(drained) }),
    }
}

/// Feeds the range into the pipeline. Blocks.
fn read(kafka: &Kafka, topic: &str, range: &Range, intake: &Intake, stop: &CancellationToken) -> Result<(), ReadEnd> {
    tail::read(kafka, topic, range, |message| {
        let Some(mut record) = intake.hand_out(message.detach()) else { return Ok(()) };
        loop {
            if stop.is_cancelled() {
                return Err(ReadEnd::Closed);
            }
            match intake.offer(record, PATIENCE) {
                Ok(()) => return Ok(()),
                Err(OfferError::Full(back)) => record = *back,
                Err(OfferError::Closed) => return Err(ReadEnd::Closed),
            }
        }
    })
}
