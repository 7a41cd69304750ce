//! Whether coupons can be had, as users see it. Pure.

use coupon_core::contract::ports::CONTROL as CONTROL_PORT;

use super::Facts;
use crate::api::conditions::Report;
use crate::api::{ConditionType, CouponCampaignStatus};
use crate::controller::suspension::SuspensionOutcome;
use crate::error::{advice, database_advice, redis_advice, redis_reason};
use crate::issuer_client::serving::Service;
use crate::reconcile::plan::{LEDGER_MOVED, Plan};
use crate::reconcile::strays::STRAYS;
use crate::reconcile::supply::WindowMs;
use crate::workloads::{Component, object_name};

pub(super) fn clock_reason(plan: &Plan) -> &'static str {
    if plan.time.frozen { "ClocksDisagree" } else { "RedisClockWrong" }
}

/// Of a campaign whose window is open, as its users see it.
pub(super) fn report(facts: &Facts<'_>, next: &CouponCampaignStatus) -> Report {
    use ConditionType::Open;
    let window = facts.plan.terms.start_ms..facts.plan.terms.end_ms;
    if let (Some(doubt), Some(redis_ms)) = (&facts.plan.time.doubt, facts.plan.time.redis_ms)
        && !window.contains(&redis_ms)
    {
        let text = format!("the window is open, but not by Redis' clock, so users are told otherwise: {doubt}");
        return Report::no(Open, clock_reason(facts.plan), text);
    }
    if next.issuer.as_ref().is_none_or(|issuer| issuer.ready == 0) {
        let why = why_no_issuer(facts);
        let reached = match facts.ending_issuers {
            0 => "users reach nobody".to_owned(),
            count => format!(
                "users who are not connected yet reach nobody ({count} that end may still answer who is connected)"
            ),
        };
        let text = format!("the window is open, but no issuer pod is ready, so {reached}: {why}");
        return Report::no(Open, "NoReadyIssuer", text);
    }
    if !facts.users_reach_issuers {
        return Report::no(Open, LEADS_NOWHERE, leads_nowhere(facts));
    }
    if let Some(cause) = facts.nobody_serves {
        return Report::no(Open, "IssuersNotServing", cause);
    }
    if let Some(error) = facts.redis_trouble() {
        let (reason, said) = (redis_reason(error), redis_advice(error));
        // What the operator's login may not, the pods' may.
        let is_ours_alone = error.is_authentication() || error.is_missing_right();
        return match error.is_answer() && !is_ours_alone {
            true => Report::no(Open, reason, format!("Redis grants nothing, so users hear 503: {said}")),
            false => match facts.service {
                Service::Grants => {
                    let heard = "issuers say that they grant, but the operator cannot look into Redis";
                    Report::unknown(Open, reason, format!("{heard}: {said}"))
                }
                Service::Refuses(cause) => Report::no(Open, "IssuersNotServing", format!("{cause}; {said}")),
                Service::Silent => {
                    Report::unknown(Open, reason, format!("whether users get coupons is not known: {said}"))
                }
            },
        };
    }
    match facts.service {
        // What is left to give is told by a Redis that may be another one.
        Service::Grants if facts.seen.ledger.as_ref().is_ok_and(|ledger| ledger.row.is_none()) => {
            let text = "issuers say that they grant, but whether coupons are left is not known, as the campaign's row is not in this database";
            Report::unknown(Open, LEDGER_MOVED, text)
        }
        Service::Grants => match facts.strays {
            None => Report::yes(Open, "WindowOpen", "coupons can be had"),
            Some(strays) => Report::yes(Open, STRAYS, format!("coupons can be had, but not by all: {strays}")),
        },
        Service::Refuses(cause) => Report::no(Open, "IssuersNotServing", cause),
        Service::Silent => Report::unknown(Open, ISSUERS_SILENT, silence()),
    }
}

/// Why there is no issuer that is ready.
fn why_no_issuer(facts: &Facts<'_>) -> String {
    let wanted = &facts.numbers.issuer;
    let failed = facts.failure.map(advice);
    match &facts.ailing.issuer {
        // What keeps the pods from coming up is not what keeps the operator from its other work.
        Some(cause) if !cause.is_starting => match failed {
            Some(failed) => format!("{}; besides, {failed}", cause.text),
            None => cause.text.clone(),
        },
        _ if failed.is_some() => failed.unwrap_or_default(),
        Some(cause) => cause.text.clone(),
        None if wanted.replicas == 0 => format!("none is wanted ({})", wanted.reason),
        None => "they start".to_owned(),
    }
}

