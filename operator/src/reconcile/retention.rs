//! When Redis need not hold a campaign any more that is over: `retainForHours`. Pure. What is removed comes back from the database as
//! soon as this says so: where the window is longer, the time as well, or left out, or where rows are missing.

use kube::Resource;

use super::observe::{LedgerView, Observation};
use super::plan::{Plan, RemainingWork, Step};
use crate::api::{ConditionType, CouponCampaign, Phase};
use crate::class::measure::clocks::Time;
use crate::kafka::view::KafkaView;

const HOUR_MS: i64 = 3_600_000;
/// What was removed is not brought back for clocks that differ by less, in milliseconds.
const SLACK_MS: i64 = 60_000;

/// From when on Redis need not hold it; `None`: it always does.
fn until_ms(campaign: &CouponCampaign, end_ms: i64) -> Option<i64> {
    campaign.spec.retain_for_hours.map(|hours| end_ms.saturating_add(i64::from(hours) * HOUR_MS))
}

/// Whether keys that were removed are still not needed. `end_ms`: of the window that is asked for.
pub(super) fn stays_removed(campaign: &CouponCampaign, end_ms: i64, time: &Time, work: &RemainingWork) -> bool {
    let Some(until_ms) = until_ms(campaign, end_ms) else { return false };
    let is_believed = time.doubt.is_none() && !time.frozen;
    // Winners who are no rows any more are looked for in the topic, as after every loss.
    !matches!(work, RemainingWork::Gap(_)) && (!is_believed || time.now_ms.saturating_add(SLACK_MS) >= until_ms)
}

/// Whether it is time to remove the keys. `before`: the phase that status had.
pub(super) fn may_remove_keys(campaign: &CouponCampaign, before: Phase, plan: &Plan, seen: &Observation) -> bool {
    let Some(terms) = plan.in_force else { return false };
    let is_time = until_ms(campaign, terms.end_ms).is_some_and(|until_ms| plan.now_ms >= until_ms);
    // Completed is said once every row was counted; and this pass found nothing else.
    let is_completed = (before, plan.phase) == (Phase::Completed, Phase::Completed) && plan.goals.are_dormant();
    let is_at_rest = !plan.hands_off && plan.steps.iter().all(Step::can_wait);
    let is_refused = plan.refusals.iter().any(|refusal| refusal.condition == ConditionType::Stalled);
    let is_believed = plan.time.doubt.is_none() && !plan.time.frozen && !plan.time.left_ahead;
    let is_leaving = campaign.meta().deletion_timestamp.is_some();
    let found = || match (&seen.ledger, &seen.kafka, seen.issued()) {
        (Ok(ledger), Ok(kafka), Some(issued)) => all_are_rows(ledger, kafka, issued),
        _ => false,
    };
    is_time && is_completed && is_at_rest && !is_refused && is_believed && !is_leaving && found()
}

