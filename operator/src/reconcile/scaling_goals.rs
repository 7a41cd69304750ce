//! What the numbers of pods aim at, at each time of a campaign's life. Pure. The numbers themselves are found by
//! [`super::scaling`].

use coupon_ledger::redis::Terms;

use crate::api::{CampaignClass, CouponCampaign, Phase};

use super::plan::RemainingWork;

/// After the window opened, pods stay as planned for the rush for this long, in milliseconds.
const RUSH_MS: i64 = 60_000;
/// Pods are ready at least this long before the window opens, in seconds, as far as their start was measured.
const READY_AHEAD_S: i64 = 5;

/// What the number of pods of one kind aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalingGoal {
    /// As many as there are.
    Hold {
        /// Why, for status and events.
        reason: &'static str,
    },
    /// A fixed number.
    Exactly {
        /// Pods.
        replicas: i32,
        /// Why, for status and events.
        reason: &'static str,
    },
    /// As many as the work needs.
    Follow {
        /// What they do not go below.
        floor: Floor,
        /// Why they are not fewer, for status and events.
        reason: &'static str,
    },
}

/// What pods that follow the work do not go below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// The spec's minimum, and one.
    Least,
    /// What the rush at the beginning of the window needs.
    Rush,
}

/// The aims of both kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalingGoals {
    /// Pods that answer users.
    pub issuer: ScalingGoal,
    /// Pods that store winners.
    pub consumer: ScalingGoal,
}

impl ScalingGoals {
    /// Both stay as they are.
    pub fn held(reason: &'static str) -> Self {
        Self { issuer: ScalingGoal::Hold { reason }, consumer: ScalingGoal::Hold { reason } }
    }

    /// While a ledger is brought back its first issuers are not made (`issuers`: those that should be there): the fence of its epoch would
    /// wait until they answer, and with it everybody who wants a coupon. Pods that come after the fence take the new epoch by themselves.
    pub(super) fn after_the_fence(self, phase: Phase, issuers: i32) -> Self {
        let reason = "the first issuers start once the ledger is open";
        match self.issuer {
            ScalingGoal::Follow { .. } if phase == Phase::Repairing && issuers == 0 => {
                Self { issuer: ScalingGoal::Hold { reason }, ..self }
            }
            _ => self,
        }
    }

    /// Whether no pod is wanted.
    pub fn are_dormant(&self) -> bool {
        [self.issuer, self.consumer].iter().all(|aim| matches!(aim, ScalingGoal::Exactly { replicas: 0, .. }))
    }
}

/// When pods are started for the window, milliseconds since 1970: by the class's warm-up, or earlier where pods were seen to
/// need longer.
pub(super) fn lead_ms(campaign: &CouponCampaign, class: &CampaignClass, terms: &Terms) -> i64 {
    let status = campaign.status.as_ref();
    let starts = [status.and_then(|s| s.issuer.as_ref()), status.and_then(|s| s.consumer.as_ref())];
    let measured = starts.into_iter().flatten().filter_map(|pods| pods.figures.as_ref()?.start_up_seconds).max();
    let warm_up = i64::from(class.spec.warm_up_seconds);
    terms.start_ms - warm_up.max(measured.map_or(0, |seconds| seconds + READY_AHEAD_S)) * 1000
}

/// What the numbers of pods aim at.
pub(super) fn goals(
    campaign: &CouponCampaign,
    phase: Phase,
    terms: &Terms,
    now_ms: i64,
    lead_ms: i64,
    work: &RemainingWork,
) -> ScalingGoals {
    let least = i32::from(campaign.spec.consumer.min_replicas);
    let dormant = |reason| ScalingGoals {
        issuer: ScalingGoal::Exactly { replicas: 0, reason },
        consumer: ScalingGoal::Exactly { replicas: 0, reason },
    };
    match phase {
        Phase::Pending => {
            let reason = "the campaign is not prepared yet";
            return ScalingGoals { issuer: ScalingGoal::Hold { reason }, consumer: ScalingGoal::Hold { reason } };
        }
        Phase::Completed => return dormant("every winner is stored"),
        _ if now_ms < lead_ms => {
            let dormant = dormant("the window is not near");
            // A ledger that was continued, or a database that came back from a backup: rows do not wait for the window.
            let reason = "winners wait to be stored";
            let storing = ScalingGoal::Follow { floor: Floor::Least, reason };
            return match work {
                RemainingWork::Lag(_) | RemainingWork::Gap(_) => ScalingGoals { consumer: storing, ..dormant },
                RemainingWork::None | RemainingWork::Unknown => dormant,
            };
        }
        _ => {}
    }
    let ended = now_ms >= terms.end_ms;
    let (floor, in_window) = match now_ms {
        _ if now_ms < terms.start_ms => (Floor::Rush, "the window opens soon"),
        _ if now_ms < terms.start_ms + RUSH_MS => (Floor::Rush, "as planned for the first minute of the window"),
        _ => (Floor::Least, "the window is open"),
    };
    let consumer = match work {
        RemainingWork::None if ended => ScalingGoal::Exactly { replicas: 0, reason: "every winner is stored" },
        RemainingWork::None if phase == Phase::SoldOut => {
            ScalingGoal::Exactly { replicas: least, reason: "sold out, and every winner is stored" }
        }
        // A campaign whose Redis was lost long after its end needs no pods for that.
        RemainingWork::Unknown if ended => ScalingGoal::Hold { reason: "what is left to store cannot be read" },
        RemainingWork::Gap(_) => {
            ScalingGoal::Follow { floor: Floor::Least, reason: "winners wait to be published again" }
        }
        _ if ended => ScalingGoal::Follow { floor: Floor::Least, reason: "records wait to be stored" },
        _ => ScalingGoal::Follow { floor, reason: in_window },
    };
    let issuer = match phase {
        Phase::Repairing if ended => ScalingGoal::Hold { reason: "Redis is being brought back" },
        Phase::Draining => {
            ScalingGoal::Follow { floor: Floor::Least, reason: "winners may still ask until all are stored" }
        }
        _ => ScalingGoal::Follow { floor, reason: in_window },
    };
    ScalingGoals { issuer, consumer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;

    /// Wrong: a ledger that is continued in its open window is closed until pods that were made a moment before are deleted and gone.
    #[test]
    fn first_issuers_start_after_the_fence_and_others_stay() {
        let anew = Scene::open().issued(5).stored(5).redis_emptied().with(|s| {
            (s.row().epoch, s.row().open_epoch, s.row().object_uid) = (7, None, Some("another".to_owned()));
            s.campaign.status = None;
        });
        let plan = anew.plan();
        assert_eq!(plan.phase, Phase::Repairing, "{:?}", plan.steps);
        let ScalingGoals { issuer, consumer } = plan.goals.after_the_fence(plan.phase, 0);
        assert!(matches!(issuer, ScalingGoal::Hold { .. }), "{issuer:?}");
        assert!(matches!(consumer, ScalingGoal::Follow { .. }), "what is left is stored meanwhile: {consumer:?}");
        assert_eq!(plan.goals.after_the_fence(plan.phase, 2), plan.goals, "they are there, and are fenced");
        let open = Scene::open().plan();
        assert_eq!(open.goals.after_the_fence(open.phase, 0), open.goals);
    }
}
