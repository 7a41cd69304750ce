//! Opens an epoch for a campaign: what is remembered of its ledger elsewhere, whose turn it is, and what an attempt leaves behind.

use std::time::{Duration, Instant};

use coupon_core::event::is_believable;
use coupon_ledger::database::{self, CampaignRow};

use super::blocking_record::BlockingRecord;
use super::issuer_pods::issuers;
use super::observe::Observation;
use super::plan::Plan;
use super::{ReconcileContext, lost_winners};
use crate::api::CouponCampaign;
use crate::error::ReconcileError;
use crate::kafka::view::DeadUnread;
use crate::ledger::epoch::{self, EpochError, Once, Opened, Remembered};

/// Opens a new epoch, and once more at once where the log knows a newer one than the database.
pub(super) async fn open_epoch(
    pass: &ReconcileContext<'_>,
    row: &CampaignRow,
    plan: &Plan,
    seen: &Observation,
) -> Result<Opened, ReconcileError> {
    let given_up = lost_winners::given_up(pass.campaign, pass.memory.get().accepted_lost_winners.as_deref());
    let known = Remembered {
        epoch: known_epoch(pass.campaign, seen),
        once: once(pass.campaign, row, plan.terms.total, seen, given_up),
    };
    let issuers = issuers(pass.context, pass.campaign, pass.uid).await?;
    let memory = pass.memory;
    if let Some(newer) = known_newer(pass, row, seen).await? {
        return Err(newer.into());
    }
    pods_may_give(pass).await?;
    let highest = seen.ledger.as_ref().map_or(0, |ledger| ledger.highest);
    let _turn = pass.context.repairs.turn(epoch::load(row, highest, plan.terms.total)).await?;
    // Noted before: a pass that is given up half way cannot say it afterwards.
    let allotting = || memory.update(|memory| memory.epochs.allotted());
    let mut opened = epoch::open(pass.systems, &issuers, pass.id, row, &plan.terms, known, allotting).await;
    if let Err(EpochError::Outdated { newest }) = opened {
        // The first attempt has taken a number of terms itself. Its epoch the row does not have: what the database may have forgotten does not
        // grow with each attempt.
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
    if matches!(opened, Err(EpochError::Redis(_))) {
        pass.systems.forget_redis().await;
    }
    if let Err(EpochError::NewerRecord { topic, at, newer }) = &opened
        && *topic == pass.id.topic()
        && let Some(met) = BlockingRecord::now(*at, newer, seen)
    {
        memory.update(|memory| memory.blocking_record = Some(met));
    }
    let opened = opened?;
    memory.update(|memory| {
        memory.epochs.opened(&opened, Instant::now());
        memory.accepted_lost_winners = lost_winners::text(pass.campaign).map(str::to_owned);
    });
    Ok(opened)
}

/// The record over which nothing is opened, if it is known before an epoch is allotted: one among the dead letters, which are read in each
/// pass, or the one that the last attempt met, unless people have given it up since.
async fn known_newer(
    pass: &ReconcileContext<'_>,
    row: &CampaignRow,
    seen: &Observation,
) -> Result<Option<EpochError>, ReconcileError> {
    if let Some(DeadUnread::Newer { at, newer }) = seen.kafka.as_ref().ok().and_then(|kafka| kafka.dead_unread.clone())
    {
        return Ok(Some(EpochError::NewerRecord { topic: pass.id.dead_letter_topic(), at, newer }));
    }
    let met = pass.memory.update(|memory| {
        memory.blocking_record.take_if(|met| !met.still_stops(seen));
        memory.blocking_record.clone()
    });
    let Some(met) = met else { return Ok(None) };
    if database::is_discarded(&pass.systems.sql, row.id, met.at).await? {
        pass.memory.update(|memory| memory.blocking_record = None);
        return Ok(None);
    }
    Ok(Some(EpochError::NewerRecord { topic: pass.id.topic(), at: met.at, newer: met.newer }))
}

/// Whether the pods' login may run what issuers do: the first request of one that may not would break the epoch, and the next one after it.
/// What the class was last found to lack may be a minute old, and what was tried before the last epoch was opened says nothing of what ended
/// that one.
async fn pods_may_give(pass: &ReconcileContext<'_>) -> Result<(), EpochError> {
    let ReconcileContext { context, systems, .. } = pass;
    // Pods keep the login that they have until a newer one is known to work.
    let memory = pass.memory.get();
    let given = memory.pods.connections;
    let login = given.as_ref().map_or(&systems.settings.workload.redis, |given| &given.redis);
    let since_the_last = memory.epochs.open_for(Instant::now()).unwrap_or(Duration::MAX);
    let lacking = systems.pods_lack(login, pass.id.realm(), since_the_last).await;
    if systems.measured().is_some_and(|found| found.pods_lack_redis_rights() != lacking.is_some()) {
        context.doubt(systems);
    }
    match lacking {
        Some(said) => Err(EpochError::PodsMayNot { said }),
        None => Ok(()),
    }
}

/// The highest epoch that Redis or status knows and the database may have forgotten.
pub(super) fn known_epoch(campaign: &CouponCampaign, seen: &Observation) -> u64 {
    let in_redis = seen.redis.as_ref().ok().and_then(|s| s.open.as_ref()).map(|open| open.epoch);
    let in_status = campaign.status.as_ref().and_then(|s| s.epoch).and_then(|e| u64::try_from(e).ok());
    let row = seen.ledger.as_ref().ok().and_then(|ledger| ledger.row.as_ref());
    let in_database = row.map_or(0, |row| row.epoch);
    // Each by itself: what somebody wrote into the one must not hide what the other remembers.
    let believed = [in_redis, in_status].into_iter().flatten().filter(|epoch| is_believable(*epoch, in_database));
    believed.max().unwrap_or(0)
}

/// How many winners there were once.
fn once(campaign: &CouponCampaign, row: &CampaignRow, total: u64, seen: &Observation, given_up: u64) -> Once {
    let rows = seen.ledger.as_ref().map_or(0, |ledger| ledger.had);
    let in_status = campaign.status.as_ref().and_then(|status| status.issued);
    let issued = in_status.and_then(|issued| u64::try_from(issued).ok()).unwrap_or(0);
    let given = issued.max(row.issued_count);
    // No more than there are ranks: what somebody wrote above is no winner. Ranks above the total of before were told, though: where that is raised
    // they are looked for.
    Once { stored: rows.min(row.total), given_up, issued: given.min(row.total.max(total)), given }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;
    use coupon_core::event::EPOCHS_AHEAD;
    use coupon_core::format::Newer;
    use coupon_core::position::Position;

    /// Wrong: an epoch that somebody wrote into Redis hides what status remembers, and a database that was restored gives an epoch a second time.
    #[test]
    fn each_witness_of_epochs_is_believed_or_not_by_itself() {
        let far = 3 + EPOCHS_AHEAD;
        for (in_redis, in_status, expected) in [
            (None, None, 0),
            (Some(4), Some(6), 6),
            (Some(7), None, 7),
            (Some(far), Some(6), far),
            (Some(far + 1), Some(6), 6),
            (Some(1 << 53), Some(6), 6),
            (Some(4), Some(i64::MAX), 4),
            (Some(1 << 53), Some(i64::MAX), 0),
        ] {
            let scene = Scene::open().with(|s| {
                (s.row().epoch, s.campaign.status.get_or_insert_default().epoch) = (3, in_status);
                match in_redis {
                    Some(epoch) => s.in_redis().epoch = epoch,
                    None => s.redis().open = None,
                }
            });
            assert_eq!(known_epoch(&scene.campaign, &scene.observation()), expected, "{in_redis:?} {in_status:?}");
        }
    }

    /// Wrong: while a record of a later version closes a campaign, each try uses up an epoch and fences the issuers; or it stays closed
    /// although the record is gone.
    #[test]
    fn a_record_that_stopped_a_repair_stops_the_next_as_long_as_it_is_in_its_way() {
        let at = Position { partition: 1, offset: 5 };
        let newer = Newer { what: "the record", found: 2, known: 1 };
        let scene = |start: i64, committed: Option<i64>, rows: u64| {
            let scene = Scene::open().lag(30).stored(rows).with(|s| {
                let offsets = s.kafka().offsets.as_mut().unwrap();
                offsets.starts.insert(1, start);
                offsets.committed.insert(1, committed);
            });
            scene.observation()
        };
        let met = |seen: &Observation| BlockingRecord::now(at, &newer, seen).unwrap();
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
        assert_eq!(BlockingRecord::now(at, &newer, &Scene::open().offsets_unread().observation()), None);
    }
}
