//! What the process says about itself: why it pauses, and the answers to the probes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coupon_core::identity::CampaignId;
use coupon_kafka_admin::lacks_a_right;
use coupon_runtime::telemetry::{Probes, Verdict};
use coupon_sink::observer::PauseReason;
use coupon_sink::pauses::Pauses;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::metrics::{Metrics, QUEUE_FULL};

/// How long the poll loop may be silent before the process counts as stuck.
pub const POLL_SILENCE: Duration = Duration::from_secs(60);

/// What is known of the queue and of Kafka.
#[derive(Debug, Default)]
struct Observed {
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
    row_found: AtomicBool,
    /// Why the pipeline wants no more records.
    pub pauses: Arc<Pauses>,
    observed: Mutex<Observed>,
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
            row_found: AtomicBool::new(false),
            pauses: Arc::new(Pauses::new(campaign, Arc::new(metrics.clone()))),
            observed: Mutex::default(),
        }
    }

    fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub fn set_row_found(&self) {
        self.row_found.store(true, Ordering::Relaxed);
    }

    /// What Kafka complains about; `None` when it works.
    pub fn set_kafka_error(&self, error: Option<String>) {
        self.observed().kafka = error;
    }

    /// What Kafka complained about since the group was last joined.
    pub fn kafka_error(&self) -> Option<String> {
        self.observed().kafka.clone()
    }

    /// Kafka does not let this process use what it must, in its words; `None`: it does.
    pub fn set_right(&self, right: Right, refused: Option<String>) {
        let mut observed = self.observed();
        match refused {
            Some(words) => {
                let resource = match right {
                    Right::Topic => format!("topic {}", self.campaign.topic()),
                    Right::Group => format!("consumer group {}", self.campaign.group()),
                };
                let text = format!(
                    "Kafka does not let this consumer's user Read {resource}: {words}; add an ACL that allows it"
                );
                if observed.rights.insert(right, text.clone()).is_none() {
                    tracing::error!(campaign = %self.campaign, "{text}");
                }
            }
            None => {
                if observed.rights.remove(&right).is_some() {
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

    /// The writer is so far behind that reading must pause.
    pub fn set_queue_full(&self, full: bool) {
        self.observed().queue_full = full;
        self.metrics.set_paused(QUEUE_FULL, usize::from(full));
    }

    /// Whether this partition should be paused now.
    pub fn should_pause(&self, partition: i32) -> bool {
        self.observed().queue_full || self.pauses.should_pause(partition)
    }

    /// Why reading stands still, if it does.
    pub fn trouble(&self) -> Option<String> {
        let causes = self.pauses.causes();
        // What stops all partitions comes first.
        let first =
            |(reason, _): &&(PauseReason, String)| matches!(reason, PauseReason::Database | PauseReason::Breaker);
        let at = causes.iter().take_while(first).count();
        let mut all: Vec<String> = causes.into_iter().map(|(_, text)| text).collect();
        all.splice(at..at, self.observed().rights.values().cloned());
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
        if let Some(trouble) = self.pauses.database_trouble() {
            return Err(trouble);
        }
        if !self.row_found.load(Ordering::Relaxed) {
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
    use coupon_ledger::database::Fault;

    use super::*;

    fn status() -> Status {
        Status::new(&CampaignId::with_default_names("r", "n", "c").unwrap(), &Metrics::default())
    }

    #[test]
    fn ready_needs_the_row_the_group_and_the_database() {
        let status = status();
        assert!(status.ready().unwrap_err().contains("row"));
        status.set_row_found();
        status.set_kafka_error(Some("no brokers".into()));
        assert!(status.ready().unwrap_err().contains("no brokers"));
        status.set_joined();
        assert_eq!(status.ready(), Ok(()));
        status.pauses.hold_database(Fault::Away, "connection refused".into());
        assert_eq!(
            status.ready().unwrap_err(),
            "the database is away, or takes nothing for now: connection refused",
            "in words, as status shows it to people"
        );
        status.pauses.release_database();
        assert_eq!(status.ready(), Ok(()));
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
        status.pauses.hold_breaker("1364".into());
        assert!(status.should_pause(0) && status.trouble().unwrap().contains("1364"));
        status.pauses.release_breaker("test");
        assert!(!status.should_pause(0) && status.trouble().is_none());
    }
}
