//! Opens an epoch for a campaign: what is remembered of its ledger elsewhere, whose turn it is, and what an attempt leaves behind.

use campaign::table::CampaignRow;
use kube::ResourceExt;

use super::Pass;
use super::apply::issuers;
use super::observe::Observation;
use super::plan::Plan;
use crate::api::CouponCampaign;
use crate::epoch::{self, Once, Opened, Remembered};
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
    memory.update(pass.uid, |memory| memory.allotted = false);
    let highest = seen.ledger.as_ref().map_or(0, |ledger| ledger.highest);
    let _turn = pass.context.repairs.turn(epoch::load(row, highest, plan.terms.total)).await?;
    // Noted before: a pass that is given up half way cannot say it afterwards.
    let allotting = || {
        memory.update(pass.uid, |memory| (memory.allotted, memory.burnt) = (true, memory.burnt.saturating_add(1)));
    };
    let mut opened = epoch::open(pass.systems, &issuers, pass.id, row, &plan.terms, known, allotting).await;
    if let Err(epoch::EpochError::Outdated { newest }) = opened {
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
    if matches!(opened, Err(epoch::EpochError::Stock(_))) {
        pass.systems.forget_redis().await;
    }
    let opened = opened?;
    memory.update(pass.uid, |memory| (memory.allotted, memory.burnt) = (false, 0));
    Ok(opened)
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
