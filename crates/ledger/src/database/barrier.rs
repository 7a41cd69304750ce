//! The barrier rule: it makes late records of a closed epoch harmless.

use std::collections::{BTreeMap, BTreeSet};

use coupon_core::position::Position;

/// Where the log ended when an epoch began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// The epoch that began.
    pub epoch: u64,
    /// End offset of each partition that existed.
    pub ends: BTreeMap<i32, i64>,
}

/// All barriers of a campaign's present topic, and the records there that people have given up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Barriers {
    all: Vec<Barrier>,
    discarded: BTreeSet<Position>,
}

impl Barriers {
    /// In any order.
    pub fn new(barriers: Vec<Barrier>) -> Self {
        Self { all: barriers, discarded: BTreeSet::new() }
    }

    /// The same, beside these records that are given up.
    #[must_use]
    pub fn and_discarded(self, discarded: BTreeSet<Position>) -> Self {
        Self { discarded, ..self }
    }

    /// The lowest epoch above `newest` that has a barrier. Barriers are committed under an epoch that was allotted, so somebody else wrote it, or
    /// the allotment is forgotten: in either case what it makes void may be a winner who was told.
    pub(super) fn ahead_of(&self, newest: u64) -> Option<u64> {
        self.all.iter().map(|barrier| barrier.epoch).filter(|epoch| *epoch > newest).min()
    }

    /// Whether people have given the record of this place up, whoever can read it.
    pub fn has_discarded(&self, at: Position) -> bool {
        self.discarded.contains(&at)
    }

    /// A record is void when its epoch is older than a barrier that it lies at or beyond, or when it is given up. A partition that did
    /// not exist when the barrier was made ended at 0.
    pub fn voids(&self, epoch: u64, partition: i32, offset: i64) -> bool {
        let late =
            |barrier: &Barrier| epoch < barrier.epoch && offset >= barrier.ends.get(&partition).copied().unwrap_or(0);
        self.has_discarded(Position { partition, offset }) || self.all.iter().any(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_records_of_an_old_epoch_are_void() {
        let barriers = Barriers::new(vec![
            Barrier { epoch: 2, ends: BTreeMap::from([(0, 10), (1, 0)]) },
            Barrier { epoch: 3, ends: BTreeMap::from([(0, 20), (1, 5)]) },
        ]);
        for (epoch, partition, offset, void) in [
            (1, 0, 9, false),  // before the barrier of 2: part of the ledger
            (1, 0, 10, true),  // at it: late
            (2, 0, 10, false), // of the epoch that the barrier opened
            (2, 0, 20, true),
            (3, 0, 20, false),
            (1, 1, 0, true),
            (2, 1, 4, false),
            (2, 1, 5, true),
            (2, 7, 0, true), // a partition that is newer than the barrier
            (3, 7, 0, false),
        ] {
            assert_eq!(barriers.voids(epoch, partition, offset), void, "epoch {epoch} at {partition}/{offset}");
        }
        assert!(!Barriers::default().voids(1, 0, 0));
        assert_eq!([0, 1, 2, 3].map(|newest| barriers.ahead_of(newest)), [Some(2), Some(2), Some(3), None]);
    }

    /// Wrong: what people have given up counts again for a program that can read it.
    #[test]
    fn a_record_that_was_given_up_is_void_where_it_lies() {
        let given_up = Position { partition: 1, offset: 7 };
        let barriers = Barriers::new(vec![]).and_discarded(BTreeSet::from([given_up]));
        assert!(barriers.voids(9, 1, 7) && barriers.has_discarded(given_up));
        for (partition, offset) in [(0, 7), (1, 6), (1, 8)] {
            assert!(!barriers.voids(9, partition, offset), "{partition}/{offset}");
        }
    }
}
