//! Which ranks are held: one bit each, 1.25 MB for ten million.

/// A set of ranks, from 1.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    words: Vec<u64>,
    count: u64,
    highest: u64,
}

fn place(rank: u64) -> (usize, u64) {
    (usize::try_from(rank / 64).unwrap_or(usize::MAX), 1 << (rank % 64))
}

impl Ranks {
    pub(crate) fn contains(&self, rank: u64) -> bool {
        let (word, bit) = place(rank);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// The caller has bounded the rank by the total.
    pub(crate) fn insert(&mut self, rank: u64) {
        let (word, bit) = place(rank);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(bits) = self.words.get_mut(word)
            && *bits & bit == 0
        {
            *bits |= bit;
            self.count += 1;
            self.highest = self.highest.max(rank);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The highest; 0 when there is none.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// Those below the highest that are missing, ascending.
    pub(crate) fn free(&self) -> impl Iterator<Item = u64> {
        (1..self.highest).filter(|rank| !self.contains(*rank))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(ranks in proptest::collection::vec(1u64..300, 0..200)) {
            let (mut bits, set) = (Ranks::default(), ranks.iter().copied().collect::<BTreeSet<_>>());
            ranks.iter().for_each(|rank| bits.insert(*rank));
            prop_assert!((0..400).all(|rank| bits.contains(rank) == set.contains(&rank)));
            let highest = set.last().copied().unwrap_or(0);
            prop_assert_eq!((bits.count(), bits.highest()), (set.len() as u64, highest));
            let free: Vec<u64> = (1..highest).filter(|rank| !set.contains(rank)).collect();
            prop_assert_eq!(bits.free().collect::<Vec<_>>(), free);
        }
    }
}
