//! When something was last done that is to be done rarely.

use std::time::{Duration, Instant};

/// When something was last done that is to be done rarely. Losing it costs doing it once more.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Throttle(Option<Instant>);

impl Throttle {
    /// Whether it was done within this time.
    pub(super) fn is_recent(self, every: Duration) -> bool {
        self.0.is_some_and(|at| at.elapsed() < every)
    }

    /// It is done now.
    pub(super) fn reset(&mut self) {
        self.0 = Some(Instant::now());
    }
}
