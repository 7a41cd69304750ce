//! The thread that polls Kafka. It never waits long for anything, as Kafka removes a member that does not poll: when
//! the writer is behind or the database is away it pauses partitions and keeps polling.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use coupon_core::connections::Kafka;
use coupon_core::identity::CampaignId;
use coupon_sink::queue::{Intake, OfferError, Progress, Record};

use crate::client::{Client, ClientFactory, Seat, SharedState, partitions};
use crate::metrics::Metrics;
use crate::status::{Right, Status};

/// How long one poll may wait.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long a full queue is waited for before partitions are paused. Pausing throws away what was fetched ahead.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);
/// Time between two commits while records flow.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two checks of what should be paused.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(50);
/// Time between two sessions that are tried where brokers refuse them.
const SESSION_PAUSE: Duration = Duration::from_secs(1);
/// How long the work in hand may take to finish when the process stops.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// Why polling ended, other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The client cannot be made or cannot subscribe.
    #[error("the Kafka consumer cannot be made: {0}; correct the connection settings")]
    Start(KafkaError),
    /// librdkafka will never work again in this process.
    #[error("Kafka refuses this consumer for good: {0}")]
    Fatal(KafkaError),
    /// There is no thread left.
    #[error("no thread for a client that is replaced: {0}")]
    Thread(std::io::Error),
    /// The writer ended by itself.
    #[error("the writer ended unexpectedly")]
    WriterGone,
}

/// What the poll loop needs.
pub(crate) struct Poller {
    /// The campaign whose topic is read.
    pub campaign: CampaignId,
    /// Where records go.
    pub intake: Intake,
    /// How far each partition is.
    pub progress: Arc<Progress>,
    /// Notes each poll, and says what to pause.
    pub status: Arc<Status>,
    /// Counts rebalances and commits.
    pub metrics: Metrics,
    /// The client's place, through which it is asked to make room for a fresh one.
    pub seat: Arc<Seat>,
    /// Ends the loop.
    pub stop: CancellationToken,
}

/// Joins the group and polls until asked to stop; then waits for the work in hand, at most [`STOP_DEADLINE`], commits,
/// and leaves the group. Blocks: run it on a thread of its own. Leaving can hang in librdkafka: watch it from outside.
///
/// # Errors
/// [`PollError`] when polling cannot go on in this process.
pub(crate) fn run(poller: Poller, kafka: &Kafka, client_id: &str) -> Result<(), PollError> {
    let Poller { campaign, intake, progress, status, metrics, seat, stop } = poller;
    let shared =
        SharedState { progress: Arc::clone(&progress), status: Arc::clone(&status), metrics, seat: Arc::clone(&seat) };
    let factory = ClientFactory::new(&campaign, kafka, client_id, shared);
    let mut client = factory.client().map_err(PollError::Start)?;
    let mut reader = Loop::new(campaign.topic(), intake, Arc::clone(&progress), status, Arc::clone(&seat));
    let ended = loop {
        if stop.is_cancelled() {
            break Ok(());
        }
        if seat.is_leaving() {
            // First what there was no room for: nobody waits for it any more.
            reader.begin_anew();
            factory.retire(client, &stop).map_err(PollError::Thread)?;
            if stop.is_cancelled() {
                return Ok(());
            }
            client = factory.client().map_err(PollError::Start)?;
        }
        if let Err(error) = reader.turn(&client) {
            break Err(error);
        }
    };
    // Nothing more goes in; the writer finishes what it has.
    drop(reader);
    if ended.is_ok() && !progress.wait(Instant::now() + STOP_DEADLINE, |frontiers| frontiers.unfinished() == 0) {
        tracing::warn!("stopping before all records in hand were stored; they will be read again");
    }
    client.context().commit(&client, CommitMode::Sync, |_| true);
    // What is left will be read again: nothing to wait for while the group is left.
    let left = progress.frontiers().assigned();
    for partition in left {
        progress.frontiers().forget(partition);
    }
    drop(client);
    ended
}

struct Loop {
    topic: String,
    intake: Intake,
    progress: Arc<Progress>,
    status: Arc<Status>,
    seat: Arc<Seat>,
    /// Records that there was no room for.
    held: VecDeque<Record>,
    full: bool,
    last_error: Option<Code>,
    /// The last order to librdkafka for each partition. It remembers a pause beyond a revocation, so each assignment begins
    /// with an order, one way or the other.
    paused: BTreeMap<i32, bool>,
    next_housekeeping: Instant,
    next_commit: Instant,
    /// Whether a commit was sent whose outcome is not known.
    committed_before: bool,
    /// Before that a session that is refused is no reason for another.
    next_session: Instant,
}

impl Loop {
    fn new(topic: String, intake: Intake, progress: Arc<Progress>, status: Arc<Status>, seat: Arc<Seat>) -> Self {
        Self {
            topic,
            intake,
            progress,
            status,
            seat,
            held: VecDeque::new(),
            full: false,
            last_error: None,
            paused: BTreeMap::new(),
            next_housekeeping: Instant::now(),
            next_commit: Instant::now() + COMMIT_INTERVAL,
            committed_before: false,
            next_session: Instant::now(),
        }
    }

    /// Drops what belongs to the client that is being replaced.
    fn begin_anew(&mut self) {
        self.held.clear();
        self.set_full(false);
        self.paused.clear();
        (self.last_error, self.committed_before) = (None, false);
    }

