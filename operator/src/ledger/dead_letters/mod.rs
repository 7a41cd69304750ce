//! Which ranks the dead letters of a campaign hold. A dead letter is a winner that is looked after by people: it is no gap,
//! unless it was void where its record lay, or Redis does not hold what it says.

pub(crate) mod held;
pub mod log;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use coupon_core::connections::Kafka;
use coupon_core::event::CouponIssued;
use coupon_core::format::Newer;
use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use coupon_ledger::database::{self, Barriers, CampaignRow, DatabaseError};
use coupon_ledger::kafka::tail::Range;
use sqlx::mysql::MySqlPool;

use crate::ledger::dead_letters::held::Judge;
use crate::ledger::dead_letters::log::DeadLog;
use crate::ledger::epoch::EpochError;
use crate::ledger::epoch::ranks::Ranks;
use crate::ledger::epoch::read::{self, DeadLetter};

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
    pub async fn refresh(self, sql: &MySqlPool, row: &CampaignRow) -> Result<Self, DatabaseError> {
        let topic_id = row.topic_id.clone().unwrap_or_default();
        // An open epoch has its barrier, and there is none of a newer one. While one is being opened, it may come any time.
        let of = row.open_epoch.filter(|open| *open == row.epoch).map(|open| (topic_id.clone(), open));
        if of.is_some() && of == self.of {
            return Ok(self);
        }
        let barriers = database::barriers_of_dead_letters(sql, row.id, &topic_id).await?;
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
    /// The epoch under which Redis was asked about all of them; `None`: about some it was not, and these are believed.
    judged: Option<u64>,
    /// Ranks that letters name for users for whom Redis does not hold them.
    contradicted: Arc<Ranks>,
    /// Letters of ranks above the total.
    above_total: u64,
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

    /// How many ranks letters name for users for whom Redis does not hold them: nobody was told of these, or another's row stands in their
    /// place. One that is given up is nothing to look at any more.
    pub fn contradicted(&self) -> u64 {
        self.contradicted.iter().filter(|rank| !self.discarded.contains(*rank)).count() as u64
    }

    /// How many letters name ranks above the total. They hold none of the campaign's coupons, and their users may have been told all the same.
    pub fn above_total(&self) -> u64 {
        self.above_total
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

    /// Brings them up to date: `log` is what is there now of the topic, `total` the quantity, `judge` asks Redis, where it serves. Reads
    /// only what is new, unless records were removed or given up, or another epoch or quantity judges otherwise what was read before, or it
    /// was not judged: then all of it.
    ///
    /// # Errors
    /// The topic cannot be read. That Redis cannot be asked is none: what a letter says is believed meanwhile.
    pub async fn refresh(
        mut self,
        kafka: &Kafka,
        campaign: &CampaignId,
        log: DeadLog,
        barriers: &DeadBarriers,
        total: u64,
        judge: Option<&Judge<'_>>,
    ) -> Result<Self, EpochError> {
        // While Redis does not serve, what it has said stands.
        let is_judged = judge.is_none_or(|judge| self.judged == Some(judge.epoch));
        let same = self.barriers == barriers.barriers && self.total == total && is_judged;
        if same && log == self.read {
            return Ok(self);
        }
        let same = same && log.discarded == self.read.discarded;
        let (mut letters, mut contradicted, missing) = match added(&self.read.range, &log.range).filter(|_| same) {
            Some(added) => {
                let missing = DeadLog { range: added, ..log.clone() };
                (Arc::unwrap_or_clone(self.letters), Arc::unwrap_or_clone(self.contradicted), missing)
            }
            None => {
                (self.newer, self.judged, self.above_total) = (None, None, 0);
                (Ranks::default(), Ranks::default(), log.clone())
            }
        };
        let mut judged = judge.map(|judge| judge.epoch).or(self.judged);
        let mut reading = read::dead_letters(kafka, campaign, missing, (*barriers.barriers).clone());
        while let Some(some) = reading.next().await? {
            let mut winners = Vec::with_capacity(some.len());
            for letter in some {
                match letter {
                    DeadLetter::Winner(event) if (1..=total).contains(&event.rank) => winners.push(event),
                    DeadLetter::Winner(_) => self.above_total += 1,
                    DeadLetter::Newer(at, newer) => {
                        self.newer.get_or_insert((at, newer));
                    }
                }
            }
            let held = match judge.filter(|_| judged.is_some() && !winners.is_empty()) {
                None => None,
                Some(judge) => held_in_redis(judge, campaign, &winners).await,
            };
            if held.is_none() && !winners.is_empty() {
                judged = None;
            }
            for (place, winner) in winners.iter().enumerate() {
                match held.as_ref().is_none_or(|held| held.contains(&place)) {
                    true => letters.insert(winner.rank),
                    false => contradicted.insert(winner.rank),
                }
            }
        }
        (self.read, self.total, self.judged) = (log, total, judged);
        self.barriers = Arc::clone(&barriers.barriers);
        (self.letters, self.contradicted) = (Arc::new(letters), Arc::new(contradicted));
        self.ranks = Arc::new((*self.letters).clone().and(&self.discarded));
        Ok(self)
    }
}

/// The places of those that Redis holds; `None` if it could not be asked.
async fn held_in_redis(judge: &Judge<'_>, campaign: &CampaignId, winners: &[CouponIssued]) -> Option<HashSet<usize>> {
    match judge.held(winners).await {
        Ok(held) => Some(held),
        Err(error) => {
            tracing::warn!(%campaign, %error, "Redis could not be asked whether it holds what dead letters say");
            None
        }
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
