//! What a scaler is.

use operator::scale::reading::Reading;

/// The first arrival, in milliseconds of the simulated clock.
pub const BEGIN_MS: i64 = 31_000;

/// What a scaler sees.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Now, in milliseconds.
    pub now_ms: i64,
    /// What Kafka says.
    pub reading: &'a Reading,
    /// Pods that should be there.
    pub pods: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// The sale is over and every winner is a row.
    pub complete: bool,
}

/// Decides about the number of pods.
pub trait Scaler {
    /// Asked at every tick; answers with the number that there should be.
    fn look(&mut self, view: &View<'_>) -> i32;

    /// What it told the person on call.
    fn says(&self) -> &[String] {
        &[]
    }
}

/// Whether something that happens every `period_ms`, `phase_ms` after its multiples, happens now.
pub fn due(now_ms: i64, period_ms: i64, phase_ms: i64) -> bool {
    (now_ms - phase_ms).rem_euclid(period_ms) == 0
}
