//! Text from outside, made fit to be shown: in logs, in status, in answers.

/// At most `most` characters, and none that a terminal obeys or that begins another line.
///
/// ```
/// use coupon_core::shown::shown;
///
/// assert_eq!(shown("first\nsecond \u{1b}[31mred", 14), "first second  ");
/// ```
pub fn shown(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An error with its causes, outermost first; what one of them has said already is not said again.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut all = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let text = cause.to_string();
        if !all.contains(&text) {
            all.push_str(": ");
            all.push_str(&text);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("Redis: {0}")]
        Redis(#[from] std::io::Error),
        #[error("opening the file")]
        File(#[source] std::io::Error),
    }

    #[test]
    fn a_cause_is_said_once() {
        let refused = || std::io::Error::other("no right to ZREM");
        assert_eq!(causes(&Failed::from(refused())), "Redis: no right to ZREM");
        assert_eq!(causes(&Failed::File(refused())), "opening the file: no right to ZREM");
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
