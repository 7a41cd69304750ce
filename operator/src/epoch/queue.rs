//! How many repairs go on at once. Each holds some pages of its ledger; large ones also load the database and Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::EpochError;

/// Campaigns of more coupons are repaired one at a time.
const LARGE: u64 = 100_000;
/// So many others at once.
const SMALL_AT_ONCE: usize = 8;
/// How long a pass waits for its turn before it says so.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who may repair now.
#[derive(Debug)]
pub struct Queue {
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { large: Arc::new(Semaphore::new(1)), small: Arc::new(Semaphore::new(SMALL_AT_ONCE)) }
    }
}

impl Queue {
    /// The turn of a campaign of `total` coupons; it ends when the permit is dropped.
    ///
    /// # Errors
    /// Others are still at it after some seconds: their turn comes first.
    pub async fn turn(&self, total: u64) -> Result<OwnedSemaphorePermit, EpochError> {
        let waiting = if total > LARGE { &self.large } else { &self.small };
        match tokio::time::timeout(PATIENCE, Arc::clone(waiting).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(EpochError::Queued),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_repairs_go_one_at_a_time_and_hold_up_no_small_one() {
        let queue = Queue::default();
        let large = queue.turn(LARGE + 1).await.unwrap();
        assert!(matches!(queue.turn(10_000_000).await, Err(EpochError::Queued)));
        let mut small = Vec::new();
        for _ in 0..SMALL_AT_ONCE {
            small.push(queue.turn(LARGE).await.unwrap());
        }
        assert!(matches!(queue.turn(1).await, Err(EpochError::Queued)));
        drop((large, small.pop()));
        assert!(queue.turn(LARGE + 1).await.is_ok());
        assert!(queue.turn(1).await.is_ok());
    }
}
