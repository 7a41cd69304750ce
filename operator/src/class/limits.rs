//! What a class lets its campaigns ask for: when they are admitted, and whenever they ask for more later. Pure.
//!
//! What is in force stays: a limit that is lowered takes nothing away from a sale that runs. Only what grows is held.

use std::fmt;

use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::Terms;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::conditions::Report;
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, Limits};

/// The reason of whatever asks for more than the class allows.
pub(crate) const LIMIT_EXCEEDED: &str = "LimitExceeded";

/// A field that asks for more than the class allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// The field in the spec.
    pub field: &'static str,
    /// What it says.
    pub asked: i64,
    /// What the class allows.
    pub limit: i64,
    /// What is in force instead, if anything is.
    pub granted: i64,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, asked, limit, .. } = self;
        write!(f, "{field} is {asked}, at most {limit}")
    }
}

/// All of them in one sentence.
pub(crate) fn sentence(all: &[Exceeded]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a campaign has already, and keeps whatever the limits are. All zero: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InForce {
    /// Coupons in all.
    pub total: i64,
    /// Coupons of one user.
    pub user_limit: u16,
    /// Partitions of its topic.
    pub partitions: u16,
    /// End of its window, milliseconds since 1970.
    pub end_ms: i64,
    /// Issuer pods.
    pub issuers: u16,
    /// Consumer pods.
    pub consumers: u16,
}

impl InForce {
    /// As status has seen it.
    pub(crate) fn in_status(status: Option<&CouponCampaignStatus>) -> Self {
        let terms = status.and_then(|status| status.terms.as_ref());
        let topic = status.and_then(|status| status.topic.as_ref());
        Self {
            total: terms.map_or(0, |terms| terms.total_quantity),
            user_limit: terms.and_then(|terms| u16::try_from(terms.per_user_limit).ok()).unwrap_or(0),
            partitions: topic.and_then(|topic| u16::try_from(topic.partitions).ok()).unwrap_or(0),
            end_ms: terms.map_or(0, |terms| terms.window.end.as_millisecond()),
            ..Self::default()
        }
    }

    /// With what the ledger says, where it could be read.
    pub(crate) fn in_ledger(
        mut self,
        row: Option<&CampaignRow>,
        terms: Option<&Terms>,
        partitions: Option<usize>,
    ) -> Self {
        if let Some(row) = row.filter(|row| row.epoch > 0) {
            self.total = i64::try_from(row.total).unwrap_or(i64::MAX);
        }
        if let Some(terms) = terms {
            self.user_limit = u16::try_from(terms.limit).unwrap_or(u16::MAX);
            self.end_ms = terms.end_ms;
        }
        if let Some(partitions) = partitions {
            self.partitions = u16::try_from(partitions).unwrap_or(u16::MAX);
        }
        self
    }

    /// With so many pods.
    pub(crate) fn with_pods(self, issuers: i32, consumers: i32) -> Self {
        let pods = |number: i32| u16::try_from(number.max(0)).unwrap_or(u16::MAX);
        Self { issuers: pods(issuers), consumers: pods(consumers), ..self }
    }
}

/// The campaign with what it may have of what it asks for, and what it may not. Numbers of pods that are left out stay within the
/// limit by themselves.
pub(crate) fn hold(campaign: &CouponCampaign, limits: &Limits, has: &InForce) -> (CouponCampaign, Vec<Exceeded>) {
    let mut held = campaign.clone();
    let (asked, spec) = (&campaign.spec, &mut held.spec);
    let mut exceeded = Vec::new();
    let mut cap = |field, asked: i64, limit: i64, has: i64| {
        let granted = asked.min(limit.max(has));
        if granted < asked {
            exceeded.push(Exceeded { field, asked, limit, granted });
        }
        granted
    };
    let narrow = |number: i64| u16::try_from(number).unwrap_or(u16::MAX);
    spec.total_quantity = cap(TOTAL, asked.total_quantity, limits.max_total_quantity, has.total);
    let user_limit =
        cap(USER_LIMIT, asked.per_user_limit.into(), limits.max_per_user_limit.into(), has.user_limit.into());
    spec.per_user_limit = narrow(user_limit);
    spec.partitions =
        narrow(cap("partitions", asked.partitions.into(), limits.max_partitions.into(), has.partitions.into()));
    let most = i64::from(limits.max_replicas);
    let (issuers, consumers) = (i64::from(has.issuers), i64::from(has.consumers));
    if let Some(max) = asked.issuer.max_replicas {
        cap("issuer.maxReplicas", max.into(), most, issuers);
    }
    let least = asked.issuer.min_replicas.map(|least| narrow(cap("issuer.minReplicas", least.into(), most, issuers)));
    let highest = asked.max_issuers().min(narrow(most.max(issuers)));
    (spec.issuer.min_replicas, spec.issuer.max_replicas) = (least.map(|least| least.min(highest)), Some(highest));
    if let Some(max) = asked.consumer.max_replicas {
        cap("consumer.maxReplicas", max.into(), most, consumers);
    }
    let least = narrow(cap("consumer.minReplicas", asked.consumer.min_replicas.into(), most, consumers));
    // A partition has one consumer: fewer partitions than were asked for take no more.
    let highest = asked.max_consumers().min(spec.partitions).min(narrow(most.max(consumers)));
    (spec.consumer.min_replicas, spec.consumer.max_replicas) = (least.min(highest), Some(highest));
    if let Some(end) = latest_end(asked.window.start.0, limits.max_window_days, has.end_ms)
        && end < asked.window.end.0
    {
        let length = asked.window.end.0.duration_since(asked.window.start.0);
        exceeded.push(Exceeded {
            field: WINDOW,
            asked: days(length.as_secs()),
            limit: limits.max_window_days.into(),
            granted: limits.max_window_days.into(),
        });
        spec.window.end = Time(end);
    }
    (held, exceeded)
}

const DAY_S: i64 = 86_400;
const TOTAL: &str = "totalQuantity";
const USER_LIMIT: &str = "perUserLimit";
const WINDOW: &str = "window, in days,";

/// Days begun.
fn days(seconds: i64) -> i64 {
    seconds.saturating_add(DAY_S - 1) / DAY_S
}

/// What is in force of the terms after all: what is fixed, or refused for another cause, is decided after what is allowed.
pub(crate) fn settled(exceeded: Vec<Exceeded>, terms: &Terms) -> Vec<Exceeded> {
    let settle = |each: Exceeded| {
        let granted = match each.field {
            TOTAL => i64::try_from(terms.total).unwrap_or(i64::MAX),
            USER_LIMIT => terms.limit.into(),
            WINDOW => days(terms.end_ms.saturating_sub(terms.start_ms) / 1000),
            _ => each.granted,
        };
        Exceeded { granted, ..each }
    };
    exceeded.into_iter().map(settle).collect()
}

/// The latest end that a window may have; `None`: no time can be that late.
fn latest_end(start: Timestamp, days: u32, has_ms: i64) -> Option<Timestamp> {
    let end = start.checked_add(SignedDuration::from_secs(i64::from(days) * DAY_S)).ok()?;
    Some(Timestamp::from_millisecond(has_ms).map_or(end, |has| end.max(has)))
}

/// What a campaign hears that asks for more later: what was there stays, and nothing of the change is in force that is too much.
pub(crate) fn refusal(class: &str, exceeded: &[Exceeded]) -> Option<Report> {
    if exceeded.is_empty() {
        return None;
    }
    let granted = exceeded.iter().map(|each| format!("{} {}", each.field, each.granted)).collect::<Vec<_>>().join(", ");
    let text = format!(
        "the campaign asks for more than CampaignClass `{class}` allows: {}; in force is {granted}; lower it, or ask the platform \
         team for a higher limit",
        sentence(exceeded)
    );
    Some(Report::yes(ConditionType::Stalled, LIMIT_EXCEEDED, text))
}

#[cfg(test)]
mod tests;
