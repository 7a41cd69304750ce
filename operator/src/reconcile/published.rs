//! What was last written to status and published as events.

use std::time::Instant;

use crate::api::Phase;

/// What was last written to status and published as events. Losing it costs one event or one write more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    /// When the status was last written; at first, when the campaign was first looked at.
    pub(super) written: Option<Instant>,
    /// The phase that the last pass found.
    pub(super) phase: Option<Phase>,
    /// The refusals for which an event was published.
    pub(super) refusals: Vec<String>,
}
