//! What Redis is rid of when a campaign is over, and how much that is.

use redis::aio::MultiplexedConnection;

use super::error::RedisError;
use super::keys::RedisKeys;
use super::script::REMOVE;
use super::state::OpenInRedis;

/// Members of a key that are measured to tell what all of it takes: what is asked for costs Redis no more than that.
const SAMPLES: u32 = 5;

/// The outcome of [`remove`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// No key is left.
    Done,
    /// Nothing was removed: it is another ledger, or another Redis, than the one that was compared.
    Changed,
}

/// Removes every key of the campaign, if it still holds these `winners`: `history` and `before` were captured before they were read.
pub async fn remove(
    connection: &mut MultiplexedConnection,
    keys: &RedisKeys,
    history: &str,
    before: &OpenInRedis,
    winners: u64,
) -> Result<Removed, RedisError> {
    let arguments = [history.to_owned(), before.epoch.to_string(), before.highest.to_string(), winners.to_string()];
    let status: String = REMOVE.call(connection, &keys.all(), &arguments).await?;
    match status.as_str() {
        "OK" => Ok(Removed::Done),
        "HISTORY" | "OTHER" => Ok(Removed::Changed),
        _ => Err(REMOVE.unexpected(status)),
    }
}

/// Bytes of Redis' memory that the campaign's keys take, estimated from some members of each.
pub async fn bytes(connection: &mut MultiplexedConnection, keys: &RedisKeys) -> Result<u64, RedisError> {
    let mut all = redis::pipe();
    for key in keys.all() {
        all.cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(SAMPLES);
    }
    // A key that is not there has none.
    let found: Vec<Option<u64>> = all.query_async(connection).await?;
    Ok(found.into_iter().flatten().sum())
}
