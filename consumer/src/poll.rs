//! The thread that polls Kafka. It never waits long for anything, so that the group never loses patience with it: when
//! the writer is behind or the database is away it pauses partitions and keeps polling.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use campaign::identity::CampaignId;
use campaign::log::client_config;
use campaign::settings::Kafka;

use crate::metrics::Metrics;
use crate::queue::{Intake, Progress, Record, Refused};
use crate::status::Status;

/// How long one poll may wait.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long a full queue is waited for before partitions are paused. Pausing throws away what was fetched ahead.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);
/// Time between two commits while records flow.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How long Kafka leaves its partitions to a consumer that it does not hear from: that long the records of a killed one wait.
/// Brokers allow 6 s at least; a process that stops for some seconds should not lose its place.
pub const SESSION: Duration = Duration::from_secs(10);
/// Time between two signs of life, which librdkafka gives by itself, whatever the database does.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long Kafka may take to say what is committed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two looks at what should be paused.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(50);
/// How long a revoked partition's work in hand may take to finish.
const REVOKE_DEADLINE: Duration = Duration::from_secs(5);
/// How long the work in hand may take to finish when the process stops.
pub const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// Why polling ended, other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The client cannot be made or cannot subscribe.
    #[error("the Kafka consumer cannot be made: {0}; correct the connection settings")]
    Start(KafkaError),
    /// librdkafka will never work again in this process.
    #[error("Kafka refuses this consumer for good: {0}")]
    Fatal(KafkaError),
    /// The writer ended by itself.
    #[error("the writer ended unexpectedly")]
    WriterGone,
}

/// What the poll loop needs.
pub struct Poller {
    /// The campaign whose topic is read.
    pub campaign: CampaignId,
    /// Where records go.
    pub intake: Intake,
    /// How far each partition is.
    pub progress: Arc<Progress>,
    /// Told of each poll; says what to pause.
    pub status: Arc<Status>,
    /// Told of rebalances and commits.
    pub metrics: Metrics,
    /// Ends the loop.
    pub stop: CancellationToken,
}

struct Context {
    topic: String,
    progress: Arc<Progress>,
    status: Arc<Status>,
    metrics: Metrics,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
        self.status.set_kafka_error(Some(format!("{error}: {reason}")));
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = partitions(list);
                tracing::info!(?partitions, "assigned");
                self.metrics.rebalance("assign");
                let mut frontiers = self.progress.frontiers();
                partitions.into_iter().for_each(|partition| frontiers.assign(partition));
                drop(frontiers);
                self.status.set_joined();
            }
            Rebalance::Revoke(list) => self.revoke(consumer, &partitions(list)),
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance"),
        }
    }
}

impl Context {
    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &BTreeSet<i32>) {
        let lost = consumer.assignment_lost();
        tracing::info!(?partitions, lost, "revoked");
        self.metrics.rebalance(if lost { "lost" } else { "revoke" });
        let ours = |partition: i32| partitions.contains(&partition);
        if !lost {
            {
                let mut frontiers = self.progress.frontiers();
                partitions.iter().for_each(|partition| frontiers.revoke(*partition));
            }
            self.progress.revoked.notify_one();
            self.progress.wait(Instant::now() + REVOKE_DEADLINE, |frontiers| frontiers.in_hand(ours) == 0);
            self.commit(consumer, CommitMode::Sync, ours);
        }
        let mut frontiers = self.progress.frontiers();
        for partition in partitions {
            frontiers.forget(*partition);
            self.metrics.forget_partition(*partition);
        }
        drop(frontiers);
        self.progress.revoked.notify_one();
    }

    /// Commits what moved. False when nothing did.
    fn commit(&self, consumer: &BaseConsumer<Self>, mode: CommitMode, wanted: impl Fn(i32) -> bool) -> bool {
        let offsets = self.progress.frontiers().to_commit(wanted);
        if offsets.is_empty() {
            return false;
        }
        let mut list = TopicPartitionList::new();
        for (partition, next) in &offsets {
            if let Err(error) = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*next)) {
                tracing::error!(%error, partition, next, "an offset that cannot be committed");
            }
        }
        match consumer.commit(&list, mode) {
            Ok(()) if matches!(mode, CommitMode::Sync) => {
                offsets.into_iter().for_each(|(partition, next)| self.confirm(partition, next));
            }
            Ok(()) => {}
            // Records are read again, and found to be there.
            Err(error) => tracing::warn!(%error, ?offsets, "offsets were not committed"),
        }
        true
    }

    /// Asks Kafka what the group has committed: rdkafka never reports how an asynchronous commit went.
    fn check(&self, consumer: &BaseConsumer<Self>) {
        let unconfirmed = self.progress.frontiers().to_commit(|_| true);
        if unconfirmed.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for partition in unconfirmed.keys() {
            list.add_partition(&self.topic, *partition);
        }
        match consumer.committed_offsets(list, CHECK_TIMEOUT) {
            Ok(committed) => {
                for element in committed.elements() {
                    if let (Offset::Offset(next), Ok(())) = (element.offset(), element.error()) {
                        self.confirm(element.partition(), next);
                    }
                }
            }
            // What is not known to be committed is committed again.
            Err(error) => tracing::debug!(%error, "the group's offsets are not known"),
        }
    }

    fn confirm(&self, partition: i32, next: i64) {
        if self.progress.frontiers().confirm(partition, next) {
            self.metrics.set_committed(partition, next);
        }
    }
}

