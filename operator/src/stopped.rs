//! What became of the last try to stop a campaign.

use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaignStatus, Phase};
use crate::epoch::Told;
use jiff::Timestamp;
use std::time::Duration;

/// What became of the last try to stop a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Redis gives no ranks.
    InRedis,
    /// Redis did not answer; so many issuers are fenced.
    ByFence(Told),
    /// Neither could be reached.
    Failed,
}

impl Stop {
    /// Whether no issuer grants, though Redis could not be told.
    pub fn is_by_fence(&self) -> bool {
        matches!(self, Self::ByFence(told) if told.all())
    }

    /// Whether nobody is given a coupon any more.
    pub(crate) fn is_in_force(self) -> bool {
        self == Self::InRedis || self.is_by_fence()
    }

    /// What `Open` says of a campaign that was stopped so.
    pub fn report(self) -> Report {
        let Self::ByFence(told) = self else {
            return Report::no(ConditionType::Open, "Suspended", "issuing is suspended by spec.suspend");
        };
        let text = format!(
            "issuing is suspended by spec.suspend: Redis does not answer, so all {} issuers were told to grant nothing; Redis is \
             suspended when it is back",
            told.pods
        );
        Report::no(ConditionType::Open, "SuspendedByFence", text)
    }

    /// Puts into a status that issuing has stopped, whatever a pass that began before that has found.
    pub(crate) fn show(self, status: &mut CouponCampaignStatus, generation: i64, now: Timestamp) {
        if let Some(terms) = status.terms.as_mut().filter(|_| self == Self::InRedis) {
            terms.suspended = true;
        }
        if matches!(status.phase, Some(Phase::Open | Phase::SoldOut)) {
            status.phase = Some(Phase::Suspended);
            conditions::set(&mut status.conditions, &self.report(), generation, now);
        }
    }
}

/// After one that reached Redis the next waits for this long: meanwhile a pass sees it, and status says so.
pub const DONE: Duration = Duration::from_secs(5);
