//! Characters that nobody sees, by the properties that Unicode gives them.

use std::ops::RangeInclusive;

/// Whether a character leaves no mark of its own: two ids that differ by it alone look the same.
pub(super) fn is_invisible(c: char) -> bool {
    [DEFAULT_IGNORABLE, FORMAT, BLANK].into_iter().flatten().any(|range| range.contains(&c))
}

/// Unicode 16.0, `DerivedCoreProperties.txt`: Default_Ignorable_Code_Point. Marks of direction, joiners, variation selectors, tags, the
/// fillers of Hangul and their kin. Some of them mean something in some scripts and in emoji; in an id they are no loss.
const DEFAULT_IGNORABLE: &[RangeInclusive<char>] = &[
    '\u{AD}'..='\u{AD}',
    '\u{34F}'..='\u{34F}',
    '\u{61C}'..='\u{61C}',
    '\u{115F}'..='\u{1160}',
    '\u{17B4}'..='\u{17B5}',
    '\u{180B}'..='\u{180F}',
    '\u{200B}'..='\u{200F}',
    '\u{202A}'..='\u{202E}',
    '\u{2060}'..='\u{206F}',
    '\u{3164}'..='\u{3164}',
    '\u{FE00}'..='\u{FE0F}',
    '\u{FEFF}'..='\u{FEFF}',
    '\u{FFA0}'..='\u{FFA0}',
    '\u{FFF0}'..='\u{FFF8}',
    '\u{1BCA0}'..='\u{1BCA3}',
    '\u{1D173}'..='\u{1D17A}',
    '\u{E0000}'..='\u{E0FFF}',
];

/// Unicode 16.0, `extracted/DerivedGeneralCategory.txt`: what else is of the category Cf, format. It says how others are to be set: over or
/// under a number, beside or above another hieroglyph.
const FORMAT: &[RangeInclusive<char>] = &[
    '\u{600}'..='\u{605}',
    '\u{6DD}'..='\u{6DD}',
    '\u{70F}'..='\u{70F}',
    '\u{890}'..='\u{891}',
    '\u{8E2}'..='\u{8E2}',
    '\u{FFF9}'..='\u{FFFB}',
    '\u{110BD}'..='\u{110BD}',
    '\u{110CD}'..='\u{110CD}',
    '\u{13430}'..='\u{1343F}',
];

/// What is neither, and has an empty glyph in the code charts of Unicode 16.0, or none but what it does to its neighbours: the empty
/// Braille cell, the joiners of Tifinagh and of Brahmi's numbers, the blanks of hieroglyphs, the filler of the Khitan small script, and
/// the note without a head. No property says so.
const BLANK: &[RangeInclusive<char>] = &[
    '\u{2800}'..='\u{2800}',
    '\u{2D7F}'..='\u{2D7F}',
    '\u{1107F}'..='\u{1107F}',
    '\u{13441}'..='\u{13442}',
    '\u{16FE4}'..='\u{16FE4}',
    '\u{1D159}'..='\u{1D159}',
];

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    /// Wrong: two users who look the same, by a character that Unicode itself calls invisible.
    #[test]
    fn the_tables_are_unicode_s_own() {
        let of = |class: &str| Regex::new(&format!("^{class}$")).unwrap();
        let (properties, white) = (of(r"[\p{Default_Ignorable_Code_Point}\p{Cf}]"), of(r"\p{White_Space}"));
        let mut buffer = [0; 4];
        for c in '\0'..=char::MAX {
            let text = c.encode_utf8(&mut buffer);
            let blank = BLANK.iter().any(|range| range.contains(&c));
            assert_eq!(is_invisible(c), properties.is_match(text) || blank, "U+{:04X}", u32::from(c));
            assert!(!(blank && white.is_match(text)), "U+{:04X} is white space", u32::from(c));
        }
    }
}
