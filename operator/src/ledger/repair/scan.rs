//! Which ranks a look for missing winners goes through. Pure.
//!
//! A scan is bounded, and most of the ranks without a row may be free. So a scan continues where the one before it ended, up to the last
//! rank that is due; that is a round, and the next round begins at the first rank again.

use crate::ledger::count::pages::Pages;
use crate::ledger::epoch::ranks::Ranks;

/// Ranks that one scan asks Redis about. It bounds memory, and the load on the brokers where all of them are missing.
pub const MAX_ASKED: usize = 5_000;
/// Ranks that one scan goes through, those of rows and dead letters included.
pub const MAX_SEEN: u64 = 200_000;

/// What a scan found: winners that were missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanResult {
    /// Winners that were due and are neither rows nor dead letters.
    pub missing: u64,
    /// When the oldest of them was granted, milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// How many of them Kafka has acknowledged now.
    pub published: u64,
}

impl ScanResult {
    /// Those that Redis alone still holds.
    pub fn redis_only(&self) -> u64 {
        self.missing.saturating_sub(self.published)
    }
}

/// How far the scans of one campaign are. Losing it costs a round, nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scan {
    /// Everything up to this rank was looked at in this round.
    seen_up_to: u64,
    /// What this round has found so far.
    round: ScanResult,
    /// What the last whole round found.
    last: ScanResult,
}

impl Scan {
    /// What was found: by the last whole round, or by this one if that is more already. So a round that is half done does
    /// not say that nothing is missing.
    pub fn found(&self) -> ScanResult {
        if self.round.missing > self.last.missing { self.round } else { self.last }
    }

    /// The ranks of the round that the next scan goes through. Ranks up to `up_to` are due.
    pub fn next_range(&self, up_to: u64) -> ScanRange {
        ScanRange { ranks: Vec::new(), seen_up_to: self.seen_up_to, left: MAX_SEEN, end: up_to }
    }

    /// Records the result of a scan, which saw everything up to `seen_up_to`. True: that was the last one of its round.
    pub fn record(&mut self, result: ScanResult, seen_up_to: u64, up_to: u64) -> bool {
        self.seen_up_to = seen_up_to;
        self.round = ScanResult {
            missing: self.round.missing + result.missing,
            oldest_ms: self.round.oldest_ms.into_iter().chain(result.oldest_ms).min(),
            published: self.round.published + result.published,
        };
        let whole = seen_up_to >= up_to;
        if whole {
            *self = Self { last: self.round, ..Self::default() };
        }
        whole
    }
}

/// The ranks that one scan goes through, read page by page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRange {
    /// Ranks that are neither rows nor dead letters, lowest first: Redis knows whether anybody holds them.
    pub ranks: Vec<u64>,
    /// Everything up to this rank was looked at.
    pub seen_up_to: u64,
    /// So many ranks may still be read.
    left: u64,
    /// The last rank that is due.
    end: u64,
}

impl ScanRange {
    /// The first and the last rank whose rows are to be read next; `None` when the scan has enough. Pages that were counted
    /// full, by `pages`, are passed over: they cost nothing.
    pub fn wanted(&mut self, pages: &Pages) -> Option<(u64, u64)> {
        while self.seen_up_to < self.end && self.ranks.len() < MAX_ASKED {
            let from = self.seen_up_to + 1;
            let (page_end, is_full) = pages.page_of(from);
            if !is_full {
                let to = page_end.min(self.end).min(self.seen_up_to.saturating_add(self.left));
                return (from <= to).then_some((from, to));
            }
            self.seen_up_to = page_end.min(self.end);
        }
        None
    }

