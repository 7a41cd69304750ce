//! What follows from where a campaign stands: its phase, how many pods there should be, and when that changes next. Pure.

use coupon_ledger::redis::Terms;

use super::inputs::PlanInputs;
use super::phase::{Readiness, settled};
use crate::api::{CampaignClass, CouponCampaign, Phase};
use crate::reconcile::scaling_goals::{self, ScalingGoals};

/// What follows from where a campaign stands.
pub(super) struct Outlook {
    /// The phase to say and to act upon.
    pub phase: Phase,
    /// It seems to be over, and only a count of all rows can tell.
    pub wants_count: bool,
    /// What the numbers of pods aim at.
    pub goals: ScalingGoals,
    /// When phase or pods change next by themselves, milliseconds since 1970.
    pub next_ms: Option<i64>,
}

impl Outlook {
    /// `standing`: the terms that users meet. `next`: those that this pass brings into force, if it does.
    pub(super) fn of(
        campaign: &CouponCampaign,
        class: &CampaignClass,
        inputs: &PlanInputs<'_>,
        readiness: &Readiness,
        standing: &Terms,
        next: Option<&Terms>,
    ) -> Self {
        let (phase, wants_count) = settled(inputs, readiness.phase(inputs, standing));
        let goals = match next {
            Some(next) => goals(campaign, class, inputs, readiness.phase(inputs, next), next),
            None => goals(campaign, class, inputs, phase, standing),
        };
        let lead_ms = scaling_goals::lead_ms(campaign, class, standing);
        let changes = [lead_ms, standing.start_ms, standing.end_ms];
        let next_ms = changes.into_iter().filter(|at| *at > inputs.time.now_ms).min();
        Self { phase, wants_count, goals, next_ms }
    }
}

/// What the numbers of pods aim at. While nobody knows the time they stay as they are.
fn goals(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    inputs: &PlanInputs<'_>,
    phase: Phase,
    terms: &Terms,
) -> ScalingGoals {
    let time = &inputs.time;
    match (time.frozen, &time.doubt) {
        (true, Some(_)) => ScalingGoals::held("the clocks do not agree"),
        (true, None) => ScalingGoals::held("neither Redis nor the database says what time it is"),
        (false, _) => {
            let lead_ms = scaling_goals::lead_ms(campaign, class, terms);
            scaling_goals::goals(campaign, phase, terms, time.now_ms, lead_ms, &inputs.work)
        }
    }
}
