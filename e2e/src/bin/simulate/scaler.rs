//! What a scaler is.

use operator::scaling::reading::Reading;

/// The first arrival, in milliseconds of the simulated clock.
pub(crate) const BEGIN_MS: i64 = 31_000;

/// What a scaler sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// Now, in milliseconds.
    pub(crate) now_ms: i64,
    /// What Kafka says.
    pub(crate) reading: &'a Reading,
    /// Pods that should be there.
    pub(crate) pods: i32,
    /// Pods that are ready.
    pub(crate) ready: i32,
    /// The sale is over and every winner is a row.
    pub(crate) complete: bool,
}

/// Decides about the number of pods.
pub(crate) trait Scaler {
    /// Asked at every tick; answers with the number that there should be.
    fn decide(&mut self, view: &View<'_>) -> i32;

    /// What it told the person on call.
    fn says(&self) -> &[String] {
        &[]
    }
}

/// Whether something that happens every `period_ms`, `phase_ms` after its multiples, happens now.
pub(crate) fn due(now_ms: i64, period_ms: i64, phase_ms: i64) -> bool {
    (now_ms - phase_ms).rem_euclid(period_ms) == 0
}
