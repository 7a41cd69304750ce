//! What becomes of a campaign while Redis' clock, or every clock, is not believed ([`crate::class::measure::clocks`]). Pure.

use coupon_ledger::redis::Terms;

use crate::api::Phase;
use crate::class::measure::clocks::Time;

/// Whether issuing is to be suspended in Redis, whose clock is not believed and decides what users hear: else a sale opens early,
/// or goes on after its end, which cannot be taken back. A sale that runs is left alone while nobody knows the time.
pub(super) fn holds_back(time: &Time, before: Phase, terms: &Terms) -> bool {
    match (&time.doubt, time.frozen) {
        (None, _) => false,
        (Some(_), true) => matches!(before, Phase::Pending | Phase::Scheduled | Phase::Draining | Phase::Completed),
        (Some(_), false) => !(terms.start_ms..terms.end_ms).contains(&time.now_ms),
    }
}

/// The phase of a campaign while nobody knows the time: what it was, but for what people and winners change. `None` where that
/// says nothing.
pub(super) fn stays(before: Phase, terms: &Terms, issued: Option<u64>) -> Option<Phase> {
    Some(match before {
        Phase::Pending | Phase::Repairing => return None,
        Phase::Draining | Phase::Completed => before,
        _ if terms.suspended => Phase::Suspended,
        Phase::Scheduled => Phase::Scheduled,
        Phase::Open | Phase::SoldOut | Phase::Suspended => match issued {
            Some(issued) if issued >= terms.total => Phase::SoldOut,
            Some(_) => Phase::Open,
            None if before == Phase::SoldOut => before,
            None => Phase::Open,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Plan, Step};
    use super::super::scaling_goals::ScalingGoal;
    use super::super::scene::Scene;
    use super::*;
    use crate::fixtures::{HOUR, START};

    fn opens_an_epoch(plan: &Plan) -> bool {
        plan.steps.iter().any(|step| matches!(step, Step::OpenEpoch { .. }))
    }

    const TWO_HOURS: i64 = 2 * HOUR;

    /// Wrong: Redis' clock alone ends a sale, puts it off or opens it, and its pods go.
    #[test]
    fn one_clock_alone_neither_opens_nor_ends_nor_shrinks_anything() {
        let scheduled = || Scene::prepared().at(START - HOUR);
        let ended = || Scene::completed();
        for (what, scene, off) in [
            ("a sale, and Redis is behind", Scene::open(), -TWO_HOURS),
            ("a sale, and Redis is ahead of its end", Scene::open(), 100 * HOUR),
            ("before the window, and Redis is in it", scheduled(), TWO_HOURS),
            ("long before it, and Redis is behind it", scheduled(), 100 * HOUR),
            ("after the end, and Redis is in the window", ended(), -TWO_HOURS),
        ] {
            let before = scene.plan();
            for database in [Some(0), Some(-TWO_HOURS * 7), None] {
                let plan = scene.clone().clocks_off(off, database).plan();
                assert_eq!(plan.phase, before.phase, "{what}, database {database:?}");
                assert!(plan.time.doubt.is_some(), "{what}");
                if database == Some(0) {
                    assert_eq!(plan.goals, before.goals, "{what}: two clocks agree");
                } else {
                    assert!(
                        matches!(plan.goals.issuer, ScalingGoal::Hold { .. })
                            && matches!(plan.goals.consumer, ScalingGoal::Hold { .. }),
                        "{what}"
                    );
                }
                assert!(!plan.steps.iter().any(|step| matches!(step, Step::RecordOpened(_))), "{what}");
                assert!(!opens_an_epoch(&plan), "{what}");
            }
        }
    }

    /// Wrong: users get coupons before the window, or after it, since Redis' clock says so.
    #[test]
    fn what_a_wrong_clock_would_sell_is_held_back() {
        let held = |scene: Scene, off, database| {
            let plan = scene.clocks_off(off, database).plan();
            plan.steps.iter().any(|step| matches!(step, Step::Configure(terms) if terms.suspended))
        };
        let scheduled = || Scene::prepared().at(START - HOUR);
        assert!(held(scheduled(), TWO_HOURS, Some(0)), "opens early");
        assert!(held(scheduled(), TWO_HOURS, None), "nobody knows whether it opens early");
        assert!(held(Scene::completed(), -TWO_HOURS, Some(0)), "goes on after the end");
        assert!(!held(Scene::open(), -TWO_HOURS, Some(0)), "a sale that runs is not suspended");
        assert!(!held(Scene::open(), -TWO_HOURS, None), "nor when nobody knows");
        for within in [-4_000, 0, 4_000] {
            assert!(!held(scheduled(), within, Some(0)), "{within} ms are nobody's fault");
        }
    }

    /// Wrong: a clock that was right again after some seconds tells users that a sale is over, until its own time comes.
    #[test]
    fn time_that_a_wrong_clock_left_ahead_is_seen_and_corrected() {
        let corrects = |plan: &Plan| plan.steps.contains(&Step::CorrectTime);
        let plan = Scene::open().time_left_ahead(100 * HOUR).plan();
        assert!(corrects(&plan) && plan.phase == Phase::Open, "{plan:?}");
        assert_eq!(plan.goals, Scene::open().plan().goals, "pods stay");
        let doubt = plan.time.doubt.unwrap();
        assert!(doubt.contains("latest coupon") && doubt.contains("100 h ahead"), "{doubt}");
        let within = Scene::open().time_left_ahead(4_000).plan();
        assert!(!corrects(&within) && within.time.doubt.is_none(), "it is over before anybody could see it");
        // A replica with a slow clock was promoted: time is right to stand still, and nobody knows that it is not.
        let slow = Scene::open().clocks_off(-TWO_HOURS, Some(0)).with(|scene| scene.redis().now_ms += TWO_HOURS).plan();
        assert!(!corrects(&slow) && slow.phase == Phase::Open, "{slow:?}");
        let both =
            Scene::open().clocks_off(TWO_HOURS, Some(-TWO_HOURS)).with(|scene| scene.redis().now_ms += HOUR).plan();
        assert!(!corrects(&both), "nobody stands by Redis' clock: {both:?}");
    }

    #[test]
    fn a_wrong_clock_beside_redis_stops_nothing() {
        let scene = Scene::open();
        let plan = scene.clone().clocks_off(0, Some(TWO_HOURS)).plan();
        assert_eq!((plan.phase, plan.goals, plan.time.doubt), (Phase::Open, scene.plan().goals, None));
    }

    #[test]
    fn a_campaign_is_not_opened_for_the_first_time_by_a_clock_that_nobody_believes() {
        assert!(opens_an_epoch(&Scene::with_topics().plan()));
        for database in [Some(0), None] {
            let plan = Scene::with_topics().clocks_off(TWO_HOURS, database).plan();
            assert!(!opens_an_epoch(&plan) && plan.phase == Phase::Pending, "{plan:?}");
        }
        // What has been open is repaired, whatever the clocks say.
        assert!(opens_an_epoch(&Scene::open().redis_history_changed().clocks_off(TWO_HOURS, Some(0)).plan()));
    }

    #[test]
    fn people_can_suspend_whatever_the_clocks_say() {
        let mut scene = Scene::open().clocks_off(-TWO_HOURS, None);
        scene.campaign.spec.suspend = true;
        assert_eq!(scene.plan().phase, Phase::Suspended);
    }
}
