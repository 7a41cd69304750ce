//! Whether users are led to the campaign from outside. Pure.

use super::Facts;
use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaignStatus};
use crate::routes::taken_in::UNANSWERED;

/// What the condition `RouteReady` says, where the class asks for a route. What a look at the class found is said before there is one, and
/// while its own answer is no yes.
pub(super) fn report(facts: &Facts<'_>) -> Option<Report> {
    facts.class.spec.routing.route()?;
    let routing = facts.measured.and_then(|measured| measured.routing.as_ref());
    let of_class = routing
        .filter(|report| report.status == Some(false))
        .map(|report| Report { condition: ConditionType::RouteReady, ..report.clone() });
    match &facts.route {
        // That nobody has answered yet shows that there is one.
        Some(said) if said.status.is_some() || said.reason == UNANSWERED => Some(said.clone()),
        said => of_class.or_else(|| said.clone()),
    }
}

/// Whether status says that somebody has to do something about it.
pub(in crate::reconcile) fn is_refused(status: &CouponCampaignStatus) -> bool {
    conditions::find(&status.conditions, ConditionType::RouteReady).is_some_and(|found| found.status == "False")
}
