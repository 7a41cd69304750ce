//! Arrival curves: how many winners there are until a moment, and to which partitions they go.

/// A time in which the rate goes in a straight line. Seconds count from the first arrival, rates are records per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stretch {
    /// Its begin, in seconds.
    pub(crate) from_s: f64,
    /// Its end, in seconds.
    pub(crate) to_s: f64,
    /// The rate at its begin.
    pub(crate) first: f64,
    /// The rate at its end.
    pub(crate) last: f64,
}

impl Stretch {
    /// Records of this stretch until `at_s`.
    fn records(&self, at_s: f64) -> f64 {
        let length = self.to_s - self.from_s;
        let gone = (at_s - self.from_s).clamp(0.0, length);
        self.first * gone + (self.last - self.first) * gone * gone / (2.0 * length)
    }
}

/// All winners of a sale. It is sold out at the end of the last stretch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    stretches: Vec<Stretch>,
    /// The part of all records that goes to partition 0 before the rest is spread evenly.
    hot: f64,
}

impl Curve {
    /// Of these stretches, spread evenly over the partitions.
    pub(crate) fn of(stretches: Vec<Stretch>) -> Self {
        Self { stretches, hot: 0.0 }
    }

    /// Rates (records per second) that each hold for so many seconds, one after the other.
    pub(crate) fn steps(each_s: f64, rates: &[f64]) -> Self {
        let stretch = |(index, rate): (usize, &f64)| {
            let from_s = index as f64 * each_s;
            Stretch { from_s, to_s: from_s + each_s, first: *rate, last: *rate }
        };
        Self::of(rates.iter().enumerate().map(stretch).collect())
    }

    /// With this part of all records in partition 0, besides its even share of the rest.
    pub(crate) fn hot(self, part: f64) -> Self {
        Self { hot: part, ..self }
    }

    /// All records until `at_s`, in seconds from the first arrival.
    fn records(&self, at_s: f64) -> f64 {
        self.stretches.iter().map(|stretch| stretch.records(at_s)).sum()
    }

    /// The end offset of a partition at `at_s`, in seconds from the first arrival.
    pub(crate) fn end_offset(&self, at_s: f64, partition: usize, partitions: usize) -> i64 {
        let even = (1.0 - self.hot) / partitions as f64;
        let part = if partition == 0 { even + self.hot } else { even };
        // Sums of products that are whole numbers on paper must not be cut off one below.
        (self.records(at_s) * part + 1e-6).floor() as i64
    }

    /// From when to when records come, in seconds from the first arrival.
    pub(crate) fn times(&self) -> Vec<(f64, f64)> {
        let mut times: Vec<(f64, f64)> = Vec::new();
        for stretch in &self.stretches {
            match times.last_mut().filter(|(_, to_s)| *to_s == stretch.from_s) {
                Some((_, to_s)) => *to_s = stretch.to_s,
                None => times.push((stretch.from_s, stretch.to_s)),
            }
        }
        times
    }

    /// When the last record comes, in seconds from the first arrival.
    pub(crate) fn end_s(&self) -> f64 {
        self.stretches.iter().map(|stretch| stretch.to_s).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_the_area_under_the_rate() {
        let ramp = Curve::of(vec![Stretch { from_s: 10.0, to_s: 20.0, first: 0.0, last: 100.0 }]);
        let at = |seconds| ramp.end_offset(seconds, 0, 1);
        assert_eq!([0.0, 10.0, 15.0, 20.0, 99.0].map(at), [0, 0, 125, 500, 500]);
        assert_eq!(ramp.end_s(), 20.0);
        let steps = Curve::steps(2.0, &[10.0, 0.0, 5.0]);
        assert_eq!((steps.end_offset(99.0, 0, 1), steps.times()), (30, vec![(0.0, 6.0)]));
    }

    #[test]
    fn a_hot_partition_has_its_part_and_an_even_share_of_the_rest() {
        let curve = Curve::steps(1.0, &[1_000.0]).hot(0.8);
        let ends: Vec<i64> = (0..4).map(|id| curve.end_offset(1.0, id, 4)).collect();
        assert_eq!(ends, [850, 50, 50, 50]);
    }
}
