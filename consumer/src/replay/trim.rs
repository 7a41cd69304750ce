//! Which dead letters can be removed, and what became of them. Pure.

use std::collections::BTreeMap;

use coupon_core::position::Position;
use coupon_kafka_admin::AdminError;

/// What became of the letters that could go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trimmed {
    /// None were to go.
    NotAsked,
    /// So many are removed, all that could be.
    Removed(u64),
    /// Kafka did not remove all of them.
    Failed {
        /// So many are removed.
        removed: u64,
        /// A stable word for what went wrong.
        reason: &'static str,
        /// The same in a sentence.
        text: String,
    },
}

impl Trimmed {
    /// Kafka refused to remove some.
    pub(super) fn failed(removed: u64, topic: &str, error: &AdminError) -> Self {
        let text = match error {
            AdminError::NotAuthorized { cause, .. } => {
                format!("Kafka does not let this user delete records of topic {topic} ({cause}): grant it DELETE there")
            }
            error => format!("deleting records of topic {topic} failed: {error}"),
        };
        let text =
            format!("{text}; what is discarded counts for nothing all the same, and running it again is harmless");
        Self::Failed { removed, reason: error.reason(), text }
    }

    /// How many are removed; `None` if none were to be.
    pub(super) fn removed(&self) -> Option<u64> {
        match self {
            Self::NotAsked => None,
            Self::Removed(removed) | Self::Failed { removed, .. } => Some(*removed),
        }
    }
}

/// Which of the letters that are dealt with can be removed. Kafka removes from the head of a partition only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TrimPlan {
    /// For each partition the offset before which everything is dealt with, where that is anything.
    pub before: BTreeMap<i32, i64>,
    /// What has to stay.
    pub kept: Vec<Kept>,
}

/// Letters of a partition that are dealt with, and stay behind one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// So many.
    pub count: u64,
    /// The first one that is neither a row nor discarded.
    pub behind: Position,
}

impl TrimPlan {
    /// Letters come in the order of their offsets, each with whether it is dealt with.
    pub(super) fn of(letters: impl IntoIterator<Item = (Position, bool)>) -> Self {
        let mut plan = Self::default();
        let mut firsts: BTreeMap<i32, Kept> = BTreeMap::new();
        for (position, done) in letters {
            match (done, firsts.get_mut(&position.partition)) {
                (true, None) => {
                    plan.before.insert(position.partition, position.offset + 1);
                }
                (true, Some(kept)) => kept.count += 1,
                (false, None) => {
                    firsts.insert(position.partition, Kept { count: 0, behind: position });
                }
                (false, Some(_)) => {}
            }
        }
        plan.kept = firsts.into_values().filter(|kept| kept.count > 0).collect();
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: it is not said which right is missing, and where.
    #[test]
    fn a_missing_right_is_named() {
        let error = AdminError::NotAuthorized { resource: "topic x".into(), cause: "Broker: no".into() };
        let Trimmed::Failed { removed, reason, text } = Trimmed::failed(3, "a.b.c.DLT", &error) else { panic!() };
        assert_eq!((removed, reason), (3, "KafkaNotAuthorized"));
        assert!(text.contains("delete records of topic a.b.c.DLT") && text.contains("grant it DELETE"), "{text}");
    }

    /// Wrong: a winner that is no row loses its last copy.
    #[test]
    fn the_first_letter_that_is_no_row_keeps_all_behind_it() {
        let letters =
            [(0, 4, true), (0, 7, true), (0, 8, false), (0, 9, true), (1, 0, false), (1, 1, true), (2, 5, true)];
        let letters = letters.map(|(partition, offset, done)| (Position { partition, offset }, done));
        let plan = TrimPlan::of(letters);
        assert_eq!(plan.before, BTreeMap::from([(0, 8), (2, 6)]));
        let kept = |partition, behind| Kept { count: 1, behind: Position { partition, offset: behind } };
        assert_eq!(plan.kept, [kept(0, 8), kept(1, 0)], "what stays is told, with what keeps it");
        assert_eq!(TrimPlan::of([]), TrimPlan::default());
    }
}
