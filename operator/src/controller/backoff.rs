//! How long to wait after a failure. The controller runtime has no pause per object; this is ours.

use std::time::Duration;

use rand::RngExt;

/// Shortest pause.
const BASE: Duration = Duration::from_millis(500);
/// Longest pause. Short enough that a campaign recovers soon after its cause went away.
const CAP: Duration = Duration::from_secs(15);

/// Longest pause after epochs that were allotted in vain: each costs a fence and a reading of the ledger.
const EPOCH_CAP: Duration = Duration::from_secs(30);

/// The pause after the `failures`-th failure in a row (from 1): doubled each time, with jitter of a quarter either way, so
/// that a thousand campaigns do not come back at once.
pub(crate) fn pause(failures: u32) -> Duration {
    jittered(plain(failures), rand::rng().random_range(0.75..1.25))
}

/// The same after epochs that were allotted and not opened, with a longer cap.
pub(crate) fn epoch_pause(burnt: u32) -> Duration {
    jittered(grown(burnt).min(EPOCH_CAP), rand::rng().random_range(0.75..1.25))
}

fn plain(failures: u32) -> Duration {
    grown(failures).min(CAP)
}

fn grown(failures: u32) -> Duration {
    BASE.saturating_mul(1 << failures.saturating_sub(1).min(16))
}

fn jittered(pause: Duration, factor: f64) -> Duration {
    pause.mul_f64(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap() {
        let seconds: Vec<f64> = (1..8).map(|failures| plain(failures).as_secs_f64()).collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]);
        assert_eq!(plain(u32::MAX), CAP);
        let epochs: Vec<f64> = (1..9).map(|burnt| grown(burnt).min(EPOCH_CAP).as_secs_f64()).collect();
        assert_eq!(epochs, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(jittered(CAP, 0.75), Duration::from_millis(11_250));
    }
}
