//! A record of a later version that stops repairs.

use coupon_core::format::Newer;
use coupon_core::position::Position;

use super::observe::Observation;

/// A record of the topic that stopped a repair, as only a newer program can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockingRecord {
    pub(crate) at: Position,
    pub(crate) newer: Newer,
    /// The group had passed it, and it was met since winners are missing: so many were rows.
    pub(crate) passed_with: Option<u64>,
}

impl BlockingRecord {
    /// `None`: how far the group is was not known.
    pub(crate) fn now(at: Position, newer: &Newer, seen: &Observation) -> Option<Self> {
        let rows = seen.ledger.as_ref().ok()?.stored;
        let is_unread = is_unread(at, seen)?;
        Some(Self { at, newer: newer.clone(), passed_with: (!is_unread).then_some(rows) })
    }

    /// Whether the next repair would meet it as well, as far as can be seen without one.
    pub(crate) fn still_stops(&self, seen: &Observation) -> bool {
        let starts = seen.kafka.as_ref().ok().and_then(|kafka| Some(&kafka.offsets.as_ref()?.starts));
        let is_there =
            starts.and_then(|starts| starts.get(&self.at.partition)).is_some_and(|start| *start <= self.at.offset);
        let is_read = match (self.passed_with, &seen.ledger) {
            (None, _) => is_unread(self.at, seen) == Some(true),
            (Some(rows), Ok(ledger)) => ledger.stored == rows,
            (Some(_), Err(_)) => false,
        };
        is_there && is_read
    }
}

/// Whether a repair would read the record of this place as one that the group has not passed.
pub(crate) fn is_unread(at: Position, seen: &Observation) -> Option<bool> {
    let offsets = seen.kafka.as_ref().ok()?.offsets.as_ref()?;
    Some(offsets.committed.get(&at.partition).copied().flatten().unwrap_or(0) <= at.offset)
}
