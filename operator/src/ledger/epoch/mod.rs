//! Opens an epoch. Redis is filled here and nowhere else, for a new campaign as well as after Redis lost its history.
//!
//! The order of the steps is the protocol; each exists because leaving it out loses or doubles a coupon
//! (docs/ARCHITECTURE.md, "When Redis' history changes").

mod bind;
mod ends;
mod error;
mod fence;
mod fence_all;
pub mod fill;
pub mod join;
mod named;
mod newest;
mod opened;
mod queue;
pub mod ranks;
pub(crate) mod read;
mod removal;
mod sources;

use ::redis::aio::MultiplexedConnection;
use coupon_core::failpoints::{CrashPoint, crash_point};
use coupon_core::identity::CampaignId;
use coupon_kafka_admin::AdminError;
use coupon_ledger::database::{self, CampaignRow, DatabaseError, EpochCommit, LedgerNumbers};
use coupon_ledger::redis::{self, RedisKeys, RedisState, Terms};

use crate::class::pools::Systems;

use sources::Sources;

pub(super) use self::ends::described;
pub use self::ends::{ends, partitions};
pub use self::error::EpochError;
pub use self::opened::{Once, Opened, Remembered};
pub(crate) use fence::pod_url;
pub use fence::{ISSUER_GONE_ANNOTATION, Issuers, control_url, fence};
pub(crate) use fence_all::{FencedIssuers, fence_all};
pub use named::{RecordScope, first_named};
pub use queue::{MOST_PASSES, Queue, load};
pub use removal::{Removal, remove_keys};

/// Whether all that a repair reads can be read now. Asked before an epoch is allotted: while, say, offsets cannot be read, none
/// is used up. What is read here decides nothing.
///
/// # Errors
/// What cannot be read.
async fn ready(systems: &Systems, campaign: &CampaignId, row: &CampaignRow) -> Result<(), EpochError> {
    let kafka = async {
        let (_, partitions) = topic(systems, campaign).await?;
        systems.kafka.committed_offsets(&campaign.group(), &campaign.topic(), partitions).await?;
        ends(systems, &campaign.topic(), partitions).await?;
        let dead = campaign.dead_letter_topic();
        ends(systems, &dead, self::partitions(systems, &dead).await?).await?;
        Ok::<_, EpochError>(())
    };
    let redis = async {
        let mut redis = systems.redis().await?;
        redis::observe(&mut redis, &RedisKeys::of(campaign)).await?;
        // A server that answers may take no writes all the same: a replica, a full memory, too few replicas.
        redis::probe::probe(&mut redis, campaign.realm(), redis::probe::Role::Operator).await?;
        Ok::<_, EpochError>(())
    };
    let ledger = async { Ok::<_, EpochError>(database::read_ranks(&systems.sql, row.id, 1, row.total, 1).await?) };
    tokio::try_join!(kafka, redis, ledger)?;
    Ok(())
}

/// Opens a new epoch. `known` is what anybody else remembers; `about_to_allot` is called once all that is to be
/// read was seen to be readable.
///
/// # Errors
/// The epoch was not opened. Unless `about_to_allot` was called, none was allotted.
pub async fn open(
    systems: &Systems,
    issuers: &Issuers,
    campaign: &CampaignId,
    row: &CampaignRow,
    terms: &Terms,
    known: Remembered,
    about_to_allot: impl FnOnce(),
) -> Result<Opened, EpochError> {
    let id = row.id;
    ready(systems, campaign, row).await?;
    about_to_allot();
    // 1. New epoch, fence: from here on no issuer begins to grant below it, and earlier grants are finished. The terms were decided
    // from `row`: if somebody has changed them since, the total could be above SQL's.
    let LedgerNumbers { epoch, terms: number, .. } = begin(systems, campaign, row, known.epoch).await?;
    let terms = &terms.numbered(number);
    crash_point(CrashPoint::AfterAllot);
    fence(issuers, epoch).await?;
    crash_point(CrashPoint::AfterFence);

    // 2. Read the ledger, in this order: offsets first, or a record stored in between would be in neither.
    let mut redis = systems.redis().await?;
    let RedisState { history, open: before, issued, .. } = readable_state(&mut redis, campaign).await?;
    let total = terms.terms.total.max(row.total);
    let sources = commit_barrier(systems, campaign, row, epoch, total, known.once).await?;
    let forgotten = sources.forgotten;

    // 3. If Redis lost nothing, bind it to the new epoch; else write it afresh, under keys of an attempt that nobody used before.
    let bound = match before {
        Some(before) => bind::bind(&sources, &mut redis, &history, &before, issued, terms).await?,
        None => None,
    };
    let opened = match bound {
        Some(opened) => opened,
        None => sources.fill(&mut redis, &history, terms).await?,
    };
    crash_point(CrashPoint::AfterSwap);
    // Somebody who was forgotten after the rows were read may be in Redis under the former id, and nothing would correct that later.
    if database::forgotten_number(&systems.sql, id).await? != forgotten {
        return Err(EpochError::Superseded);
    }

    // 4. Open: issuers take it from SQL.
    match database::open_epoch(&systems.sql, id, epoch).await? {
        EpochCommit::Done => {}
        EpochCommit::Superseded => return Err(EpochError::Superseded),
    }
    Ok(opened)
}

