//! Which epochs the topic bears witness to.

use std::collections::BTreeMap;

use coupon_core::event::is_believable;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{Barriers, CampaignRow};

use super::{EpochError, described, ends, read};
use crate::class::pools::Systems;

/// The newest epoch of a record of the topic that the row may have forgotten, whatever makes records void; 0 without any.
///
/// # Errors
/// The topic could not be read.
pub(super) async fn newest_recorded(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
) -> Result<u64, EpochError> {
    let topic = campaign.topic();
    let Some((_, partitions)) = described(systems, &topic).await? else { return Ok(0) };
    let range = read::range(&BTreeMap::new(), &ends(systems, &topic, partitions).await?);
    let mut records = read::tail(&systems.settings.operator.kafka, campaign, range, Barriers::default());
    let mut newest = 0;
    while let Some(some) = records.next().await? {
        let epochs = some.iter().map(|event| event.epoch);
        newest = epochs.filter(|epoch| is_believable(*epoch, row.epoch)).fold(newest, u64::max);
    }
    Ok(newest)
}