    /// One poll and what follows from it.
    fn turn(&mut self, consumer: &Client) -> Result<(), PollError> {
        let mut polled = consumer.poll(Duration::ZERO);
        if polled.is_none() {
            self.seat.note_drained();
            // A rebalance shows as an empty poll: a new partition is paused, if it must be, before its first record.
            self.pause_and_resume(consumer);
            polled = consumer.poll(POLL_WAIT);
        }
        self.status.polled();
        let idle = polled.is_none();
        match polled {
            Some(Ok(message)) => {
                if self.last_error.take().is_some() {
                    self.status.set_right(Right::Topic, None);
                }
                if let Some(record) = self.intake.hand_out(message.detach()) {
                    self.held.push_back(record);
                }
            }
            Some(Err(error)) if is_fatal(&error) => return Err(PollError::Fatal(error)),
            Some(Err(error)) if error.rdkafka_error_code() == Some(Code::InvalidSessionTimeout) => {
                self.try_another_session()
            }
            Some(Err(error)) => {
                if self.last_error != error.rdkafka_error_code() {
                    tracing::warn!(%error, "polling");
                }
                self.last_error = error.rdkafka_error_code();
                self.status.note_refusal(&error);
                self.status.set_kafka_error(Some(error.to_string()));
            }
            None => {}
        }
        self.pass_on()?;
        let now = Instant::now();
        if idle || now >= self.next_housekeeping {
            self.next_housekeeping = now + HOUSEKEEPING_INTERVAL;
            self.pause_and_resume(consumer);
        }
        if now >= self.next_commit {
            self.next_commit = now + COMMIT_INTERVAL;
            self.pass_over(consumer);
            // First what became of the last commit, so that nothing is sent again while nothing moves.
            if self.committed_before {
                consumer.context().check(consumer);
            }
            self.committed_before = consumer.context().commit(consumer, CommitMode::Async, |_| true);
        }
        Ok(())
    }

    /// Joins with another session than the brokers have refused just now.
    fn try_another_session(&mut self) {
        if Instant::now() < self.next_session || self.seat.is_leaving() {
            return;
        }
        self.next_session = Instant::now() + SESSION_PAUSE;
        let said = self.seat.refuse_session();
        tracing::warn!("{said}");
        self.status.set_kafka_error(Some(said));
        self.seat.leave();
    }

    /// Passes offsets that hold no record, as the end of a transaction does: what the client has gone past, and not given out, is none.
    /// What it gave out was handed out before this.
    fn pass_over(&self, consumer: &Client) {
        let positions = match consumer.position() {
            Ok(positions) => positions,
            Err(error) => return tracing::debug!(%error, "where the client is, it does not say"),
        };
        let mut frontiers = self.progress.frontiers();
        for element in positions.elements() {
            if let Offset::Offset(next) = element.offset() {
                frontiers.pass_over(element.partition(), next);
            }
        }
    }

    /// Queues what is held. Waits for room once; after that partitions are paused until there is plenty.
    fn pass_on(&mut self) -> Result<(), PollError> {
        if self.full && !self.intake.has_room() {
            return Ok(());
        }
        while let Some(record) = self.held.pop_front() {
            match self.intake.offer(record, if self.full { Duration::ZERO } else { QUEUE_PATIENCE }) {
                Ok(()) => {}
                Err(OfferError::Full(record)) => {
                    self.held.push_front(*record);
                    self.set_full(true);
                    return Ok(());
                }
                Err(OfferError::Closed) => return Err(PollError::WriterGone),
            }
        }
        self.set_full(false);
        Ok(())
    }

    fn set_full(&mut self, full: bool) {
        if self.full != full {
            self.full = full;
            self.status.set_queue_full(full);
        }
    }

    fn pause_and_resume(&mut self, consumer: &Client) {
        let assigned = self.progress.frontiers().assigned();
        self.paused.retain(|partition, _| assigned.contains(partition));
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        for partition in assigned {
            let wanted = self.status.should_pause(partition);
            if self.paused.get(&partition) != Some(&wanted) {
                let list = if wanted { &mut pause } else { &mut resume };
                list.add_partition(&self.topic, partition);
            }
        }
        if pause.count() > 0 && report(consumer.pause(&pause)) {
            self.paused.extend(partitions(&pause).into_iter().map(|partition| (partition, true)));
        }
        if resume.count() > 0 && report(consumer.resume(&resume)) {
            self.paused.extend(partitions(&resume).into_iter().map(|partition| (partition, false)));
        }
    }
}

fn report(result: KafkaResult<()>) -> bool {
    if let Err(error) = &result {
        tracing::warn!(%error, "partitions were not paused or resumed; trying again");
    }
    result.is_ok()
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(
            error.rdkafka_error_code(),
            Some(Code::Fatal | Code::Fenced | Code::FencedInstanceId | Code::UnreleasedInstanceId)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a fenced consumer sits there alive and reads nothing, or a passing error restarts the pod.
    #[test]
    fn only_errors_that_never_pass_end_the_process() {
        for (error, fatal) in [
            (KafkaError::MessageConsumptionFatal(Code::FencedInstanceId), true),
            (KafkaError::MessageConsumption(Code::Fatal), true),
            (KafkaError::MessageConsumption(Code::FencedInstanceId), true),
            (KafkaError::MessageConsumption(Code::AllBrokersDown), false),
            (KafkaError::MessageConsumption(Code::UnknownTopicOrPartition), false),
            (KafkaError::MessageConsumption(Code::PollExceeded), false),
            (KafkaError::MessageConsumption(Code::TopicAuthorizationFailed), false),
        ] {
            assert_eq!(is_fatal(&error), fatal, "{error}");
        }
    }
}
