//! Kubernetes events: what happened to a campaign, for `kubectl describe`.

use kube::Resource;
use kube::runtime::events::{Event, EventType};

use crate::api::CouponCampaign;
use crate::context::Context;

/// The API server refuses longer notes, in bytes.
const MAX_NOTE: usize = 1000;

/// Something happened as it should.
pub async fn note(context: &Context, campaign: &CouponCampaign, reason: &str, text: &str) {
    publish(context, campaign, EventType::Normal, reason, text).await;
}

/// Something went wrong.
pub async fn warn(context: &Context, campaign: &CouponCampaign, reason: &str, text: &str) {
    publish(context, campaign, EventType::Warning, reason, text).await;
}

async fn publish(context: &Context, campaign: &CouponCampaign, type_: EventType, reason: &str, text: &str) {
    let note = text.get(..text.floor_char_boundary(MAX_NOTE)).unwrap_or_default();
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note.to_owned()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    // An event that is lost is a pity, never a reason to stop.
    if let Err(error) = context.recorder.publish(&event, &campaign.object_ref(&())).await {
        tracing::debug!(%error, "event could not be published");
    }
}