/// Issuers are ready, and the Service leads to none of them.
pub(super) const LEADS_NOWHERE: &str = "ServiceLeadsNowhere";

/// The same in words.
pub(super) fn leads_nowhere(facts: &Facts<'_>) -> String {
    let name = object_name(facts.campaign, Component::Issuer);
    let mend = match facts.failure {
        Some(failure) => format!("it cannot be put right: {}", advice(failure)),
        None => "the Service is being put right: if this lasts, look at its selector, and whether the cluster's EndpointSlice controller \
                 runs"
            .to_owned(),
    };
    format!("issuers are ready, but Service {name} has no endpoints, so users reach nobody; {mend}")
}

/// Issuers are ready, and none answers the operator.
pub(super) const ISSUERS_SILENT: &str = "IssuersSilent";

/// The same in words.
pub(super) fn silence() -> String {
    format!(
        "no issuer answers the operator on port {CONTROL_PORT}, so what they do is not known, and a repair has to delete them: let a NetworkPolicy or mesh pass the operator's requests"
    )
}

/// Of a campaign that something is missing for, as its users see it.
pub(super) fn not_prepared(window: WindowMs, now_ms: i64) -> Report {
    use ConditionType::Open;
    match now_ms {
        _ if now_ms < window.start_ms => Report::no(Open, NOT_PREPARED, "the campaign is not prepared yet"),
        _ if now_ms < window.end_ms => Report::no(
            Open,
            NOT_PREPARED,
            "the window is open, and users are turned away, as the campaign is not prepared yet",
        ),
        _ => Report::no(Open, "Ended", "the window is over, and the campaign was not prepared for it"),
    }
}

/// Reason: something that the campaign needs is not there yet.
const NOT_PREPARED: &str = "Pending";

/// Of a campaign of which no coupon is left, as its users see it.
pub(super) fn sold_out(facts: &Facts<'_>) -> Report {
    let asked = u64::try_from(facts.campaign.spec.total_quantity).unwrap_or(0);
    let text = match facts.plan.in_force.map(|terms| terms.total).filter(|total| asked > *total) {
        None => "every coupon is issued".to_owned(),
        Some(total) => format!(
            "all {total} coupons are issued; totalQuantity {asked} is asked for, and not in force yet, {}",
            why_not(facts)
        ),
    };
    Report::no(ConditionType::Open, "SoldOut", text)
}

/// Of a campaign that is suspended, as its users see it.
pub(super) fn suspended(facts: &Facts<'_>) -> Report {
    use ConditionType::Open;
    if let Some(stop) = facts.stop.filter(|stop| stop.is_by_fence()) {
        return stop.report();
    }
    if facts.campaign.spec.suspend {
        return SuspensionOutcome::InRedis.report();
    }
    if facts.plan.terms.suspended {
        return Report::no(Open, "Suspended", "issuing is stopped by what condition Stalled says");
    }
    let text = format!("issuing is still suspended: going on is asked for, and not in force yet, {}", why_not(facts));
    Report::no(Open, "ResumptionPending", text)
}

/// What `report` says, and that it is still so although suspension was asked for.
pub(super) fn pending_suspension(facts: &Facts<'_>, report: Report) -> Report {
    if !facts.campaign.spec.suspend || facts.plan.in_force.is_some_and(|terms| terms.suspended) {
        return report;
    }
    let told = match facts.stop {
        Some(SuspensionOutcome::ByFence(told)) => format!("; {} of {} issuers have stopped", told.fenced, told.pods),
        Some(SuspensionOutcome::Failed) => "; the issuers could not be told either".to_owned(),
        Some(SuspensionOutcome::InRedis) | None => String::new(),
    };
    let text = format!("suspension is asked for, and not in force yet, {}{told}; {}", why_not(facts), report.message);
    Report { reason: "SuspensionPending", message: text, ..report }
}

/// Why a change of terms is not in force yet.
fn why_not(facts: &Facts<'_>) -> String {
    let redis = facts.seen.redis.as_ref().err().map(|error| format!("because {}", redis_advice(error)));
    let ledger = || facts.seen.ledger.as_ref().err().map(|error| format!("because {}", database_advice(error)));
    redis
        .or_else(ledger)
        .or_else(|| facts.failure.map(|failure| format!("because {}", advice(failure))))
        .unwrap_or_else(|| "as the change is on its way".to_owned())
}
