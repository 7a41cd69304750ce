//! What the steps of a pass did.

use crate::ledger::epoch::Opened;

/// What the ledger steps did.
#[derive(Debug, Default)]
pub(crate) struct LedgerChanges {
    /// The epoch that was opened, and why.
    pub opened: Option<(Opened, &'static str)>,
    /// Winners of the ledger that was taken over: the campaign continues somebody's.
    pub adopted: Option<u64>,
    /// The keys were removed from Redis.
    pub keys_removed: bool,
}

/// What became of the pods.
#[derive(Debug, Default)]
pub(crate) struct WorkloadChanges {
    /// Sentences about each change of replicas, for events.
    pub changes: Vec<String>,
}
