//! What was seen of a sale twice a second, and the figures that follow from it. Pure.

use stack::table::Table;

/// Lag above this is more than a moment's: the crossing from which decisions are timed. Records.
pub const CROSSING: i64 = 1_000;

/// What was seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Milliseconds after the first user.
    pub at_ms: u64,
    /// People who have asked so far.
    pub offered: u64,
    /// Coupons issued so far.
    pub issued: u64,
    /// Records that are not committed.
    pub lag: i64,
    /// Consumers that should be there.
    pub wanted: i32,
    /// Consumers that are ready.
    pub ready: i32,
    /// Changes of the consumer group's members so far.
    pub rebalances: u64,
}

/// The figures of a whole sale. Times in milliseconds; `None`: it did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// From the lag's crossing to the first higher number of pods; 0 when that came first.
    pub decision_ms: Option<u64>,
    /// From that number to as many ready pods.
    pub ready_ms: Option<u64>,
    /// Highest lag, in records.
    pub peak_lag: i64,
    /// From the last coupon issued until nothing waited.
    pub drained_ms: Option<u64>,
    /// Changes of the group's members.
    pub rebalances: u64,
    /// Whether no pod was left in the end.
    pub scaled_to_zero: bool,
}

impl Figures {
    /// What these samples, in order, say.
    pub fn of(samples: &[Sample]) -> Self {
        let first = samples.first().copied().unwrap_or_default();
        let last = samples.last().copied().unwrap_or_default();
        let crossed = samples.iter().find(|sample| sample.lag >= CROSSING);
        let decided = samples.iter().find(|sample| sample.wanted > first.wanted);
        let ready = decided.and_then(|decided| {
            samples.iter().find(|sample| sample.at_ms >= decided.at_ms && sample.ready >= decided.wanted)
        });
        let sold = samples.iter().find(|sample| sample.issued == last.issued);
        let drained = sold.and_then(|sold| samples.iter().find(|sample| sample.at_ms >= sold.at_ms && sample.lag == 0));
        let between = |from: Option<&Sample>, to: Option<&Sample>| Some(to?.at_ms.saturating_sub(from?.at_ms));
        Self {
            decision_ms: between(crossed, decided),
            ready_ms: between(decided, ready),
            peak_lag: samples.iter().map(|sample| sample.lag).max().unwrap_or(0),
            drained_ms: between(sold, drained),
            rebalances: last.rebalances,
            scaled_to_zero: (last.wanted, last.ready) == (0, 0),
        }
    }

    /// The last line.
    pub fn line(&self) -> String {
        let seconds = |ms: Option<u64>| match ms {
            Some(ms) => format!("{}.{}", ms / 1000, ms % 1000 / 100),
            None => "never".to_owned(),
        };
        format!(
            "scale: decision_s={} ready_s={} peak_lag={} drained_s={} rebalances={} scale_to_zero={}",
            seconds(self.decision_ms),
            seconds(self.ready_ms),
            self.peak_lag,
            seconds(self.drained_ms),
            self.rebalances,
            if self.scaled_to_zero { "yes" } else { "no" }
        )
    }
}

/// A table with a line for every two seconds, and for every change of the number of pods.
pub fn table(samples: &[Sample]) -> String {
    let mut table = Table::new(&["time s", "offered", "issued", "lag", "wanted", "ready"]);
    let (mut next_ms, mut wanted) = (0, -1);
    for sample in samples {
        if sample.at_ms < next_ms && sample.wanted == wanted {
            continue;
        }
        (next_ms, wanted) = (sample.at_ms + 2_000, sample.wanted);
        let Sample { at_ms, offered, issued, lag, ready, .. } = sample;
        let seconds = format!("{}.{}", at_ms / 1000, at_ms % 1000 / 100);
        let counts = [offered.to_string(), issued.to_string(), lag.to_string(), wanted.to_string(), ready.to_string()];
        table.row([seconds].into_iter().chain(counts));
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, issued: u64, lag: i64, wanted: i32, ready: i32) -> Sample {
        Sample { at_ms, offered: issued, issued, lag, wanted, ready, rebalances: at_ms / 1000 }
    }

    #[test]
    fn the_figures_are_the_times_between_what_was_seen() {
        let samples = [
            sample(0, 0, 0, 1, 1),
            sample(1_000, 900, 1_200, 1, 1),
            sample(2_500, 2_000, 2_000, 6, 1),
            sample(6_000, 5_000, 4_000, 6, 6),
            sample(7_000, 5_000, 2_500, 6, 6),
            sample(9_500, 5_000, 0, 6, 6),
            sample(10_000, 5_000, 0, 0, 2),
            sample(11_000, 5_000, 0, 0, 0),
        ];
        let line = "scale: decision_s=1.5 ready_s=3.5 peak_lag=4000 drained_s=3.5 rebalances=11 scale_to_zero=yes";
        assert_eq!(Figures::of(&samples).line(), line);
        assert_eq!(table(&samples).lines().count(), 6, "{}", table(&samples));
    }

    #[test]
    fn what_did_not_happen_is_not_a_zero() {
        let samples = [sample(0, 10, 0, 1, 1), sample(1_000, 10, 5_000, 1, 1)];
        let line = "scale: decision_s=never ready_s=never peak_lag=5000 drained_s=0.0 rebalances=1 scale_to_zero=no";
        assert_eq!(Figures::of(&samples).line(), line);
        assert_eq!(Figures::of(&[]).decision_ms, None);
    }
}
