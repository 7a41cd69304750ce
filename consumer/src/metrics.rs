//! The consumer's metrics, `coupon_consumer_*`.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use coupon_runtime::telemetry::LATENCY_BUCKETS;
use coupon_sink::decide::DeadLetterReason;
use coupon_sink::observer::{Observer, PauseReason, RecordOutcome, Retry};

use crate::standstill::StandstillCause;

/// Prefix of every metric.
pub const PREFIX: &str = "coupon_consumer";
/// Paused because the writer is behind. The pipeline has the other reasons: [`PauseReason`].
pub const QUEUE_FULL: &str = "queue_full";

const PAUSE_REASONS: [PauseReason; 4] =
    [PauseReason::Database, PauseReason::Breaker, PauseReason::DeadLetterTopic, PauseReason::AboveTotal];
const ALERTED_OUTCOMES: [RecordOutcome; 7] = [
    RecordOutcome::Stored,
    RecordOutcome::Duplicate,
    RecordOutcome::Void,
    RecordOutcome::Conflict,
    RecordOutcome::AboveTotal,
    RecordOutcome::Unreadable,
    RecordOutcome::Rejected,
];

const RETRIES: [Retry; 3] = [Retry::Database, Retry::DeadLetterTopic, Retry::AboveTotal];

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    outcome: &'static str,
}

/// Why something happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    reason: &'static str,
}

/// A partition of the topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabel {
    partition: i32,
}

/// A step of a rebalance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    kind: &'static str,
}

/// All metrics of a consumer. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    records: Family<OutcomeLabel, Counter>,
    dead_letters: Family<ReasonLabel, Counter>,
    retries: Family<ReasonLabel, Counter>,
    rebalances: Family<KindLabel, Counter>,
    paused: Family<ReasonLabel, Gauge>,
    committed: Family<PartitionLabel, Gauge>,
    clients_replaced: Family<ReasonLabel, Counter>,
    standing_still: Gauge,
    witness_unanswered: Counter,
    /// Time of one transaction.
    insert_seconds: Histogram,
    /// Rows of one transaction.
    batch_rows: Histogram,
    /// From the grant of a rank to its row. New rows only.
    end_to_end_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            records: Family::default(),
            dead_letters: Family::default(),
            retries: Family::default(),
            rebalances: Family::default(),
            paused: Family::default(),
            committed: Family::default(),
            clients_replaced: Family::default(),
            standing_still: Gauge::default(),
            witness_unanswered: Counter::default(),
            insert_seconds: Histogram::new(LATENCY_BUCKETS),
            batch_rows: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            end_to_end_seconds: Histogram::new(LATENCY_BUCKETS.into_iter().chain([30.0, 60.0, 300.0])),
        }
    }
}

impl Metrics {
    /// Metrics that `registry` (see [`PREFIX`]) serves.
    pub fn new(registry: &mut Registry) -> Self {
        let all = Self::default();
        registry.register("records", "Records of the topic by what became of them", all.records.clone());
        registry.register(
            "dead_letters",
            "Records that the dead letter topic has acknowledged, by reason",
            all.dead_letters.clone(),
        );
        registry.register("retries", "Tries that failed and were made again, by reason", all.retries.clone());
        registry.register("rebalances", "Rebalances of the consumer group seen by this member", all.rebalances.clone());
        registry.register(
            "paused",
            "1 while reading is paused for this reason (dead_letter_topic: paused partitions)",
            all.paused.clone(),
        );
        registry.register(
            "committed_offset",
            "Next offset of each partition that this member committed last",
            all.committed.clone(),
        );
        registry.register(
            "clients_replaced",
            "Kafka clients that stood still although records waited, and were replaced, by reason",
            all.clients_replaced.clone(),
        );
        registry.register(
            "standing_still",
            "1 while records wait and the reader does not read them, though nothing keeps it from it",
            all.standing_still.clone(),
        );
        registry.register(
            "witness_unanswered",
            "Questions about what waits that Kafka did not answer",
            all.witness_unanswered.clone(),
        );
        registry.register_with_unit("insert", "Time of one transaction", Unit::Seconds, all.insert_seconds.clone());
        registry.register("batch_rows", "Rows of one transaction", all.batch_rows.clone());
        registry.register_with_unit(
            "end_to_end",
            "Time from the grant of a rank to its row, new rows only",
            Unit::Seconds,
            all.end_to_end_seconds.clone(),
        );
        // What alerts and dashboards look at exists from the start: a series that is born with its first event has no rate.
        for outcome in ALERTED_OUTCOMES {
            drop(all.records.get_or_create(&OutcomeLabel { outcome: outcome.name() }));
        }
        for reason in DeadLetterReason::NAMES {
            drop(all.dead_letters.get_or_create(&ReasonLabel { reason }));
        }
        for reason in RETRIES.map(Retry::name) {
            drop(all.retries.get_or_create(&ReasonLabel { reason }));
        }
        for reason in StandstillCause::NAMES {
            drop(all.clients_replaced.get_or_create(&ReasonLabel { reason }));
        }
        for reason in [QUEUE_FULL].into_iter().chain(PAUSE_REASONS.map(PauseReason::name)) {
            drop(all.paused.get_or_create(&ReasonLabel { reason }));
        }
        all
    }

