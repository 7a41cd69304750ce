//! What keeps a plan from being carried out at once, and what was found on the way to that.

use std::time::Duration;

use super::epochs::EpochWatch;
use crate::controller::suspension::SuspensionOutcome;
use crate::error::ReconcileError;
use crate::issuer_client::serving::{Service, Verdict};

/// What keeps a plan from being carried out at once, and what was found on the way to that.
pub(super) struct Restraints {
    /// The first epoch waits until the class is known to work; how long until that is looked at again.
    pub waits_for_class: Option<Duration>,
    /// The next epoch waits for so long, as those before it were of no use.
    pub pause: Option<Duration>,
    /// What became of the epochs.
    pub epochs: EpochWatch,
    /// What became of stopping issuing without Redis, if that was tried.
    pub stop: Option<SuspensionOutcome>,
    /// Whether issuers say that they grant.
    pub service: Service,
    /// What is to be done about issuers that do not serve.
    pub serving: Verdict,
    /// Whether rows and Redis could be compared.
    pub compared: Result<(), ReconcileError>,
}
