//! Counts latencies in buckets that are less than one percent wide. Pure.

/// Buckets for each power of two, and how many bits that is. Shorter latencies have a bucket for each microsecond.
const BUCKETS: u64 = 128;
const BITS: u32 = 7;
/// What takes longer counts as this: twelve days.
const MOST_US: u64 = 1 << 40;

/// Latencies in microseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; bucket(MOST_US) + 1], total: 0, longest_us: 0 }
    }
}

impl Histogram {
    /// Counts one more.
    pub(crate) fn record(&mut self, micros: u64) {
        self.counts[bucket(micros.min(MOST_US))] += 1;
        self.total += 1;
        self.longest_us = self.longest_us.max(micros);
    }

    /// The latency that this part of all did not exceed, from 0 to 1; 0 of none.
    pub(crate) fn quantile_us(&self, part: f64) -> u64 {
        let wanted = ((part * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut sum = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted {
                return end(bucket).min(self.longest_us);
            }
        }
        self.longest_us
    }

    /// The longest of all.
    pub(crate) fn longest_us(&self) -> u64 {
        self.longest_us
    }
}

fn bucket(micros: u64) -> usize {
    if micros < BUCKETS {
        return micros as usize;
    }
    let shift = micros.ilog2() - BITS;
    ((u64::from(shift) + 1) * BUCKETS + (micros >> shift) - BUCKETS) as usize
}

/// The longest latency of a bucket.
fn end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < BUCKETS {
        return bucket;
    }
    let (shift, within) = (bucket / BUCKETS - 1, bucket % BUCKETS);
    ((BUCKETS + within + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_has_a_bucket_that_is_narrow() {
        let mut before = 0;
        for micros in (0..100_000).chain([1 << 20, (1 << 20) + 1, 3_000_000, MOST_US]) {
            let (at, end) = (bucket(micros), end(bucket(micros)));
            assert!(end >= micros && (end - micros) * BUCKETS <= micros, "{micros}: bucket {at} ends at {end}");
            assert!(at >= before, "{micros} stands before a shorter one");
            before = at;
        }
        assert_eq!((bucket(127), bucket(128), bucket(255), bucket(256), bucket(257)), (127, 128, 255, 256, 256));
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile_us(0.5), histogram.longest_us()), (0, 0));
        for micros in 1..=1000 {
            histogram.record(micros * 100);
        }
        for (part, micros) in [(0.5, 50_000), (0.99, 99_000), (0.999, 99_900), (1.0, 100_000)] {
            let found = histogram.quantile_us(part);
            assert!(found >= micros && found <= micros + micros / 100, "{part}: {found}");
        }
        histogram.record(u64::MAX);
        assert_eq!(histogram.longest_us(), u64::MAX);
    }
}
