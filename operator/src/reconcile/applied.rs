//! What a pass has done.

use super::changes::{LedgerChanges, WorkloadChanges};
use super::replicas::ScalingDecision;
use crate::error::ReconcileError;

/// What became of the workloads.
pub(super) struct WorkloadsApplied {
    /// How many pods there should be.
    pub numbers: ScalingDecision,
    /// What changed about the numbers of pods.
    pub scaled: WorkloadChanges,
    /// The Deployments were compared with what class and spec say.
    pub compared: bool,
}

/// What a pass has done.
pub(super) struct Applied {
    /// To the ledger.
    pub ledger: LedgerChanges,
    /// To the objects in Kubernetes.
    pub workloads: WorkloadsApplied,
    /// The first thing that failed in any step.
    pub failure: Option<ReconcileError>,
}

/// What the time of the next pass depends on, once this one is in status.
pub(super) struct Reported {
    /// The keys were removed from Redis.
    pub keys_removed: bool,
    /// Something is wrong that people are about to correct.
    pub is_ailing: bool,
}
