//! Puts together what SQL, Kafka and Redis say about who has won, all at once and in memory: what a streamed repair must come to.

use std::collections::{HashMap, HashSet};

use coupon_core::event::CouponIssued;
use coupon_core::identity::UserId;
use coupon_ledger::redis::Held;
use coupon_ledger::redis::rebuild::{Ledger, LedgerWinner};

/// The ledger, and how much of it is in Redis only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merged {
    /// What Redis is to hold.
    pub(crate) ledger: Ledger,
    /// Winners that neither SQL nor Kafka has.
    pub(crate) redis_only: u64,
    /// Redis holds exactly this ledger already.
    pub(crate) in_redis: bool,
}

/// The n-th place of a rank that is only kept. Far above every limit, so that it takes no place of its user's.
const KEPT_N: u32 = 1_000_001;

impl Merged {
    /// Keeps the ranks of grants that are given up: nobody gets them again. A rank that somebody holds stays whose it is.
    pub(crate) fn keep(&mut self, discarded: Vec<CouponIssued>, total: u64) {
        let ledger = &mut self.ledger;
        for event in discarded.into_iter().filter(|event| event.rank <= total) {
            let Err(at) = ledger.winners.binary_search_by_key(&event.rank, |winner| winner.rank) else { continue };
            let places: HashSet<u32> =
                ledger.winners.iter().filter(|winner| winner.user == event.user_id).map(|winner| winner.n).collect();
            let n = (KEPT_N..u32::MAX).find(|n| !places.contains(n)).unwrap_or(u32::MAX);
            if let Ok(free) = ledger.free.binary_search(&event.rank) {
                ledger.free.remove(free);
            }
            ledger.free.extend(ledger.highest + 1..event.rank);
            ledger.highest = ledger.highest.max(event.rank);
            ledger.winners.insert(at, LedgerWinner { n, ..from_event(event) });
            self.in_redis = false;
        }
    }
}

#[derive(Default)]
struct Book {
    winners: Vec<LedgerWinner>,
    ranks: HashSet<u64>,
    places: HashMap<UserId, HashSet<u32>>,
}

impl Book {
    /// Takes a winner unless its rank or its user's n-th place is taken: whoever comes first stands.
    fn take(&mut self, winner: LedgerWinner) -> bool {
        let places = self.places.entry(winner.user.clone()).or_default();
        if self.ranks.contains(&winner.rank) || places.contains(&winner.n) {
            return false;
        }
        places.insert(winner.n);
        self.ranks.insert(winner.rank);
        self.winners.push(winner);
        true
    }
}

fn from_event(event: CouponIssued) -> LedgerWinner {
    LedgerWinner {
        rank: event.rank,
        n: event.n,
        user: event.user_id,
        granted_ms: event.occurred_at.as_millisecond(),
        key: event.request_key,
    }
}

fn from_held(held: Held) -> LedgerWinner {
    let (granted_ms, key) = held.granted_or_recovered();
    LedgerWinner { rank: held.rank, n: held.n, user: held.user, granted_ms, key }
}

