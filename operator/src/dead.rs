//! Which ranks the dead letters of a campaign hold. A dead letter is a winner that is looked after by people: it is no gap,
//! unless it was void where its record lay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campaign::identity::CampaignId;
use campaign::log::tail::Range;
use campaign::settings::Kafka;
use campaign::table::{self, Barriers, CampaignRow, Position, TableError};
use sqlx::mysql::MySqlPool;

use crate::epoch::{EpochError, read};

/// What a dead letter must be judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Letter {
    rank: u64,
    epoch: u64,
    /// Where its record first lay.
    origin: Option<Position>,
}

/// The barriers by which dead letters are judged, as far as a pass knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadBarriers {
    /// Topic and epoch for which they are known to be all there are; `None`: they must be read again.
    of: Option<(String, u64)>,
    barriers: Arc<Barriers>,
}

impl DeadBarriers {
    /// Brings them up to date. They are read only when a new epoch, or a new topic, may have brought some.
    ///
    /// # Errors
    /// The database failed.
    pub async fn refresh(self, sql: &MySqlPool, row: &CampaignRow) -> Result<Self, TableError> {
        let topic_id = row.topic_id.clone().unwrap_or_default();
        // An open epoch has its barrier, and there is none of a newer one. While one is being opened, it may come any time.
        let of = row.open_epoch.filter(|open| *open == row.epoch).map(|open| (topic_id.clone(), open));
        if of.is_some() && of == self.of {
            return Ok(self);
        }
        let barriers = table::barriers_of_dead_letters(sql, row.id, &topic_id).await?;
        Ok(Self { of, barriers: Arc::new(barriers) })
    }
}

/// The ranks, and the part of the dead-letter topic that was read for them. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadRanks {
    read: Range,
    letters: Arc<BTreeSet<Letter>>,
    barriers: Arc<Barriers>,
    /// Ranks of grants that people have given up: they have no letter any more.
    discarded: Arc<BTreeSet<u64>>,
    ranks: Arc<BTreeSet<u64>>,
}

impl DeadRanks {
    /// The ranks of dead letters, and of grants that are given up for good: each has somebody who looked, or looks, after it.
    pub fn ranks(&self) -> &BTreeSet<u64> {
        &self.ranks
    }

    /// The same with these ranks of grants that are given up.
    #[must_use]
    pub fn and_discarded(mut self, discarded: BTreeSet<u64>) -> Self {
        if *self.discarded != discarded {
            self.discarded = Arc::new(discarded);
            self.ranks = Arc::new(union(&self.letters, &self.barriers, &self.discarded));
        }
        self
    }

    /// Brings them up to date: `span` is the part of the topic that is there now. Reads only what is new, unless records
    /// were removed; under other barriers what was read before is judged again.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub async fn refresh(
        mut self,
        kafka: &Kafka,
        campaign: &CampaignId,
        span: Range,
        barriers: &DeadBarriers,
    ) -> Result<Self, EpochError> {
        if span != self.read {
            let (kept, missing) = match added(&self.read, &span) {
                Some(added) => (Arc::unwrap_or_clone(self.letters), added),
                None => (BTreeSet::new(), span.clone()),
            };
            let found = read::dead_letters(kafka, campaign, missing).await?;
            let found = found.into_iter().map(|letter| Letter {
                rank: letter.event.rank,
                epoch: letter.event.epoch,
                origin: letter.origin,
            });
            self.letters = Arc::new(kept.into_iter().chain(found).collect());
            self.read = span;
        } else if self.barriers == barriers.barriers {
            return Ok(self);
        }
        self.barriers = Arc::clone(&barriers.barriers);
        self.ranks = Arc::new(union(&self.letters, &self.barriers, &self.discarded));
        Ok(self)
    }
}

fn union(letters: &BTreeSet<Letter>, barriers: &Barriers, discarded: &BTreeSet<u64>) -> BTreeSet<u64> {
    let mut all = held(letters, barriers);
    all.extend(discarded);
    all
}

/// The ranks that these letters hold.
fn held(letters: &BTreeSet<Letter>, barriers: &Barriers) -> BTreeSet<u64> {
    let holding = letters.iter().filter(|letter| read::holds_its_rank(letter.epoch, letter.origin, barriers));
    holding.map(|letter| letter.rank).collect()
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
    use campaign::table::Barrier;

    use super::*;

    /// Wrong: a dead letter that a newer epoch has made void hides a winner of its rank that only Redis holds.
    #[test]
    fn a_letter_that_was_void_where_its_record_lay_holds_no_rank() {
        let letter = |rank, epoch, at: Option<i64>| Letter {
            rank,
            epoch,
            origin: at.map(|offset| Position { partition: 0, offset }),
        };
        let letters = BTreeSet::from([
            letter(1, 1, Some(9)),
            letter(2, 1, Some(10)),
            letter(3, 2, Some(10)),
            letter(4, 1, None),
            // Void in one place, not in the other: the record was written twice.
            letter(5, 1, Some(11)),
            letter(5, 2, Some(12)),
        ]);
        let all = BTreeSet::from([1, 2, 3, 4, 5]);
        assert_eq!(held(&letters, &Barriers::default()), all);
        let barriers = Barriers::new(vec![Barrier { epoch: 2, ends: BTreeMap::from([(0, 10)]) }]);
        assert_eq!(held(&letters, &barriers), BTreeSet::from([1, 3, 4, 5]));
    }

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
