//! Watches a consumer at work by what it counts.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::programs::Program;
use super::scrape;
use super::stage::Stage;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);
/// Records whose end the consumer has seen, whatever that was.
const RECORDS: &str = "coupon_consumer_records_total";

/// When a consumer was at work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drained {
    /// When it was first seen to have done something, and how many records that were.
    first: (Instant, f64),
    /// When it was seen to have done all, and how many records that were.
    last: (Instant, f64),
}

impl Drained {
    /// Records a second, from the first that were seen done to the last.
    pub(crate) fn per_second(&self) -> f64 {
        let (records, time) = (self.last.1 - self.first.1, self.last.0.saturating_duration_since(self.first.0));
        records / time.as_secs_f64().max(1e-6)
    }

    /// When all was done.
    pub(crate) fn end(&self) -> Instant {
        self.last.0
    }
}

/// Waits until a consumer is done with so many records.
///
/// # Errors
/// It ends, or is not done in time.
pub(crate) async fn drained(stage: &Stage, consumer: &Program, records: u64, within: Duration) -> Result<Drained> {
    let deadline = Instant::now() + within;
    let mut first = None;
    loop {
        let done = scrape::sum(&consumer.metrics(stage).await?, RECORDS);
        let now = (Instant::now(), done);
        if done > 0.0 {
            first = first.or(Some(now));
        }
        if done >= records as f64 {
            return Ok(Drained { first: first.unwrap_or(now), last: now });
        }
        consumer.alive()?;
        ensure!(now.0 < deadline, "the consumer is done with {done} of {records} records after {} s", within.as_secs());
        tokio::time::sleep(LOOK).await;
    }
}
