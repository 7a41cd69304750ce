//! What the steps of a pass did.

use crate::epoch::Opened;

/// What the ledger steps did.
#[derive(Debug, Default)]
pub struct Done {
    /// The epoch that was opened, and why.
    pub opened: Option<(Opened, &'static str)>,
    /// Winners of the ledger that was taken over: the campaign continues somebody's.
    pub adopted: Option<u64>,
    /// The keys were removed from Redis.
    pub keys_removed: bool,
}

/// What became of the pods.
#[derive(Debug, Default)]
pub struct Scaled {
    /// Sentences about each change of replicas, for events.
    pub changes: Vec<String>,
}
