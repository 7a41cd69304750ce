//! What a list of winners has, and which ranks it lacks. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

/// Most ranks of which Redis is asked whether they are free: 64 calls.
pub(super) const MAX_ASKED: u64 = 16_384;
/// Most ranges of missing ranks that are named.
const MAX_NAMED: usize = 10;

/// Counts a list while it is written, in the order of ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    /// Ranks up to this one are written, given up or gaps.
    seen: u64,
    winners: u64,
    given_up: u64,
    gaps: Gaps,
}

/// What a list has that was written to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    /// Winners in it.
    pub winners: u64,
    /// Ranks that people have given up: they stay taken, and are nobody's.
    pub given_up: u64,
    /// The others.
    pub gaps: Gaps,
}

/// Ranks that are no rows, and that nobody has given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    count: u64,
    /// The first of them, and all if they are at most [`MAX_ASKED`].
    ranges: Vec<RangeInclusive<u64>>,
}

impl Gaps {
    /// Of these ranks, lowest first.
    pub(super) fn of(ranks: impl IntoIterator<Item = u64>) -> Self {
        let mut gaps = Self::default();
        ranks.into_iter().for_each(|rank| gaps.add(rank, rank));
        gaps
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Each of them; `None` if they are more than [`MAX_ASKED`].
    pub(super) fn ranks(&self) -> Option<Vec<u64>> {
        (self.count <= MAX_ASKED).then(|| self.ranges.iter().cloned().flatten().collect())
    }

    fn add(&mut self, from: u64, up_to: u64) {
        if from > up_to {
            return;
        }
        self.count += up_to - from + 1;
        let kept = self.ranges.len() as u64;
        match self.ranges.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(from) => *last = *last.start()..=up_to,
            _ if kept < MAX_ASKED => self.ranges.push(from..=up_to),
            _ => {}
        }
    }
}

impl fmt::Display for Gaps {
    /// The first of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = &self.ranges[..self.ranges.len().min(MAX_NAMED)];
        let words: Vec<String> = named.iter().map(shown).collect();
        let count: u64 = named.iter().map(|range| range.end() - range.start() + 1).sum();
        let more = if self.count > count { ", ..." } else { "" };
        write!(f, "{}{more}", words.join(", "))
    }
}

impl Tally {
    /// A list of the ranks above this one.
    pub(super) fn above(rank: u64) -> Self {
        Self { seen: rank, winners: 0, given_up: 0, gaps: Gaps::default() }
    }

    /// Adds the next winner, whose rank is above all before; `given_up` has every rank of those that are.
    pub(super) fn add(&mut self, rank: u64, given_up: &BTreeSet<u64>) {
        self.pass(rank.saturating_sub(1), given_up);
        self.seen = rank;
        self.winners += 1;
    }

    /// Ends a list of a campaign that has given ranks up to `highest`, as far as is known.
    pub(super) fn end(mut self, highest: u64, given_up: &BTreeSet<u64>) -> Counted {
        let last = given_up.last().copied().unwrap_or_default();
        self.pass(highest.max(last), given_up);
        Counted { winners: self.winners, given_up: self.given_up, gaps: self.gaps }
    }

    /// No winner has a rank that was not seen and is at most `up_to`.
    fn pass(&mut self, up_to: u64, given_up: &BTreeSet<u64>) {
        if up_to <= self.seen {
            return;
        }
        let mut next = self.seen + 1;
        for rank in given_up.range(next..=up_to) {
            self.gaps.add(next, rank - 1);
            self.given_up += 1;
            next = rank + 1;
        }
        self.gaps.add(next, up_to);
        self.seen = up_to;
    }
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
        let Counted { winners, given_up, gaps } = tally.end(issued, &given_up);
        (winners, given_up, gaps.count(), gaps.to_string())
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

    /// Wrong: a database that has lost a million rows takes as many numbers in memory, or some of the ranks are never asked about.
    #[test]
    fn gaps_are_remembered_up_to_a_bound() {
        let ended = |highest| Tally::above(0).end(highest, &BTreeSet::from([2])).gaps;
        assert_eq!(ended(5).ranks(), Some(vec![1, 3, 4, 5]));
        assert_eq!(ended(MAX_ASKED + 1).ranks().map(|ranks| ranks.len() as u64), Some(MAX_ASKED));
        assert_eq!(ended(MAX_ASKED + 2).ranks(), None);
        let scattered = Gaps::of((1..=MAX_ASKED + 5).map(|rank| 2 * rank));
        assert_eq!((scattered.count(), scattered.ranges.len() as u64), (MAX_ASKED + 5, MAX_ASKED));
        assert_eq!(Gaps::of([1, 2, 4, 5, 6]).to_string(), "1-2, 4-6");
    }
}
