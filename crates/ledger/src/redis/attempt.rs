//! One attempt to fill Redis, chunk by chunk, so that nobody needs to hold a whole ledger.

use coupon_core::failpoints::{CrashPoint, crash_point};
use coupon_core::identity::CampaignId;
use redis::aio::MultiplexedConnection;

use super::error::RedisError;
use super::keys::RedisKeys;
use super::ledger::LedgerWinner;
use super::script::{Named, REBUILD_BEGIN, REBUILD_SWAP, REBUILD_WRITE};
use super::state::NumberedTerms;

/// Winners in one call. Some 2 to 5 ms of Redis' time, in which nobody else is served.
pub const WINNERS_OF_CALL: usize = 500;
/// Free ranks in one call. Redis' Lua refuses to unpack some 8,000 values at once.
pub const FREE_OF_CALL: usize = 4_000;
/// How long an attempt may go without a chunk; then its keys vanish.
const ATTEMPT_SECONDS: u64 = 900;

/// Why an attempt did not fill Redis. It is given up; the caller starts over under a new epoch.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// Redis' history changed since it was read.
    #[error("Redis' history changed meanwhile")]
    HistoryChanged,
    /// The attempt was lost: it took too long, or its keys vanished.
    #[error("the attempt was lost")]
    Lost,
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// What is in the temporary keys when all was written: the swap compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Winners that stood.
    pub winners: u64,
    /// Free ranks.
    pub free: u64,
    /// Highest rank that is held.
    pub highest: u64,
    /// When the latest of them was granted, milliseconds since 1970.
    pub latest_ms: i64,
}

/// Temporary keys that are filled and swapped in. One that is dropped before removes its keys, if it still can; else they
/// vanish by themselves.
pub struct Attempt {
    connection: MultiplexedConnection,
    temporary: RedisKeys,
    live: RedisKeys,
    history: String,
    seconds: String,
    /// Its keys are not there any more.
    finished: bool,
}

impl Attempt {
    /// Begins an attempt. `history` was captured before Redis was read; `name` must never have been used.
    ///
    /// # Errors
    /// Redis is another one, knows the attempt, or failed.
    pub async fn begin(
        connection: &MultiplexedConnection,
        campaign: &CampaignId,
        name: &str,
        history: &str,
    ) -> Result<Self, FillError> {
        let mut attempt = Self {
            connection: connection.clone(),
            temporary: RedisKeys::of_attempt(campaign, name),
            live: RedisKeys::of(campaign),
            history: history.to_owned(),
            seconds: ATTEMPT_SECONDS.to_string(),
            finished: false,
        };
        let arguments = [&attempt.history, &attempt.seconds];
        let begun: String = REBUILD_BEGIN.call(&mut attempt.connection, &[&attempt.temporary.meta], &arguments).await?;
        if begun == "TAKEN" {
            // The keys are somebody else's.
            attempt.finished = true;
            return Err(FillError::Lost);
        }
        check_status(&REBUILD_BEGIN, &begun)?;
        Ok(attempt)
    }

    /// Writes winners whose ranks nobody holds, at most [`WINNERS_OF_CALL`], each rank once. Answers which of them, by place from
    /// 0, were refused because their user's n-th coupon is there already.
    ///
    /// # Errors
    /// The attempt is over.
    pub async fn write(&mut self, winners: &[LedgerWinner]) -> Result<Vec<usize>, FillError> {
        self.call(chunk(&self.history, &self.seconds, winners, &[])).await
    }

    /// Writes free ranks, at most [`FREE_OF_CALL`]; ascending over all calls.
    ///
    /// # Errors
    /// The attempt is over.
    pub async fn write_free(&mut self, ranks: &[u64]) -> Result<(), FillError> {
        self.call(chunk(&self.history, &self.seconds, &[], ranks)).await.map(drop)
    }

    async fn call(&mut self, arguments: Vec<String>) -> Result<Vec<usize>, FillError> {
        let (status, refused): (String, Vec<usize>) =
            REBUILD_WRITE.call(&mut self.connection, &self.temporary.all(), &arguments).await?;
        check_status(&REBUILD_WRITE, &status)?;
        crash_point(CrashPoint::AfterChunk);
        Ok(refused.into_iter().filter_map(|place| place.checked_sub(1)).collect())
    }

    /// Puts what was written in place of the campaign's keys, under `epoch`, if it is just as much as `totals` say.
    ///
    /// # Errors
    /// The attempt is over; after [`FillError::Redis`] it may or may not have been swapped in.
    pub async fn swap(mut self, epoch: u64, terms: &NumberedTerms, totals: &Totals) -> Result<(), FillError> {
        crash_point(CrashPoint::BeforeSwap);
        let mut arguments =
            vec![self.history.clone(), totals.winners.to_string(), totals.free.to_string(), epoch.to_string()];
        arguments.extend(terms.arguments());
        arguments.push(totals.highest.to_string());
        arguments.push(totals.latest_ms.to_string());
        let keys: Vec<&str> = self.temporary.all().into_iter().chain(self.live.all()).collect();
        let swapped: String = REBUILD_SWAP.call(&mut self.connection, &keys, &arguments).await?;
        check_status(&REBUILD_SWAP, &swapped)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.finished {
            return;
        }
        // A chunk or a swap that arrives later finds no attempt. If they were left to expire, Redis would free a million winners at once, and stop for that time.
        let (mut connection, keys) = (self.connection.clone(), self.temporary.clone());
        runtime.spawn(async move {
            let removed: Result<(), redis::RedisError> =
                redis::cmd("UNLINK").arg(keys.all().as_slice()).query_async(&mut connection).await;
            if let Err(error) = removed {
                tracing::debug!(%error, "keys of an attempt that was given up are left to expire");
            }
        });
    }
}

fn check_status(script: &Named, status: &str) -> Result<(), FillError> {
    match status {
        "OK" => Ok(()),
        "HISTORY" => Err(FillError::HistoryChanged),
        "GONE" | "COUNTS" => Err(FillError::Lost),
        _ => Err(script.unexpected(status).into()),
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
