//! Which grants have a letter among the dead letters already. Pure; `repeated` reads the topic.
//!
//! A winner who asks again is answered again, and each answer is a record. Where it cannot be a row, the letter of the first says all that
//! its own would say: the same grant, of the same epoch, at an earlier place of the same partition. So whatever makes that letter void,
//! a barrier at or before its place, makes this record void, too; and a replay of that letter makes the very row.

use std::collections::{BTreeMap, HashMap};

use coupon_core::event::CouponIssued;
use coupon_core::position::Position;

/// So many are remembered. With the longest names that is some 6 MiB; further grants may have several letters.
const MOST: usize = 10_000;
/// So many records at the end of a partition are read.
const SPAN: i64 = 10_000;

/// What two records must have in common to be the same grant said twice: all but the number of coupons that were issued by then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Grant {
    partition: i32,
    rank: u64,
    n: u32,
    epoch: u64,
    user: String,
    key: String,
    granted_ms: i64,
}

impl Grant {
    /// What a record of this partition of the campaign's topic says.
    pub(crate) fn of(partition: i32, event: &CouponIssued) -> Self {
        Self {
            partition,
            rank: event.rank,
            n: event.n,
            epoch: event.epoch,
            user: event.user_id.as_str().to_owned(),
            key: event.request_key.as_str().to_owned(),
            granted_ms: event.occurred_at.as_millisecond(),
        }
    }
}

/// Where a letter lies, and where its record lay.
#[derive(Debug, Clone, Copy)]
struct Letter {
    at: Position,
    origin: i64,
}

/// The letters that are known. Losing them costs reading them again.
#[derive(Debug, Default)]
pub(crate) struct KnownLetters {
    /// By partition of the dead-letter topic: all before it was read, or is too far back.
    read_to: BTreeMap<i32, i64>,
    /// Of one grant several: some may be given up.
    letters: HashMap<Grant, Vec<Letter>>,
    count: usize,
}

impl KnownLetters {
    /// Takes in where a partition of the dead-letter topic begins and ends now; which part of it is to be read.
    pub(crate) fn unread(&mut self, partition: i32, start: i64, end: i64) -> (i64, i64) {
        // One that has become shorter is of another topic.
        let known = self.read_to.get(&partition).copied().filter(|known| *known <= end);
        let gone = |letter: &Letter| letter.at.partition == partition && (known.is_none() || letter.at.offset < start);
        self.letters.retain(|_, letters| {
            letters.retain(|letter| !gone(letter));
            !letters.is_empty()
        });
        self.count = self.letters.values().map(Vec::len).sum();
        (known.unwrap_or(start).max(start).max(end.saturating_sub(SPAN)), end)
    }

    /// All before this offset was read.
    pub(crate) fn has_read(&mut self, partition: i32, to: i64) {
        self.read_to.insert(partition, to);
    }

    /// There is such a letter; its record lay at `origin`.
    pub(crate) fn insert(&mut self, grant: Grant, at: Position, origin: i64) {
        // What follows on what is known needs not be read.
        if let Some(known) = self.read_to.get_mut(&at.partition).filter(|known| **known == at.offset) {
            *known += 1;
        }
        if self.count < MOST {
            self.count += 1;
            self.letters.entry(grant).or_default().push(Letter { at, origin });
        }
    }

    /// The letters each of which says all that one of a record at `offset` would say.
    pub(crate) fn find(&self, grant: &Grant, offset: i64) -> Vec<Position> {
        let letters = self.letters.get(grant).into_iter().flatten();
        letters.filter(|letter| letter.origin <= offset).map(|letter| letter.at).collect()
    }
}

#[cfg(test)]
mod tests {
    use coupon_core::identity::{RequestKey, UserId};

    use super::*;

    fn event(rank: u64) -> CouponIssued {
        CouponIssued {
            coupon_id: "spring".to_owned(),
            user_id: UserId::new("anna").unwrap(),
            rank,
            issued_count: rank,
            occurred_at: Default::default(),
            n: 1,
            epoch: 3,
            request_key: RequestKey::new("order").unwrap(),
        }
    }

    fn at(offset: i64) -> Position {
        Position { partition: 2, offset }
    }

    /// Wrong: a letter of an older epoch, which a repair takes for void, stands for a record that counts; another user's, or one that lay
    /// behind the record or in another partition, does so, too.
    #[test]
    fn only_the_same_grant_before_it_in_the_same_partition_stands_for_a_record() {
        let mut known = KnownLetters::default();
        known.insert(Grant::of(2, &event(7)), at(0), 40);
        let found = |partition: i32, offset: i64, change: &dyn Fn(&mut CouponIssued)| {
            let mut record = event(7);
            change(&mut record);
            known.find(&Grant::of(partition, &record), offset)
        };
        assert_eq!(found(2, 41, &|_| {}), [at(0)]);
        assert_eq!(found(2, 40, &|_| {}), [at(0)], "the very record, read again");
        assert_eq!(found(2, 99, &|record| record.issued_count = 12), [at(0)], "told with a later count");
        assert_eq!(found(2, 39, &|_| {}), []);
        assert_eq!(found(1, 41, &|_| {}), []);
        let others: [&dyn Fn(&mut CouponIssued); 6] = [
            &|record| record.rank = 8,
            &|record| record.n = 2,
            &|record| record.epoch = 4,
            &|record| record.user_id = UserId::new("bert").unwrap(),
            &|record| record.request_key = RequestKey::new("another").unwrap(),
            &|record| record.occurred_at = "1970-01-01T00:00:01Z".parse().unwrap(),
        ];
        assert!(others.iter().all(|change| found(2, 41, *change).is_empty()));
    }

    /// Wrong: a letter that was removed goes on standing for records, which then nobody finds any more.
    #[test]
    fn what_was_removed_is_forgotten_and_what_is_new_is_read() {
        let mut known = KnownLetters::default();
        assert_eq!(known.unread(2, 5, 8), (5, 8), "all of it");
        (5..8i64).for_each(|offset| known.insert(Grant::of(2, &event(offset.unsigned_abs())), at(offset), offset));
        known.has_read(2, 8);
        assert_eq!(known.unread(2, 5, 8), (8, 8), "nothing new");
        known.insert(Grant::of(2, &event(8)), at(8), 8);
        assert_eq!(known.unread(2, 5, 9), (9, 9), "what was written here is known");
        assert_eq!(known.unread(2, 7, 12), (9, 12));
        let held = |known: &KnownLetters| {
            (5..=8).filter(|rank| !known.find(&Grant::of(2, &event(*rank)), 99).is_empty()).count()
        };
        assert_eq!(held(&known), 2, "two were removed");
        assert_eq!(known.unread(2, 0, 3), (0, 3), "another topic");
        assert_eq!(held(&known), 0);
    }

    #[test]
    fn what_is_read_and_remembered_is_bounded() {
        let mut known = KnownLetters::default();
        assert_eq!(known.unread(2, 0, 1_000_000), (1_000_000 - SPAN, 1_000_000));
        for offset in 0..2 * MOST as i64 {
            known.insert(Grant::of(2, &event(offset.unsigned_abs() + 1)), at(offset), offset);
        }
        assert_eq!((known.count, known.letters.len()), (MOST, MOST));
        assert_eq!(known.find(&Grant::of(2, &event(1)), 0), [at(0)]);
        known.has_read(2, 2 * MOST as i64);
        known.unread(2, 1, 2 * MOST as i64);
        assert_eq!(known.count, MOST - 1, "there is room for one more");
    }
}
