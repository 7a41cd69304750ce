//! What was last written of the children that are not watched.

use std::time::Instant;

/// A digest of the children other than Deployments as they were last found to be, and when that was. Losing it costs some requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct WrittenChildren(Option<(String, Instant)>);

impl WrittenChildren {
    /// When children of this digest were last looked at, if they are what was wanted last.
    pub(super) fn looked_at(&self, digest: &str) -> Option<Instant> {
        self.0.as_ref().filter(|(last, _)| last == digest).map(|(_, at)| *at)
    }

    /// They are as wanted.
    pub(super) fn set(&mut self, digest: String) {
        self.0 = Some((digest, Instant::now()));
    }
}
