//! Which ranks the dead letters of a campaign hold. A dead letter is a winner that is looked after by people: it is no gap,
//! unless it was void where its record lay.

use std::collections::BTreeMap;
use std::sync::Arc;

use campaign::format::Newer;
use campaign::identity::CampaignId;
use campaign::log::tail::Range;
use campaign::settings::Kafka;
use campaign::table::{self, Barriers, CampaignRow, Position, TableError};
use sqlx::mysql::MySqlPool;

use crate::dead_log::DeadLog;
use crate::epoch::EpochError;
use crate::epoch::ranks::Ranks;
use crate::epoch::read::{self, Letter};

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

/// The ranks, and the part of the dead-letter topic that was read for them. One bit for each coupon, however many letters there are.
/// Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadRanks {
    read: DeadLog,
    barriers: Arc<Barriers>,
    /// Ranks above it were left out: no winner has them.
    total: u64,
    letters: Arc<Ranks>,
    /// Ranks of grants that people have given up: they have no letter any more.
    discarded: Arc<Ranks>,
    ranks: Arc<Ranks>,
    /// The first that only a newer program can read: whether it holds a rank, and which, is not known.
    newer: Option<(Position, Newer)>,
}

impl DeadRanks {
    /// The first dead letter that only a newer program can read, and where it lies. One is enough: with records that are removed, or given
    /// up, all are read again.
    pub fn newer(&self) -> Option<&(Position, Newer)> {
        self.newer.as_ref()
    }

    /// The ranks of dead letters, and of grants that are given up for good: each has somebody who looked, or looks, after it.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// Ranks of grants that are given up for good.
    pub fn discarded(&self) -> &Ranks {
        &self.discarded
    }

    /// The same with these ranks of grants that are given up.
    #[must_use]
    pub fn and_discarded(mut self, discarded: Ranks) -> Self {
        if *self.discarded != discarded {
            self.discarded = Arc::new(discarded);
            self.ranks = Arc::new((*self.letters).clone().and(&self.discarded));
        }
        self
    }

    /// Brings them up to date: `log` is what is there now of the topic, `total` the quantity. Reads only what is new, unless records were
    /// removed or given up, or another epoch or quantity judges otherwise what was read before: then all of it.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub async fn refresh(
        mut self,
        kafka: &Kafka,
        campaign: &CampaignId,
        log: DeadLog,
        barriers: &DeadBarriers,
        total: u64,
    ) -> Result<Self, EpochError> {
        let judged = self.barriers == barriers.barriers && self.total == total;
        if judged && log == self.read {
            return Ok(self);
        }
        let same = judged && log.discarded == self.read.discarded;
        let (mut letters, missing) = match added(&self.read.range, &log.range).filter(|_| same) {
            Some(added) => (Arc::unwrap_or_clone(self.letters), DeadLog { range: added, ..log.clone() }),
            None => {
                self.newer = None;
                (Ranks::default(), log.clone())
            }
        };
        let mut reading = read::dead_letters(kafka, campaign, missing, (*barriers.barriers).clone());
        while let Some(some) = reading.next().await? {
            for letter in some {
                match letter {
                    Letter::Winner(event) if (1..=total).contains(&event.rank) => letters.insert(event.rank),
                    Letter::Winner(_) => {}
                    Letter::Newer(at, newer) => {
                        self.newer.get_or_insert((at, newer));
                    }
                }
            }
        }
        (self.read, self.total) = (log, total);
        self.barriers = Arc::clone(&barriers.barriers);
        self.letters = Arc::new(letters);
        self.ranks = Arc::new((*self.letters).clone().and(&self.discarded));
        Ok(self)
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
