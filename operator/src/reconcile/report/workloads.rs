//! Whether the pods that should run do, and do their work. Pure.

use super::Facts;
use crate::api::conditions::Report;
use crate::api::{ConditionType, CouponCampaignStatus, Phase};

/// Consumers are ready, records wait, and none is stored.
pub(in crate::reconcile) const CONSUMERS_STAND_STILL: &str = "ConsumersStandStill";

/// What the condition `WorkloadsReady` says.
pub(super) fn report(facts: &Facts<'_>, next: &CouponCampaignStatus) -> Report {
    use ConditionType::WorkloadsReady;
    if facts.plan.phase == Phase::Pending {
        return Report::unknown(WorkloadsReady, "Pending", "no pods before the campaign is prepared");
    }
    let missing: Vec<String> = [("issuer", &next.issuer), ("consumer", &next.consumer)]
        .into_iter()
        .filter_map(|(name, workload)| workload.as_ref().map(|w| (name, w)))
        .filter(|(_, w)| w.ready < w.wanted)
        .map(|(name, w)| format!("{} of {} {name} pods are ready", w.ready, w.wanted))
        .collect();
    if let Some(cause) = facts.nobody_serves {
        return Report::no(WorkloadsReady, "IssuersNotServing", cause);
    }
    if let Some(cause) = facts.consumers_still {
        return Report::no(WorkloadsReady, CONSUMERS_STAND_STILL, cause);
    }
    if missing.is_empty() {
        return Report::yes(WorkloadsReady, "PodsReady", "the pods that should run are ready");
    }
    Report::no(WorkloadsReady, "PodsNotReady", missing.join("; "))
}
