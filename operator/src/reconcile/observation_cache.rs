//! What is known from earlier passes, so that it need not be read again.

use coupon_core::identity::CampaignId;
use coupon_ledger::database::CampaignRow;

use crate::api::CouponCampaign;
use crate::kafka::view::drained::Drained;
use crate::ledger::count::LedgerCount;
use crate::ledger::dead_letters::{DeadBarriers, DeadRanks};

/// What is known from earlier passes, so that it need not be read again.
#[derive(Debug, Clone, Default)]
pub struct ObservationCache {
    /// How many rows there are.
    pub rows: LedgerCount,
    /// Up to where the log was found stored once.
    pub drained: Drained,
    /// Ranks of dead letters.
    pub dead: DeadRanks,
    /// What they are judged by.
    pub dead_barriers: DeadBarriers,
    /// Coupons that there may be beside what the campaign's row says, which may be that of a backup.
    pub totals: KnownTotals,
    /// What status said of rows, before this process wrote any, is in `rows`.
    pub has_read_status: bool,
}

/// How many coupons there may be, by others than the campaign's row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KnownTotals {
    /// As many are asked for.
    pub asked: u64,
    /// Redis had this total when it was last read.
    pub in_redis: u64,
}

impl KnownTotals {
    /// The highest of them, and of what the row says.
    pub(super) fn highest(self, row: &CampaignRow) -> u64 {
        self.asked.max(self.in_redis).max(row.total)
    }
}

/// How many rows this ledger had at most, as far as status remembers.
pub(super) fn rows_in_status(campaign: &CouponCampaign, id: &CampaignId) -> u64 {
    let status = campaign.status.as_ref().filter(|status| status.coupon_id.as_deref() == Some(id.coupon_id()));
    let rows = status.and_then(|status| status.once_persisted.max(status.persisted));
    rows.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0)
}
