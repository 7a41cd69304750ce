//! What a list of winners has, and what it lacks. Pure.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Most ranges of missing ranks that are named.
const MAX_NAMED: usize = 10;

/// Counts a list while it is written, in the order of ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    /// Ranks up to this one are written, given up or missing.
    seen: u64,
    written: u64,
    given_up: u64,
    missing: u64,
    /// The first of them.
    named: Vec<RangeInclusive<u64>>,
}

/// What a whole list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Winners in it.
    pub winners: u64,
    /// Ranks that people have given up: they stay taken, and are nobody's.
    pub given_up: u64,
    /// Ranks that are given, and are no rows.
    pub missing: u64,
    /// The first of the missing ones, in words; empty if there are none.
    pub which: String,
}

impl Tally {
    /// A list of the ranks above this one.
    pub(super) fn above(rank: u64) -> Self {
        Self { seen: rank, written: 0, given_up: 0, missing: 0, named: Vec::new() }
    }

    /// Adds the next winner, whose rank is above all before; `given_up` has every rank of those that are.
    pub(super) fn add(&mut self, rank: u64, given_up: &BTreeSet<u64>) {
        self.pass(rank.saturating_sub(1), given_up);
        self.seen = rank;
        self.written += 1;
    }

    /// Ends a list of a campaign that has given ranks up to `issued`, as far as is known.
    pub(super) fn end(mut self, issued: u64, given_up: &BTreeSet<u64>) -> Written {
        let last = given_up.last().copied().unwrap_or_default();
        self.pass(issued.max(last), given_up);
        let more = if self.missing > named(&self.named) { ", ..." } else { "" };
        let which: Vec<String> = self.named.iter().map(shown).collect();
        Written {
            winners: self.written,
            given_up: self.given_up,
            missing: self.missing,
            which: format!("{}{more}", which.join(", ")),
        }
    }

    /// No winner has a rank that was not seen and is at most `up_to`.
    fn pass(&mut self, up_to: u64, given_up: &BTreeSet<u64>) {
        if up_to <= self.seen {
            return;
        }
        let mut next = self.seen + 1;
        for rank in given_up.range(next..=up_to) {
            self.miss(next, rank - 1);
            self.given_up += 1;
            next = rank + 1;
        }
        self.miss(next, up_to);
        self.seen = up_to;
    }

    fn miss(&mut self, from: u64, up_to: u64) {
        if from <= up_to {
            self.missing += up_to - from + 1;
            if self.named.len() < MAX_NAMED {
                self.named.push(from..=up_to);
            }
        }
    }
}

fn named(ranges: &[RangeInclusive<u64>]) -> u64 {
    ranges.iter().map(|range| range.end() - range.start() + 1).sum()
}

fn shown(range: &RangeInclusive<u64>) -> String {
    if range.start() == range.end() { range.start().to_string() } else { format!("{}-{}", range.start(), range.end()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(above: u64, winners: &[u64], given_up: &[u64], issued: u64) -> (u64, u64, u64, String) {
        let given_up: BTreeSet<u64> = given_up.iter().copied().collect();
        let mut tally = Tally::above(above);
        for rank in winners {
            tally.add(*rank, &given_up);
        }
        let Written { winners, given_up, missing, which } = tally.end(issued, &given_up);
        (winners, given_up, missing, which)
    }

    /// Wrong: a list that lacks winners looks whole, or one that is whole is called broken as somebody gave a coupon up.
    #[test]
    fn what_a_list_lacks_is_counted_and_named() {
        let none = String::new;
        for (what, found, expected) in [
            ("nobody has won", list(0, &[], &[], 0), (0, 0, 0, none())),
            ("all are there", list(0, &[1, 2, 3], &[], 3), (3, 0, 0, none())),
            (
                "more are there than the database knew of when it was asked",
                list(0, &[1, 2, 3], &[], 2),
                (3, 0, 0, none()),
            ),
            ("one was given up", list(0, &[1, 3], &[2], 3), (2, 1, 0, none())),
            ("the last one was given up, and the number is old", list(0, &[1, 2], &[3], 2), (2, 1, 0, none())),
            ("all were given up", list(0, &[], &[1, 2], 2), (0, 2, 0, none())),
            ("one in the middle is missing", list(0, &[1, 3], &[], 3), (2, 0, 1, "2".to_owned())),
            ("some at the end are missing", list(0, &[1, 2], &[], 5), (2, 0, 3, "3-5".to_owned())),
            ("no row is there yet", list(0, &[], &[], 4), (0, 0, 4, "1-4".to_owned())),
            ("missing on both sides of one given up", list(0, &[1, 5], &[3], 6), (2, 1, 3, "2, 4, 6".to_owned())),
            ("only above a rank", list(2, &[3, 4], &[1], 4), (2, 0, 0, none())),
            ("above the last one", list(9, &[], &[4], 9), (0, 0, 0, none())),
        ] {
            assert_eq!(found, expected, "{what}");
        }
        let odd: Vec<u64> = (0..40).map(|n| 2 * n + 1).collect();
        let (_, _, missing, which) = list(0, &odd, &[], 79);
        assert_eq!((missing, which.as_str()), (39, "2, 4, 6, 8, 10, 12, 14, 16, 18, 20, ..."));
        assert_eq!(list(u64::MAX, &[], &[], 3).2, 0);
    }
}
