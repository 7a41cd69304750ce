//! What the operator counts. Names follow the exporters that people know; latency is a histogram.

pub(crate) mod campaign_facts;
mod campaign_series;
mod labels;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64};

use coupon_runtime::telemetry::{LATENCY_BUCKETS, SharedRegistry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

pub use self::campaign_series::CampaignSeries;
pub use self::labels::{CampaignLabels, ClassLabels, KindLabels, OutcomeLabels};

type PerCampaign = Family<CampaignLabels, Gauge<i64, AtomicI64>>;

/// All metrics of the operator; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Passes, by outcome.
    pub reconciliations: Family<OutcomeLabels, Counter<u64, AtomicU64>>,
    /// Duration of a pass in seconds.
    pub duration: Histogram,
    /// Coupons issued.
    pub issued: PerCampaign,
    /// Coupons stored.
    pub persisted: PerCampaign,
    /// Records not stored yet; absent while unknown.
    pub lag_sum: PerCampaign,
    /// Records in the dead-letter topic.
    pub dead_letters: PerCampaign,
    /// 1 while the lag can be read.
    pub lag_observable: PerCampaign,
    /// Winners that are not known to be durable; absent while unknown.
    pub unconfirmed: PerCampaign,
    /// Age in seconds of the oldest winner that the last look found missing; absent when it found none.
    pub oldest_unconfirmed: PerCampaign,
    /// Bytes of Redis' memory that its keys take; absent while they cannot be measured.
    pub redis_bytes: PerCampaign,
    /// Missing winners published again.
    pub republished: Family<CampaignLabels, Counter<u64, AtomicU64>>,
    /// Epochs opened: repairs and first openings.
    pub epochs_opened: Family<CampaignLabels, Counter<u64, AtomicU64>>,
    /// Administrative requests to the brokers of each class, since it was connected to.
    pub kafka_requests: Family<ClassLabels, Gauge<i64, AtomicI64>>,
    /// Objects that cannot be decoded and are skipped.
    pub unreadable: Family<KindLabels, Gauge<i64, AtomicI64>>,
    /// 1 while this process leads.
    pub leader: Gauge<i64, AtomicI64>,
    /// How each campaign stands.
    pub campaigns: CampaignSeries,
}

impl Metrics {
    /// Registers everything.
    pub fn new(registry: &SharedRegistry) -> Self {
        let all = Self {
            reconciliations: Family::default(),
            duration: Histogram::new(LATENCY_BUCKETS),
            issued: Family::default(),
            persisted: Family::default(),
            lag_sum: Family::default(),
            dead_letters: Family::default(),
            lag_observable: Family::default(),
            unconfirmed: Family::default(),
            oldest_unconfirmed: Family::default(),
            redis_bytes: Family::default(),
            republished: Family::default(),
            epochs_opened: Family::default(),
            kafka_requests: Family::default(),
            unreadable: Family::default(),
            leader: Gauge::default(),
            campaigns: CampaignSeries::default(),
        };
        if let Ok(mut registry) = registry.write() {
            registry.register_collector(Box::new(all.campaigns.clone()));
            registry.register("operator_reconciliations", "Passes by outcome", all.reconciliations.clone());
            registry.register("operator_reconciliation_duration_seconds", "Duration of a pass", all.duration.clone());
            registry.register(
                "operator_kafka_requests",
                "Administrative requests to the brokers of each class, since it was connected to",
                all.kafka_requests.clone(),
            );
            registry.register(
                "operator_unreadable_objects",
                "Objects that cannot be decoded and are skipped, by kind",
                all.unreadable.clone(),
            );
            registry.register("operator_leader", "1 while this process leads", all.leader.clone());
            registry.register("campaign_issued", "Coupons issued", all.issued.clone());
            registry.register("campaign_persisted", "Coupons stored in the database", all.persisted.clone());
            registry.register(
                "campaign_unconfirmed",
                "Winners that are not known to be durable; absent while unknown",
                all.unconfirmed.clone(),
            );
            registry.register(
                "campaign_unconfirmed_oldest_age_seconds",
                "Age of the oldest missing winner; absent when none is missing",
                all.oldest_unconfirmed.clone(),
            );
            registry.register(
                "campaign_redis_bytes",
                "Bytes of Redis' memory that the campaign's keys take, told from samples; absent while they cannot be measured",
                all.redis_bytes.clone(),
            );
            registry.register(
                "campaign_republished",
                "Winners that only Redis held, published again",
                all.republished.clone(),
            );
            registry.register("campaign_epochs_opened", "Epochs opened", all.epochs_opened.clone());
            registry.register("consumer_lag_sum", "Records not stored yet; absent while unknown", all.lag_sum.clone());
            registry.register("scaler_lag_observable", "1 while the lag can be read", all.lag_observable.clone());
            registry.register("dlt_messages", "Records in the dead-letter topic", all.dead_letters.clone());
        }
        all
    }

    /// Takes over what a pass saw. What could not be read is absent, not zero.
    pub fn observe(
        &self,
        labels: &CampaignLabels,
        issued: Option<i64>,
        persisted: Option<i64>,
        lag: Option<i64>,
        dead: Option<i64>,
    ) {
        set(labels, &self.issued, issued);
        set(labels, &self.persisted, persisted);
        set(labels, &self.lag_sum, lag);
        set(labels, &self.dead_letters, dead);
        set(labels, &self.lag_observable, Some(lag.is_some().into()));
        // They exist from the start: a series that is born with its first event has no rate.
        drop(self.republished.get_or_create(labels));
        drop(self.epochs_opened.get_or_create(labels));
    }

    /// Takes over how many winners are not known to be durable, and the age of the oldest missing one in seconds.
    pub fn unconfirmed(&self, labels: &CampaignLabels, count: Option<i64>, oldest_age: Option<i64>) {
        set(labels, &self.unconfirmed, count);
        set(labels, &self.oldest_unconfirmed, oldest_age);
    }

    /// Takes over how many bytes of Redis' memory its keys take.
    pub fn redis_bytes(&self, labels: &CampaignLabels, bytes: Option<i64>) {
        set(labels, &self.redis_bytes, bytes);
    }

    /// Forgets a campaign that is gone.
    pub fn forget(&self, labels: &CampaignLabels) {
        for family in [
            &self.issued,
            &self.persisted,
            &self.lag_sum,
            &self.dead_letters,
            &self.lag_observable,
            &self.unconfirmed,
            &self.oldest_unconfirmed,
            &self.redis_bytes,
        ] {
            family.remove(labels);
        }
        self.epochs_opened.remove(labels);
        self.republished.remove(labels);
        self.campaigns.forget(labels);
    }

    /// Forgets every campaign that is not among `present`.
    pub(crate) fn keep_only(&self, present: &BTreeSet<CampaignLabels>) {
        for gone in self.campaigns.gone(present) {
            self.forget(&gone);
        }
    }
}

fn set(labels: &CampaignLabels, family: &PerCampaign, value: Option<i64>) {
    match value {
        Some(value) => {
            family.get_or_create(labels).set(value);
        }
        None => {
            family.remove(labels);
        }
    }
}
