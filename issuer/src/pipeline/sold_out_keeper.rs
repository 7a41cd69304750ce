//! Reads the winners of a campaign that is sold out, and asks Redis at intervals whether it still is ([`super::sold_out`]).

use std::sync::Arc;
use std::time::Duration;

use coupon_ledger::redis::read_holders;
use tokio::time::Instant;

use super::prober::Probe;
use super::redis_link::LinkError;
use super::sold_out::{SoldOut, Standing, Winners};

/// How often Redis is asked while users send requests; well below [`super::sold_out::FRESH`]. It is one call without requests, which
/// costs Redis some 10 us.
const EVERY: Duration = Duration::from_millis(10);
/// Winners that are read in one call.
const PAGE: usize = 1_000;
/// Pause after each call, so that Redis has most of its time for others, also with many issuers.
const PAUSE: Duration = Duration::from_millis(5);
/// Pause after a failure, and after a campaign turned out not to be sold out.
const AGAIN: Duration = Duration::from_secs(1);

/// The task.
pub(crate) struct SoldOutKeeper {
    /// What the task keeps up to date.
    pub(crate) sold_out: Arc<SoldOut>,
    /// Asks Redis.
    pub(crate) probe: Probe,
}

impl SoldOutKeeper {
    /// Never returns.
    pub(crate) async fn run(self) {
        let mut is_told = false;
        loop {
            self.sold_out.noticed().await;
            match self.learn().await {
                Ok(true) => self.confirm_while_asked().await,
                Ok(false) => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "the winners cannot be read; Redis is asked about every loser");
                    }
                }
            }
            tokio::time::sleep(AGAIN.mul_f64(rand::random_range(1.0..=1.5))).await;
        }
    }

    /// Asks Redis for the standing of the campaign; also returns when it was asked. There is no standing if ranks may be given. `None` if
    /// Redis did not answer.
    async fn ask(&self) -> Option<(Option<Standing>, Instant)> {
        let asked = Instant::now();
        let (epoch, batch) = self.probe.ask().await?;
        Some((Standing::of(epoch, &batch), asked))
    }

    /// Reads all winners. Returns false if Redis gives ranks after all, or gave some meanwhile.
    async fn learn(&self) -> Result<bool, LinkError> {
        let Some((Some(standing), _)) = self.ask().await else { return Ok(false) };
        let mut winners = Winners::of(standing.winners());
        let mut last = 0;
        loop {
            let keys = &self.probe.keys;
            let read = async |mut connection| read_holders(&mut connection, keys, last, PAGE).await;
            let page = self.probe.link.read(read).await?;
            page.iter().for_each(|(_, user)| winners.add(user));
            let Some((rank, _)) = page.last() else { break };
            last = *rank;
            tokio::time::sleep(PAUSE).await;
        }
        // The standing is the same as before, so nobody has won meanwhile, and no winner is missing.
        let Some((again, asked)) = self.ask().await else { return Ok(false) };
        if again != Some(standing) {
            return Ok(false);
        }
        tracing::info!(winners = standing.winners(), "sold out: who has not won is told without asking Redis");
        self.sold_out.learn(standing, winners, asked);
        Ok(true)
    }

    /// Asks Redis at intervals, as long as users send requests, until the standing is another one.
    async fn confirm_while_asked(&self) {
        loop {
            self.sold_out.asked().await;
            match self.ask().await {
                Some((standing, asked)) if !self.sold_out.confirm(standing, asked) => {
                    tracing::info!("no longer sold out: Redis is asked about everybody");
                    return;
                }
                Some(_) => tokio::time::sleep(EVERY).await,
                // Until Redis answers, what is known gets too old to be used.
                None => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}
