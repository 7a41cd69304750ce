//! How what failed is tried again.

use std::time::Duration;

/// When a pass that failed is worth trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not before something changes.
    OnChange,
    /// With growing pauses.
    Backoff,
    /// After this long.
    After(Duration),
}
