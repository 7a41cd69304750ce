//! What was measured of a campaign's pods: how much one stores, how long one needs to start.

use std::collections::VecDeque;

/// Rows per second that one consumer is taken to store before anything was measured. Low, so that a first backlog brings
/// pods rather than waiting.
pub const CAPACITY_SEED: f64 = 500.0;
/// Seconds from a decision to a pod at work before anything was measured.
pub const START_UP_SEED_S: f64 = 5.0;
/// No start is taken to be longer than this, in seconds: one that hangs must not move the plan for hours.
const START_UP_MOST_S: f64 = 45.0;
/// Samples that are kept.
const SAMPLES: usize = 20;
/// Samples that outvote what was taken before.
const ENOUGH: usize = 3;
/// Which of the samples counts: an upper one, since a rebalance or a pause makes some too low, and none are too high.
const QUANTILE: f64 = 0.75;

/// Rows per second that one consumer stores when it has work.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    taken: f64,
    samples: VecDeque<f64>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self::of(CAPACITY_SEED)
    }
}

impl Capacity {
    /// As was measured in an earlier time.
    pub fn of(rows_per_second: f64) -> Self {
        Self { taken: rows_per_second.max(1.0), samples: VecDeque::new() }
    }

    /// Rows per second of one pod.
    pub fn per_pod(&self) -> f64 {
        self.taken
    }

    /// Takes in that so many pods, all of which had work, stored so many rows per second.
    pub fn update(&mut self, rows_per_second: f64, pods: i32) {
        if pods <= 0 || rows_per_second <= 0.0 {
            return;
        }
        self.samples.push_back(rows_per_second / f64::from(pods));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        if self.samples.len() >= ENOUGH {
            let mut sorted: Vec<f64> = self.samples.iter().copied().collect();
            sorted.sort_by(f64::total_cmp);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "small"
            )]
            let index = ((sorted.len() - 1) as f64 * QUANTILE).round() as usize;
            self.taken = sorted[index].max(1.0);
        }
    }

    /// Samples of another number of pods say little about this one: the database is shared.
    pub fn pods_changed(&mut self) {
        self.samples.clear();
    }
}

/// Seconds from the decision to scale up until all pods were at work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StartUp {
    seconds: f64,
}

impl Default for StartUp {
    fn default() -> Self {
        Self { seconds: START_UP_SEED_S }
    }
}

impl StartUp {
    /// As was measured in an earlier time.
    pub fn of(seconds: f64) -> Self {
        Self { seconds: seconds.clamp(1.0, START_UP_MOST_S) }
    }

    /// Seconds: near the longest that was seen recently.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Takes in one start. A longer one counts at once, shorter ones a little each: being early costs less than being late.
    pub fn update(&mut self, seconds: f64) {
        let seconds = seconds.clamp(1.0, START_UP_MOST_S);
        self.seconds = if seconds > self.seconds { seconds } else { self.seconds + (seconds - self.seconds) * 0.3 };
    }
}

/// Two significant digits: what changes less is noise, and would be a write to the API for nothing.
pub fn rounded(value: f64) -> i64 {
    if !value.is_finite() || value < 0.5 {
        return 0;
    }
    let unit = 10f64.powf(value.log10().floor() - 1.0).max(1.0);
    #[expect(clippy::cast_possible_truncation, reason = "saturates; rates are far below 2^63")]
    let rounded = ((value / unit).round() * unit) as i64;
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_what_pods_do_in_good_moments() {
        let mut capacity = Capacity::default();
        capacity.update(2_000.0, 2);
        capacity.update(2_000.0, 2);
        assert_eq!(capacity.per_pod(), CAPACITY_SEED, "two samples are too few");
        for rows in [2_000.0, 100.0, 2_200.0, 0.0] {
            capacity.update(rows, 2);
        }
        assert_eq!(capacity.per_pod(), 1_000.0, "a rebalance is none");
        capacity.pods_changed();
        assert_eq!(capacity.per_pod(), 1_000.0, "until there are new samples");
        (0..SAMPLES).for_each(|_| capacity.update(800.0, 4));
        assert_eq!(capacity.per_pod(), 200.0);
    }

    #[test]
    fn a_long_start_counts_at_once_and_is_forgotten_slowly() {
        let mut start_up = StartUp::default();
        start_up.update(12.0);
        assert_eq!(start_up.seconds(), 12.0);
        start_up.update(4.0);
        assert!((9.0..10.0).contains(&start_up.seconds()));
        start_up.update(9_000.0);
        assert_eq!(start_up.seconds(), START_UP_MOST_S);
    }

    #[test]
    fn figures_in_status_have_two_digits() {
        assert_eq!([0.2, 0.9, 7.4, 12.3, 123.4, 98_765.0].map(rounded), [0, 1, 7, 12, 120, 99_000]);
        assert_eq!(rounded(f64::INFINITY), 0);
    }
}
