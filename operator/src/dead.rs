//! Which ranks the dead letters of a campaign hold. A dead letter is a winner that is looked after by people: it is no gap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campaign::identity::CampaignId;
use campaign::log::tail::Range;
use campaign::settings::Kafka;
use campaign::table::Barriers;

use crate::epoch::{EpochError, read};

/// The ranks, and the part of the dead-letter topic that was read for them. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadRanks {
    read: Range,
    ranks: Arc<BTreeSet<u64>>,
}

impl DeadRanks {
    /// The ranks.
    pub fn ranks(&self) -> &BTreeSet<u64> {
        &self.ranks
    }

    /// Brings them up to date: `span` is the part of the topic that is there now. Reads only what is new, unless records
    /// were removed.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub async fn refresh(self, kafka: &Kafka, campaign: &CampaignId, span: Range) -> Result<Self, EpochError> {
        if span == self.read {
            return Ok(self);
        }
        let (kept, missing) = match added(&self.read, &span) {
            Some(added) => (Arc::unwrap_or_clone(self.ranks), added),
            None => (BTreeSet::new(), span.clone()),
        };
        let found = read::dead_letters(kafka, campaign, missing, Barriers::default()).await?;
        let ranks = kept.into_iter().chain(found.into_iter().map(|event| event.rank)).collect();
        Ok(Self { read: span, ranks: Arc::new(ranks) })
    }
}

/// What was added to the topic; `None` if something was removed, or the topic is another one.
fn added(read: &Range, span: &Range) -> Option<Range> {
    let grown = read
        .iter()
        .all(|(partition, (from, to))| span.get(partition).is_some_and(|(start, end)| start == from && end >= to));
    let next = |partition: &i32, start: i64| read.get(partition).map_or(start, |(_, to)| *to);
    grown.then(|| span.iter().map(|(id, (start, end))| (*id, (next(id, *start), *end))).collect::<BTreeMap<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_read_unless_something_was_removed() {
        let range = |parts: &[(i32, i64, i64)]| -> Range { parts.iter().map(|(id, a, b)| (*id, (*a, *b))).collect() };
        let read = range(&[(0, 0, 5), (1, 2, 2)]);
        assert_eq!(added(&read, &range(&[(0, 0, 7), (1, 2, 2)])), Some(range(&[(0, 5, 7), (1, 2, 2)])));
        assert_eq!(added(&read, &range(&[(0, 0, 5), (1, 2, 2), (2, 0, 1)])).unwrap()[&2], (0, 1), "a new partition");
        assert_eq!(added(&read, &range(&[(0, 3, 7), (1, 2, 2)])), None, "records were removed");
        assert_eq!(added(&read, &range(&[(0, 0, 4), (1, 2, 2)])), None, "another topic");
        assert_eq!(added(&read, &range(&[(0, 0, 5)])), None, "another topic");
    }
}
