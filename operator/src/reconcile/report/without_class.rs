//! The status of a campaign that could not be looked at. Pure.

use jiff::Timestamp;

use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, Phase};
use crate::error::ReconcileError;

/// The status of a campaign that has no usable class: what was known stays.
pub fn status_without_class(
    campaign: &CouponCampaign,
    failure: &ReconcileError,
    now: Timestamp,
) -> CouponCampaignStatus {
    let mut next = campaign.status.clone().unwrap_or_default();
    let generation = campaign.metadata.generation.unwrap_or(0);
    next.phase.get_or_insert(Phase::Pending);
    next.observed_generation = Some(generation);
    let first = match failure.condition() {
        ConditionType::ResourceConflict => Report::yes,
        _ => Report::no,
    };
    let mut reports = vec![
        first(failure.condition(), failure.reason(), failure.to_string()),
        Report::no(ConditionType::Ready, failure.reason(), failure.to_string()),
        // What comes by itself, or with the next object that is applied, is waited for.
        match failure.is_waited_for() {
            true => Report::yes(ConditionType::Reconciling, failure.reason(), failure.to_string()),
            false => Report::yes(ConditionType::Stalled, failure.reason(), failure.to_string()),
        },
    ];
    // The Stalled report says it all when the failure is about no other condition.
    if matches!(failure.condition(), ConditionType::Stalled | ConditionType::Reconciling) {
        reports.remove(0);
    }
    conditions::merge(&mut next.conditions, &reports, generation, now);
    next
}
