//! Where the comparison of a campaign is.

use crate::reconcile::observe::Observation;
use std::time::{Duration, Instant};

/// Where the comparison of a campaign is. Losing it costs a round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CompareWatch {
    /// Under which epoch it began.
    pub(crate) epoch: u64,
    /// When this round began, and up to which rank all was compared.
    pub(crate) round: Option<(Instant, u64)>,
    /// Rows of this round that are what Redis holds; `None`: some were passed over.
    pub(crate) rows: Option<u64>,
    /// The last round was gone through.
    pub(crate) is_over: bool,
    /// So many rows were what Redis holds in the last round that was gone through.
    pub(crate) matched: u64,
    /// A rank that differed in the last look.
    pub(crate) suspect: Option<u64>,
    /// Dead letters that there were.
    pub(crate) letters: u64,
}

impl CompareWatch {
    /// What is known of these winners. Fewer rows than winners are handled elsewhere; as many rows prove nothing, as one of them may
    /// belong to no winner.
    pub(crate) fn status(&self, seen: &Observation) -> ComparisonStatus {
        let dead = seen.kafka.as_ref().ok().and_then(|kafka| kafka.dead_ranks).unwrap_or(0);
        let proves = seen.issued().is_some_and(|issued| self.matched.saturating_add(dead) >= issued);
        ComparisonStatus { proves, suspect: self.suspect }
    }

    /// Above which rank this pass compares, if it does. `letters`: dead letters; one more may be a winner whose place is another's.
    /// `unproven`: all winners seem to be rows.
    pub(crate) fn turn(&mut self, epoch: u64, letters: Option<u64>, unproven: bool, now: Instant) -> Option<u64> {
        let more = letters.is_some_and(|letters| letters > std::mem::replace(&mut self.letters, letters));
        if epoch != self.epoch {
            *self = Self { epoch, letters: self.letters, ..Self::default() };
        }
        if let Some(rank) = self.suspect {
            return Some(rank - 1);
        }
        let pause = if unproven { SOON } else { EVERY };
        match self.round {
            Some((began, _)) if self.is_over && !more && now.saturating_duration_since(began) < pause => None,
            Some((_, above)) if !self.is_over && !more => Some(above),
            _ => {
                (self.round, self.rows, self.is_over) = (Some((now, 0)), Some(0), false);
                Some(0)
            }
        }
    }

    /// Records the result of a comparison. Returns the difference if it was found twice in a row.
    pub(crate) fn record(&mut self, found: &ComparisonResult) -> Option<Difference> {
        let twice = found.differs.filter(|differs| self.suspect == Some(differs.rank));
        self.suspect = found.differs.filter(|_| twice.is_none()).map(|differs| differs.rank);
        match (found.differs, &mut self.round) {
            (None, Some((_, above))) => {
                *above = found.up_to;
                self.is_over = found.is_end;
                self.rows = self.rows.map(|rows| rows + found.rows);
                if let (true, Some(rows)) = (self.is_over, self.rows) {
                    self.matched = rows;
                }
            }
            // The next look begins right below it.
            (Some(_), _) => self.rows = None,
            _ => {}
        }
        if twice.is_some() {
            self.matched = 0;
        }
        twice
    }
}

/// What one comparison found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ComparisonResult {
    /// All rows up to this rank are in Redis what they are, but for the one that differs.
    pub(crate) up_to: u64,
    /// How many these are.
    pub(crate) rows: u64,
    /// There are no rows above.
    pub(crate) is_end: bool,
    /// The first row that Redis has otherwise, or not at all.
    pub(crate) differs: Option<Difference>,
}

/// What the comparisons have shown so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ComparisonStatus {
    /// As many rows as there are winners that should be some were found to be what Redis holds, rank by rank.
    pub proves: bool,
    /// A rank that differed in the last comparison, and is compared again.
    pub suspect: Option<u64>,
}

/// A row that Redis does not hold as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Its rank.
    pub rank: u64,
    /// What Redis has there.
    pub held: Holder,
}

/// Who has the rank of a row in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody: no grant explains the row, or Redis has lost it.
    Nobody,
    /// Somebody else than in the row.
    Another,
}

/// The same while there are as many rows as winners, and it is not known that they are the same.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Rounds begin this far apart, at least, unless something points to a difference.
pub(crate) const EVERY: Duration = Duration::from_secs(30);