/// Whether every winner is a row, or given up by people, and nothing is under way. What is not known is no yes.
fn all_are_rows(ledger: &LedgerView, kafka: &KafkaView, issued: u64) -> bool {
    let is_read = kafka.unread.is_none() && kafka.lag == Some(0);
    let no_letter_waits = kafka.stranded == Some(0);
    let is_whole = kafka.dead_ranks.is_some_and(|dead| ledger.stored + dead == issued) && ledger.had <= ledger.stored;
    is_read && no_letter_waits && is_whole && !ledger.unpublished
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{END, HOUR, MINUTE};
    use crate::reconcile::scene::Scene;

    /// Over for as long as it is to be kept.
    fn over() -> Scene {
        Scene::completed().retained_for(24).at(END + 24 * HOUR)
    }

    fn removes(scene: &Scene) -> bool {
        scene.plan().steps.contains(&Step::RemoveKeys)
    }

    /// Wrong: Redis, which may be the only one that holds a winner, is emptied before all of them are rows; or it is never emptied.
    #[test]
    fn keys_go_when_the_time_is_over_and_every_winner_is_a_row() {
        for (what, scene, expected) in [
            ("over", over(), true),
            ("a moment before", over().at(END + 24 * HOUR - 1), false),
            ("kept for ever", over().with(|s| s.campaign.spec.retain_for_hours = None), false),
            ("nobody came", over().issued(0).stored(0), true),
            ("one winner is no row", over().stored(99), false),
            ("one is a dead letter", over().stored(99).dead_letters(1), false),
            ("which is given up", over().stored(99).dead_letters(1).given_up(1), true),
            ("dead letters cannot be read", over().with(|s| s.kafka().dead_ranks = None), false),
            ("nor what people make of them", over().with(|s| s.kafka().stranded = None), false),
            ("there were more rows once", over().had(101), false),
            ("records wait", over().lag(1), false),
            ("offsets cannot be read", over().offsets_unread(), false),
            ("records are to be written", over().with(|s| s.ledger.as_mut().unwrap().unpublished = true), false),
            ("not seen completed before", over().was(Phase::Draining), false),
            ("the end is moved", over().ending(END + HOUR), false),
            ("something is refused", over().starting(END - MINUTE), false),
            ("Kafka is away", over().kafka_away(), false),
            ("the database is away", over().database_away(), false),
            ("Redis is away", over().redis_away(), false),
            ("Redis is empty", over().redis_emptied(), false),
            ("Redis is another one", over().redis_history_changed(), false),
            ("only Redis' clock says so", over().at(END + HOUR).clocks_off(24 * HOUR, None), false),
        ] {
            assert_eq!(removes(&scene), expected, "{what}: {:?}", scene.plan());
        }
        assert!(
            Step::RemoveKeys.can_wait(),
            "a look that finds that it cannot be done yet is no reason to look again at once"
        );
    }

    /// Wrong: what was removed is filled again with the next pass; or it is not filled when it is needed.
    #[test]
    fn what_was_removed_stays_so_until_it_is_needed() {
        let removed = || over().keys_removed();
        for (what, scene, opens) in [
            ("as it was left", removed(), false),
            ("long after", removed().at(END + 9_000 * HOUR), false),
            ("a clock that goes back a little", removed().at(END + 24 * HOUR - MINUTE), false),
            ("a clock that nobody believes", removed().clocks_off(-48 * HOUR, None), false),
            ("records are there once more", removed().lag(3), false),
            ("the window is longer", removed().ending(END + 48 * HOUR), true),
            ("it is kept for longer", removed().retained_for(48), true),
            ("it is kept for ever", removed().with(|s| s.campaign.spec.retain_for_hours = None), true),
            ("rows vanished", removed().stored(99).had(100), true),
            ("a later epoch has begun", removed().with(|s| (s.row().epoch, s.row().keys_removed_ms) = (3, None)), true),
            ("a backup of Redis was put back", removed().with(|s| s.redis = over().redis), true),
        ] {
            let plan = scene.plan();
            let found = plan.steps.iter().any(|step| matches!(step, Step::OpenEpoch { .. }));
            assert_eq!(found, opens, "{what}: {plan:?}");
            assert_eq!(plan.phase, if opens { Phase::Repairing } else { Phase::Completed }, "{what}");
            assert_eq!(plan.keys_removed, !opens, "{what}");
            assert!(!removes(&scene), "{what}");
        }
        for away in [removed().redis_away(), removed().kafka_away()] {
            assert_eq!((away.plan().phase, away.plan().steps), (Phase::Completed, vec![]));
        }
        // The database says what Redis cannot.
        let known = removed().database_away().with(|s| {
            s.campaign.status.get_or_insert_default().redis_keys_removed = Some(s.campaign.spec.window.end.clone());
        });
        assert_eq!((known.plan().phase, known.observation().issued()), (Phase::Completed, None));
        assert_eq!(removed().observation().issued(), Some(100));
    }
}
