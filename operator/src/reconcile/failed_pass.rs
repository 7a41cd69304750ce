//! The status of a pass that ended before it could write one.

use std::time::Instant;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::replicas::ReplicaCount;
use super::report::{self, Blind};
use super::served::{self, PassTime};
use super::supply::{self, WindowMs};
use super::{issuers, publish};
use crate::api::{CouponCampaign, CouponCampaignStatus};
use crate::context::Context;
use crate::controller::suspension;
use crate::error::ReconcileError;
use crate::events;
use crate::workloads::{Component, object_name};

/// Writes the status of a pass that wrote none: an old one, all green, must not stay for as long as passes fail.
pub(super) async fn write_status(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    error: &ReconcileError,
    begun: Instant,
) {
    // Before the watches are filled nothing is known that would be worth to be written.
    if error.is_overtaken() || matches!(error, ReconcileError::WatchesNotFilled) || context.is_overtaken(campaign) {
        return;
    }
    let now = Timestamp::now();
    let mut status = match campaign.meta().deletion_timestamp {
        Some(_) => {
            let closed = context.memory.get(uid).closed;
            report::status_while_leaving(campaign, &report::Leaving::Failed(error), closed, now)
        }
        None => status_of_blind_pass(campaign, context, uid, error, now).await,
    };
    suspension::correct(&mut status, campaign, context, uid, begun);
    if let Err(error) = publish::status(campaign, context, uid, status, false).await {
        tracing::warn!(campaign = campaign.name_any(), %error, "the status of a pass that failed could not be written");
    }
}

/// What is known where a pass ended before it could look: whether users are turned away is decided here as well.
async fn status_of_blind_pass(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    error: &ReconcileError,
    now: Timestamp,
) -> CouponCampaignStatus {
    let issuer = object_name(campaign, Component::Issuer);
    let there = context.deployment(&campaign.namespace().unwrap_or_default(), &issuer);
    let (ready, now_ms) = (ReplicaCount::of(there.as_deref()).ready, now.as_millisecond());
    let service = issuers::service_of_blind_pass(context, campaign, uid).await;
    let mut status = match error {
        ReconcileError::LedgerOwnedElsewhere(_) => report::status_elsewhere(campaign, error, now),
        _ => report::status_without_class(campaign, error, &Blind { ready, service: &service, now_ms }, now),
    };
    let supply = supply::of_blind_pass(campaign, error, ready, &service);
    let moment = PassTime {
        at_ms: context.elapsed_ms(),
        known_for_ms: 0,
        now_ms,
        window: WindowMs::of_blind_pass(campaign),
        time: now,
    };
    let warning = context
        .memory
        .update(uid, |memory| served::update(&mut memory.served, &moment, campaign, &supply, None, &mut status));
    if let Some(warning) = warning {
        events::warn(context, campaign, warning.reason, &warning.text).await;
    }
    status
}
