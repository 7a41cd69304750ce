//! Waiting for a condition, with a deadline.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Asks `look` until it answers `Ok`, at most for `deadline`; then fails with what it said last.
pub async fn until<T>(what: &str, deadline: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> Result<T> {
    let begin = Instant::now();
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(why) if begin.elapsed() >= deadline => {
                bail!("{what} did not come about within {} s: {why}", deadline.as_secs())
            }
            Err(_) => sleep(POLL).await,
        }
    }
}
