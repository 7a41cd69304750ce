//! Opening an epoch: the one way in which Redis is filled, for a new campaign and after Redis lost its history alike.
//!
//! The order of the steps is the protocol; each exists because leaving it out loses or doubles a coupon
//! (docs/ARCHITECTURE.md, "When Redis' history changes").

mod bind;
mod ends;
mod error;
mod fence;
pub mod fill;
pub mod join;
mod opened;
mod queue;
pub mod ranks;
pub(crate) mod read;
mod removal;
mod sources;
mod stop;

use campaign::identity::CampaignId;
use campaign::log::admin::AdminError;
use campaign::sabotage::{CrashPoint, crash_point};
use campaign::stock::{self, StockKeys, StockState, Terms};
use campaign::table::{self, CampaignRow, EpochCommit, Numbers};

use crate::connections::Systems;

use sources::Sources;

pub(super) use self::ends::described;
pub use self::ends::{ends, partitions};
pub use self::error::EpochError;
pub use self::opened::{Once, Opened, Remembered};
pub use crate::api::annotations::ACCEPT_LOST_ANNOTATION;
pub(crate) use fence::pod_url;
pub use fence::{CONTROL_PORT, ISSUER_GONE_ANNOTATION, Issuers, control_url, fence};
pub use queue::{MOST_PASSES, Queue, load};
pub use removal::{Removal, remove_keys};
pub(crate) use stop::{Told, stop};

/// Whether all that a repair reads can be read now. Asked before an epoch is allotted: while, say, offsets cannot be read, none
/// is used up. What is read here decides nothing.
///
/// # Errors
/// What cannot be read.
async fn ready(systems: &Systems, campaign: &CampaignId, row: &CampaignRow) -> Result<(), EpochError> {
    let log = async {
        let (_, partitions) = topic(systems, campaign).await?;
        systems.kafka.committed_offsets(&campaign.group(), &campaign.topic(), partitions).await?;
        ends(systems, &campaign.topic(), partitions).await?;
        let dead = campaign.dead_letter_topic();
        ends(systems, &dead, self::partitions(systems, &dead).await?).await?;
        Ok::<_, EpochError>(())
    };
    let stock = async {
        let mut redis = systems.redis().await?;
        stock::observe(&mut redis, &StockKeys::of(campaign)).await?;
        // A server that answers may take no writes all the same: a replica, a full memory, too few replicas.
        stock::probe::probe(&mut redis, campaign.realm(), stock::probe::Role::Operator).await?;
        Ok::<_, EpochError>(())
    };
    let ledger = async { Ok::<_, EpochError>(table::read_ranks(&systems.sql, row.id, 1, row.total, 1).await?) };
    tokio::try_join!(log, stock, ledger)?;
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
    // 1. New epoch, fence: from here on nobody may begin to grant below it, and whoever did has finished. The terms were decided
    // from `row`: if somebody has changed them since, the total could be above SQL's.
    let begun = table::begin_epoch(&systems.sql, row, known.epoch).await?;
    let Numbers { epoch, terms: number, .. } = begun.ok_or(EpochError::Superseded)?;
    let terms = &terms.numbered(number);
    crash_point(CrashPoint::AfterAllot);
    fence(issuers, epoch).await?;
    crash_point(CrashPoint::AfterFence);

    // 2. Read the ledger, in this order: offsets first, or a record stored in between would be in neither.
    let mut redis = systems.redis().await?;
    let cleared = stock::clear_unreadable(&mut redis, &StockKeys::of(campaign)).await?;
    if !cleared.is_empty() {
        tracing::warn!(campaign = %campaign, keys = cleared.join(" "), "keys that nobody can read are removed");
    }
    let StockState { history, open: before, issued, .. } = stock::observe(&mut redis, &StockKeys::of(campaign)).await?;
    let (topic_id, partitions) = topic(systems, campaign).await?;
    let committed = systems.kafka.committed_offsets(&campaign.group(), &campaign.topic(), partitions).await?;
    let ends = ends(systems, &campaign.topic(), partitions).await?;
    match table::commit_barrier(&systems.sql, id, epoch, &topic_id, &ends).await? {
        EpochCommit::Done => {}
        EpochCommit::Superseded => return Err(EpochError::Superseded),
    }
    crash_point(CrashPoint::AfterBarrier);
    let forgotten = table::forgotten_number(&systems.sql, id).await?;
    let sources = Sources {
        systems,
        campaign,
        id,
        epoch,
        topic_id,
        unread: read::range(&committed, &ends),
        total: terms.terms.total.max(row.total),
        once: known.once,
        forgotten,
    };

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
    // Whoever was forgotten after the rows were read may stand in Redis under the former id, and nobody would look for it any more.
    if table::forgotten_number(&systems.sql, id).await? != forgotten {
        return Err(EpochError::Superseded);
    }

    // 5. Open: issuers take it from SQL.
    match table::open_epoch(&systems.sql, id, epoch).await? {
        EpochCommit::Done => {}
        EpochCommit::Superseded => return Err(EpochError::Superseded),
    }
    Ok(opened)
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
        let once = Once { stored: 8, given_up: 0, issued: 10 };
        for (winners, kept, misses) in [(10, 0, false), (9, 0, true), (8, 2, false), (7, 3, true), (8, 1, true)] {
            assert_eq!(once.misses(winners, kept), misses, "{winners} and {kept}");
        }
    }
}
