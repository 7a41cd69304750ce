//! Text from outside, made fit to be shown: in logs, in status, in answers.

/// At most `most` characters, and none that a terminal obeys or that begins another line.
pub fn shown(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
