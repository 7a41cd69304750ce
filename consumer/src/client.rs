//! The Kafka client that reads: how it is made, what it does in a rebalance, and how it makes room for a fresh one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use coupon_core::connections::Kafka;
use coupon_core::identity::CampaignId;
use coupon_ledger::kafka::client_config;
use coupon_sink::queue::Progress;

use crate::metrics::Metrics;
use crate::status::{POLL_SILENCE, Right, Status};

/// How long Kafka leaves its partitions to a consumer that it does not hear from: that long the records of a killed one wait.
/// Brokers allow 6 s at least, unless they are configured otherwise; a process that stops for some seconds should not lose its place.
pub const SESSION: Duration = SESSIONS[0];
/// What is tried, one after the other and again, as long as the brokers refuse it. Which bounds they have they do not say, nor may the
/// pods' user ask. None is above [`POLL_SILENCE`], which librdkafka would refuse.
const SESSIONS: [Duration; 5] = [
    Duration::from_secs(10),
    Duration::from_secs(6),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(3),
];
/// Time between two signs of life, which librdkafka gives by itself, whatever the database does: at most this, and three in a session.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long Kafka may take to say what is committed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a revoked partition's work in hand may take to finish.
const REVOKE_DEADLINE: Duration = Duration::from_secs(5);
/// How long the end of a replaced client is waited for. By then its session has ended as well, if it gives no sign of life.
const RETIRE_DEADLINE: Duration = Duration::from_secs(12);
/// How soon a stop is heeded meanwhile.
const STOP_POLL: Duration = Duration::from_millis(100);

/// The Kafka client that reads.
pub(crate) type Client = BaseConsumer<Context>;

/// The place of the reader's client: what the guard knows of it, and what it may ask of it.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// Clients that sat here.
    clients: AtomicU32,
    /// The present one must make room.
    leave: AtomicBool,
    /// Partitions are being shared out, as far as the present one knows.
    unsettled: AtomicBool,
    /// How often all that was fetched had been taken.
    drained: AtomicU64,
    /// Clients that were replaced and have not ended.
    hanging: AtomicU32,
    /// Sessions that the brokers have refused.
    refused: AtomicUsize,
}

impl Seat {
    pub(crate) fn clients(&self) -> u32 {
        self.clients.load(Ordering::SeqCst)
    }

    /// Has the present client replaced by a fresh one.
    pub(crate) fn leave(&self) {
        self.leave.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leave.load(Ordering::SeqCst)
    }

    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::SeqCst)
    }

    /// All that was fetched has been taken: what is not here now was not fetched.
    pub(crate) fn note_drained(&self) {
        self.drained.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn drained(&self) -> u64 {
        self.drained.load(Ordering::Relaxed)
    }

    pub(crate) fn hanging(&self) -> u32 {
        self.hanging.load(Ordering::SeqCst)
    }

    /// The session that the next client asks for.
    pub(crate) fn session(&self) -> Duration {
        SESSIONS[self.refused.load(Ordering::SeqCst) % SESSIONS.len()]
    }

    /// The brokers refuse the present session: the next client asks for another. What to tell people.
    pub(crate) fn refuse_session(&self) -> String {
        let refused = self.session();
        let tries = self.refused.fetch_add(1, Ordering::SeqCst) + 1;
        let all: Vec<String> = SESSIONS.iter().map(|session| session.as_secs().to_string()).collect();
        let none = if tries < SESSIONS.len() { "" } else { ", as none of them was taken so far" };
        format!(
            "the brokers refuse a session of {} s, and {} s is tried{none}: group.min.session.timeout.ms and \
             group.max.session.timeout.ms of the brokers must let one of {} s pass",
            refused.as_secs(),
            self.session().as_secs(),
            all.join(", ")
        )
    }
}

/// What a client shares with the rest of the process.
#[derive(Clone)]
pub(crate) struct SharedState {
    pub progress: Arc<Progress>,
    pub status: Arc<Status>,
    pub metrics: Metrics,
    pub seat: Arc<Seat>,
}

