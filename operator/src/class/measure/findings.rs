//! What one login found.

use super::clocks::ClockSample;
use super::fault::Fault;

/// What one login found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) faults: Vec<Fault>,
    /// What it is, for people.
    pub(crate) notes: Vec<String>,
    pub(crate) clock: Option<ClockSample>,
    pub(crate) kafka_cluster_id: Option<String>,
}

impl Findings {
    pub(crate) fn of(fault: Fault) -> Self {
        Self { faults: vec![fault], ..Self::default() }
    }
}