/// Rows win over records, records over Redis. Ranks above `total` are left out: they cannot be stored.
pub(crate) fn merge(rows: Vec<CouponIssued>, records: Vec<CouponIssued>, held: Vec<Held>, total: u64) -> Merged {
    let mut book = Book::default();
    for event in rows.into_iter().chain(records) {
        if event.rank <= total {
            book.take(from_event(event));
        }
    }
    // Where Redis has a durable winner, it must have the same one; and nobody else.
    let durable: HashMap<u64, (UserId, u32)> =
        book.winners.iter().map(|winner| (winner.rank, (winner.user.clone(), winner.n))).collect();
    let (mut redis_only, mut repeated) = (0, 0);
    let in_redis = held.len();
    for winner in held.into_iter().map(from_held) {
        if durable.get(&winner.rank).is_some_and(|(user, n)| *user == winner.user && *n == winner.n) {
            repeated += 1;
        } else if winner.rank <= total && book.take(winner) {
            redis_only += 1;
        }
    }
    let in_redis = repeated == durable.len() && book.winners.len() == in_redis;
    let highest = book.ranks.iter().copied().max().unwrap_or(0);
    let free = (1..highest).filter(|rank| !book.ranks.contains(rank)).collect();
    let mut winners = book.winners;
    winners.sort_by_key(|winner| winner.rank);
    Merged { ledger: Ledger { winners, free, highest }, redis_only, in_redis }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coupon_core::identity::RequestKey;
    use proptest::prelude::*;

    fn event(rank: u64, user: &str, n: u32) -> CouponIssued {
        CouponIssued {
            coupon_id: "spring".into(),
            user_id: UserId::new(user).unwrap(),
            rank,
            issued_count: rank,
            occurred_at: jiff::Timestamp::from_millisecond(5).unwrap(),
            n,
            epoch: 1,
            request_key: RequestKey::new("k").unwrap(),
        }
    }

    fn held(rank: u64, user: &str, n: u32) -> Held {
        Held { user: UserId::new(user).unwrap(), rank, n, granted: None }
    }

    fn ranks(merged: &Merged) -> Vec<(u64, &str)> {
        merged.ledger.winners.iter().map(|w| (w.rank, w.user.as_str())).collect()
    }

    #[test]
    fn nothing_known_is_a_new_campaign() {
        let merged = merge(vec![], vec![], vec![], 100);
        assert_eq!(merged.ledger, Ledger { winners: vec![], free: vec![], highest: 0 });
    }

    #[test]
    fn durable_winners_win_over_redis() {
        let merged =
            merge(vec![event(1, "anna", 1)], vec![event(3, "carl", 1)], vec![held(1, "bob", 1), held(2, "dora", 1)], 9);
        assert_eq!(ranks(&merged), [(1, "anna"), (2, "dora"), (3, "carl")]);
        assert_eq!((merged.redis_only, merged.ledger.highest), (1, 3));
    }

    #[test]
    fn lost_ranks_are_handed_out_again_and_none_above_the_total_survives() {
        let merged = merge(vec![event(2, "anna", 1)], vec![event(5, "carl", 1), event(11, "eve", 1)], vec![], 10);
        assert_eq!(ranks(&merged), [(2, "anna"), (5, "carl")]);
        assert_eq!(merged.ledger.free, [1, 3, 4]);
    }

    /// Wrong: a rank that was answered, and then given up by people because another coupon is in its place, is sold again.
    #[test]
    fn a_discarded_rank_is_neither_free_nor_anybody_else_s() {
        let rows = || vec![event(1, "anna", 1), event(4, "bob", 1)];
        let given_up = || vec![event(2, "anna", 1), event(4, "carl", 1), event(7, "anna", 1), event(11, "eve", 1)];
        let mut merged = merge(rows(), vec![], vec![held(2, "anna", 1)], 10);
        assert_eq!(merged.ledger.free, [2, 3], "without it");
        merged.keep(given_up(), 10);
        assert_eq!(ranks(&merged), [(1, "anna"), (2, "anna"), (4, "bob"), (7, "anna")]);
        assert_eq!((merged.ledger.free.as_slice(), merged.ledger.highest, merged.in_redis), (&[3, 5, 6][..], 7, false));
        let places: HashSet<_> = merged.ledger.winners.iter().map(|winner| (winner.user.clone(), winner.n)).collect();
        assert_eq!(places.len(), 4, "each has a place of its own");

        // Once Redis holds that, it need not be filled again.
        let in_redis = merged.ledger.winners.iter().map(|winner| held(winner.rank, winner.user.as_str(), winner.n));
        let mut again = merge(rows(), vec![], in_redis.collect(), 10);
        again.keep(given_up(), 10);
        assert!(again.in_redis);
        assert_eq!((ranks(&again), &again.ledger.free), (ranks(&merged), &merged.ledger.free));
    }

    #[test]
    fn a_redelivered_record_counts_once() {
        let merged = merge(
            vec![event(1, "anna", 1)],
            vec![event(1, "anna", 1), event(1, "anna", 1)],
            vec![held(1, "anna", 1)],
            9,
        );
        assert_eq!(ranks(&merged), [(1, "anna")]);
        assert_eq!(merged.redis_only, 0);
    }

    #[test]
    fn redis_holds_the_ledger_when_it_has_every_durable_winner_and_nobody_else() {
        let rows = || vec![event(1, "anna", 1), event(2, "bob", 1)];
        let tail = || vec![event(3, "carl", 1)];
        let all = || vec![held(1, "anna", 1), held(2, "bob", 1), held(3, "carl", 1)];
        let with = |more: Held| all().into_iter().chain([more]).collect::<Vec<_>>();
        for (what, redis, expected) in [
            ("all of them", all(), true),
            ("one more that only Redis has", with(held(5, "dora", 1)), true),
            ("one row is missing", all().split_off(1), false),
            ("one record is missing", all()[..2].to_vec(), false),
            ("a rank is another user's", vec![held(1, "anna", 1), held(2, "eve", 1), held(3, "carl", 1)], false),
            ("a rank is the user's second", vec![held(1, "anna", 2), held(2, "bob", 1), held(3, "carl", 1)], false),
            ("a winner whose place is taken", with(held(4, "anna", 1)), false),
            ("a rank above the total", with(held(99, "dora", 1)), false),
        ] {
            assert_eq!(merge(rows(), tail(), redis, 10).in_redis, expected, "{what}");
        }
        assert!(merge(vec![], vec![], vec![], 10).in_redis, "nothing is lost of nothing");
    }

    proptest! {
        /// Whatever the sources say, the result can be stored: unique ranks, unique places, nothing above the total, every
        /// row kept, and the free ranks are exactly the holes.
        #[test]
        fn the_result_is_always_storable(
            rows in proptest::collection::vec((1u64..8, 0usize..4, 1u32..3), 0..6),
            records in proptest::collection::vec((1u64..12, 0usize..4, 1u32..3), 0..8),
            redis in proptest::collection::vec((1u64..12, 0usize..4, 1u32..3), 0..8),
        ) {
            let users = ["anna", "bob", "carl", "dora"];
            let mut ledger_rows = Book::default();
            for (rank, user, n) in rows {
                ledger_rows.take(from_event(event(rank, users[user], n)));
            }
            let stored: Vec<CouponIssued> = ledger_rows.winners.iter().map(|w| event(w.rank, w.user.as_str(), w.n)).collect();
            let merged = merge(
                stored.clone(),
                records.into_iter().map(|(rank, user, n)| event(rank, users[user], n)).collect(),
                redis.into_iter().map(|(rank, user, n)| held(rank, users[user], n)).collect(),
                10,
            );
            let winners = &merged.ledger.winners;
            let unique: HashSet<u64> = winners.iter().map(|w| w.rank).collect();
            let places: HashSet<(&str, u32)> = winners.iter().map(|w| (w.user.as_str(), w.n)).collect();
            prop_assert_eq!(unique.len(), winners.len());
            prop_assert_eq!(places.len(), winners.len());
            prop_assert!(unique.iter().all(|rank| *rank <= 10));
            for row in stored {
                prop_assert!(winners.iter().any(|w| w.rank == row.rank && w.user == row.user_id && w.n == row.n));
            }
            let holes: Vec<u64> = (1..=merged.ledger.highest).filter(|rank| !unique.contains(rank)).collect();
            prop_assert_eq!(&merged.ledger.free, &holes);
        }
    }
}
