//! What one login found.

use super::clocks::Sample;
use super::fault::Fault;

/// What one login found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) faults: Vec<Fault>,
    /// What it is, for people.
    pub(crate) notes: Vec<String>,
    pub(crate) clock: Option<Sample>,
    pub(crate) kafka_cluster_id: Option<String>,
}

impl Seen {
    pub(crate) fn of(fault: Fault) -> Self {
        Self { faults: vec![fault], ..Self::default() }
    }
}
