//! Brings a change of terms to database and Redis.

use coupon_ledger::database::{self, CampaignRow, TotalSet};
use coupon_ledger::redis::{self, Configured, RedisKeys, Terms};

use crate::error::ReconcileError;
use crate::reconcile::observe::Observation;
use crate::reconcile::reconcile_context::ReconcileContext;

/// Sets the total in the database. `number`: of the change, once it has one. False: rows above the total appeared meanwhile, or somebody else
/// was faster; the next pass sees it.
pub(super) async fn set_total(
    pass: &ReconcileContext<'_>,
    row: &CampaignRow,
    number: &mut ChangeNumber,
    total: u64,
) -> Result<bool, ReconcileError> {
    let Some(number) = allot(pass, row, number).await? else { return Ok(false) };
    let set = database::set_total(&pass.systems.sql, row.id, number, total).await?;
    Ok(set == TotalSet::Done)
}

/// Sets the terms in Redis. `number` and the answer are as in [`set_total`].
pub(super) async fn configure(
    pass: &ReconcileContext<'_>,
    row: &CampaignRow,
    number: &mut ChangeNumber,
    terms: &Terms,
) -> Result<bool, ReconcileError> {
    let Some(number) = allot(pass, row, number).await? else { return Ok(false) };
    let epoch = row.open_epoch.unwrap_or(row.epoch);
    let (keys, terms) = (RedisKeys::of(pass.id), terms.numbered(number));
    let configured = pass.systems.with_redis(async |redis| redis::configure(redis, &keys, epoch, &terms).await);
    Ok(configured.await? == Configured::Done)
}

/// The number of all that one pass changes in the terms.
pub(super) struct ChangeNumber {
    /// The number that Redis has, which the change must exceed.
    in_redis: u64,
    /// Allotted by the first step that needs it.
    allotted: Option<u64>,
}

impl ChangeNumber {
    /// None is allotted yet.
    pub(super) fn above(seen: &Observation) -> Self {
        let open = seen.redis.as_ref().ok().and_then(|redis| redis.open.as_ref());
        Self { in_redis: open.map_or(0, |open| open.number), allotted: None }
    }
}

/// The number of the change. `None`: somebody else was faster.
async fn allot(
    pass: &ReconcileContext<'_>,
    row: &CampaignRow,
    number: &mut ChangeNumber,
) -> Result<Option<u64>, ReconcileError> {
    if number.allotted.is_none() {
        number.allotted = database::allot_terms(&pass.systems.sql, row, number.in_redis).await?;
    }
    Ok(number.allotted)
}