/// Allots the epoch. A barrier that lies above all that SQL and Redis know is believed if the topic has a record that is as new: then the row is
/// that of an older backup.
async fn begin(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
    known: u64,
) -> Result<LedgerNumbers, EpochError> {
    match database::begin_epoch(&systems.sql, row, known).await {
        Ok(begun) => begun.ok_or(EpochError::Superseded),
        Err(DatabaseError::BarrierAhead { campaign: id, epoch, newest: allotted }) => {
            let newest = newest::newest_recorded(systems, campaign, row).await?;
            if newest >= epoch {
                return Err(EpochError::Outdated { newest });
            }
            Err(DatabaseError::BarrierAhead { campaign: id, epoch, newest: allotted }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// What Redis holds, after what nobody can read was removed from it.
async fn readable_state(redis: &mut MultiplexedConnection, campaign: &CampaignId) -> Result<RedisState, EpochError> {
    let keys = RedisKeys::of(campaign);
    let cleared = redis::clear_unreadable(redis, &keys).await?;
    if !cleared.is_empty() {
        tracing::warn!(campaign = %campaign, keys = cleared.join(" "), "keys that nobody can read are removed");
    }
    Ok(redis::observe(redis, &keys).await?)
}

/// Commits where the topic ends now as the barrier of `epoch`. What is read after that is all that counts of older epochs.
async fn commit_barrier<'a>(
    systems: &'a Systems,
    campaign: &'a CampaignId,
    row: &CampaignRow,
    epoch: u64,
    total: u64,
    once: Once,
) -> Result<Sources<'a>, EpochError> {
    let id = row.id;
    let (topic_id, partitions) = topic(systems, campaign).await?;
    let committed = systems.kafka.committed_offsets(&campaign.group(), &campaign.topic(), partitions).await?;
    let ends = ends(systems, &campaign.topic(), partitions).await?;
    match database::commit_barrier(&systems.sql, id, epoch, &topic_id, &ends).await? {
        EpochCommit::Done => {}
        EpochCommit::Superseded => return Err(EpochError::Superseded),
    }
    crash_point(CrashPoint::AfterBarrier);
    let forgotten = database::forgotten_number(&systems.sql, id).await?;
    let unread = read::range(&committed, &ends);
    Ok(Sources { systems, campaign, id, epoch, known: row.epoch, topic_id, unread, total, once, forgotten })
}

async fn topic(systems: &Systems, campaign: &CampaignId) -> Result<(String, i32), EpochError> {
    let name = campaign.topic();
    described(systems, &name).await?.ok_or_else(|| AdminError::UnknownTopic { topic: name }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: all records are read, with each repair, as a grant that people gave up is taken for a winner who is missing; or winners
    /// who are missing are not looked for.
    #[test]
    fn a_grant_that_was_given_up_is_no_winner_who_is_missing() {
        let once = Once { stored: 8, given_up: 0, issued: 10, given: 10 };
        for (winners, kept, misses) in [(10, 0, false), (9, 0, true), (8, 2, false), (7, 3, true), (8, 1, true)] {
            assert_eq!(once.misses(winners, kept), misses, "{winners} and {kept}");
        }
    }
}
