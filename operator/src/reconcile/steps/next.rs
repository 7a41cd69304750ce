//! Step 9: when to look again. Pure.

use std::time::Duration;

use kube::runtime::controller::Action;

use crate::api::Phase;
use crate::issuer_client::serving::Verdict;
use crate::reconcile::applied::Reported;
use crate::reconcile::plan::{Plan, Step};
use crate::reconcile::reconcile_context::BUSY;
use crate::reconcile::restraints::Restraints;

/// While issuers do not serve what is open, and may yet.
const SOON: Duration = Duration::from_secs(1);
/// Right after a ledger step.
const AT_ONCE: Duration = Duration::from_millis(20);
/// A dormant campaign is looked at this often: Redis may have lost it.
const CALM: Duration = Duration::from_secs(60);
/// The same while something is wrong with its class, or dead letters wait for somebody: status repeats that, and should not for long after
/// it is over.
const AILING: Duration = Duration::from_secs(15);

/// When to look again: at once after a step on the ledger, every 2 s around the window, every minute while dormant.
pub(in crate::reconcile) fn next(plan: &Plan, held: &Restraints, reported: &Reported, elapsed_ms: i64) -> Action {
    if reported.keys_removed {
        return Action::requeue(AT_ONCE);
    }
    if let Some(wait) = held.waits_for_class {
        return Action::requeue(wait);
    }
    if let Some(pause) = held.pause {
        return Action::requeue(pause.min(BUSY));
    }
    after_rest(plan, &held.serving, reported.is_ailing, elapsed_ms)
}

/// The same where nothing was held back.
fn after_rest(plan: &Plan, serving: &Verdict, ailing: bool, elapsed_ms: i64) -> Action {
    if !plan.steps.iter().all(Step::can_wait) {
        return Action::requeue(AT_ONCE);
    }
    if serving.is_open_question() {
        return Action::requeue(SOON);
    }
    let calm = match plan.phase {
        Phase::Pending => Duration::from_millis(300),
        Phase::Scheduled | Phase::Completed if plan.goals.are_dormant() && ailing => AILING,
        Phase::Scheduled | Phase::Completed if plan.goals.are_dormant() => CALM,
        _ => BUSY,
    };
    let calm = together(calm, elapsed_ms);
    let until_next = plan
        .next_ms
        .and_then(|at| u64::try_from(at - plan.now_ms).ok())
        .map_or(calm, |ms| Duration::from_millis(ms + 5));
    Action::requeue(calm.min(until_next))
}

/// The pause that ends, by the clock that all campaigns share, at a moment at which others look as well: Kafka is then asked
/// once for all of them.
fn together(pause: Duration, elapsed_ms: i64) -> Duration {
    if pause < BUSY {
        return pause;
    }
    let beat = i64::try_from(BUSY.as_millis()).unwrap_or(i64::MAX);
    let past = u64::try_from(elapsed_ms.rem_euclid(beat)).unwrap_or(0);
    pause - Duration::from_millis(past)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;

    /// Wrong: a campaign that was completed is not looked at again, and a backup that takes its rows away is never noticed.
    #[test]
    fn a_completed_campaign_is_looked_at_every_minute() {
        let look = |scene: Scene, ailing| after_rest(&scene.plan(), &Verdict::Serving, ailing, 0);
        assert_eq!(look(Scene::completed(), false), Action::requeue(CALM));
        assert_eq!(
            look(Scene::completed(), true),
            Action::requeue(AILING),
            "until the class is well again, or letters are gone"
        );
        assert_eq!(look(Scene::completed().stored(90), false), Action::requeue(BUSY), "rows are missing");
    }
}
