//! Whether the pods that should run do, and do their work. Pure.

use k8s_openapi::api::apps::v1::Deployment;

use super::Facts;
use super::open::{ISSUERS_SILENT, LEADS_NOWHERE, leads_nowhere, silence};
use crate::api::conditions::Report;
use crate::api::{ConditionType, CouponCampaignStatus, Phase};
use crate::class::measure::pods::REFUSED;
use crate::diagnosis::NotReadyCause;
use crate::issuer_client::serving::Service;
use crate::reconcile::strays::STRAYS;
use crate::workloads::Component;

/// Consumers are ready, records wait, and none is stored.
pub(in crate::reconcile) const CONSUMERS_STAND_STILL: &str = "ConsumersStandStill";

/// What the condition `WorkloadsReady` says.
pub(super) fn report(facts: &Facts<'_>, next: &CouponCampaignStatus) -> Report {
    use ConditionType::WorkloadsReady;
    if facts.plan.phase == Phase::Pending {
        return Report::unknown(WorkloadsReady, "Pending", "no pods before the campaign is prepared");
    }
    if let Some(cause) = facts.nobody_serves {
        return Report::no(WorkloadsReady, "IssuersNotServing", cause);
    }
    if let Some(cause) = facts.consumers_still {
        return Report::no(WorkloadsReady, CONSUMERS_STAND_STILL, cause);
    }
    let reaches_nobody = next.issuer.as_ref().is_none_or(|issuer| issuer.ready == 0);
    let kinds = [
        Kind {
            component: Component::Issuer,
            count: next.issuer.as_ref().map(|issuer| (issuer.ready, issuer.wanted)),
            deployment: facts.issuer,
            cause: facts.ailing.issuer.as_ref(),
            // Users who reach nobody are not told that somebody starts.
            is_starting: facts.starting.issuer && !(facts.plan.phase == Phase::Open && reaches_nobody),
        },
        Kind {
            component: Component::Consumer,
            count: next.consumer.as_ref().map(|consumer| (consumer.ready, consumer.wanted)),
            deployment: facts.consumer,
            cause: facts.ailing.consumer.as_ref(),
            is_starting: facts.starting.consumer,
        },
    ];
    let (starting, broken): (Vec<_>, Vec<_>) = kinds.iter().partition(|kind| kind.starts());
    let missing: Vec<(&'static str, String)> = broken.into_iter().filter_map(Kind::missing).collect();
    if let Some((reason, _)) = missing.first() {
        let texts: Vec<String> = missing.iter().map(|(_, text)| text.clone()).collect();
        return Report::no(WorkloadsReady, reason, texts.join("; "));
    }
    // Somebody has paused the scaling while there was none, or another autoscaler keeps it at none.
    if facts.plan.phase == Phase::Open && facts.numbers.issuer.replicas == 0 {
        let text = format!("the window is open, and no issuer pod is wanted: {}", facts.numbers.issuer.reason);
        return Report::no(WorkloadsReady, "NoIssuersWanted", text);
    }
    if let Some((reason, text)) = kinds.iter().find_map(Kind::stuck) {
        return Report::no(WorkloadsReady, reason, text);
    }
    // Said of a sale that is suspended too: going on needs them.
    if let Service::Refuses(cause) = facts.service
        && matches!(facts.plan.phase, Phase::Open | Phase::SoldOut | Phase::Suspended)
    {
        return Report::no(WorkloadsReady, "IssuersNotServing", cause);
    }
    if !facts.users_reach_issuers {
        return Report::no(WorkloadsReady, LEADS_NOWHERE, leads_nowhere(facts));
    }
    if let Some(strays) = facts.strays {
        return Report::no(WorkloadsReady, STRAYS, strays);
    }
    if facts.plan.phase == Phase::Open && *facts.service == Service::Silent {
        return Report::unknown(WorkloadsReady, ISSUERS_SILENT, silence());
    }
    if let Some(text) = facts.measured.and_then(|measured| measured.pods_refused()) {
        return Report::no(WorkloadsReady, REFUSED, format!("those that run stay, and no others can be made: {text}"));
    }
    let added: Vec<String> = starting.into_iter().filter_map(Kind::missing).map(|(_, text)| text).collect();
    match added.is_empty() {
        true => Report::yes(WorkloadsReady, "PodsReady", "the pods that should run are ready"),
        false => {
            let text =
                format!("the pods that should run are ready, but for some that were just added: {}", added.join("; "));
            Report::yes(WorkloadsReady, "PodsStarting", text)
        }
    }
}

#[cfg(test)]
pub(super) fn stuck_of(deployment: &Deployment, cause: Option<&NotReadyCause>) -> Option<(&'static str, String)> {
    let component = Component::Issuer;
    Kind { component, count: None, deployment: Some(deployment), cause, is_starting: false }.stuck()
}

/// Pods of one kind.
struct Kind<'a> {
    component: Component,
    /// How many are ready, and how many should be.
    count: Option<(i32, i32)>,
    deployment: Option<&'a Deployment>,
    cause: Option<&'a NotReadyCause>,
    /// Those that are missing were just added.
    is_starting: bool,
}

impl Kind<'_> {
    /// Whether those that are missing are about to come up, as far as anybody knows.
    fn starts(&self) -> bool {
        self.is_starting && self.cause.is_none_or(|cause| cause.is_starting)
    }

    /// Reason and words, if fewer are ready than should be.
    fn missing(&self) -> Option<(&'static str, String)> {
        let (ready, wanted) = self.count.filter(|(ready, wanted)| ready < wanted)?;
        let text = format!("{ready} of {wanted} {} pods are ready", self.component.name());
        Some(match self.cause {
            Some(cause) => (cause.reason, format!("{text}: {}", cause.text)),
            None => ("PodsNotReady", text),
        })
    }

    /// Reason and words, if those that are ready are those of before, and their successors do not come up.
    fn stuck(&self) -> Option<(&'static str, String)> {
        let cause = self.cause.filter(|cause| !cause.is_starting)?;
        let status = self.deployment?.status.as_ref()?;
        let all = status.replicas.unwrap_or(0);
        let is_rolling = status.updated_replicas.unwrap_or(0) < all || status.unavailable_replicas.unwrap_or(0) > 0;
        let name = self.component.name();
        is_rolling.then(|| {
            let text =
                format!("the {name} pods are being replaced, and their successors do not come up: {}", cause.text);
            ("RolloutStuck", text)
        })
    }
}
