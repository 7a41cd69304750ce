//! What the process says about itself: why it pauses, and the answers to the probes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use campaign::identity::CampaignId;
use campaign::log::lacks_a_right;
use campaign::table::Fault;
use campaign::telemetry::{Probes, Verdict};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::metrics::{self, Metrics};

/// How long the poll loop may be silent before the process counts as stuck.
pub const POLL_SILENCE: Duration = Duration::from_secs(60);

/// Why reading is paused now.
#[derive(Debug, Default)]
struct Holds {
    database: Option<(Fault, String)>,
    breaker: Option<String>,
    above_total: BTreeMap<i32, String>,
    dead_letters: BTreeMap<i32, usize>,
    dead_letter_error: String,
    queue_full: bool,
    kafka: Option<String>,
    rights: BTreeMap<Right, String>,
}

/// What Kafka lets a user read, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// The campaign's topic.
    Topic,
    /// Its consumer group.
    Group,
}

/// Shared by all parts of a consumer. Each change is logged once, however often it is reported.
#[derive(Debug)]
pub struct Status {
    campaign: CampaignId,
    metrics: Metrics,
    born: Instant,
    /// Milliseconds from `born` to the last poll; 0 before the first.
    last_poll: AtomicU64,
    joined: AtomicBool,
    ledger_found: AtomicBool,
    holds: Mutex<Holds>,
}

