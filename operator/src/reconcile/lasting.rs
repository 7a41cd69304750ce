//! What is looked for beside the ledger, and told by an event once it is found: pods that do not come up, offsets that cannot be
//! read, consumers that stand still.

use std::time::Instant;

use jiff::Timestamp;

use super::Pass;
use super::observe::Observation;
use super::report::{self, Ailing};
use super::still::Moment;
use super::unread::Unread;
use crate::children::{Component, object_name};
use crate::diagnosis;
use crate::events;
use crate::log_view::Offsets;

/// Why pods of the campaign are not ready, as far as Deployments and pods say.
pub(super) async fn ailing_of(pass: &Pass<'_>) -> Ailing {
    let Pass { context, campaign, .. } = pass;
    let of = async |component| {
        let pods = context.pods_of(campaign, component);
        let deployment = context.deployment(pass.id.namespace(), &object_name(campaign, component));
        let answers = diagnosis::ask(&context.http, &pods).await;
        let is_leaving = context.namespace_is_leaving(pass.id.namespace());
        let of_namespace = || is_leaving.then(|| diagnosis::namespace_leaves(pass.id.namespace()));
        of_namespace().or_else(|| diagnosis::cause(deployment.as_deref(), &pods, &answers, Timestamp::now()))
    };
    let (issuer, consumer) = tokio::join!(of(Component::Issuer), of(Component::Consumer));
    Ailing { issuer, consumer }
}

/// An event for each cause, once until pods of that kind have none any more.
pub(super) async fn tell_ailing(pass: &Pass<'_>, ailing: &Ailing) {
    for (component, cause) in [(Component::Issuer, &ailing.issuer), (Component::Consumer, &ailing.consumer)] {
        let cause = cause.as_ref().filter(|cause| !cause.is_starting);
        let told = pass.context.memory.update(pass.uid, |memory| {
            let told = memory.ailing_told.entry(component.name()).or_default();
            match cause {
                Some(cause) => !told.insert(cause.reason),
                None => {
                    told.clear();
                    true
                }
            }
        });
        if let (false, Some(cause)) = (told, cause) {
            let text = format!("{} pods do not come up: {}", component.name(), cause.text);
            events::warn(pass.context, pass.campaign, cause.reason, &text).await;
        }
    }
}

/// Whether the offsets have been unreadable for long; an event says so once.
pub(super) async fn tell_unread(pass: &Pass<'_>, seen: &Observation) -> bool {
    let error = seen.log.as_ref().ok().and_then(|log| log.unread.as_ref());
    let unread = pass.context.memory.update(pass.uid, |memory| memory.unread.see(error.is_some(), Instant::now()));
    if let (Unread::Long { new: true }, Some(error)) = (&unread, error) {
        events::warn(pass.context, pass.campaign, "OffsetsUnreadable", &report::unread_text(error)).await;
    }
    unread != Unread::No
}

/// Why the consumers count as standing still, if they do; an event says so once.
pub(super) async fn tell_still(pass: &Pass<'_>, seen: &Observation, ready: i32) -> Option<String> {
    let unread = seen.log.as_ref().ok().and_then(|log| log.offsets.as_ref()).map(Offsets::unread);
    // Without a database they wait for it, as they should.
    let can_store = ready > 0 && seen.ledger.is_ok();
    let now = Moment { at: Instant::now(), time: Timestamp::now() };
    let still = pass.context.memory.update(pass.uid, |memory| memory.still.see(unread.as_ref(), can_store, now))?;
    let pods = pass.context.pods_of(pass.campaign, Component::Consumer);
    let text = match diagnosis::ask_ready(&pass.context.http, &pods).await {
        Some(said) => format!("{}; a consumer says: {said}", still.text),
        None => format!("{}; each finds itself another Kafka client, and ends in the end", still.text),
    };
    if still.is_new {
        tracing::warn!(campaign = %pass.id, "{text}");
        events::warn(pass.context, pass.campaign, report::CONSUMERS_STAND_STILL, &text).await;
    }
    Some(text)
}
