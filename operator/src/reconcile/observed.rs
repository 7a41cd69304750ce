//! What a pass has read.

use std::sync::Arc;
use std::time::Instant;

use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::RedisError;

use super::observation_cache::ObservationCache;
use super::observe::Observation;
use super::replicas::ReplicaCount;
use super::report::Ailing;
use crate::class::measure::Measured;
use crate::issuer_client::serving::Answers;

/// What a pass has read, and what it remembers of that for the next one.
pub(super) struct Observed {
    /// When reading began.
    pub begun: Instant,
    /// What database, Redis and Kafka say.
    pub seen: Observation,
    /// What need not be read again.
    pub cache: ObservationCache,
    /// What the issuers say that they serve.
    pub answers: Answers,
    /// Why pods are not ready.
    pub ailing: Ailing,
    /// Why Redis takes no writes though it can be read.
    pub redis_refusal: Option<Arc<RedisError>>,
    /// What the last measurement of the class found; `None` before there was one.
    pub measured: Option<Arc<Measured>>,
    /// Issuers as they were before this pass changed anything.
    pub issuers: ReplicaCount,
    /// Consumers as they were then.
    pub consumers: ReplicaCount,
}

impl Observed {
    /// The campaign's row, if the database has one and could be read.
    pub(super) fn row(&self) -> Option<&CampaignRow> {
        self.seen.ledger.as_ref().ok()?.row.as_ref()
    }
}
