//! Fills Redis from the ledger: the one way in which a campaign's keys come to be. A new campaign is the case with no winners.
//!
//! The new state is written under temporary keys of an attempt that is used once, checked, and swapped in with the meta key
//! last. Each step compares the history of Redis with the one captured before Redis was read. An attempt whose outcome is
//! unknown is given up, never repeated: the caller starts over under a new epoch.

use redis::aio::MultiplexedConnection;

use super::error::StockError;
use super::keys::StockKeys;
use super::script::{REBIND, REBUILD_BEGIN, REBUILD_SWAP, REBUILD_WRITE};
use super::state::{NumberedTerms, OpenStock};
use crate::identity::{CampaignId, RequestKey, UserId};
use crate::sabotage::{CrashPoint, crash_point};

/// Winners in one call.
const CHUNK: usize = 500;
/// How long an attempt may take; then its keys vanish. A million winners take some ten seconds.
const ATTEMPT_SECONDS: u64 = 900;

/// A winner as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerWinner {
    /// Place in the order of winners.
    pub rank: u64,
    /// The user's n-th coupon.
    pub n: u32,
    /// Who.
    pub user: UserId,
    /// When it was granted, milliseconds since 1970.
    pub granted_ms: i64,
    /// The request that won it.
    pub key: RequestKey,
}

/// Everything Redis is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Winners in any order; ranks are unique.
    pub winners: Vec<LedgerWinner>,
    /// Ranks below `highest` that nobody holds, ascending.
    pub free: Vec<u64>,
    /// Highest rank ever given.
    pub highest: u64,
}

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
    before: &OpenStock,
    epoch: u64,
    terms: &NumberedTerms,
    winners: usize,
) -> Result<Rebound, StockError> {
    let live = StockKeys::of(campaign);
    let numbers = [before.epoch, before.highest, winners as u64, epoch];
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
pub async fn fill(
    connection: &mut MultiplexedConnection,
    campaign: &CampaignId,
    attempt: &str,
    history: &str,
    epoch: u64,
    terms: &NumberedTerms,
    ledger: &Ledger,
) -> Result<Filled, StockError> {
    let (temporary, live) = (StockKeys::of_attempt(campaign, attempt), StockKeys::of(campaign));
    let seconds = ATTEMPT_SECONDS.to_string();
    let begun: String = REBUILD_BEGIN.call(connection, &[&temporary.meta], &[history, &seconds]).await?;
    match begun.as_str() {
        "OK" => {}
        "HISTORY" => return Ok(Filled::HistoryChanged),
        "TAKEN" => return Ok(Filled::Lost),
        _ => return Err(REBUILD_BEGIN.unexpected(begun)),
    }
    let mut free = ledger.free.chunks(CHUNK);
    let mut winners = ledger.winners.chunks(CHUNK);
    loop {
        let (some_winners, some_free) = (winners.next(), free.next());
        if some_winners.is_none() && some_free.is_none() {
            break;
        }
        let arguments = chunk(history, &seconds, some_winners.unwrap_or_default(), some_free.unwrap_or_default());
        let written: String = REBUILD_WRITE.call(connection, &temporary.all(), &arguments).await?;
        match written.as_str() {
            "OK" => {}
            "HISTORY" => return Ok(Filled::HistoryChanged),
            "GONE" => return Ok(Filled::Lost),
            _ => return Err(REBUILD_WRITE.unexpected(written)),
        }
        crash_point(CrashPoint::AfterChunk);
    }
    crash_point(CrashPoint::BeforeSwap);
    let mut arguments =
        vec![history.to_owned(), ledger.winners.len().to_string(), ledger.free.len().to_string(), epoch.to_string()];
    arguments.extend(terms.arguments());
    arguments.push(ledger.highest.to_string());
    arguments.push(ledger.winners.iter().map(|winner| winner.granted_ms).max().unwrap_or(0).to_string());
    let keys: Vec<&str> = temporary.all().into_iter().chain(live.all()).collect();
    let swapped: String = REBUILD_SWAP.call(connection, &keys, &arguments).await?;
    match swapped.as_str() {
        "OK" => Ok(Filled::Done),
        "HISTORY" => Ok(Filled::HistoryChanged),
        "GONE" | "COUNTS" => Ok(Filled::Lost),
        _ => Err(REBUILD_SWAP.unexpected(swapped)),
    }
}

fn chunk(history: &str, seconds: &str, winners: &[LedgerWinner], free: &[u64]) -> Vec<String> {
    let mut arguments = vec![history.to_owned(), seconds.to_owned(), winners.len().to_string()];
    for winner in winners {
        arguments.push(winner.rank.to_string());
        arguments.push(winner.n.to_string());
        arguments.push(winner.user.as_str().to_owned());
        arguments.push(winner.granted_ms.to_string());
        arguments.push(winner.key.as_str().to_owned());
    }
    arguments.extend(free.iter().map(u64::to_string));
    arguments
}
