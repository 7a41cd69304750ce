//! Kubernetes events: what happened to a campaign, for `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType};

use crate::api::CouponCampaign;
use crate::api::conditions::one_line;
use crate::context::Context;
pub(crate) use crate::error::bounded::bounded;

/// The API server refuses longer actions, in bytes.
const MAX_ACTION: usize = 128;

/// Something happened as it should.
pub(crate) async fn note(context: &Context, campaign: &CouponCampaign, reason: &str, text: &str) {
    publish(context, campaign, EventType::Normal, reason, text).await;
}

/// Something went wrong.
pub(crate) async fn warn(context: &Context, campaign: &CouponCampaign, reason: &str, text: &str) {
    publish(context, campaign, EventType::Warning, reason, text).await;
}

/// Something is wrong with another object.
pub(crate) async fn warn_about(context: &Context, object: &ObjectReference, reason: &str, text: &str) {
    send(context, object, EventType::Warning, reason, text).await;
}

async fn publish(context: &Context, campaign: &CouponCampaign, type_: EventType, reason: &str, text: &str) {
    send(context, &campaign.object_ref(&()), type_, reason, text).await;
}

async fn send(context: &Context, object: &ObjectReference, type_: EventType, reason: &str, text: &str) {
    let text = one_line(text);
    let note = bounded(&text);
    let event =
        Event { type_, reason: reason.to_owned(), note: Some(note.to_owned()), action: action(note), secondary: None };
    // Events are best effort: one that cannot be published stops nothing.
    if let Err(error) = context.recorder.publish(&event, object).await {
        tracing::warn!(reason, %error, "an event could not be published: {note}");
    }
}

/// The note in CamelCase. The client library takes events that differ in their note alone for one event that repeats, and shows
/// the first note only: two changes of the number of pods would be one.
fn action(note: &str) -> String {
    let words = note.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut action: String = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
    action.truncate(MAX_ACTION);
    if action.is_empty() { "Reconcile".to_owned() } else { action }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_with_other_notes_are_other_events() {
        assert_eq!(action("consumer 1 -> 6: the window is open"), "Consumer16TheWindowIsOpen");
        assert_ne!(action("consumer 1 -> 6: more work"), action("consumer 6 -> 12: more work"));
        assert_eq!(action(&"é word ".repeat(90)).len(), MAX_ACTION);
        assert_eq!(action("— é —"), "Reconcile");
    }
}
