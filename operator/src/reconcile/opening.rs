//! Opens an epoch for a campaign: what is remembered of its ledger elsewhere, whose turn it is, and what an attempt leaves behind.

use std::time::Instant;

use campaign::table::CampaignRow;
use kube::ResourceExt;

use super::Pass;
use super::apply::issuers;
use super::observe::Observation;
use super::plan::Plan;
use crate::api::CouponCampaign;
use crate::epoch::{self, EpochError, Once, Opened, Remembered};
use crate::error::ReconcileError;

/// Opens a new epoch, and once more at once where the log knows a newer one than the database.
pub(super) async fn open_epoch(
    pass: &Pass<'_>,
    row: &CampaignRow,
    plan: &Plan,
    seen: &Observation,
) -> Result<Opened, ReconcileError> {
    let known = Remembered { epoch: known_epoch(pass, seen), once: once(pass.campaign, row, seen) };
    let issuers = issuers(pass.context, pass.campaign, pass.uid).await?;
    let memory = &pass.context.memory;
    pods_may_give(pass).await?;
    let highest = seen.ledger.as_ref().map_or(0, |ledger| ledger.highest);
    let _turn = pass.context.repairs.turn(epoch::load(row, highest, plan.terms.total)).await?;
    // Noted before: a pass that is given up half way cannot say it afterwards.
    let allotting = || memory.update(pass.uid, |memory| memory.epochs.allotted());
    let mut opened = epoch::open(pass.systems, &issuers, pass.id, row, &plan.terms, known, allotting).await;
    if let Err(EpochError::Outdated { newest }) = opened {
        // The first attempt has taken a number of terms itself.
        let row = CampaignRow { terms_number: row.terms_number + 1, ..row.clone() };
        opened = epoch::open(
            pass.systems,
            &issuers,
            pass.id,
            &row,
            &plan.terms,
            Remembered { epoch: newest, ..known },
            || {},
        )
        .await;
    }
    if matches!(opened, Err(EpochError::Stock(_))) {
        pass.systems.forget_redis().await;
    }
    let opened = opened?;
    memory.update(pass.uid, |memory| memory.epochs.opened(&opened, Instant::now()));
    Ok(opened)
}

/// Whether the pods' login may run what issuers do: the first request of one that may not would break the epoch, and the next one after it.
/// What the class was last found to lack may be a minute old.
async fn pods_may_give(pass: &Pass<'_>) -> Result<(), EpochError> {
    let Pass { context, systems, .. } = pass;
    // Pods keep the login that they have until a newer one is known to work.
    let given = context.memory.get(pass.uid).given.connections;
    let login = given.as_ref().map_or(&systems.settings.workload.redis, |given| &given.redis);
    let lacking = systems.pods_lack(login, pass.id.realm()).await;
    if systems.measured().is_some_and(|found| found.pods_lack_redis_rights() != lacking.is_some()) {
        context.doubt(systems);
    }
    match lacking {
        Some(said) => Err(EpochError::PodsMayNot { said }),
        None => Ok(()),
    }
}

/// The highest epoch that Redis or status knows.
pub(super) fn known_epoch(pass: &Pass<'_>, seen: &Observation) -> u64 {
    let in_redis = seen.stock.as_ref().ok().and_then(|s| s.open.as_ref()).map_or(0, |open| open.epoch);
    let in_status = pass.campaign.status.as_ref().and_then(|s| s.epoch).and_then(|e| u64::try_from(e).ok());
    in_redis.max(in_status.unwrap_or(0))
}

/// How many winners there were once, and how many of them are given up by annotation.
fn once(campaign: &CouponCampaign, row: &CampaignRow, seen: &Observation) -> Once {
    let given_up = campaign.annotations().get(epoch::ACCEPT_LOST_ANNOTATION);
    let given_up = given_up.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
    let rows = seen.ledger.as_ref().map_or(0, |ledger| ledger.had);
    let in_status = campaign.status.as_ref().and_then(|status| status.issued);
    let issued = in_status.and_then(|issued| u64::try_from(issued).ok()).unwrap_or(0);
    // No more than there are ranks: what somebody wrote above is no winner.
    let issued = issued.max(row.issued_count).min(row.total);
    Once { stored: rows.min(row.total), given_up, issued }
}
