//! Conditions outside of the ledger for which an event is published once: pods that do not come up, offsets that cannot be
//! read, consumers that stand still.

use std::time::Instant;

use jiff::Timestamp;

use super::ReconcileContext;
use super::observe::Observation;
use super::report::{self, Ailing};
use super::still::BothClocks;
use super::unread::Unread;
use crate::diagnosis;
use crate::events;
use crate::kafka::view::Offsets;
use crate::workloads::{Component, object_name};

/// Why pods of the campaign are not ready, as far as Deployments and pods say.
pub(super) async fn ailing_of(pass: &ReconcileContext<'_>) -> Ailing {
    let ReconcileContext { context, campaign, .. } = pass;
    let of = async |component| {
        let pods = context.pods_of(campaign, component);
        let deployment = context.deployment(pass.id.namespace(), &object_name(campaign, component));
        let answers = diagnosis::fetch(&context.http, &pods).await;
        let is_leaving = context.namespace_is_leaving(pass.id.namespace());
        let of_namespace = || is_leaving.then(|| diagnosis::namespace_leaves(pass.id.namespace()));
        of_namespace().or_else(|| diagnosis::cause(deployment.as_deref(), &pods, &answers, Timestamp::now()))
    };
    let (issuer, consumer) = tokio::join!(of(Component::Issuer), of(Component::Consumer));
    Ailing { issuer, consumer }
}

/// An event for each cause, once until pods of that kind have none any more.
pub(super) async fn warn_of_ailing(pass: &ReconcileContext<'_>, ailing: &Ailing) {
    for (component, cause) in [(Component::Issuer, &ailing.issuer), (Component::Consumer, &ailing.consumer)] {
        let cause = cause.as_ref().filter(|cause| !cause.is_starting);
        let reason = cause.map(|cause| cause.reason);
        let is_new = pass.memory.update(|memory| memory.causes.is_new(component.name(), reason));
        if let (true, Some(cause)) = (is_new, cause) {
            let text = format!("{} pods are not ready: {}", component.name(), cause.text);
            events::warn(pass.context, pass.campaign, cause.reason, &text).await;
        }
    }
}

/// Whether the offsets have been unreadable for long; an event says so once.
pub(super) async fn warn_of_unread_offsets(pass: &ReconcileContext<'_>, seen: &Observation) -> bool {
    let error = seen.kafka.as_ref().ok().and_then(|kafka| kafka.unread.as_ref());
    let unread = pass.memory.update(|memory| memory.unread.observe(error.is_some(), Instant::now()));
    if let (Unread::Long { new: true }, Some(error)) = (&unread, error) {
        events::warn(pass.context, pass.campaign, "OffsetsUnreadable", &report::unread_text(error)).await;
    }
    unread != Unread::No
}

/// Why the consumers count as standing still, if they do; an event says so once.
pub(super) async fn warn_of_standstill(pass: &ReconcileContext<'_>, seen: &Observation, ready: i32) -> Option<String> {
    let unread = seen.kafka.as_ref().ok().and_then(|kafka| kafka.offsets.as_ref()).map(Offsets::unread);
    // Without a database they wait for it, as they should.
    let can_store = ready > 0 && seen.ledger.is_ok();
    let now = BothClocks { at: Instant::now(), time: Timestamp::now() };
    let (still, explicable) = pass.memory.update(|memory| {
        let still = memory.still.observe(unread.as_ref(), can_store, now);
        (still, memory.still.explicable())
    });
    let pods = pass.context.pods_of(pass.campaign, Component::Consumer);
    let said = match &explicable {
        Some(_) => diagnosis::fetch_readiness(&pass.context.http, &pods).await,
        None => None,
    };
    let Some(still) = still else {
        let text = explicable.zip(said).map(|(text, said)| format!("{text}; a consumer says: {said}"));
        pass.caution(report::CONSUMERS_STAND_STILL, text.as_deref()).await;
        return text;
    };
    let text = match said {
        Some(said) => format!("{}; a consumer says: {said}", still.text),
        None => format!("{}; each finds itself another Kafka client, and ends in the end", still.text),
    };
    if still.is_new {
        tracing::warn!(campaign = %pass.id, "{text}");
        events::warn(pass.context, pass.campaign, report::CONSUMERS_STAND_STILL, &text).await;
    }
    Some(text)
}