impl Status {
    /// Nothing is known yet.
    pub fn new(campaign: &CampaignId, metrics: &Metrics) -> Self {
        Self {
            campaign: campaign.clone(),
            metrics: metrics.clone(),
            born: Instant::now(),
            last_poll: AtomicU64::new(0),
            joined: AtomicBool::new(false),
            ledger_found: AtomicBool::new(false),
            holds: Mutex::new(Holds::default()),
        }
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The poll loop went round.
    pub fn polled(&self) {
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_poll.store(millis.max(1), Ordering::Relaxed);
    }

    /// The group has answered with an assignment, an empty one perhaps.
    pub fn set_joined(&self) {
        self.joined.store(true, Ordering::Relaxed);
        self.set_right(Right::Group, None);
        self.set_kafka_error(None);
    }

    /// The group is being joined, at first or once more.
    pub fn set_joining(&self) {
        self.joined.store(false, Ordering::Relaxed);
    }

    /// The campaign's row was found.
    pub fn set_ledger_found(&self) {
        self.ledger_found.store(true, Ordering::Relaxed);
    }

    /// What Kafka complains about; `None` when it works.
    pub fn set_kafka_error(&self, error: Option<String>) {
        self.holds().kafka = error;
    }

    /// What Kafka complained about since the group was last joined.
    pub fn kafka_error(&self) -> Option<String> {
        self.holds().kafka.clone()
    }

    /// Kafka does not let this process use what it must, in its words; `None`: it does.
    pub fn set_right(&self, right: Right, refused: Option<String>) {
        let mut holds = self.holds();
        match refused {
            Some(words) => {
                let resource = match right {
                    Right::Topic => format!("topic {}", self.campaign.topic()),
                    Right::Group => format!("consumer group {}", self.campaign.group()),
                };
                let text = format!(
                    "Kafka does not let this consumer's user Read {resource}: {words}; add an ACL that allows it"
                );
                if holds.rights.insert(right, text.clone()).is_none() {
                    tracing::error!(campaign = %self.campaign, "{text}");
                }
            }
            None => {
                if holds.rights.remove(&right).is_some() {
                    tracing::info!(campaign = %self.campaign, ?right, "Kafka lets this consumer read again");
                }
            }
        }
    }

    /// Remembers which right is missing, if that is what Kafka's answer is about.
    pub fn note_refusal(&self, error: &KafkaError) {
        let Some(code) = error.rdkafka_error_code().filter(|code| lacks_a_right(*code)) else { return };
        let right = if code == Code::GroupAuthorizationFailed { Right::Group } else { Right::Topic };
        self.set_right(right, Some(code.to_string()));
    }

    /// The database does not work; reading pauses.
    pub fn hold_database(&self, fault: Fault, error: String) {
        let mut holds = self.holds();
        if holds.database.as_ref().map(|(known, _)| *known) != Some(fault) {
            tracing::error!(campaign = %self.campaign, ?fault, %error, "the database does not work; waiting for it");
        }
        holds.database = Some((fault, error));
        self.metrics.set_paused(metrics::DATABASE, 1);
    }

    /// The database works.
    pub fn release_database(&self) {
        if self.holds().database.take().is_some() {
            tracing::info!(campaign = %self.campaign, "the database works again");
            self.metrics.set_paused(metrics::DATABASE, 0);
        }
    }

    /// Too many rows in a row were refused; reading pauses.
    pub fn hold_breaker(&self, error: String) {
        let mut holds = self.holds();
        if holds.breaker.is_none() {
            tracing::error!(
                campaign = %self.campaign,
                %error,
                "the database refuses row after row; nothing more is dead-lettered until it takes one"
            );
        }
        holds.breaker = Some(error);
        self.metrics.set_paused(metrics::BREAKER, 1);
    }

    /// Whether reading is paused because of the database.
    pub fn is_database_held(&self) -> bool {
        self.holds().database.is_some()
    }

    /// Reading goes on.
    pub fn release_breaker(&self, why: &str) {
        if self.holds().breaker.take().is_some() {
            tracing::info!(campaign = %self.campaign, "reading on after refused rows: {why}");
            self.metrics.set_paused(metrics::BREAKER, 0);
        }
    }

    /// A rank is above the campaign's total, which may be about to rise; the partition pauses.
    pub fn hold_above_total(&self, (partition, offset): (i32, i64), rank: u64, total: u64) {
        let mut holds = self.holds();
        if !holds.above_total.contains_key(&partition) {
            tracing::error!(
                campaign = %self.campaign,
                partition,
                offset,
                rank,
                total,
                "a rank is above the campaign's total; waiting for the operator to put the total right before it is a dead letter"
            );
        }
        let text = format!(
            "the record at partition {partition}, offset {offset} has rank {rank} above the campaign's total of {total}, which may be from \
             before a raise: it is waited for, and becomes a dead letter if the total stays"
        );
        holds.above_total.insert(partition, text);
        self.metrics.set_paused(metrics::ABOVE_TOTAL, holds.above_total.len());
    }

    /// Ranks above the total are waited for in these partitions only.
    pub fn keep_above_total(&self, partitions: &BTreeSet<i32>) {
        let mut holds = self.holds();
        let before = holds.above_total.len();
        holds.above_total.retain(|partition, _| partitions.contains(partition));
        if holds.above_total.len() < before {
            tracing::info!(campaign = %self.campaign, ?partitions, "ranks above the total are waited for in these partitions only");
            self.metrics.set_paused(metrics::ABOVE_TOTAL, holds.above_total.len());
        }
    }

    /// A dead letter of this partition cannot be written; the partition pauses. Balanced by [`Status::release_partition`].
    pub fn hold_partition(&self, partition: i32, error: String) {
        let mut holds = self.holds();
        let count = holds.dead_letters.entry(partition).or_default();
        *count += 1;
        if *count == 1 {
            tracing::error!(campaign = %self.campaign, partition, %error, "the dead letter topic cannot be written; retrying");
        }
        holds.dead_letter_error = error;
        self.metrics.set_paused(metrics::DEAD_LETTER_TOPIC, holds.dead_letters.len());
    }

    /// The dead letter is written, or not wanted any more.
    pub fn release_partition(&self, partition: i32) {
        let mut holds = self.holds();
        if let Some(count) = holds.dead_letters.get_mut(&partition) {
            *count -= 1;
            if *count == 0 {
                holds.dead_letters.remove(&partition);
                tracing::info!(campaign = %self.campaign, partition, "no dead letter holds this partition any more");
            }
        }
        self.metrics.set_paused(metrics::DEAD_LETTER_TOPIC, holds.dead_letters.len());
    }

    /// The writer is so far behind that reading must pause.
    pub fn set_queue_full(&self, full: bool) {
        self.holds().queue_full = full;
        self.metrics.set_paused(metrics::QUEUE_FULL, usize::from(full));
    }

    /// Whether this partition should be paused now.
    pub fn should_pause(&self, partition: i32) -> bool {
        let holds = self.holds();
        holds.queue_full
            || holds.database.is_some()
            || holds.breaker.is_some()
            || holds.above_total.contains_key(&partition)
            || holds.dead_letters.contains_key(&partition)
    }

    /// Why reading stands still, if it does.
    pub fn trouble(&self) -> Option<String> {
        let holds = self.holds();
        let mut all = Vec::new();
        if let Some((fault, error)) = &holds.database {
            all.push(format!("{fault}: {error}"));
        }
        if let Some(error) = &holds.breaker {
            all.push(format!("the database refuses row after row: {error}"));
        }
        all.extend(holds.rights.values().cloned());
        all.extend(holds.above_total.values().next().cloned());
        if !holds.dead_letters.is_empty() {
            let partitions: Vec<_> = holds.dead_letters.keys().collect();
            all.push(format!(
                "dead letters of partitions {partitions:?} cannot be written: {}",
                holds.dead_letter_error
            ));
        }
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl Probes for Status {
    fn note(&self) -> Option<String> {
        self.trouble()
    }

    fn alive(&self) -> Verdict {
        let last = self.last_poll.load(Ordering::Relaxed);
        // Before the first poll the process waits for the database, which a restart would not bring back.
        if last == 0 {
            return Ok(());
        }
        let silence = self.born.elapsed().saturating_sub(Duration::from_millis(last));
        if silence > POLL_SILENCE {
            return Err(format!("no poll for {} s", silence.as_secs()));
        }
        Ok(())
    }

    fn ready(&self) -> Verdict {
        if let Some((fault, error)) = &self.holds().database {
            return Err(format!("{fault}: {error}"));
        }
        if !self.ledger_found.load(Ordering::Relaxed) {
            return Err("the campaign's row was not found yet".to_owned());
        }
        if !self.joined.load(Ordering::Relaxed) {
            let kafka = self.kafka_error().unwrap_or_else(|| "no answer yet".to_owned());
            return Err(format!("not in the consumer group yet: {kafka}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status::new(&CampaignId::with_default_names("r", "n", "c").unwrap(), &Metrics::default())
    }

    #[test]
    fn ready_needs_the_row_the_group_and_the_database() {
        let status = status();
        assert!(status.ready().unwrap_err().contains("row"));
        status.set_ledger_found();
        status.set_kafka_error(Some("no brokers".into()));
        assert!(status.ready().unwrap_err().contains("no brokers"));
        status.set_joined();
        assert_eq!(status.ready(), Ok(()));
        status.hold_database(Fault::Away, "connection refused".into());
        assert_eq!(
            status.ready().unwrap_err(),
            "the database is away, or takes nothing for now: connection refused",
            "in words, as status shows it to people"
        );
        status.release_database();
        assert_eq!(status.ready(), Ok(()));
    }

    #[test]
    fn a_dead_letter_that_cannot_be_written_stops_its_partition_only() {
        let status = status();
        status.hold_partition(1, "timeout".into());
        status.hold_partition(1, "timeout".into());
        assert!(status.should_pause(1) && !status.should_pause(0));
        status.release_partition(1);
        assert!(status.should_pause(1), "one more is not written");
        status.release_partition(1);
        assert!(!status.should_pause(1));
    }

    #[test]
    fn a_rank_above_the_total_stops_its_partition_only_and_is_named() {
        let status = status();
        status.hold_above_total((1, 70), 900, 500);
        assert!(status.should_pause(1) && !status.should_pause(0));
        let said = status.note().unwrap();
        assert!(said.contains("partition 1, offset 70 has rank 900 above the campaign's total of 500"), "{said}");
        status.keep_above_total(&BTreeSet::from([1]));
        assert!(status.should_pause(1));
        status.keep_above_total(&BTreeSet::new());
        assert!(!status.should_pause(1) && status.note().is_none());
    }

    /// Wrong: consumers that Kafka does not let read are ready, store nothing, and nobody says why.
    #[test]
    fn a_right_that_is_lost_is_named_until_it_is_back() {
        let status = status();
        status.set_right(Right::Topic, Some("Topic authorization failed".into()));
        status.set_right(Right::Group, Some("Group authorization failed".into()));
        let said = status.note().unwrap();
        assert!(said.contains("Read topic r.n.c.coupon-events: Topic authorization failed"), "{said}");
        assert!(said.contains("Read consumer group r.n.c.coupon-consumer: Group authorization failed"), "{said}");
        assert!(!status.should_pause(0), "it goes on asking");
        status.set_right(Right::Group, None);
        assert!(status.note().is_some_and(|said| !said.contains("group")));
        status.set_right(Right::Topic, None);
        assert_eq!(status.note(), None);
    }

    #[test]
    fn everything_else_stops_all_partitions() {
        let status = status();
        status.set_queue_full(true);
        assert!(status.should_pause(0));
        status.set_queue_full(false);
        assert!(!status.should_pause(0));
        status.hold_breaker("1364".into());
        assert!(status.should_pause(0) && status.trouble().unwrap().contains("1364"));
        status.release_breaker("test");
        assert!(!status.should_pause(0) && status.trouble().is_none());
    }
}
