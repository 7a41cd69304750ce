//! Opens an epoch for a campaign: what is remembered of its ledger elsewhere, whose turn it is, and what an attempt leaves behind.

use std::time::Instant;

use campaign::table::{self, CampaignRow};
use kube::ResourceExt;

use super::Pass;
use super::apply::issuers;
pub(crate) use super::met::Met;
use super::observe::Observation;
use super::plan::Plan;
use crate::api::CouponCampaign;
use crate::epoch::{self, EpochError, Once, Opened, Remembered};
use crate::error::ReconcileError;
use crate::log_view::DeadUnread;

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
    if let Some(newer) = known_newer(pass, row, seen).await? {
        return Err(newer.into());
    }
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
    if let Err(EpochError::NewerRecord { topic, at, newer }) = &opened
        && *topic == pass.id.topic()
        && let Some(met) = Met::now(*at, newer, seen)
    {
        memory.update(pass.uid, |memory| memory.newer_met = Some(met));
    }
    let opened = opened?;
    memory.update(pass.uid, |memory| memory.epochs.opened(&opened, Instant::now()));
    Ok(opened)
}

/// The record over which nothing is opened, if it is known before an epoch is allotted: one among the dead letters, which are read in each
/// pass, or the one that the last attempt met, unless people have given it up since.
async fn known_newer(
    pass: &Pass<'_>,
    row: &CampaignRow,
    seen: &Observation,
) -> Result<Option<EpochError>, ReconcileError> {
    if let Some(DeadUnread::Newer { at, newer }) = seen.log.as_ref().ok().and_then(|log| log.dead_unread.clone()) {
        return Ok(Some(EpochError::NewerRecord { topic: pass.id.dead_letter_topic(), at, newer }));
    }
    let met = pass.context.memory.update(pass.uid, |memory| {
        memory.newer_met.take_if(|met| !met.still_stops(seen));
        memory.newer_met.clone()
    });
    let Some(met) = met else { return Ok(None) };
    if table::is_discarded(&pass.systems.sql, row.id, met.at).await? {
        pass.context.memory.update(pass.uid, |memory| memory.newer_met = None);
        return Ok(None);
    }
    Ok(Some(EpochError::NewerRecord { topic: pass.id.topic(), at: met.at, newer: met.newer }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;
    use campaign::format::Newer;
    use campaign::table::Position;

    /// Wrong: while a record of a later version closes a campaign, each try uses up an epoch and fences the issuers; or it stays closed
    /// although the record is gone.
    #[test]
    fn a_record_that_stopped_a_repair_stops_the_next_as_long_as_it_is_in_its_way() {
        let at = Position { partition: 1, offset: 5 };
        let newer = Newer { what: "the record", found: 2, known: 1 };
        let scene = |start: i64, committed: Option<i64>, rows: u64| {
            let scene = Scene::open().lag(30).stored(rows).with(|s| {
                let offsets = s.log().offsets.as_mut().unwrap();
                offsets.starts.insert(1, start);
                offsets.committed.insert(1, committed);
            });
            scene.observation()
        };
        let met = |seen: &Observation| Met::now(at, &newer, seen).unwrap();
        let unread = met(&scene(0, Some(3), 7));
        for (what, seen, stops) in [
            ("it is there", scene(0, Some(3), 7), true),
            ("rows come from before it", scene(0, Some(5), 9), true),
            ("nothing was ever committed", scene(0, None, 7), true),
            ("a consumer has passed it: it is a dead letter", scene(0, Some(6), 7), false),
            ("it is removed", scene(6, Some(3), 7), false),
            ("offsets cannot be read", Scene::open().offsets_unread().observation(), false),
            ("nor can Kafka", Scene::open().kafka_away().observation(), false),
        ] {
            assert_eq!(unread.still_stops(&seen), stops, "{what}");
        }
        // All records were read, as winners are missing.
        let passed = met(&scene(0, Some(6), 7));
        for (what, seen, stops) in [
            ("it is there", scene(0, Some(6), 7), true),
            ("rows came back: it need not be read", scene(0, Some(6), 9), false),
            ("it is removed", scene(6, Some(6), 7), false),
            ("rows cannot be counted", Scene::open().database_away().observation(), false),
        ] {
            assert_eq!(passed.still_stops(&seen), stops, "{what}");
        }
        assert_eq!(Met::now(at, &newer, &Scene::open().offsets_unread().observation()), None);
    }
}