    /// Records with this outcome so far.
    pub fn records(&self, outcome: &'static str) -> u64 {
        self.records.get_or_create(&OutcomeLabel { outcome }).get()
    }

    /// Acknowledged dead letters with this reason so far.
    pub fn dead_letters(&self, reason: &'static str) -> u64 {
        self.dead_letters.get_or_create(&ReasonLabel { reason }).get()
    }

    /// Tries made again for this reason so far.
    pub fn retries(&self, reason: &'static str) -> u64 {
        self.retries.get_or_create(&ReasonLabel { reason }).get()
    }

    /// Counts a step of a rebalance.
    pub fn rebalance(&self, kind: &'static str) {
        self.rebalances.get_or_create(&KindLabel { kind }).inc();
    }

    /// Steps of rebalances so far.
    pub fn rebalances(&self, kind: &'static str) -> u64 {
        self.rebalances.get_or_create(&KindLabel { kind }).get()
    }

    /// Says whether (or for how many partitions) reading is paused for `reason`.
    pub fn set_paused(&self, reason: &'static str, count: usize) {
        self.paused.get_or_create(&ReasonLabel { reason }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Says what was committed last.
    pub fn set_committed(&self, partition: i32, next: i64) {
        self.committed.get_or_create(&PartitionLabel { partition }).set(next);
    }

    /// Counts a client that is replaced because it stood still.
    pub fn client_replaced(&self, reason: &'static str) {
        self.clients_replaced.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Clients replaced for this reason so far.
    pub fn clients_replaced(&self, reason: &'static str) -> u64 {
        self.clients_replaced.get_or_create(&ReasonLabel { reason }).get()
    }

    /// Says whether the reader stands still.
    pub fn set_standing_still(&self, still: bool) {
        self.standing_still.set(i64::from(still));
    }

    /// Counts a question about what waits that was not answered.
    pub fn witness_unanswered(&self) {
        self.witness_unanswered.inc();
    }

    /// A partition is not ours any more.
    pub fn forget_partition(&self, partition: i32) {
        self.committed.remove(&PartitionLabel { partition });
    }
}

impl Observer for Metrics {
    fn records(&self, outcome: RecordOutcome, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.records.get_or_create(&OutcomeLabel { outcome: outcome.name() }).inc_by(count);
    }

    fn dead_letter(&self, reason: &'static str) {
        self.dead_letters.get_or_create(&ReasonLabel { reason }).inc();
    }

    fn retry(&self, what: Retry) {
        self.retries.get_or_create(&ReasonLabel { reason: what.name() }).inc();
    }

    fn transaction(&self, time: Duration, rows: usize) {
        self.insert_seconds.observe(time.as_secs_f64());
        self.batch_rows.observe(rows as f64);
    }

    fn end_to_end(&self, time: Duration) {
        self.end_to_end_seconds.observe(time.as_secs_f64());
    }

    fn paused(&self, reason: PauseReason, count: usize) {
        self.set_paused(reason.name(), count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coupon_runtime::http::Stats;
    use coupon_runtime::telemetry;

    /// Wrong: people write queries and alerts by a document that speaks of other series.
    #[test]
    fn the_reference_says_what_a_consumer_counts() {
        let registry = telemetry::registry(PREFIX);
        let metrics = Metrics::new(&mut registry.write().unwrap());
        metrics.rebalance("assign");
        metrics.set_committed(0, 1);
        let _ports: [Stats; 1] = Stats::register(&registry, ["probes"]);
        let scrape = telemetry::scrape(&registry).unwrap();
        assert_eq!(coupon_testing::metrics_reference::differences("Consumer", &scrape), Vec::<String>::new());
        for reason in RETRIES.map(Retry::name) {
            assert!(scrape.contains(&format!("coupon_consumer_retries_total{{reason=\"{reason}\"}} 0")), "{scrape}");
        }
    }
}
