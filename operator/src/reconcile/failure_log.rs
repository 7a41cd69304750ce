//! Failures of a campaign's passes in a row.

/// Failures in a row, and what was warned of. Losing it costs a shorter pause and one event more.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailureLog {
    count: u32,
    /// The text of the last warning event, so that the same one is not sent with every pass.
    warned: Option<String>,
}

impl FailureLog {
    /// So many passes have failed in a row.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Counts a failure. Answers whether people are to be warned of it: if it `deserves` that after so many in a row, and they were not.
    pub(super) fn add(&mut self, text: &str, deserves: impl FnOnce(u32) -> bool) -> bool {
        self.count += 1;
        let is_new = deserves(self.count) && self.warned.as_deref() != Some(text);
        if is_new {
            self.warned = Some(text.to_owned());
        }
        is_new
    }

    /// A pass has succeeded.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
