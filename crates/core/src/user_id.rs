//! Which user ids are taken from outside: the door is stricter than the ledger.
//!
//! One person must be one user, whatever they type on, and two ids that look the same must not be two users. So an id is brought into
//! Unicode's normal form NFC (a phone sends `é` as one character, a laptop as two; refusing one of them would shut a person out who can
//! change nothing about it), and characters that nobody sees are refused. Letters that merely resemble each other, such as Latin and
//! Cyrillic `a`, and capitals stay different.
//!
//! What is in the log, in Redis or a row already is a [`UserId`] of the wider kind and stays one: a winner who was told a rank is
//! stored, whatever their id.

mod invisible;

use unicode_normalization::char::is_public_assigned;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use self::invisible::is_invisible;
use crate::identity::{NameError, UserId};

/// What is refused wherever it stands, but for control characters: as the inside of a class of a regular expression.
const REFUSED: &str = concat!(
    r"\u007F-\u00A0\u00AD\u034F\u0600-\u0605\u061C\u06DD\u070F\u0890\u0891\u08E2\u115F\u1160\u1680",
    r"\u17B4\u17B5\u180B-\u180F\u2000-\u200F\u2028-\u202F\u205F-\u206F\u2800\u2D7F\u3000\u3164\uE000-\uF8FF\uFDD0-\uFDEF\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFF"
);

/// What the door takes, as far as a regular expression of JSON Schema can say it: it takes no id that does not match.
pub fn pattern() -> String {
    let (end, inside) = (format!(r"[^\u0000-\u0020{REFUSED}]"), format!(r"[^\u0000-\u001F{REFUSED}]"));
    format!("^{end}(?:{inside}*{end})?$")
}

/// Why a user id was refused. The text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserIdError {
    /// Its length, or a control character.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A character that nobody sees, or that only says how others are set: two ids would look like one.
    #[error(
        "userId must not hold {}, a character that nobody sees or that only says how others are set; send the id without it",
        code(*.0)
    )]
    Invisible(char),
    /// White space other than a space, or a space at an end.
    #[error(
        "userId may hold white space between other characters only, and only as the space U+0020; it has {} elsewhere",
        code(*.0)
    )]
    Space(char),
    /// A character without a meaning that all share: private, not assigned, or a stand-in for one that was lost.
    #[error("userId must not hold {}, which is no character that all read alike; send the id without it", code(*.0))]
    Meaningless(char),
}

