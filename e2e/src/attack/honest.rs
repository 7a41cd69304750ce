//! Users who behave, at a fixed rate, each for himself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::issuer_client::{IssuerClient, Response};

/// Users under way at once; more are failures of their own, as nobody was served.
const AT_ONCE: usize = 4_000;

/// What all of them heard.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// From the time at which each should have asked, milliseconds, ascending.
    pub took_ms: Vec<u128>,
    /// Those who did not get a coupon.
    pub failed: Vec<Response>,
}

impl Tally {
    /// The time within which 99 of 100 were answered (nearest rank), milliseconds.
    pub fn p99_ms(&self) -> u128 {
        let index = (self.took_ms.len() * 99).div_ceil(100).saturating_sub(1);
        self.took_ms.get(index).copied().unwrap_or(0)
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.took_ms.extend(&other.took_ms);
        self.took_ms.sort_unstable();
        self.failed.extend(other.failed.iter().cloned());
    }
}

/// The users of one kind.
pub struct Honest {
    /// The way in.
    pub issuer: IssuerClient,
    /// Users a second.
    pub rate: u32,
    /// What their names begin with.
    pub prefix: String,
}

impl Honest {
    /// They come for `time`; ends when all were answered.
    pub async fn come(self, time: Duration) -> Tally {
        let stop = CancellationToken::new();
        let timer = stop.clone();
        let (tally, ()) = tokio::join!(self.come_until(stop), async move {
            tokio::time::sleep(time).await;
            timer.cancel();
        });
        tally
    }

    /// They come until `stop`; ends when all were answered.
    pub async fn come_until(self, stop: CancellationToken) -> Tally {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (mut number, mut asking) = (0u64, JoinSet::new());
        let mut ticks = interval(Duration::from_secs(1) / self.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !stop.is_cancelled() {
            // Who comes late because we are, waits from when it should have come.
            let due = ticks.tick().await;
            while asking.try_join_next().is_some() {}
            if asking.len() >= AT_ONCE {
                asking.join_next().await;
            }
            number += 1;
            let (issuer, user, tally) = (self.issuer.clone(), format!("{}-{number}", self.prefix), Arc::clone(&tally));
            asking.spawn(async move {
                let heard = issuer.ask(&user, None).await;
                let mut tally = tally.lock().await;
                tally.took_ms.push(due.elapsed().as_millis());
                if !heard.issued() {
                    tally.failed.push(heard);
                }
            });
        }
        while asking.join_next().await.is_some() {}
        let mut tally = std::mem::take(&mut *tally.lock().await);
        tally.took_ms.sort_unstable();
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_a_hundred_does_not_count() {
        let mut tally = Tally { took_ms: (1..=100).collect(), failed: Vec::new() };
        assert_eq!(tally.p99_ms(), 99);
        tally.add(&Tally { took_ms: vec![1_000; 2], failed: Vec::new() });
        assert_eq!((tally.p99_ms(), tally.took_ms.len()), (1_000, 102));
        assert_eq!(Tally::default().p99_ms(), 0);
    }
}
