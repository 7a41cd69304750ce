//! What this process counts. User ids are in no label; campaign and namespace are added by whoever scrapes.

use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;

use campaign::telemetry::{LATENCY_BUCKETS, SharedRegistry};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Prefix of every name.
pub const PREFIX: &str = "coupon_issuer";

/// How a request to issue ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `ISSUED`, `REPEATED`, or the code of the failure.
    pub code: &'static str,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CauseLabel {
    /// Name of the class.
    pub cause: &'static str,
}

/// All metrics of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Requests to issue, by how they ended.
    pub requests: Family<OutcomeLabel, Counter>,
    /// Seconds from a request to issue to its answer.
    pub issue_seconds: Histogram,
    /// Seconds of one call of the script.
    pub redis_seconds: Histogram,
    /// Failed calls of the script.
    pub redis_failures: Family<CauseLabel, Counter>,
    /// Wishes of one call.
    pub batch_size: Histogram,
    /// Seconds from handing a record to the client to its acknowledgement.
    pub kafka_seconds: Histogram,
    /// Winners that neither Kafka nor the database took; their users were not told, unless the campaign acknowledges fast.
    pub unconfirmed: Counter,
    /// Winners stored past Kafka.
    pub stored_directly: Counter,
    /// 1 while winners are stored past Kafka.
    pub breaker_open: Gauge,
    /// Wishes that wait in the queue.
    pub queue_depth: Gauge,
    /// Wishes refused because there is no room.
    pub rejected: Counter,
    /// Wishes that waited too long for their turn: more processes would help.
    pub delayed: Counter,
    /// Wishes that were answered with a rank or a no, rather than told to come back: what the process can do.
    pub answered: Counter,
    /// Wishes sent to Redis that are not over yet.
    pub outstanding: Gauge,
    /// The epoch under which is granted; 0 when nothing is.
    pub epoch: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// Makes them and registers them.
    pub fn register(registry: &SharedRegistry) -> Self {
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
            rejected: Counter::default(),
            delayed: Counter::default(),
            answered: Counter::default(),
            outstanding: Gauge::default(),
            epoch: Gauge::default(),
        };
        let mut all = registry.write().unwrap_or_else(PoisonError::into_inner);
        all.register("requests", "Requests to issue, by how they ended", metrics.requests.clone());
        all.register("issue_seconds", "Time from a request to issue to its answer", metrics.issue_seconds.clone());
        all.register("redis_call_seconds", "Time of one call of the script", metrics.redis_seconds.clone());
        all.register("redis_failures", "Failed calls of the script, by class", metrics.redis_failures.clone());
        all.register("batch_size", "Wishes of one call of the script", metrics.batch_size.clone());
        all.register("kafka_ack_seconds", "Time until Kafka acknowledged a winner", metrics.kafka_seconds.clone());
        all.register("unconfirmed", "Winners that neither Kafka nor the database took", metrics.unconfirmed.clone());
        all.register("stored_directly", "Winners stored past Kafka", metrics.stored_directly.clone());
        all.register("kafka_breaker_open", "1 while winners are stored past Kafka", metrics.breaker_open.clone());
        all.register("queue_depth", "Wishes that wait in the queue", metrics.queue_depth.clone());
        all.register("rejected", "Wishes refused because there is no room", metrics.rejected.clone());
        all.register("delayed", "Wishes that waited too long for their turn", metrics.delayed.clone());
        all.register("answered", "Wishes that were answered with a rank or a no", metrics.answered.clone());
        all.register("outstanding", "Wishes sent to Redis that are not over yet", metrics.outstanding.clone());
        all.register("epoch", "Epoch under which is granted; 0 when nothing is", metrics.epoch.clone());
        drop(all);
        metrics
    }
}
