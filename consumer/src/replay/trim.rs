//! Which letters may go. Pure.

use std::collections::BTreeMap;

use campaign::table::Position;

/// For each partition the offset before which everything is dealt with, where that is anything. Letters come in the order
/// of their offsets, each with whether it is dealt with.
pub fn heads(letters: impl IntoIterator<Item = (Position, bool)>) -> BTreeMap<i32, i64> {
    let mut heads: BTreeMap<i32, (Option<i64>, bool)> = BTreeMap::new();
    for (position, done) in letters {
        let (next, stopped) = heads.entry(position.partition).or_default();
        if done && !*stopped {
            *next = Some(position.offset + 1);
        } else {
            *stopped = true;
        }
    }
    heads.into_iter().filter_map(|(partition, (next, _))| Some((partition, next?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a winner that is no row loses its last copy.
    #[test]
    fn the_first_letter_that_is_no_row_keeps_all_behind_it() {
        let letters =
            [(0, 4, true), (0, 7, true), (0, 8, false), (0, 9, true), (1, 0, false), (1, 1, true), (2, 5, true)];
        let letters = letters.map(|(partition, offset, done)| (Position { partition, offset }, done));
        assert_eq!(heads(letters), BTreeMap::from([(0, 8), (2, 6)]));
        assert_eq!(heads([]), BTreeMap::new());
    }
}
