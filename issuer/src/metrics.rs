//! What this process counts. User ids are in no label; Prometheus adds campaign and namespace when it scrapes.

use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;

use coupon_ledger::redis::Executed;
use coupon_runtime::telemetry::{LATENCY_BUCKETS, SharedRegistry};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Prefix of every name.
pub(crate) const PREFIX: &str = "coupon_issuer";

/// Codes that alerts and dashboards count. They exist from the start: a series that is born with its first event has no rate.
const WATCHED_CODES: [&str; 15] = [
    ISSUED,
    "REPEATED",
    "SOLD_OUT",
    "ALREADY_ISSUED",
    "NOT_STARTED",
    "ENDED",
    "SUSPENDED",
    "UNCONFIRMED",
    "REDIS_UNAVAILABLE",
    "OVERLOADED",
    "NOT_OPEN",
    "UNAUTHENTICATED",
    "INVALID_TOKEN",
    "AUTHENTICATION_UNAVAILABLE",
    "USER_MISMATCH",
];
/// Code of a request that got a new coupon.
pub(crate) const ISSUED: &str = "ISSUED";

/// How a request to issue ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    /// `ISSUED`, `REPEATED`, or the code of the failure.
    pub(crate) code: &'static str,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CauseLabel {
    cause: &'static str,
}

impl CauseLabel {
    const ALL: [Executed; 3] = [Executed::No, Executed::Unknown, Executed::Fatal];

    /// By what is known of it.
    pub(crate) fn of(executed: Executed) -> Self {
        let cause = match executed {
            Executed::No => "not_executed",
            Executed::Unknown => "unknown",
            Executed::Fatal => "fatal",
        };
        Self { cause }
    }
}

/// Why it is not known who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RefusalLabel {
    /// Name of the cause.
    pub(crate) reason: &'static str,
}

/// How reading the keys of tokens ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReadingLabel {
    /// `read` or `failed`.
    pub(crate) result: &'static str,
}

/// What was asked too often, or not through the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LimitLabel {
    /// Name of the limit.
    pub(crate) limit: &'static str,
}