fn code(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

/// The text in the normal form NFC, in which ids are compared.
pub fn normalised(text: &str) -> String {
    if is_nfc(text) { text.to_owned() } else { text.nfc().collect() }
}

/// Takes a user id from outside, in normal form.
///
/// ```
/// use coupon_core::user_id::admit;
///
/// assert_eq!(admit("rene\u{301}")?.as_str(), "ren\u{e9}", "one user, however the accent was sent");
/// assert!(admit("anna\u{200b}").is_err(), "nobody sees the last character");
/// assert!(admit(" anna").is_err());
/// # Ok::<(), coupon_core::user_id::UserIdError>(())
/// ```
///
/// # Errors
/// [`UserIdError`]: it cannot be one.
pub fn admit(text: &str) -> Result<UserId, UserIdError> {
    let user = UserId::new(normalised(text))?;
    let text = user.as_str();
    let at_an_end = |index: usize, c: char| index == 0 || index + c.len_utf8() == text.len();
    for (index, c) in text.char_indices() {
        if c.is_whitespace() && (c != ' ' || at_an_end(index, c)) {
            return Err(UserIdError::Space(c));
        }
        if is_invisible(c) {
            return Err(UserIdError::Invisible(c));
        }
        // What is not assigned today may have another normal form tomorrow.
        if is_stand_in(c) || !is_public_assigned(c) {
            return Err(UserIdError::Meaningless(c));
        }
    }
    Ok(user)
}

/// What stands for an object or for a character that could not be read.
fn is_stand_in(c: char) -> bool {
    matches!(c, '\u{FFFC}' | '\u{FFFD}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    #[test]
    fn ids_that_look_the_same_are_one_user_or_none() {
        for (sent, taken) in [
            ("anna", "anna"),
            ("Anna", "Anna"),
            ("anna lind", "anna lind"),
            ("auth0|5f7c8ec7", "auth0|5f7c8ec7"),
            ("anna@example.org", "anna@example.org"),
            ("-7", "-7"),
            ("ren\u{e9}", "ren\u{e9}"),
            ("rene\u{301}", "ren\u{e9}"),
            ("\u{1100}\u{1161}", "\u{ac00}"),
            ("\u{212b}", "\u{c5}"),
            ("김철수", "김철수"),
            ("आशा", "आशा"),
            ("សុខា", "សុខា"),
            ("مريم", "مريم"),
            ("\u{1f600}", "\u{1f600}"),
        ] {
            assert_eq!(admit(sent).unwrap().as_str(), taken, "{sent:?}");
        }
        for (sent, hint) in [
            ("", "1 to 128 bytes"),
            ("a\nb", "control"),
            ("a\u{85}b", "control"),
            (" ", "U+0020"),
            (" anna", "U+0020"),
            ("anna ", "U+0020"),
            ("a\u{a0}b", "U+00A0"),
            ("a\u{3000}b", "U+3000"),
            ("a\u{2028}b", "U+2028"),
            ("a\u{2029}b", "U+2029"),
            ("a\u{202e}b", "U+202E, a character that nobody sees"),
            ("a\u{2066}b", "U+2066"),
            ("a\u{200e}b", "U+200E"),
            ("a\u{61c}b", "U+061C"),
            ("a\u{200b}b", "U+200B"),
            ("a\u{200d}b", "U+200D"),
            ("a\u{ad}b", "U+00AD"),
            ("\u{feff}anna", "U+FEFF"),
            ("\u{2764}\u{fe0f}", "U+FE0F"),
            ("a\u{e0041}", "U+E0041"),
            ("a\u{600}", "U+0600, a character that nobody sees or that only says how others are set"),
            ("a\u{13430}b", "U+13430"),
            ("a\u{2800}", "U+2800"),
            ("a\u{2d7f}", "U+2D7F"),
            ("a\u{1107f}", "U+1107F"),
            ("a\u{16fe4}", "U+16FE4"),
            ("a\u{1d159}", "U+1D159"),
            ("\u{3164}", "U+3164"),
            ("\u{ffa0}", "U+FFA0"),
            ("a\u{e000}", "U+E000, which is no character that all read alike"),
            ("a\u{378}", "U+0378"),
            ("a\u{fffd}", "U+FFFD"),
            ("a\u{fdd0}", "U+FDD0"),
        ] {
            let error = admit(sent).unwrap_err().to_string();
            assert!(error.starts_with("userId ") && error.contains(hint), "{sent:?}: {error}");
        }
    }

    #[test]
    fn the_length_that_counts_is_that_of_the_normal_form() {
        assert_eq!(admit(&"e\u{301}".repeat(64)).unwrap().as_str().len(), 128);
        assert!(admit(&"\u{e9}".repeat(65)).is_err());
    }

    /// Wrong: a client that keeps to the published pattern is refused, or one that was generated from it refuses a user.
    #[test]
    fn the_pattern_says_what_is_taken() {
        let expression = Regex::new(&pattern()).unwrap();
        for c in ('\u{1}'..='\u{ffff}').filter(|c| is_public_assigned(*c)) {
            for text in [format!("a{c}b"), format!("{c}b"), format!("a{c}"), c.to_string()] {
                // A normal form may differ from what was sent; what it is about is the same.
                assert_eq!(admit(&text).is_ok(), expression.is_match(&normalised(&text)), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_in_normal_form_and_matches(text in "\\PC{0,40}") {
            if let Ok(user) = admit(&text) {
                prop_assert_eq!(admit(user.as_str()).unwrap(), user.clone());
                prop_assert!(Regex::new(&pattern()).unwrap().is_match(user.as_str()));
            }
        }
    }
}