fn partitions(list: &TopicPartitionList) -> BTreeSet<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

/// Joins the group and polls until asked to stop; then waits for the work in hand, at most [`STOP_DEADLINE`], commits,
/// and leaves the group. Blocks: run it on a thread of its own. Leaving can hang in librdkafka: watch it from outside.
///
/// # Errors
/// [`PollError`] when polling cannot go on in this process.
pub fn run(poller: Poller, kafka: &Kafka, client_id: &str) -> Result<(), PollError> {
    let Poller { campaign, intake, progress, status, metrics, stop } = poller;
    let group = campaign.group();
    let config = client_config(
        kafka,
        client_id,
        &[
            ("group.id", &group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // The default would lose everything that was issued before the first consumer came.
            ("auto.offset.reset", "earliest"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", &SESSION.as_millis().to_string()),
            ("heartbeat.interval.ms", &HEARTBEAT.as_millis().to_string()),
            ("max.poll.interval.ms", "300000"),
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "false"),
            ("fetch.wait.max.ms", "50"),
            ("fetch.queue.backoff.ms", "50"),
            ("queued.min.messages", "10000"),
            ("queued.max.messages.kbytes", "16384"),
        ],
    );
    let topic = campaign.topic();
    let context = Context {
        topic: topic.clone(),
        progress: Arc::clone(&progress),
        status: Arc::clone(&status),
        metrics: metrics.clone(),
    };
    let consumer: BaseConsumer<Context> = config.create_with_context(context).map_err(PollError::Start)?;
    consumer.subscribe(&[&topic]).map_err(PollError::Start)?;
    let mut reader = Loop {
        topic,
        intake,
        status,
        held: VecDeque::new(),
        full: false,
        last_error: None,
        paused: BTreeMap::new(),
        next_housekeeping: Instant::now(),
        next_commit: Instant::now() + COMMIT_INTERVAL,
        committed_before: false,
    };
    let ended = loop {
        if stop.is_cancelled() {
            break Ok(());
        }
        if let Err(error) = reader.turn(&consumer) {
            break Err(error);
        }
    };
    // Nothing more goes in; the writer finishes what it has.
    drop(reader);
    if ended.is_ok() && !progress.wait(Instant::now() + STOP_DEADLINE, |frontiers| frontiers.unfinished() == 0) {
        tracing::warn!("stopping before all records in hand were stored; they will be read again");
    }
    let context = consumer.context();
    context.commit(&consumer, CommitMode::Sync, |_| true);
    // What is left will be read again: nothing to wait for while the group is left.
    let left = progress.frontiers().assigned();
    for partition in left {
        progress.frontiers().forget(partition);
    }
    drop(consumer);
    ended
}

struct Loop {
    topic: String,
    intake: Intake,
    status: Arc<Status>,
    /// Records that there was no room for.
    held: VecDeque<Record>,
    full: bool,
    last_error: Option<Code>,
    /// What librdkafka was told of each partition. It remembers a pause beyond a revocation, so each assignment begins
    /// with an order, one way or the other.
    paused: BTreeMap<i32, bool>,
    next_housekeeping: Instant,
    next_commit: Instant,
    /// Whether a commit was sent whose outcome is not known.
    committed_before: bool,
}

impl Loop {
    /// One poll and what follows from it.
    fn turn(&mut self, consumer: &BaseConsumer<Context>) -> Result<(), PollError> {
        let polled = consumer.poll(POLL_WAIT);
        self.status.polled();
        let idle = polled.is_none();
        match polled {
            Some(Ok(message)) => {
                if let Some(record) = self.intake.hand_out(message.detach()) {
                    self.held.push_back(record);
                }
            }
            Some(Err(error)) if is_fatal(&error) => return Err(PollError::Fatal(error)),
            Some(Err(error)) => {
                if self.last_error != error.rdkafka_error_code() {
                    tracing::warn!(%error, "polling");
                }
                self.last_error = error.rdkafka_error_code();
                self.status.set_kafka_error(Some(error.to_string()));
            }
            None => {}
        }
        self.pass_on()?;
        let now = Instant::now();
        // A rebalance shows as an empty poll, so that a new partition is paused, if it must be, before its first record.
        if idle || now >= self.next_housekeeping {
            self.next_housekeeping = now + HOUSEKEEPING_INTERVAL;
            self.pause_and_resume(consumer);
        }
        if now >= self.next_commit {
            self.next_commit = now + COMMIT_INTERVAL;
            // First what became of the last commit, so that nothing is sent again while nothing moves.
            if self.committed_before {
                consumer.context().check(consumer);
            }
            self.committed_before = consumer.context().commit(consumer, CommitMode::Async, |_| true);
        }
        Ok(())
    }

    /// Queues what is held. Waits for room once; after that partitions are paused until there is plenty.
    fn pass_on(&mut self) -> Result<(), PollError> {
        if self.full && !self.intake.has_room() {
            return Ok(());
        }
        while let Some(record) = self.held.pop_front() {
            match self.intake.offer(record, if self.full { Duration::ZERO } else { QUEUE_PATIENCE }) {
                Ok(()) => {}
                Err(Refused::Full(record)) => {
                    self.held.push_front(*record);
                    self.set_full(true);
                    return Ok(());
                }
                Err(Refused::Closed) => return Err(PollError::WriterGone),
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

    fn pause_and_resume(&mut self, consumer: &BaseConsumer<Context>) {
        let assigned = consumer.context().progress.frontiers().assigned();
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
