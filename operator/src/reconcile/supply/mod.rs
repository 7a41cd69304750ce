//! Whether users miss coupons at a moment, and by whose doing. This is the one place that decides it. Pure.
//!
//! While the window is open all time is missed in which users get no coupon, and no person asked for that:
//!
//! - A person asks for it where the object itself asks for none: by `spec.suspend`, by a quantity below what is issued, or by another
//!   start of a window that has opened and whose end is not on record.
//! - All else that keeps coupons away is missed, whatever has to be corrected: what a sale needs and has not (class, Secret, tables, topics,
//!   pods), a repair, a row that somebody wrote into the table, and also a manifest that is refused as a whole, as it asks for a sale.
//! - While the coupons are another cluster's to give, or an older campaign's, they are not this object's to miss.
//! - What is not known is held against nobody: the count stays for good.

mod window;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

pub(crate) use self::window::WindowMs;
use super::plan::Plan;
use super::plan::terms::{FOREIGN_ROW, QUANTITY_BELOW_ISSUED};
use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, Phase};
use crate::class::ClassError;
use crate::error::{ReconcileError, advice};
use crate::issuer_client::serving::Service;

/// Reason: coupons could be had under what is decided.
const TERMS_NOT_IN_FORCE: &str = "TermsNotInForce";

/// How users are served at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Supply {
    /// Coupons can be had, or none is left, or it is not the time for them.
    Well,
    /// The object asks for none.
    NotAskedFor,
    /// The coupons are somebody else's to give.
    OfOthers,
    /// Nobody knows.
    Unknown,
    /// Users get none, and nobody asked for that.
    Missed(NoSupplyCause),
}

/// What keeps users from coupons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoSupplyCause {
    /// A stable word.
    pub reason: String,
    /// A sentence.
    pub text: String,
}

impl NoSupplyCause {
    fn of_report(report: &Report) -> Self {
        Self { reason: report.reason.to_owned(), text: report.message.clone() }
    }

    /// Redis has other terms than what is decided. `ready`: what is wrong, if anything is.
    fn of_terms(ready: Option<&Condition>) -> Self {
        let why = ready.map_or_else(|| "they are being put right".to_owned(), |ready| ready.message.clone());
        let text = format!("Redis has other terms than those that should be in force, so users are turned away: {why}");
        Self { reason: TERMS_NOT_IN_FORCE.to_owned(), text }
    }

    fn of_issuers(said: &str) -> Self {
        Self { reason: NOT_SERVING.to_owned(), text: said.to_owned() }
    }

    fn of_condition(condition: &Condition) -> Self {
        Self { reason: condition.reason.clone(), text: condition.message.clone() }
    }
}

/// What a pass found that has looked. `next`: the status that it is about to write.
pub(crate) fn of_pass(
    campaign: &CouponCampaign,
    plan: &Plan,
    service: &Service,
    next: &CouponCampaignStatus,
) -> Supply {
    let refused = |reason: &str| plan.refusals.iter().find(|each| each.reason == reason);
    if campaign.spec.suspend || refused(QUANTITY_BELOW_ISSUED).is_some() {
        return Supply::NotAskedFor;
    }
    let Some(open) = conditions::find(&next.conditions, ConditionType::Open) else { return Supply::Unknown };
    let ready = conditions::find(&next.conditions, ConditionType::Ready).filter(|ready| ready.status == "False");
    let whole = || Supply::Missed(NoSupplyCause::of_condition(ready.unwrap_or(open)));
    let as_open_says = || Supply::Missed(NoSupplyCause::of_condition(open));
    match plan.phase {
        Phase::Pending if *service == Service::Grants => Supply::Well,
        Phase::Pending | Phase::Repairing => whole(),
        Phase::Suspended => match refused(FOREIGN_ROW) {
            Some(foreign) => Supply::Missed(NoSupplyCause::of_report(foreign)),
            None if plan.terms.suspended => Supply::NotAskedFor,
            // Going on is asked for, and not in force yet.
            None => as_open_says(),
        },
        Phase::Open => match open.status.as_str() {
            "False" => as_open_says(),
            "Unknown" => match service {
                Service::Refuses(said) => Supply::Missed(NoSupplyCause::of_issuers(said)),
                Service::Grants | Service::Silent => Supply::Unknown,
            },
            _ => Supply::Well,
        },
        Phase::Scheduled | Phase::SoldOut | Phase::Draining | Phase::Completed if should_sell(plan, campaign, next) => {
            Supply::Missed(NoSupplyCause::of_terms(ready))
        }
        Phase::Scheduled | Phase::SoldOut | Phase::Draining | Phase::Completed => Supply::Well,
    }
}

/// Whether coupons could be had if what is decided were in force: users meet what Redis has, which may be older, or somebody else's.
fn should_sell(plan: &Plan, campaign: &CouponCampaign, next: &CouponCampaignStatus) -> bool {
    let issued = next.issued.and_then(|issued| u64::try_from(issued).ok());
    let some_left = issued.is_some_and(|issued| issued < plan.terms.total);
    let is_open = WindowMs::of_pass(plan, campaign).contains(plan.now_ms) && !plan.time.frozen;
    is_open && some_left && !plan.terms.suspended
}

/// What is known in a pass that ended before it could look. `ready_issuers`: pods that users can reach, as Kubernetes says.
/// `service`: what these say.
pub(crate) fn of_blind_pass(
    campaign: &CouponCampaign,
    error: &ReconcileError,
    ready_issuers: i32,
    service: &Service,
) -> Supply {
    if matches!(error, ReconcileError::LedgerOwnedElsewhere(_) | ReconcileError::Class(ClassError::CouponIdTaken(_))) {
        return Supply::OfOthers;
    }
    if campaign.spec.suspend {
        return Supply::NotAskedFor;
    }
    let status = campaign.status.as_ref();
    let phase = status.and_then(|status| status.phase).unwrap_or_default();
    let total = status.and_then(|status| status.terms.as_ref()).map(|terms| terms.total_quantity);
    let none_left = status.and_then(|status| status.issued).zip(total).is_some_and(|(issued, total)| issued >= total);
    match phase {
        Phase::SoldOut | Phase::Draining | Phase::Completed => Supply::Well,
        _ if none_left => Supply::Well,
        // Nobody but us opens it again.
        Phase::Repairing => Supply::Missed(blind_cause(error)),
        _ if ready_issuers == 0 => Supply::Missed(blind_cause(error)),
        // Redis lets nobody win who asks them.
        Phase::Suspended => Supply::Unknown,
        _ => match service {
            Service::Grants => Supply::Well,
            Service::Refuses(said) => Supply::Missed(NoSupplyCause::of_issuers(said)),
            Service::Silent => Supply::Unknown,
        },
    }
}

/// The reason where all issuers say that they grant nothing.
pub(super) const NOT_SERVING: &str = "IssuersNotServing";

fn blind_cause(error: &ReconcileError) -> NoSupplyCause {
    NoSupplyCause { reason: error.reason().to_owned(), text: advice(error) }
}

#[cfg(test)]
mod tests;
