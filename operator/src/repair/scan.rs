//! Which ranks a look for missing winners goes through. Pure.
//!
//! A look is bounded, and most of the ranks that are no rows may be nobody's: free ranks. So a look goes on behind what the
//! one before it has seen, to the last rank that is due; that is a round, and the next one begins at the first rank again.

use std::collections::BTreeSet;

/// Ranks that one look asks Redis about. It bounds memory, and the load on the brokers where all of them are missing.
pub const MAX_ASKED: usize = 5_000;
/// Ranks that one look goes through, those of rows and dead letters included.
pub const MAX_SEEN: u64 = 200_000;

/// Winners that were missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    /// Winners that were due and are neither rows nor dead letters.
    pub missing: u64,
    /// When the oldest of them was granted, milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// How many of them Kafka has acknowledged now.
    pub published: u64,
}

/// Where the looks at one campaign are. Losing it costs a round, nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scan {
    /// Everything up to this rank was looked at in this round.
    seen_up_to: u64,
    /// What this round has found so far.
    round: Looked,
    /// What the last whole round found.
    last: Looked,
}

impl Scan {
    /// What was found: by the last whole round, or by this one if that is more already. So a round that is half done does
    /// not say that nothing is missing.
    pub fn found(&self) -> Looked {
        if self.round.missing > self.last.missing { self.round } else { self.last }
    }

    /// The part of the round that the next look goes through. All ranks up to `complete_up_to` are known to be rows; those up
    /// to `up_to` are due.
    pub fn part(&self, complete_up_to: u64, up_to: u64) -> Part {
        let seen_up_to = self.seen_up_to.max(complete_up_to);
        Part { ranks: Vec::new(), seen_up_to, complete_up_to, end: up_to.min(seen_up_to.saturating_add(MAX_SEEN)) }
    }

    /// Takes in what a look found, which saw everything up to `seen_up_to`. True: that was the last one of its round.
    pub fn take(&mut self, looked: Looked, seen_up_to: u64, up_to: u64) -> bool {
        self.seen_up_to = seen_up_to;
        self.round = Looked {
            missing: self.round.missing + looked.missing,
            oldest_ms: self.round.oldest_ms.into_iter().chain(looked.oldest_ms).min(),
            published: self.round.published + looked.published,
        };
        let whole = seen_up_to >= up_to;
        if whole {
            *self = Self { last: self.round, ..Self::default() };
        }
        whole
    }
}

/// What one look goes through, taken in page by page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Ranks that are neither rows nor dead letters, lowest first: Redis knows whether anybody holds them.
    pub ranks: Vec<u64>,
    /// Everything up to this rank was looked at.
    pub seen_up_to: u64,
    /// All ranks up to this one are rows.
    pub complete_up_to: u64,
    /// The last rank of the part.
    end: u64,
}

impl Part {
    /// The first and the last rank whose rows are to be read next; `None` when the look has enough.
    pub fn wanted(&self) -> Option<(u64, u64)> {
        (self.seen_up_to < self.end && self.ranks.len() < MAX_ASKED).then_some((self.seen_up_to + 1, self.end))
    }

