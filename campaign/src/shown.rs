//! Text from outside, made fit to be shown: in logs, in status, in answers.

use std::error::Error;

/// At most `most` characters, and none that a terminal obeys or that begins another line.
pub fn shown(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An error with its causes, each said once: many a sentence names its cause already.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: `cannot read x: No such file: No such file`.
    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        enum Outer {
            #[error("cannot read x: {source}")]
            Named { source: Inner },
            #[error("cannot work")]
            Silent { source: Inner },
        }
        #[derive(Debug, thiserror::Error)]
        #[error("no such file")]
        struct Inner(#[source] std::fmt::Error);
        let cause = std::fmt::Error;
        assert_eq!(
            with_causes(&Outer::Named { source: Inner(cause) }),
            format!("cannot read x: no such file: {cause}")
        );
        assert_eq!(with_causes(&Outer::Silent { source: Inner(cause) }), format!("cannot work: no such file: {cause}"));
    }

    #[test]
    fn it_is_one_short_line() {
        for (text, expected) in [
            ("anna", "anna"),
            ("a\u{1b}[31m\nb", "a [31"),
            ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"),
        ] {
            assert_eq!(shown(text, 5), expected, "{text:?}");
        }
    }
}
