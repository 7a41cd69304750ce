//! Whether Redis holds a ledger already: its winners and the rows are joined by rank, a page of each at a time. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use coupon_core::event::CouponIssued;
use coupon_core::identity::UserId;
use coupon_ledger::redis::Held;

use super::ranks::Ranks;

/// Winners that are no rows, of which so many are kept in memory (some 200 bytes each); with more, Redis is filled afresh.
pub(crate) const MAX_EXTRA: u64 = 50_000;

/// What the join wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next page of rows; an empty one is the end.
    Rows,
    /// The next page of what Redis holds; an empty one is the end.
    Held,
    /// All was compared.
    Finished,
    /// Redis does not hold it, or too much of it is no rows to tell.
    Differs,
}

/// The join. "Differs" is always a safe answer: then Redis is filled.
#[derive(Debug)]
pub struct Join {
    total: u64,
    rows: VecDeque<CouponIssued>,
    held: VecDeque<Held>,
    rows_end: bool,
    held_end: bool,
    last_held: u64,
    /// Rows that Redis has as well.
    matched: Ranks,
    /// Held, and no row: by rank.
    extra: BTreeMap<u64, (UserId, u32)>,
    /// Of these, how many a record has.
    recorded: BTreeSet<u64>,
    differs: bool,
}

/// What Redis holds when it holds the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// Winners in all.
    pub winners: u64,
    /// Winners that neither SQL nor Kafka has.
    pub redis_only: u64,
}

impl Join {
    /// With ranks up to `total`.
    pub fn new(total: u64) -> Self {
        Self {
            total,
            rows: VecDeque::new(),
            held: VecDeque::new(),
            rows_end: false,
            held_end: false,
            last_held: 0,
            matched: Ranks::default(),
            extra: BTreeMap::new(),
            recorded: BTreeSet::new(),
            differs: false,
        }
    }

    /// The next page of rows, by rank.
    pub fn push_rows(&mut self, page: Vec<CouponIssued>) {
        self.rows_end |= page.is_empty();
        self.rows.extend(page);
    }

    /// The next page of what Redis holds, by rank.
    pub fn push_held(&mut self, page: Vec<Held>) {
        self.held_end |= page.is_empty();
        self.held.extend(page);
    }

    /// Compares as far as both sides are known.
    pub fn compare(&mut self) -> Next {
        while !self.differs {
            if self.rows.is_empty() && !self.rows_end {
                return Next::Rows;
            }
            if self.held.is_empty() && !self.held_end {
                return Next::Held;
            }
            match (self.rows.pop_front(), self.held.pop_front()) {
                (None, None) => return Next::Finished,
                (Some(row), Some(held)) if row.rank == held.rank => {
                    self.differs |= !self.in_order(held.rank) || row.user_id != held.user || row.n != held.n;
                    if !self.differs {
                        self.matched.insert(held.rank);
                    }
                }
                (row, Some(held)) if row.as_ref().is_none_or(|row| held.rank < row.rank) => {
                    if let Some(row) = row {
                        self.rows.push_front(row);
                    }
                    self.differs |= !self.in_order(held.rank) || self.extra.len() as u64 >= MAX_EXTRA;
                    self.extra.insert(held.rank, (held.user, held.n));
                }
                // A row that Redis does not have.
                _ => self.differs = true,
            }
        }
        Next::Differs
    }

    fn in_order(&mut self, rank: u64) -> bool {
        let in_order = rank > self.last_held && rank <= self.total;
        self.last_held = rank;
        in_order
    }

    /// A winner that the log has, once all was compared. False: Redis does not have it, and no row of its rank stands.
    pub fn record(&mut self, record: &CouponIssued) -> bool {
        if record.rank > self.total {
            return true;
        }
        match self.extra.get(&record.rank) {
            // A member stands once in Redis, so nobody who is before it can have its place.
            Some((user, n)) if *user == record.user_id && *n == record.n => {
                self.recorded.insert(record.rank);
                true
            }
            Some(_) => false,
            None => self.matched.contains(record.rank),
        }
    }

    /// Whether Redis has this rank as somebody's, once all was compared.
    pub fn holds(&self, rank: u64) -> bool {
        self.matched.contains(rank) || self.extra.contains_key(&rank)
    }

    /// Ranks that Redis holds and that are no rows, once all was compared.
    pub fn extra(&self) -> impl Iterator<Item = u64> {
        self.extra.keys().copied()
    }

    /// What came out, once all was compared.
    pub fn joined(&self) -> Joined {
        let extra = self.extra.len() as u64;
        Joined { winners: self.matched.count() + extra, redis_only: extra - self.recorded.len() as u64 }
    }
}
