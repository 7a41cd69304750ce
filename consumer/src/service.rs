//! The running consumer: finds the campaign's row, joins the group, and stores what comes until it is asked to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use coupon_core::connections::{Connections, Kafka};
use coupon_core::identity::CampaignId;
use coupon_kafka_admin::AdminError;
use coupon_ledger::database::{self, DatabaseError};
use coupon_sink::decide::outage_delay;
use coupon_sink::pipeline::{Parts, Pipeline};
use coupon_sink::rows::CampaignRows;
use coupon_sink::writer::BatchLimits;

use crate::client::Seat;
use crate::guard::{GivenUp, Guard};
use crate::metrics::Metrics;
use crate::poll::{self, PollError, Poller, STOP_DEADLINE};
use crate::standstill::Patience;
use crate::status::Status;
use crate::witness::Witness;

/// Connections to the database: one writes, one is left over for a try that is still being given up.
const DATABASE_CONNECTIONS: u32 = 2;
/// How long leaving the group may take after everything is committed.
const LEAVE_DEADLINE: Duration = Duration::from_secs(10);

/// Why the consumer ended, other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Polling cannot go on.
    #[error(transparent)]
    Poll(#[from] PollError),
    /// The dead letter producer cannot be made.
    #[error("the Kafka producer cannot be made: {0}; correct the connection settings")]
    Producer(rdkafka::error::KafkaError),
    /// The witness cannot be made.
    #[error("the Kafka client that watches the reader cannot be made: {0}; correct the connection settings")]
    Witness(AdminError),
    /// The reader stands still for good.
    #[error(transparent)]
    StandsStill(#[from] GivenUp),
    /// The watch over the reader died.
    #[error("the watch over the reader: {0}")]
    Guard(String),
    /// The poll thread cannot be made, or died.
    #[error("the poll thread: {0}")]
    Thread(String),
}

/// What a consumer needs.
#[derive(Debug)]
pub struct Service {
    /// The campaign whose winners it stores.
    pub campaign: CampaignId,
    /// Where Kafka and the database are.
    pub connections: Connections,
    /// Names this process to the brokers.
    pub client_id: String,
    /// When a batch is full.
    pub limits: BatchLimits,
    /// How long a reader may stand still.
    pub patience: Patience,
    /// What it says about itself.
    pub status: Arc<Status>,
    /// What it counts.
    pub metrics: Metrics,
}

impl Service {
    /// Runs until `stop` is cancelled, and then until what is in hand is stored and committed, in bounded time.
    ///
    /// # Errors
    /// [`ServiceError`] when the process can do no more work: end it.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServiceError> {
        let Self { campaign, connections, client_id, limits, patience, status, metrics } = self;
        let pool = database::connect(&connections.database, DATABASE_CONNECTIONS);
        let mut rows = CampaignRows::new(pool.clone(), campaign.clone());
        // Only then the group is joined: partitions are better off with a member that can store.
        if !find_row(&mut rows, &status, &stop).await {
            return Ok(());
        }
        let (mut pipeline, intake) = Pipeline::start(Parts {
            kafka: &connections.kafka,
            campaign: &campaign,
            client_id: &client_id,
            rows,
            limits,
            above_total: patience.above_total,
            one_letter_each: true,
            pauses: Arc::clone(&status.pauses),
            observer: Arc::new(metrics.clone()),
            stop: stop.clone(),
        })
        .map_err(ServiceError::Producer)?;
        let progress = Arc::clone(&pipeline.progress);
        let seat = Arc::new(Seat::default());
        let guard = Guard {
            witness: Witness::new(&connections.kafka, &campaign, &client_id).map_err(ServiceError::Witness)?,
            campaign: campaign.clone(),
            progress: Arc::clone(&progress),
            status: Arc::clone(&status),
            metrics: metrics.clone(),
            seat: Arc::clone(&seat),
            patience,
            stop: stop.clone(),
        };
        let poller = Poller { campaign, intake, progress, status, metrics, seat, stop: stop.clone() };
        let mut end = start_polling(poller, connections.kafka, client_id)?;
        let mut guard = tokio::spawn(guard.run());
        let watched = tokio::select! {
            result = &mut end => {
                stop.cancel();
                return result.map_err(|_| ServiceError::Thread("it died".to_owned()))?.map_err(ServiceError::from);
            }
            // Without it a reader could stand still unseen.
            result = &mut guard => watched(result, &stop),
            () = stop.cancelled() => Ok(()),
        };
        stop.cancel();
        let left = match tokio::time::timeout(STOP_DEADLINE + LEAVE_DEADLINE, end).await {
            Ok(Ok(polled)) => polled.map_err(ServiceError::from),
            Ok(Err(_)) => Err(ServiceError::Thread("it died".to_owned())),
            Err(_) => {
                tracing::warn!("leaving the group hangs; ending without it");
                Ok(())
            }
        };
        // Why it ends comes first.
        watched.and(left)?;
        if !pipeline.ended_within(LEAVE_DEADLINE).await {
            tracing::warn!("some dead letters may not be written; their records will be read again");
        }
        Ok(())
    }
}

/// Polls on a thread of its own, which says in the end why it ended.
fn start_polling(
    poller: Poller,
    kafka: Kafka,
    client_id: String,
) -> Result<oneshot::Receiver<Result<(), PollError>>, ServiceError> {
    let (ended, end) = oneshot::channel();
    let polling = move || {
        // Nobody listens any more when the watchdog was faster.
        let _ = ended.send(poll::run(poller, &kafka, &client_id));
    };
    let thread = std::thread::Builder::new().name("poll".to_owned()).spawn(polling);
    thread.map_err(|error| ServiceError::Thread(error.to_string()))?;
    Ok(end)
}

/// What the end of the guard means. It ends by itself only when the process stops.
fn watched(result: Result<Result<(), GivenUp>, JoinError>, stop: &CancellationToken) -> Result<(), ServiceError> {
    match result {
        Ok(Ok(())) if stop.is_cancelled() => Ok(()),
        Ok(Ok(())) => Err(ServiceError::Guard("it ended".to_owned())),
        Ok(Err(given_up)) => Err(given_up.into()),
        Err(error) => Err(ServiceError::Guard(error.to_string())),
    }
}

/// Waits for the campaign's row, as long as it takes. False when the process stops first.
async fn find_row(rows: &mut CampaignRows, status: &Status, stop: &CancellationToken) -> bool {
    let mut tries = 0;
    loop {
        let error: DatabaseError = match rows.find().await {
            Ok(_) => {
                status.pauses.release_database();
                status.set_row_found();
                return true;
            }
            Err(error) => error,
        };
        status.pauses.hold_database(error.fault(), error.to_string());
        tokio::select! {
            () = tokio::time::sleep(outage_delay(tries)) => tries += 1,
            () = stop.cancelled() => return false,
        }
    }
}
