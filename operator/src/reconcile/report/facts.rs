//! What a status is made of.

use coupon_core::identity::CampaignId;
use coupon_ledger::redis::RedisError;

use super::super::epochs::EpochWatch;
use super::super::observe::Observation;
use super::super::plan::Plan;
use super::super::replicas::ScalingDecision;
use super::super::rollout::Rollouts;
use super::super::starting::Starting;
use super::ailing::Ailing;
use crate::api::conditions::Report;
use crate::api::{CampaignClass, CouponCampaign};
use crate::class::measure::Measured;
use crate::controller::suspension::SuspensionOutcome;
use crate::error::{ReconcileError, redis_advice, redis_reason};
use crate::issuer_client::serving::Service;
use crate::ledger::repair::compare::ComparisonStatus;
use crate::ledger::repair::scan::ScanResult;
use k8s_openapi::api::apps::v1::Deployment;

/// What a pass knows when it reports.
pub(crate) struct Facts<'a> {
    /// The campaign.
    pub campaign: &'a CouponCampaign,
    /// Its class.
    pub class: &'a CampaignClass,
    /// Its identity.
    pub id: &'a CampaignId,
    /// What was read.
    pub seen: &'a Observation,
    /// What was decided.
    pub plan: &'a Plan,
    /// How many pods there should be.
    pub numbers: &'a ScalingDecision,
    /// What stopped the pass, if anything did.
    pub failure: Option<&'a ReconcileError>,
    /// The issuers' Deployment.
    pub issuer: Option<&'a Deployment>,
    /// The consumers' Deployment.
    pub consumer: Option<&'a Deployment>,
    /// Rows that the ledger had when this object first met it.
    pub adopted: Option<u64>,
    /// What the looks for missing winners found.
    pub scan: &'a ScanResult,
    /// What comparing rows and Redis has come to.
    pub compared: ComparisonStatus,
    /// The offsets have been unreadable for long.
    pub offsets_unread: bool,
    /// Consumers have stored nothing for long though records wait: which, and since when.
    pub consumers_still: Option<&'a str>,
    /// What the last look at the class found.
    pub measured: Option<&'a Measured>,
    /// Why no issuer serves, if none does.
    pub nobody_serves: Option<&'a str>,
    /// Whether issuers say that they grant.
    pub service: &'a Service,
    /// Requests to the Service reach an issuer, if one is ready.
    pub users_reach_issuers: bool,
    /// What was last found of the way from outside.
    pub route: Option<Report>,
    /// What it leads to besides them.
    pub strays: Option<&'a str>,
    /// Why Redis takes no writes though it can be read.
    pub redis_refusal: Option<&'a RedisError>,
    /// Why pods are not ready.
    pub ailing: &'a Ailing,
    /// Whether pods that are missing are new ones, which have had no time to start yet.
    pub(crate) starting: Starting,
    /// Issuer pods that end, and still answer who is connected.
    pub ending_issuers: usize,
    /// What became of stopping issuing without Redis, if that was tried.
    pub stop: Option<SuspensionOutcome>,
    /// What became of its epochs.
    pub(crate) epochs: &'a EpochWatch,
    /// What issuers say of a right in Redis that they lack.
    pub right_missing: Option<&'a str>,
    /// What issuers say of a right in Kafka that they lack, as a sentence.
    pub kafka_refuses: Option<String>,
    /// How far pods are that should be replaced.
    pub(crate) rollouts: &'a Rollouts,
}

impl Facts<'_> {
    /// What keeps Redis from doing what it is there for.
    pub(crate) fn redis_trouble(&self) -> Option<&RedisError> {
        self.seen.redis.as_ref().err().or(self.redis_refusal)
    }

    /// The same as a reason and in words; also what the issuers meet alone.
    pub(crate) fn redis_failure(&self) -> Option<(&'static str, String)> {
        let trouble = self.redis_trouble().map(|error| (redis_reason(error), redis_advice(error)));
        let of_pods = |said| {
            let text = format!(
                "issuers say: {said}; grant it to the pods' user (README, Install, lists what each login needs)"
            );
            ("RedisRightMissing", text)
        };
        trouble.or_else(|| self.right_missing.map(of_pods))
    }
}
