//! How the last attempt to suspend a campaign ended.

use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaignStatus, Phase};
use crate::ledger::epoch::FencedIssuers;
use jiff::Timestamp;
use std::time::Duration;

/// How the last attempt to suspend a campaign ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspensionOutcome {
    /// Redis gives no ranks any more.
    InRedis,
    /// Redis did not answer; so many issuers are fenced.
    ByFence(FencedIssuers),
    /// Neither Redis nor the issuers could be reached.
    Failed,
}

impl SuspensionOutcome {
    /// Whether no issuer grants, although Redis does not know of it.
    pub fn is_by_fence(&self) -> bool {
        matches!(self, Self::ByFence(fenced) if fenced.is_complete())
    }

    /// Whether nobody gets a coupon any more.
    pub(crate) fn is_in_force(self) -> bool {
        self == Self::InRedis || self.is_by_fence()
    }

    /// The condition `Open` of a campaign that was suspended so.
    pub fn report(self) -> Report {
        let Self::ByFence(fenced) = self else {
            return Report::no(ConditionType::Open, "Suspended", "issuing is suspended by spec.suspend");
        };
        let text = format!(
            "issuing is suspended by spec.suspend: Redis does not answer, so all {} issuers were told to grant nothing; Redis is \
             suspended when it is back",
            fenced.pods
        );
        Report::no(ConditionType::Open, "SuspendedByFence", text)
    }

    /// Writes into a status that issuing is suspended, whatever a reconciliation that began earlier has found.
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

/// How long the next attempt waits after one that reached Redis: a reconciliation finds it suspended meanwhile, and status says so.
pub(crate) const DONE: Duration = Duration::from_secs(5);