pub(crate) struct Context {
    topic: String,
    shared: SharedState,
    /// Another client has its place: nothing of what still happens to this one concerns anybody.
    retired: AtomicBool,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
        if !self.is_retired() {
            self.shared.status.note_refusal(&error);
            self.shared.status.set_kafka_error(Some(format!("{error}: {reason}")));
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if self.is_retired() {
            return;
        }
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = partitions(list);
                tracing::info!(?partitions, "assigned");
                self.shared.metrics.rebalance("assign");
                let mut frontiers = self.shared.progress.frontiers();
                partitions.into_iter().for_each(|partition| frontiers.assign(partition));
                drop(frontiers);
                self.shared.seat.unsettled.store(false, Ordering::SeqCst);
                self.shared.status.set_joined();
            }
            Rebalance::Revoke(list) => self.revoke(consumer, &partitions(list)),
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance"),
        }
    }
}

impl Context {
    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &BTreeSet<i32>) {
        let lost = consumer.assignment_lost();
        tracing::info!(?partitions, lost, "revoked");
        self.shared.metrics.rebalance(if lost { "lost" } else { "revoke" });
        self.shared.seat.unsettled.store(true, Ordering::SeqCst);
        if !lost {
            self.finish(partitions);
            self.commit(consumer, CommitMode::Sync, |partition| partitions.contains(&partition));
        }
        self.forget(partitions);
    }

    /// Begins nothing more of these partitions, and waits for what is in hand.
    fn finish(&self, partitions: &BTreeSet<i32>) {
        let progress = &self.shared.progress;
        {
            let mut frontiers = progress.frontiers();
            partitions.iter().for_each(|partition| frontiers.revoke(*partition));
        }
        progress.revoked.notify_one();
        let ours = |partition: i32| partitions.contains(&partition);
        progress.wait(Instant::now() + REVOKE_DEADLINE, |frontiers| frontiers.in_hand(ours) == 0);
    }

    fn forget(&self, partitions: &BTreeSet<i32>) {
        let mut frontiers = self.shared.progress.frontiers();
        for partition in partitions {
            frontiers.forget(*partition);
            self.shared.metrics.forget_partition(*partition);
        }
        drop(frontiers);
        self.shared.progress.revoked.notify_one();
    }

    /// What moved since it was last committed.
    fn moved(&self, wanted: impl Fn(i32) -> bool) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, next) in self.shared.progress.frontiers().to_commit(wanted) {
            if let Err(error) = list.add_partition_offset(&self.topic, partition, Offset::Offset(next)) {
                tracing::error!(%error, partition, next, "an offset that cannot be committed");
            }
        }
        list
    }

    /// Commits what moved. False when nothing did.
    pub(crate) fn commit(&self, consumer: &BaseConsumer<Self>, mode: CommitMode, wanted: impl Fn(i32) -> bool) -> bool {
        let list = self.moved(wanted);
        if list.count() == 0 {
            return false;
        }
        match consumer.commit(&list, mode) {
            Ok(()) if matches!(mode, CommitMode::Sync) => self.confirm(&list),
            Ok(()) => {}
            // Records are read again, and found to be there.
            Err(error) => tracing::warn!(%error, ?list, "offsets were not committed"),
        }
        true
    }

    /// Asks Kafka what the group has committed: rdkafka never reports how an asynchronous commit went.
    pub(crate) fn check(&self, consumer: &BaseConsumer<Self>) {
        let unconfirmed = self.shared.progress.frontiers().to_commit(|_| true);
        if unconfirmed.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for partition in unconfirmed.keys() {
            list.add_partition(&self.topic, *partition);
        }
        match consumer.committed_offsets(list, CHECK_TIMEOUT) {
            Ok(committed) => {
                self.shared.status.set_right(Right::Group, None);
                self.confirm(&committed);
            }
            // What is not known to be committed is committed again.
            Err(error) => {
                self.shared.status.note_refusal(&error);
                tracing::debug!(%error, "the group's offsets are not known");
            }
        }
    }

    fn confirm(&self, committed: &TopicPartitionList) {
        for element in committed.elements() {
            if let (Offset::Offset(next), Ok(())) = (element.offset(), element.error())
                && self.shared.progress.frontiers().confirm(element.partition(), next)
            {
                self.shared.metrics.set_committed(element.partition(), next);
            }
        }
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// The partitions of a list.
pub(crate) fn partitions(list: &TopicPartitionList) -> BTreeSet<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

/// Makes clients, one at a time.
pub(crate) struct ClientFactory {
    config: ClientConfig,
    topic: String,
    shared: SharedState,
}

impl ClientFactory {
    pub(crate) fn new(campaign: &CampaignId, kafka: &Kafka, client_id: &str, shared: SharedState) -> Self {
        let config = client_config(
            kafka,
            client_id,
            &[
                ("group.id", &campaign.group()),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                // The default would lose everything that was issued before the first consumer came.
                ("auto.offset.reset", "earliest"),
                ("partition.assignment.strategy", "cooperative-sticky"),
                // A member that gives signs of life and does not poll holds up every rebalance for as long. Polls are never
                // further apart than the seconds that revoked work may take.
                ("max.poll.interval.ms", &millis(POLL_SILENCE)),
                // Nobody writes transactions here; one left open by a stranger must not hide what lies behind it.
                ("isolation.level", "read_uncommitted"),
                ("enable.partition.eof", "false"),
                ("fetch.wait.max.ms", "50"),
                ("fetch.queue.backoff.ms", "50"),
                ("queued.min.messages", "10000"),
                ("queued.max.messages.kbytes", "16384"),
            ],
        );
        Self { config, topic: campaign.topic(), shared }
    }

    /// A client that joins the group.
    ///
    /// # Errors
    /// librdkafka refuses the settings, or has no threads left.
    pub(crate) fn client(&self) -> KafkaResult<Client> {
        let context =
            Context { topic: self.topic.clone(), shared: self.shared.clone(), retired: AtomicBool::new(false) };
        self.shared.status.set_joining();
        self.shared.seat.unsettled.store(true, Ordering::SeqCst);
        let session = self.shared.seat.session();
        let mut config = self.config.clone();
        config
            .set("session.timeout.ms", millis(session))
            .set("heartbeat.interval.ms", millis(HEARTBEAT.min(session / 3)));
        let client: Client = config.create_with_context(context)?;
        client.subscribe(&[&self.topic])?;
        self.shared.seat.clients.fetch_add(1, Ordering::SeqCst);
        self.shared.seat.leave.store(false, Ordering::SeqCst);
        Ok(client)
    }

    /// Takes a client out of service: waits for the work in hand, has it committed, and waits for the client's end, some seconds
    /// each. One that hangs is left to a thread of its own; nothing of it concerns the next one. What was not committed is read
    /// again, and found to be there.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(crate) fn retire(&self, client: Client, stop: &CancellationToken) -> std::io::Result<()> {
        let context = Arc::clone(client.context());
        let ours: BTreeSet<i32> = self.shared.progress.frontiers().assigned().into_iter().collect();
        context.retired.store(true, Ordering::SeqCst);
        context.finish(&ours);
        let done = context.moved(|partition| ours.contains(&partition));
        context.forget(&ours);
        let seat = Arc::clone(&self.shared.seat);
        let (ended, end) = mpsc::channel::<()>();
        seat.hanging.fetch_add(1, Ordering::SeqCst);
        std::thread::Builder::new().name("retired".to_owned()).spawn(move || {
            if done.count() > 0
                && let Err(error) = client.commit(&done, CommitMode::Sync)
            {
                tracing::info!(%error, "a replaced client's last offsets were not committed; they are read again");
            }
            drop(client);
            seat.hanging.fetch_sub(1, Ordering::SeqCst);
            drop(ended);
        })?;
        let deadline = Instant::now() + RETIRE_DEADLINE;
        while !stop.is_cancelled() {
            match end.recv_timeout(STOP_POLL) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    tracing::warn!("the replaced Kafka client does not end; going on without it");
                    break;
                }
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: consumers never join a group whose brokers want shorter, or longer, sessions than we do.
    #[test]
    fn sessions_that_brokers_refuse_are_followed_by_others() {
        let seat = Seat::default();
        let mut tried = vec![seat.session()];
        for _ in 0..SESSIONS.len() {
            let said = seat.refuse_session();
            let (refused, next) = (tried.last().unwrap().as_secs(), seat.session());
            assert!(
                said.contains(&format!("refuse a session of {refused} s, and {} s is tried", next.as_secs())),
                "{said}"
            );
            assert!(said.contains("group.max.session.timeout.ms"), "{said}");
            assert_eq!(said.contains("none of them was taken"), tried.len() == SESSIONS.len(), "{said}");
            tried.push(next);
        }
        assert_eq!(tried.pop(), Some(SESSION), "and from the first on again, as brokers may be configured otherwise");
        let (least, most) = (tried.iter().min().unwrap(), tried.iter().max().unwrap());
        assert!(*least < Duration::from_secs(6) && *most <= POLL_SILENCE);
        tried.dedup();
        assert_eq!(tried.len(), SESSIONS.len());
    }
}
