//! The document that people read: what people wrote in it stays. Pure.

use anyhow::{Context, Result};

/// Between them stands what a run has found.
const MARKS: [&str; 2] = ["<!-- bench -->\n", "<!-- /bench -->"];

/// The document with this text between its marks.
///
/// # Errors
/// It has no marks.
pub(crate) fn with(document: &str, text: &str) -> Result<String> {
    let parts = document.split_once(MARKS[0]).and_then(|(before, rest)| Some((before, rest.split_once(MARKS[1])?.1)));
    let (before, after) = parts.with_context(|| format!("the document lacks the marks {MARKS:?}"))?;
    Ok(format!("{before}{}\n{}\n\n{}{after}", MARKS[0], text.trim_end(), MARKS[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a run takes away what somebody has written about the one before.
    #[test]
    fn what_stands_around_the_marks_stays() {
        let document = "# Title\n\n<!-- bench -->\n\nold\n\n<!-- /bench -->\n\n## Why\n";
        let new = with(document, "new\n").unwrap();
        assert_eq!(new, "# Title\n\n<!-- bench -->\n\nnew\n\n<!-- /bench -->\n\n## Why\n");
        assert_eq!(with(&new, "new\n").unwrap(), new);
        assert!(with("# Title\n", "new").unwrap_err().to_string().contains("lacks the marks"));
    }
}