    /// Takes in the ranks of rows from the first wanted one to `up_to`, in order.
    pub fn take(&mut self, rows: &[u64], up_to: u64, dead: &BTreeSet<u64>) {
        let mut rows = rows.iter().peekable();
        for rank in self.seen_up_to + 1..=up_to {
            let is_row = rows.next_if_eq(&&rank).is_some();
            if is_row && self.complete_up_to + 1 == rank {
                self.complete_up_to = rank;
            } else if !is_row && !dead.contains(&rank) {
                if self.ranks.len() == MAX_ASKED {
                    return;
                }
                self.ranks.push(rank);
            }
            self.seen_up_to = rank;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(missing: u64, oldest_ms: i64) -> Looked {
        Looked { missing, oldest_ms: Some(oldest_ms), published: missing }
    }

    /// Reads a part to its end in pages of 700 ranks, as `repair::part` does.
    fn read(scan: &Scan, complete_up_to: u64, up_to: u64, rows: &BTreeSet<u64>, dead: &BTreeSet<u64>) -> Part {
        let mut part = scan.part(complete_up_to, up_to);
        while let Some((from, to)) = part.wanted() {
            let to = to.min(from + 699);
            let page: Vec<u64> = rows.range(from..=to).copied().collect();
            part.take(&page, to, dead);
        }
        part
    }

    #[test]
    fn rows_and_dead_letters_are_not_asked_about() {
        let rows = BTreeSet::from([1, 2, 4, 7]);
        let part = read(&Scan::default(), 1, 9, &rows, &BTreeSet::from([3, 8]));
        assert_eq!((part.ranks, part.seen_up_to, part.complete_up_to), (vec![5, 6, 9], 9, 2));
    }

    /// Wrong: free ranks below a missing winner hide it for ever.
    #[test]
    fn looks_go_on_where_the_last_one_ended_and_begin_anew_after_the_last_rank() {
        const DUE: u64 = 3 * MAX_ASKED as u64 + 10;
        let (none, mut scan) = (BTreeSet::new(), Scan::default());
        for round in 0..2 {
            let mut seen = BTreeSet::new();
            for look in 1..=4 {
                let part = read(&scan, 0, DUE, &none, &none);
                assert!(part.ranks.len() <= MAX_ASKED);
                assert!(part.ranks.iter().all(|rank| seen.insert(*rank)), "nothing is looked at twice in a round");
                assert_eq!(scan.take(Looked::default(), part.seen_up_to, DUE), look == 4, "round {round}, look {look}");
            }
            assert_eq!(seen.len() as u64, DUE, "nothing is left out");
        }
    }

    #[test]
    fn a_look_goes_through_so_many_rows_and_no_more() {
        let rows: BTreeSet<u64> = (1..=MAX_SEEN + 5).filter(|rank| *rank != 3).collect();
        let none = BTreeSet::new();
        let mut scan = Scan::default();
        let part = read(&scan, 0, MAX_SEEN + 5, &rows, &none);
        assert_eq!((part.seen_up_to, part.complete_up_to, part.ranks.as_slice()), (MAX_SEEN, 2, [3].as_slice()));
        assert!(!scan.take(Looked::default(), part.seen_up_to, MAX_SEEN + 5));
        let part = read(&scan, 2, MAX_SEEN + 5, &rows, &none);
        assert_eq!((part.seen_up_to, part.complete_up_to, part.ranks.len()), (MAX_SEEN + 5, 2, 0));
        assert!(scan.take(Looked::default(), part.seen_up_to, MAX_SEEN + 5));
    }

    #[test]
    fn rows_that_came_meanwhile_are_passed_over() {
        let mut scan = Scan::default();
        assert!(!scan.take(Looked::default(), 10, 30));
        assert_eq!(scan.part(20, 30).wanted(), Some((21, 30)));
        assert_eq!(scan.part(30, 30).wanted(), None);
        assert!(scan.take(Looked::default(), scan.part(30, 30).seen_up_to, 30));
    }

    #[test]
    fn a_round_that_is_half_done_does_not_say_that_nothing_is_missing() {
        let mut scan = Scan::default();
        assert!(!scan.take(missing(3, 70), 10, 30));
        assert_eq!(scan.found(), missing(3, 70), "what is found is said at once");
        assert!(scan.take(missing(2, 50), 30, 30));
        assert_eq!(scan.found(), missing(5, 50));
        assert!(!scan.take(Looked::default(), 10, 30));
        assert_eq!(scan.found(), missing(5, 50));
        assert!(!scan.take(missing(1, 60), 20, 30));
        assert_eq!(scan.found(), missing(5, 50));
        assert!(scan.take(Looked::default(), 30, 30));
        assert_eq!(scan.found(), missing(1, 60));
    }
}
