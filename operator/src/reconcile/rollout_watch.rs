//! What is remembered of rollouts.

use crate::api::RolledOut;
use crate::workloads::Component;

/// What is remembered of rollouts. Losing it costs what status does not have: until when they wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct RolloutWatch {
    /// Pods that should be replaced, and until when that waits.
    pub(super) waiting: Vec<(Component, String)>,
    /// Kinds of pods that were told to change, while their Deployment's own figures are of the time before.
    pub(super) begun: Vec<Component>,
    /// What the annotation about rollouts has brought about.
    pub(super) used: Option<RolledOut>,
}