/// All metrics of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Requests to issue, by how they ended.
    pub(crate) requests: Family<OutcomeLabel, Counter>,
    /// Seconds from a request to issue to its answer.
    pub(crate) issue_seconds: Histogram,
    /// Seconds of one call of the script.
    pub(crate) redis_seconds: Histogram,
    /// Failed calls of the script.
    pub(crate) redis_failures: Family<CauseLabel, Counter>,
    /// Requests of one call.
    pub(crate) batch_size: Histogram,
    /// Seconds from handing the winners of a batch to the client to their acknowledgement; of those waited for alone, one each.
    pub(crate) kafka_seconds: Histogram,
    /// Winners that neither Kafka nor the database took; their users got no success, unless the campaign acknowledges fast.
    pub(crate) unconfirmed: Counter,
    /// Winners stored past Kafka.
    pub(crate) stored_directly: Counter,
    /// 1 while winners are stored past Kafka.
    pub(crate) breaker_open: Gauge,
    /// Requests that wait in the queue.
    pub(crate) queue_depth: Gauge,
    /// Losers of a campaign that is sold out whom Redis was not asked about.
    pub(crate) known_losers: Counter,
    /// Requests refused because there is no room.
    pub(crate) rejected: Counter,
    /// Requests that waited too long for their turn: more processes would help.
    pub(crate) delayed: Counter,
    /// Requests that got a final result, a rank or a refusal, rather than a 503: the throughput of the process.
    pub(crate) answered: Counter,
    /// Requests sent to Redis that are not over yet.
    pub(crate) outstanding: Gauge,
    /// Requests of which it is not known who asks.
    pub(crate) unauthenticated: Family<RefusalLabel, Counter>,
    /// Readings of the keys of tokens.
    pub(crate) key_readings: Family<ReadingLabel, Counter>,
    /// The keys of tokens that are known.
    pub(crate) token_keys: Gauge<u64, AtomicU64>,
    /// Requests that a limit of the class refused.
    pub(crate) rate_limited: Family<LimitLabel, Counter>,
    /// Users and addresses that have asked lately.
    pub(crate) rate_limit_buckets: Family<LimitLabel, Gauge>,
    /// Users and addresses that were forgotten before they had to be.
    pub(crate) rate_limit_evictions: Family<LimitLabel, Counter>,
    /// The epoch under which is granted; 0 when nothing is.
    pub(crate) epoch: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// Makes them and registers them.
    pub(crate) fn register(registry: &SharedRegistry) -> Self {
        let latency = || Histogram::new(LATENCY_BUCKETS);
        let metrics = Self {
            requests: Family::default(),
            issue_seconds: latency(),
            redis_seconds: latency(),
            redis_failures: Family::default(),
            batch_size: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
            kafka_seconds: latency(),
            unconfirmed: Counter::default(),
            stored_directly: Counter::default(),
            breaker_open: Gauge::default(),
            queue_depth: Gauge::default(),
            known_losers: Counter::default(),
            rejected: Counter::default(),
            delayed: Counter::default(),
            answered: Counter::default(),
            outstanding: Gauge::default(),
            unauthenticated: Family::default(),
            key_readings: Family::default(),
            token_keys: Gauge::default(),
            rate_limited: Family::default(),
            rate_limit_buckets: Family::default(),
            rate_limit_evictions: Family::default(),
            epoch: Gauge::default(),
        };
        let mut all = registry.write().unwrap_or_else(PoisonError::into_inner);
        all.register("requests", "Requests to issue, by how they ended", metrics.requests.clone());
        all.register("issue_seconds", "Time from a request to issue to its answer", metrics.issue_seconds.clone());
        all.register("redis_call_seconds", "Time of one call of the script", metrics.redis_seconds.clone());
        all.register("redis_failures", "Failed calls of the script, by class", metrics.redis_failures.clone());
        all.register("batch_size", "Requests of one call of the script", metrics.batch_size.clone());
        all.register(
            "kafka_ack_seconds",
            "Time until Kafka acknowledged the winners of a batch",
            metrics.kafka_seconds.clone(),
        );
        all.register("unconfirmed", "Winners that neither Kafka nor the database took", metrics.unconfirmed.clone());
        all.register("stored_directly", "Winners stored past Kafka", metrics.stored_directly.clone());
        all.register("kafka_breaker_open", "1 while winners are stored past Kafka", metrics.breaker_open.clone());
        all.register("queue_depth", "Requests that wait in the queue", metrics.queue_depth.clone());
        all.register(
            "known_losers",
            "Losers of a campaign that is sold out whom Redis was not asked about",
            metrics.known_losers.clone(),
        );
        all.register("rejected", "Requests refused because there is no room", metrics.rejected.clone());
        all.register("delayed", "Requests that waited too long for their turn", metrics.delayed.clone());
        all.register(
            "answered",
            "Requests that got a final result, a rank or a refusal, rather than a 503",
            metrics.answered.clone(),
        );
        all.register("outstanding", "Requests sent to Redis that are not over yet", metrics.outstanding.clone());
        all.register(
            "unauthenticated",
            "Requests of which it is not known who asks, by cause",
            metrics.unauthenticated.clone(),
        );
        all.register("key_readings", "Readings of the keys of tokens, by result", metrics.key_readings.clone());
        all.register("token_keys", "Keys of tokens that are known", metrics.token_keys.clone());
        all.register("rate_limited", "Requests that a limit of the class refused", metrics.rate_limited.clone());
        all.register("rate_limit_buckets", "Buckets that are not full", metrics.rate_limit_buckets.clone());
        all.register(
            "rate_limit_evictions",
            "Buckets that made room before they were full",
            metrics.rate_limit_evictions.clone(),
        );
        all.register("epoch", "Epoch under which is granted; 0 when nothing is", metrics.epoch.clone());
        drop(all);
        for code in WATCHED_CODES {
            drop(metrics.requests.get_or_create(&OutcomeLabel { code }));
        }
        for executed in CauseLabel::ALL {
            drop(metrics.redis_failures.get_or_create(&CauseLabel::of(executed)));
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coupon_runtime::http::Stats;
    use coupon_runtime::telemetry;

    /// Wrong: people write queries and alerts by a document that speaks of other series.
    #[test]
    fn the_reference_says_what_an_issuer_counts() {
        let registry = telemetry::registry(PREFIX);
        let metrics = Metrics::register(&registry);
        metrics.unauthenticated.get_or_create(&RefusalLabel { reason: "missing" }).inc();
        metrics.key_readings.get_or_create(&ReadingLabel { result: "read" }).inc();
        let label = LimitLabel { limit: "user" };
        metrics.rate_limited.get_or_create(&label).inc();
        metrics.rate_limit_buckets.get_or_create(&label).set(1);
        metrics.rate_limit_evictions.get_or_create(&label).inc();
        let _ports: [Stats; 1] = Stats::register(&registry, ["users"]);
        let scrape = telemetry::scrape(&registry).unwrap();
        assert_eq!(coupon_testing::metrics_reference::differences("Issuer", &scrape), Vec::<String>::new());
        for code in WATCHED_CODES {
            assert!(scrape.contains(&format!("coupon_issuer_requests_total{{code=\"{code}\"}} 0")), "{scrape}");
        }
        for cause in ["not_executed", "unknown", "fatal"] {
            assert!(scrape.contains(&format!("coupon_issuer_redis_failures_total{{cause=\"{cause}\"}} 0")), "{scrape}");
        }
    }
}
