//! Which class a campaign has, and whether it may use it.

use std::sync::Arc;

use campaign::identity::CampaignId;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, CouponCampaign};
use crate::class::{self, ClassError};
use crate::class_kept;
use crate::class_use;
use crate::connections::Systems;
use crate::context::Context;
use crate::error::ReconcileError;

/// Whether the campaign may use its class at all. Asked until its first epoch: a sale that runs is not left alone because a
/// limit was lowered or a label taken away.
pub(super) async fn admitted(campaign: &CouponCampaign, context: &Context) -> Result<(), ReconcileError> {
    if campaign.status.as_ref().is_some_and(|status| status.epoch.is_some()) {
        return Ok(());
    }
    let class = class_of(campaign, context)?;
    if class_use::is_leaving(&class) {
        return Err(ClassError::Leaving(class.name_any()).into());
    }
    let name = campaign.namespace().unwrap_or_default();
    // The watch may not have shown a new namespace yet; the campaign's own event came first.
    let namespace = match context.namespaces.find(|each| each.name_any() == name) {
        Some(namespace) => (*namespace).clone(),
        None => Api::<Namespace>::all(context.client.clone()).get(&name).await.map_err(ClassError::Api)?,
    };
    class::admit(campaign, &class, &namespace, &context.campaigns.state())?;
    class::alone(campaign, &context.campaigns.state())?;
    Ok(())
}

/// Waits until a pass over this campaign may begin: those of its class take turns.
pub(crate) async fn turn(campaign: &CouponCampaign, context: &Context) -> Option<OwnedSemaphorePermit> {
    let class = class_of(campaign, context).ok()?;
    context.systems.turn(&class.name_any()).await
}

/// The class of a campaign; if it was removed by force, as it was last seen.
fn class_of(campaign: &CouponCampaign, context: &Context) -> Result<CampaignClass, ClassError> {
    let classes: Vec<CampaignClass> = context.classes.state().iter().map(|class| (**class).clone()).collect();
    match class::resolve(campaign, &classes) {
        Ok(class) => {
            context.last_classes.remember(class);
            Ok(class.clone())
        }
        // Who has a ledger there must still be suspended, stored and let go.
        Err(ClassError::NotFound(name)) if campaign.status.as_ref().is_some_and(|status| status.epoch.is_some()) => {
            context.last_classes.get(&name).ok_or(ClassError::Gone(name))
        }
        Err(error) => Err(error),
    }
}

/// What a campaign hears whose class was removed by force.
pub(super) fn class_gone(class: &CampaignClass) -> [Report; 2] {
    let text = format!(
        "CampaignClass `{}` does not exist any more; this operator goes on with what it last knew of it, but not after a restart: apply \
         the class again as it was (realm `{}`)",
        class.name_any(),
        class.spec.realm
    );
    [
        Report::yes(ConditionType::Stalled, "ClassGone", text.clone()),
        Report::no(ConditionType::ClassResolved, "ClassGone", text),
    ]
}

/// The campaign, as its class says; nothing may be done to one whose ledger is in another realm, or whose topics are called otherwise.
pub(super) fn identified(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    systems: &Systems,
) -> Result<CampaignId, ReconcileError> {
    let id = class::identified(campaign, class, &systems.settings.operator)?;
    class_kept::keeps(campaign, class, &id)?;
    Ok(id)
}

/// The campaign's class and the systems that it points to.
pub(crate) async fn resolve(
    campaign: &CouponCampaign,
    context: &Context,
) -> Result<(CampaignClass, Arc<Systems>), ReconcileError> {
    let class = class_of(campaign, context)?;
    let systems = context.systems.get(&context.client, &class, &context.config.pod_namespace).await?;
    Ok((class, systems))
}
