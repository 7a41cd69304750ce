//! Closes issuing of a campaign that is being deleted.

use coupon_ledger::database::{self, CampaignRow};
use coupon_ledger::redis::{self, RedisKeys};

use crate::error::ReconcileError;
use crate::ledger::count::QUESTION;
use crate::ledger::epoch::{EpochError, fence};
use crate::reconcile::handover::{Elsewhere, fence_other};
use crate::reconcile::issuer_pods::issuers;
use crate::reconcile::raised::to_remember;
use crate::reconcile::reconcile_context::ReconcileContext;

/// Whether issuing is closed.
pub(super) enum Closed {
    /// Yes, of the ledger with this row.
    Yes(Box<CampaignRow>),
    /// There is no ledger of this object.
    NoLedger,
    /// It is another cluster's.
    Elsewhere(Box<CampaignRow>),
}

/// Closes issuing: in SQL for pods that start, in each pod by its fence, in Redis by removing the meta key.
pub(super) async fn close(pass: &ReconcileContext<'_>) -> Result<Closed, ReconcileError> {
    let sql = &pass.systems.sql;
    pass.systems.migrate().await?;
    let Some(row) = database::within(QUESTION, database::find(sql, pass.id)).await? else {
        // What Redis and Kafka hold of its winners is then all there is: no row may be missed in silence.
        return if pass.is_new_to_ledger() { Ok(Closed::NoLedger) } else { Err(ReconcileError::LedgerMoved) };
    };
    if Elsewhere::of(&row, pass.cluster).is_some() {
        return Ok(Closed::Elsewhere(Box::new(row)));
    }
    // One that was refused for its terms has no part in it.
    if pass.is_new_to_ledger() && row.object_uid.as_deref().is_some_and(|owner| owner != pass.uid) {
        return Ok(Closed::NoLedger);
    }
    let row = owned(pass, row).await?;
    fence_other(pass, &row).await?;
    let keys = RedisKeys::of(pass.id);
    let redis = pass.systems.with_redis(async |redis| redis::observe(redis, &keys).await).await?;
    // Also if nothing is open: a repair that was begun before, and is still under way somewhere, must not open its epoch now.
    let begun = pass.memory.get().closed;
    if !begun || row.open_epoch.is_some() || redis.open.is_some() {
        let known = redis.open.as_ref().map_or(0, |open| open.epoch);
        // Not if the ledger has come to another cluster meanwhile.
        let closing = database::within(QUESTION, database::begin_epoch(sql, &row, known)).await?;
        let epoch = closing.ok_or(EpochError::Superseded)?.epoch;
        fence(&issuers(pass.context, pass.campaign, pass.uid).await?, epoch).await?;
        // Where the keys were removed, what they held is on record.
        if row.keys_removed_ms.is_none() {
            database::within(QUESTION, database::set_issued_count(sql, row.id, to_remember(&row, redis.issued)))
                .await?;
        }
        pass.systems.with_redis(async |redis| redis::close(redis, &keys).await).await?;
        pass.memory.update(|memory| memory.closed = true);
    }
    Ok(Closed::Yes(Box::new(row)))
}

/// The row as one of this cluster: what an older version has left, or another cluster has given up, is claimed first.
async fn owned(pass: &ReconcileContext<'_>, row: CampaignRow) -> Result<CampaignRow, ReconcileError> {
    if row.custody.owner.is_some() {
        return Ok(row);
    }
    let (sql, heir) = (&pass.systems.sql, pass.heir(&row));
    database::within(QUESTION, database::claim(sql, &row, heir, false)).await?;
    let found = database::within(QUESTION, database::find(sql, pass.id)).await?;
    let ours = found.filter(|row| row.custody.owner.as_deref().is_some_and(|owner| pass.cluster.is(owner)));
    Ok(ours.ok_or(EpochError::Superseded)?)
}
