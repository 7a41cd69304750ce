//! Which letters may go, and what became of them. Pure.

use std::collections::BTreeMap;

use campaign::log::admin::AdminError;
use campaign::table::Position;

/// What became of the letters that could go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trimmed {
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
    pub fn failed(removed: u64, topic: &str, error: &AdminError) -> Self {
        let text = match error {
            AdminError::NotAuthorized { cause, .. } => {
                format!("Kafka does not let this user delete records of topic {topic} ({cause}): grant it DELETE there")
            }
            error => format!("deleting records of topic {topic} failed: {error}"),
        };
        Self::Failed { removed, reason: error.reason(), text: format!("{text}; running it again is harmless") }
    }

    /// How many are removed; `None` if none were to be.
    pub fn removed(&self) -> Option<u64> {
        match self {
            Self::NotAsked => None,
            Self::Removed(removed) | Self::Failed { removed, .. } => Some(*removed),
        }
    }
}

/// For each partition the offset before which everything is dealt with, where that is anything. Letters come in the order
/// of their offsets, each with whether it is dealt with.
pub fn heads(letters: impl IntoIterator<Item = (Position, bool)>) -> BTreeMap<i32, i64> {
    let mut heads: BTreeMap<i32, (Option<i64>, bool)> = BTreeMap::new();
    for (position, done) in letters {
        let (next, stopped) = heads.entry(position.partition).or_default();
        if done && !*stopped {
            *next = Some(position.offset + 1);
        } else {
            *stopped = true;
        }
    }
    heads.into_iter().filter_map(|(partition, (next, _))| Some((partition, next?))).collect()
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
        assert_eq!(heads(letters), BTreeMap::from([(0, 8), (2, 6)]));
        assert_eq!(heads([]), BTreeMap::new());
    }
}
