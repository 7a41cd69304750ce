//! Removes our finalizer from a campaign that is being deleted.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::json;

use crate::api::CouponCampaign;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::events;
use crate::metrics::CampaignLabels;
use crate::reconcile::finalizer::FINALIZER;
use crate::reconcile::reconcile_context::campaigns;
use crate::workloads::apply::MANAGER;

/// Removes the finalizer, and publishes what became of the ledger.
pub(super) async fn remove_finalizer(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    text: &str,
) -> Result<Action, ReconcileError> {
    tracing::info!(namespace = campaign.namespace(), campaign = campaign.name_any(), "{text}");
    events::note(context, campaign, "Released", text).await;
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Json::<()>(without_finalizer(campaign)?);
    match campaigns(campaign, context).patch(&campaign.name_any(), &parameters, &patch).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        other => other.map(drop)?,
    }
    context.memory.forget(uid);
    context.metrics.forget(&CampaignLabels::of(campaign));
    Ok(Action::await_change())
}

/// Takes our finalizer from the list, if that is the one that was seen. Our own write of the status, some moments before, is no reason to
/// do all of it again.
fn without_finalizer(campaign: &CouponCampaign) -> Result<json_patch::Patch, ReconcileError> {
    let others: Vec<&String> = campaign.finalizers().iter().filter(|each| *each != FINALIZER).collect();
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": campaign.uid()},
        {"op": "test", "path": "/metadata/finalizers", "value": campaign.finalizers()},
        {"op": "replace", "path": "/metadata/finalizers", "value": others},
    ]);
    Ok(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finalizer_goes_from_the_list_that_was_seen_and_the_others_stay() {
        let mut campaign = crate::fixtures::campaign();
        let both = vec!["example.com/theirs".to_owned(), FINALIZER.to_owned()];
        campaign.metadata.finalizers = Some(both.clone());
        let mut stored = json!({"metadata": {"uid": "0001", "finalizers": both, "resourceVersion": "written since"}});
        json_patch::patch(&mut stored, &without_finalizer(&campaign).unwrap()).unwrap();
        assert_eq!(stored["metadata"]["finalizers"], json!(["example.com/theirs"]));
        let mut another = json!({"metadata": {"uid": "0002", "finalizers": both}});
        assert!(json_patch::patch(&mut another, &without_finalizer(&campaign).unwrap()).is_err());
    }
}
