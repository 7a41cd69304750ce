//! Whether the ledger names ranks that Redis has not given: before a raised total gives them to somebody.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRow};

use super::sources::Sources;
use super::{EpochError, described, ends, read};
use crate::class::pools::Systems;

/// Which records of the topic are looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordScope {
    /// Those that no consumer has dealt with: what one has is a row or a dead letter.
    Unread,
    /// All that the topic still has: offsets can be set by hand, and what was passed over so is neither.
    All,
}

/// The first of these ranks that a record, a dead letter or a row names. Offsets are read first and rows last: a record that is stored
/// meanwhile is found in one of them.
///
/// # Errors
/// A system could not be read, so it is not known.
pub async fn first_named(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
    ranks: &RangeInclusive<u64>,
    records: RecordScope,
) -> Result<Option<u64>, EpochError> {
    if let Some((topic_id, partitions)) = described(systems, &campaign.topic()).await? {
        let committed = match records {
            RecordScope::Unread => {
                systems.kafka.committed_offsets(&campaign.group(), &campaign.topic(), partitions).await?
            }
            RecordScope::All => BTreeMap::new(),
        };
        let ends = ends(systems, &campaign.topic(), partitions).await?;
        let unread = read::range(&committed, &ends);
        let sources = Sources { topic_id, unread, ..Sources::of_row(systems, campaign, row) };
        let mut log = sources.log(sources.dead_log().await?).await?;
        while let Some(some) = log.next().await? {
            if let Some(named) = some.iter().find(|event| ranks.contains(&event.rank)) {
                return Ok(Some(named.rank));
            }
        }
    }
    let rows = database::read_ranks(&systems.sql, row.id, *ranks.start(), *ranks.end(), 1).await?;
    Ok(rows.first().copied())
}
