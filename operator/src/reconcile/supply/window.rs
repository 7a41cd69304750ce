//! The window that counts for whether users miss coupons. Pure.

use coupon_ledger::redis::Terms;

use crate::api::CouponCampaign;
use crate::reconcile::owner::TERMS_DIFFER;
use crate::reconcile::plan::{Plan, terms};

/// A window, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowMs {
    /// From then on.
    pub start_ms: i64,
    /// Until then, excluded.
    pub end_ms: i64,
}

impl WindowMs {
    fn of(terms: &Terms) -> Self {
        Self { start_ms: terms.start_ms, end_ms: terms.end_ms }
    }

    /// The window that is decided, from spec and row: what somebody writes into Redis by hand is no other window.
    pub(crate) fn of_pass(plan: &Plan, campaign: &CouponCampaign) -> Self {
        // An old ledger has a window of its own, in which nothing will be sold.
        if plan.refusals.iter().any(|each| each.reason == TERMS_DIFFER) {
            return Self::of(&terms::asked(campaign));
        }
        match plan.has_opened {
            Some(_) => Self::of(&plan.terms),
            None => Self::of_blind_pass(campaign),
        }
    }

    /// The same in a pass that could not read the row, which may hold a window that was opened before another was asked for. Status shows
    /// terms as Redis has them; one that agrees with what was counted for is believed.
    pub(crate) fn of_blind_pass(campaign: &CouponCampaign) -> Self {
        let (asked, status) = (terms::asked(campaign), campaign.status.as_ref());
        let counted_ms = status.and_then(|status| status.unserved_window_start).map(|start| start.as_millisecond());
        let is_another = |known: &Terms| known.start_ms != asked.start_ms && counted_ms != Some(asked.start_ms);
        Self::of(&terms::last_known(status).filter(is_another).unwrap_or(asked))
    }

    /// Whether it is open.
    pub(crate) fn contains(&self, now_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&now_ms)
    }

    /// How much of the time from `from_ms` to `to_ms` it is open.
    pub(crate) fn overlap(&self, from_ms: i64, to_ms: i64) -> i64 {
        (to_ms.min(self.end_ms) - from_ms.max(self.start_ms)).max(0)
    }
}
