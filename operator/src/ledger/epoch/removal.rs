//! Removes a campaign's keys from Redis once it is over for long enough. Redis may be the only one that holds a winner, so each member is
//! compared with the rows first; and a repair that is under way somewhere must not find half of it, so an epoch is begun as for a repair,
//! and stays closed.
//!
//! ```text
//! no issuer is there -> compare Redis with the rows -> new epoch, fence -> on record in SQL -> one script: unchanged? UNLINK
//! ```
//!
//! Wherever it stops, Redis holds all or nothing. If it holds all, the ledger is closed, and the next pass opens it as after a repair.

use std::collections::BTreeSet;

use ::redis::aio::MultiplexedConnection;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRow, EpochCommit, LedgerNumbers};
use coupon_ledger::redis::{self, RedisKeys, Removed};
use kube::api::ListParams;

use super::EpochError;
use super::fence::{Issuers, fence};
use super::join::Join;
use super::sources::{Comparison, Forgotten, Sources};
use crate::class::pools::Systems;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// Redis holds nothing of the campaign any more.
    Done {
        /// Winners that it held; all of them are rows, or given up.
        winners: u64,
    },
    /// Not now: pods are still there, or something has changed meanwhile.
    Later,
    /// Redis holds something that the rows do not say: all is left as it is.
    Differs(String),
}

/// Removes the keys, if every winner whom Redis holds is a row. `known`: the highest epoch that anybody knows; `at_ms`: now.
///
/// # Errors
/// A system failed; nothing is lost, and the ledger may be closed.
pub async fn remove_keys(
    systems: &Systems,
    issuers: &Issuers,
    campaign: &CampaignId,
    row: &CampaignRow,
    known: u64,
    at_ms: i64,
) -> Result<Removal, EpochError> {
    // One that could not be fenced would hold up the next opening; now nobody waits.
    let pods = issuers.pods.list(&ListParams::default().labels(&issuers.selector)).await?.items;
    if !pods.is_empty() {
        return Ok(Removal::Later);
    }
    let keys = RedisKeys::of(campaign);
    let mut redis = systems.redis().await?;
    let state = redis::observe(&mut redis, &keys).await?;
    let serves = row.open_epoch.is_some_and(|epoch| state.serves(epoch));
    let Some(before) = state.open.filter(|_| serves) else { return Ok(Removal::Later) };
    let winners = match compare(systems, &mut redis, campaign, row).await? {
        Ok(winners) if winners == state.issued => winners,
        Ok(winners) => return Ok(Removal::Differs(format!("it counts {}, and holds {winners}", state.issued))),
        Err(why) => return Ok(Removal::Differs(why)),
    };
    let Some(LedgerNumbers { epoch, .. }) = database::begin_epoch(&systems.sql, row, known).await? else {
        return Ok(Removal::Later);
    };
    fence(issuers, epoch).await?;
    // First: were Redis empty, and nothing on record, it would be filled again.
    match database::set_keys_removed(&systems.sql, row.id, epoch, winners, at_ms).await? {
        EpochCommit::Done => {}
        EpochCommit::Superseded => return Ok(Removal::Later),
    }
    match redis::remove(&mut redis, &keys, &state.history, &before, winners).await? {
        Removed::Done => Ok(Removal::Done { winners }),
        Removed::Changed => Ok(Removal::Later),
    }
}

/// How many winners Redis holds, if each of them is a row, or given up for good, and each row is there; or what differs.
async fn compare(
    systems: &Systems,
    redis: &mut MultiplexedConnection,
    campaign: &CampaignId,
    row: &CampaignRow,
) -> Result<Result<u64, String>, EpochError> {
    let forgotten = database::forgotten_number(&systems.sql, row.id).await?;
    let sources = Sources { forgotten, ..Sources::of_row(systems, campaign, row) };
    let mut join = Join::new(row.total);
    // Who was forgotten may still be named there: it goes with the rest.
    if let Comparison::Differs { near } = sources.compare(redis, &mut join, Forgotten::MayBeNamed).await? {
        return Ok(Err(format!("a row or a member of Redis up to rank {near} is another there, or not there")));
    }
    let mut without_row: BTreeSet<u64> = join.extra().collect();
    let mut given_up = sources.discarded(0).await?;
    while let Some(last) = given_up.last().map(|event| event.rank) {
        for event in &given_up {
            without_row.remove(&event.rank);
        }
        given_up = sources.discarded(last).await?;
    }
    Ok(match without_row.first() {
        Some(rank) => Err(format!("{} winners are no rows, the first of them at rank {rank}", without_row.len())),
        None => Ok(join.joined().winners),
    })
}
