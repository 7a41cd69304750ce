//! Writes a ledger into Redis as it comes in, in order of authority: the first entry for a rank stays. What is kept of a winner that
//! was written is one bit; whether its user's place is taken, Redis says.

use std::collections::HashSet;

use coupon_core::event::CouponIssued;
use coupon_ledger::redis::rebuild::{Attempt, FREE_OF_CALL, FillError, LedgerWinner, Totals, WINNERS_OF_CALL};
use coupon_ledger::redis::{Held, NumberedTerms, kept_n};

use super::ranks::Ranks;

/// An attempt that is being filled.
pub struct Filling {
    attempt: Attempt,
    total: u64,
    ranks: Ranks,
    latest_ms: i64,
}

/// A winner as a record or a row knows it.
pub fn from_event(event: CouponIssued) -> LedgerWinner {
    LedgerWinner {
        rank: event.rank,
        n: event.n,
        user: event.user_id,
        granted_ms: event.occurred_at.as_millisecond(),
        key: event.request_key,
    }
}

/// A grant that people have given up, as a winner who keeps the rank and no place of the user's.
pub fn kept(event: CouponIssued) -> LedgerWinner {
    LedgerWinner { n: kept_n(event.rank), ..from_event(event) }
}

/// A winner as Redis knows it.
pub fn from_held(held: Held) -> LedgerWinner {
    let (granted_ms, key) = held.granted_or_recovered();
    LedgerWinner { rank: held.rank, n: held.n, user: held.user, granted_ms, key }
}

impl Filling {
    /// Ranks above `total` are left out: they cannot be stored.
    pub fn new(attempt: Attempt, total: u64) -> Self {
        Self { attempt, total, ranks: Ranks::default(), latest_ms: 0 }
    }

    /// Winners that stand so far.
    pub fn winners(&self) -> u64 {
        self.ranks.count()
    }

    /// Takes winners, in order; answers how many of them stand.
    ///
    /// # Errors
    /// The attempt is over.
    pub async fn add(&mut self, winners: Vec<LedgerWinner>) -> Result<u64, FillError> {
        let (mut chunk, mut ranks, mut stand) = (Vec::new(), HashSet::new(), 0);
        for winner in winners {
            // Who is before it in this chunk may be refused, and then the rank is this one's.
            if chunk.len() == WINNERS_OF_CALL || ranks.contains(&winner.rank) {
                stand += self.write(&mut chunk).await?;
                ranks.clear();
            }
            if winner.rank > 0 && winner.rank <= self.total && !self.ranks.contains(winner.rank) {
                ranks.insert(winner.rank);
                chunk.push(winner);
            }
        }
        Ok(stand + self.write(&mut chunk).await?)
    }

    async fn write(&mut self, chunk: &mut Vec<LedgerWinner>) -> Result<u64, FillError> {
        if chunk.is_empty() {
            return Ok(0);
        }
        let refused: HashSet<usize> = self.attempt.write(chunk).await?.into_iter().collect();
        let before = self.ranks.count();
        for (_, winner) in chunk.drain(..).enumerate().filter(|(place, _)| !refused.contains(place)) {
            self.ranks.insert(winner.rank);
            self.latest_ms = self.latest_ms.max(winner.granted_ms);
        }
        Ok(self.ranks.count() - before)
    }

    /// Writes the free ranks and swaps everything in, if all of it arrived.
    ///
    /// # Errors
    /// The attempt is over.
    pub async fn finish(mut self, epoch: u64, terms: &NumberedTerms) -> Result<Totals, FillError> {
        let (mut chunk, mut free) = (Vec::new(), 0);
        for rank in self.ranks.free() {
            chunk.push(rank);
            if chunk.len() == FREE_OF_CALL {
                self.attempt.write_free(&chunk).await?;
                free += chunk.len() as u64;
                chunk.clear();
            }
        }
        if !chunk.is_empty() {
            self.attempt.write_free(&chunk).await?;
            free += chunk.len() as u64;
        }
        let (winners, highest) = (self.ranks.count(), self.ranks.highest());
        let totals = Totals { winners, free, highest, latest_ms: self.latest_ms };
        self.attempt.swap(epoch, terms, &totals).await?;
        Ok(totals)
    }
}
