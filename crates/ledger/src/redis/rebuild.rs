//! Fills Redis from the ledger: the one way in which a campaign's keys come to be. A new campaign is the case with no winners.
//!
//! The new state is written under temporary keys of an attempt that is used once, checked, and swapped in with the meta key
//! last. Each step compares the history of Redis with the one captured before Redis was read. An attempt whose outcome is
//! unknown is given up, never repeated: the caller starts over under a new epoch.

use coupon_core::identity::CampaignId;
use redis::aio::MultiplexedConnection;

pub use super::attempt::{Attempt, FREE_OF_CALL, FillError, Totals, WINNERS_OF_CALL};
use super::error::RedisError;
use super::keys::RedisKeys;
pub use super::ledger::{Ledger, LedgerWinner};
use super::script::REBIND;
use super::state::{NumberedTerms, OpenInRedis};

/// The outcome of [`rebind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebound {
    /// Redis holds the ledger under the new epoch.
    Done,
    /// Redis' history changed meanwhile. Start over.
    HistoryChanged,
    /// Redis does not hold a whole ledger of these winners. Fill it.
    Other,
}

/// Binds a Redis that holds exactly these `winners` to `epoch`. `history` and `before` were captured before the winners were
/// read; nothing may have changed since. Free ranks stay as Redis has them. An outcome that is unknown is never tried again:
/// start over under a new epoch.
pub async fn rebind(
    connection: &mut MultiplexedConnection,
    campaign: &CampaignId,
    history: &str,
    before: &OpenInRedis,
    epoch: u64,
    terms: &NumberedTerms,
    winners: u64,
) -> Result<Rebound, RedisError> {
    let live = RedisKeys::of(campaign);
    let numbers = [before.epoch, before.highest, winners, epoch];
    let mut arguments = vec![history.to_owned()];
    arguments.extend(numbers.map(|number| number.to_string()));
    arguments.extend(terms.arguments());
    let bound: String = REBIND.call(connection, &live.all(), &arguments).await?;
    match bound.as_str() {
        "OK" => Ok(Rebound::Done),
        "HISTORY" => Ok(Rebound::HistoryChanged),
        "OTHER" => Ok(Rebound::Other),
        _ => Err(REBIND.unexpected(bound)),
    }
}

/// The outcome of [`fill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// Redis holds the ledger under the new epoch.
    Done,
    /// Redis' history changed meanwhile. Start over.
    HistoryChanged,
    /// The attempt was lost (it took too long, its keys vanished). Start over.
    Lost,
}

/// Writes `ledger` under `epoch`. `history` is the one captured before Redis was read; `attempt` must never have been used.
/// For a ledger that fits into memory; others are written by an [`Attempt`] of one's own.
pub async fn fill(
    connection: &mut MultiplexedConnection,
    campaign: &CampaignId,
    attempt: &str,
    history: &str,
    epoch: u64,
    terms: &NumberedTerms,
    ledger: &Ledger,
) -> Result<Filled, RedisError> {
    let filling = async {
        let mut attempt = Attempt::begin(connection, campaign, attempt, history).await?;
        for winners in ledger.winners.chunks(WINNERS_OF_CALL) {
            attempt.write(winners).await?;
        }
        for free in ledger.free.chunks(FREE_OF_CALL) {
            attempt.write_free(free).await?;
        }
        let totals = Totals {
            winners: ledger.winners.len() as u64,
            free: ledger.free.len() as u64,
            highest: ledger.highest,
            latest_ms: ledger.winners.iter().map(|winner| winner.granted_ms).max().unwrap_or(0),
        };
        attempt.swap(epoch, terms, &totals).await
    };
    match filling.await {
        Ok(()) => Ok(Filled::Done),
        Err(FillError::HistoryChanged) => Ok(Filled::HistoryChanged),
        Err(FillError::Lost) => Ok(Filled::Lost),
        Err(FillError::Redis(error)) => Err(error),
    }
}