    /// Records the ranks of rows from the first wanted one to `up_to`, in order.
    pub fn record(&mut self, rows: &[u64], up_to: u64, dead: &Ranks) {
        let mut rows = rows.iter().peekable();
        for rank in self.seen_up_to + 1..=up_to {
            let is_row = rows.next_if_eq(&&rank).is_some();
            if !is_row && !dead.contains(rank) {
                if self.ranks.len() == MAX_ASKED {
                    return;
                }
                self.ranks.push(rank);
            }
            self.seen_up_to = rank;
            self.left = self.left.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fixtures;
    use crate::ledger::count::Effort;
    use crate::ledger::count::pages::PAGE;

    fn missing(missing: u64, oldest_ms: i64) -> ScanResult {
        ScanResult { missing, oldest_ms: Some(oldest_ms), published: missing }
    }

    /// Reads a part to its end in pages of 700 ranks, as `repair::part` does.
    fn read(scan: &Scan, up_to: u64, rows: &BTreeSet<u64>, dead: &Ranks) -> ScanRange {
        let mut part = scan.next_range(up_to);
        while let Some((from, to)) = part.wanted(&Pages::default()) {
            let to = to.min(from + 699);
            let page: Vec<u64> = rows.range(from..=to).copied().collect();
            part.record(&page, to, dead);
        }
        part
    }

    #[test]
    fn rows_and_dead_letters_are_not_asked_about() {
        let rows = BTreeSet::from([1, 2, 4, 7]);
        let part = read(&Scan::default(), 9, &rows, &[3, 8].into_iter().collect());
        assert_eq!((part.ranks, part.seen_up_to), (vec![5, 6, 9], 9));
    }

    /// Wrong: free ranks below a missing winner hide it for ever.
    #[test]
    fn looks_go_on_where_the_last_one_ended_and_begin_anew_after_the_last_rank() {
        const DUE: u64 = 3 * MAX_ASKED as u64 + 10;
        let (none, mut scan) = (BTreeSet::new(), Scan::default());
        for round in 0..2 {
            let mut seen = BTreeSet::new();
            for look in 1..=4 {
                let part = read(&scan, DUE, &none, &Ranks::default());
                assert!(part.ranks.len() <= MAX_ASKED);
                assert!(part.ranks.iter().all(|rank| seen.insert(*rank)), "nothing is looked at twice in a round");
                assert_eq!(
                    scan.record(ScanResult::default(), part.seen_up_to, DUE),
                    look == 4,
                    "round {round}, look {look}"
                );
            }
            assert_eq!(seen.len() as u64, DUE, "nothing is left out");
        }
    }

    #[test]
    fn a_look_goes_through_so_many_rows_and_no_more() {
        let rows: BTreeSet<u64> = (1..=MAX_SEEN + 5).filter(|rank| *rank != 3).collect();
        let none = Ranks::default();
        let mut scan = Scan::default();
        let part = read(&scan, MAX_SEEN + 5, &rows, &none);
        assert_eq!((part.seen_up_to, part.ranks.as_slice()), (MAX_SEEN, [3].as_slice()));
        assert!(!scan.record(ScanResult::default(), part.seen_up_to, MAX_SEEN + 5));
        let part = read(&scan, MAX_SEEN + 5, &rows, &none);
        assert_eq!((part.seen_up_to, part.ranks.len()), (MAX_SEEN + 5, 0));
        assert!(scan.record(ScanResult::default(), part.seen_up_to, MAX_SEEN + 5));
    }

    /// Wrong: a look at millions of rows reads all of them, or passes over a page that has lost one.
    #[test]
    fn pages_that_were_counted_full_are_not_read() {
        let mut pages = Pages::default();
        pages.begin(&fixtures::row(), "db", 30 * PAGE, 0);
        while let Some(page) = pages.next(Effort::Usual, true) {
            pages.record(page, if page == 20 { PAGE - 1 } else { PAGE }, 0);
        }
        let (scan, end) = (Scan::default(), 30 * PAGE + 7);
        let mut part = scan.next_range(end);
        assert_eq!(part.wanted(&pages), Some((20 * PAGE + 1, 21 * PAGE)));
        part.record(&[], 20 * PAGE + 1, &(20 * PAGE + 1..=21 * PAGE).collect());
        assert_eq!(part.wanted(&pages), Some((20 * PAGE + 2, 21 * PAGE)), "half a page is gone on with");
        part.record(&[], 21 * PAGE, &(20 * PAGE + 1..=21 * PAGE).collect());
        assert_eq!(part.wanted(&pages), Some((30 * PAGE + 1, end)), "what was never counted is read");
        part.record(&[], end, &Ranks::default());
        assert_eq!((part.wanted(&pages), part.ranks.len(), part.seen_up_to), (None, 7, end));
        assert_eq!(scan.next_range(2 * PAGE).wanted(&pages), None);
    }

    #[test]
    fn a_round_that_is_half_done_does_not_say_that_nothing_is_missing() {
        let mut scan = Scan::default();
        assert!(!scan.record(missing(3, 70), 10, 30));
        assert_eq!(scan.found(), missing(3, 70), "what is found is said at once");
        assert!(scan.record(missing(2, 50), 30, 30));
        assert_eq!(scan.found(), missing(5, 50));
        assert!(!scan.record(ScanResult::default(), 10, 30));
        assert_eq!(scan.found(), missing(5, 50));
        assert!(!scan.record(missing(1, 60), 20, 30));
        assert_eq!(scan.found(), missing(5, 50));
        assert!(scan.record(ScanResult::default(), 30, 30));
        assert_eq!(scan.found(), missing(1, 60));
    }
}
