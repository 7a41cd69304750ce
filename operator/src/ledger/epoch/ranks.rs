//! Which ranks are held: one bit each, 1.25 MB for ten million.

/// A set of ranks, from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranks {
    words: Vec<u64>,
    count: u64,
    highest: u64,
}

fn place(rank: u64) -> (usize, u64) {
    (usize::try_from(rank / 64).unwrap_or(usize::MAX), 1 << (rank % 64))
}

impl FromIterator<u64> for Ranks {
    fn from_iter<T: IntoIterator<Item = u64>>(ranks: T) -> Self {
        let mut all = Self::default();
        ranks.into_iter().for_each(|rank| all.insert(rank));
        all
    }
}

impl Ranks {
    /// Whether it is one of them.
    pub fn contains(&self, rank: u64) -> bool {
        let (word, bit) = place(rank);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// The caller has bounded the rank by the total.
    pub fn insert(&mut self, rank: u64) {
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

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let of_word = |(place, bits): (usize, &u64)| {
            let first = u64::try_from(place).unwrap_or(u64::MAX) * 64;
            let bits = *bits;
            (0..64).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| first + bit)
        };
        self.words.iter().enumerate().filter(|(_, bits)| **bits != 0).flat_map(of_word)
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, others: &Self) -> Self {
        others.iter().for_each(|rank| self.insert(rank));
        self
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The highest; 0 when there is none.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Those below the highest that are missing, ascending.
    pub fn free(&self) -> impl Iterator<Item = u64> {
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
        fn it_is_a_set(ranks in proptest::collection::vec(1u64..300, 0..200), more in proptest::collection::vec(1u64..300, 0..9)) {
            let both = ranks.iter().chain(&more);
            let set: BTreeSet<u64> = both.clone().copied().collect();
            let bits = ranks.iter().copied().collect::<Ranks>().and(&more.iter().copied().collect());
            prop_assert_eq!(&bits, &both.rev().copied().collect::<Ranks>(), "whatever the order");
            prop_assert!(bits.iter().eq(set.iter().copied()));
            prop_assert!((0..400).all(|rank| bits.contains(rank) == set.contains(&rank)));
            let highest = set.last().copied().unwrap_or(0);
            prop_assert_eq!((bits.count(), bits.highest()), (set.len() as u64, highest));
            let free: Vec<u64> = (1..highest).filter(|rank| !set.contains(rank)).collect();
            prop_assert_eq!(bits.free().collect::<Vec<_>>(), free);
        }
    }
}
