//! How many repairs go on at once. Each holds some pages of its ledger; large ones also load the database and Redis.

use std::sync::Arc;
use std::time::Duration;

use coupon_ledger::database::CampaignRow;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::EpochError;

/// Campaigns of more coupons are repaired one at a time.
const LARGE: u64 = 100_000;
/// So many others at once.
const SMALL_AT_ONCE: usize = 8;
/// So many passes wait for each kind of turn. Others look again later: a pass that waits takes the room of another campaign's.
const WAITING: usize = 8;
/// How long a pass waits for its turn before it says so.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most passes that are in a repair, or wait for one.
pub const MOST_PASSES: usize = 1 + WAITING + SMALL_AT_ONCE + WAITING;

#[derive(Debug)]
struct Line {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Line {
    fn new(at_once: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once)), places: Arc::new(Semaphore::new(WAITING)) }
    }
}

/// Who may repair now.
#[derive(Debug)]
pub struct Queue {
    large: Line,
    small: Line,
}

impl Default for Queue {
    fn default() -> Self {
        Self { large: Line::new(1), small: Line::new(SMALL_AT_ONCE) }
    }
}

/// How many winners an opening may have to go through. None where there never was an epoch, and no row: no turn is needed for that.
pub fn load(row: &CampaignRow, highest: u64, total: u64) -> u64 {
    if row.epoch == 0 && highest == 0 { 0 } else { row.total.max(total) }
}

impl Queue {
    /// The turn of an opening that goes through so many winners ([`load`]); it ends when the permit is dropped.
    ///
    /// # Errors
    /// Others are still at it after some seconds, or too many wait already: their turn comes first.
    pub async fn turn(&self, load: u64) -> Result<Option<OwnedSemaphorePermit>, EpochError> {
        if load == 0 {
            return Ok(None);
        }
        let Line { turns, places } = if load > LARGE { &self.large } else { &self.small };
        if let Ok(permit) = Arc::clone(turns).try_acquire_owned() {
            return Ok(Some(permit));
        }
        let _place = places.try_acquire().map_err(|_| EpochError::Queued)?;
        match tokio::time::timeout(PATIENCE, Arc::clone(turns).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(EpochError::Queued),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::fixtures;

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

    /// Wrong: a ledger of millions that a new campaign continues is read beside a large repair; or new campaigns, which have nothing
    /// to read, wait for both.
    #[tokio::test(start_paused = true)]
    async fn a_first_opening_takes_its_turn_by_what_it_goes_through() {
        const MANY: u64 = 5_000_000;
        let new = fixtures::row();
        let of = |epoch, highest, total| load(&CampaignRow { epoch, total: 10, ..new.clone() }, highest, total);
        assert_eq!([of(0, 0, MANY), of(0, 3, MANY), of(0, MANY, 10), of(4, 0, MANY)], [0, MANY, 10, MANY]);

        let queue = Queue::default();
        let _first_opening = queue.turn(of(0, MANY, MANY)).await.unwrap();
        assert!(matches!(queue.turn(of(4, MANY, MANY)).await, Err(EpochError::Queued)), "a large repair waits for it");
        let begun = tokio::time::Instant::now();
        assert!(queue.turn(of(4, 7, 100)).await.unwrap().is_some(), "a small one does not");
        for _ in 0..1_000 {
            assert!(queue.turn(of(0, 0, MANY)).await.unwrap().is_none(), "and what is new least of all");
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    /// Wrong: large campaigns that wait for each other take all passes that there are, and small ones get none.
    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_wait() {
        let queue = Queue::default();
        let _large = queue.turn(LARGE + 1).await.unwrap();
        let begun = tokio::time::Instant::now();
        let waits = join_all((0..100).map(|_| async {
            assert!(queue.turn(LARGE + 1).await.is_err());
            begun.elapsed()
        }))
        .await;
        assert_eq!(waits.iter().filter(|wait| **wait >= PATIENCE).count(), WAITING);
        assert!(waits.iter().filter(|wait| **wait < PATIENCE).all(Duration::is_zero));
    }
}
