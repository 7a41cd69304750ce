//! Binds a Redis that lost nothing to the new epoch, instead of filling it.

use coupon_core::failpoints::{CrashPoint, crash_point};
use coupon_ledger::database;
use coupon_ledger::redis::rebuild::{Rebound, rebind};
use coupon_ledger::redis::{NumberedTerms, OpenInRedis};
use redis::aio::MultiplexedConnection;

use super::join::{Join, Joined, MAX_EXTRA};
use super::sources::{Comparison, Forgotten, Sources};
use super::{EpochError, Opened, read};

/// `None`: Redis does not hold exactly this ledger, or too much of it is unread to tell. `issued`: winners that Redis counts.
pub(super) async fn bind(
    sources: &Sources<'_>,
    redis: &mut MultiplexedConnection,
    history: &str,
    before: &OpenInRedis,
    issued: u64,
    terms: &NumberedTerms,
) -> Result<Option<Opened>, EpochError> {
    if read::size(&sources.unread) > MAX_EXTRA {
        return Ok(None);
    }
    // Spares the comparison where it cannot succeed.
    let (stored, _) = database::count_stored(&sources.systems.sql, sources.id, 0).await?;
    if stored > issued || issued - stored > MAX_EXTRA {
        return Ok(None);
    }
    let Some(Joined { winners, redis_only }) = joined(sources, redis).await? else { return Ok(None) };
    // Redis may have been filled from a database that had lost rows.
    if winners < sources.once.must_be() {
        return Ok(None);
    }
    crash_point(CrashPoint::AfterRead);
    match rebind(redis, sources.campaign, history, before, sources.epoch, terms, winners).await? {
        Rebound::Done => {}
        Rebound::Other => return Ok(None),
        Rebound::HistoryChanged => return Err(EpochError::RedisChanged),
    }
    let free = before.highest.saturating_sub(winners);
    Ok(Some(Opened {
        epoch: sources.epoch,
        winners,
        free,
        redis_only,
        rebound: true,
        given_before: sources.once.given,
    }))
}

/// Reads rows and Redis side by side, then the log.
async fn joined(sources: &Sources<'_>, redis: &mut MultiplexedConnection) -> Result<Option<Joined>, EpochError> {
    let mut join = Join::new(sources.total);
    if sources.compare(redis, &mut join, Forgotten::MayNotBeNamed).await? != Comparison::Same {
        return Ok(None);
    }
    let dead = sources.dead_log().await?;
    if read::size(&dead.range) > MAX_EXTRA {
        return Ok(None);
    }
    let mut log = sources.log(dead).await?;
    let mut same = true;
    // Read to its end all the same: it tells the newest epoch.
    while let Some(some) = log.next().await? {
        same &= some.iter().all(|record| join.record(record));
    }
    // A rank that was given up must not be handed out again: where Redis has it free, it is filled.
    let mut given_up = sources.discarded(0).await?;
    while let Some(last) = given_up.last().map(|event| event.rank) {
        same &= given_up.iter().all(|event| event.rank > sources.total || join.holds(event.rank));
        given_up = sources.discarded(last).await?;
    }
    Ok(same.then(|| join.joined()))
}
