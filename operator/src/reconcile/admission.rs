//! Which class a campaign has, and whether it may use it.

use std::sync::Arc;

use coupon_core::identity::CampaignId;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, CouponCampaign};
use crate::class::in_use;
use crate::class::pinned;
use crate::class::pools::Systems;
use crate::class::{self, ClassError};
use crate::context::Context;
use crate::error::ReconcileError;

/// Whether the campaign may use its class at all. Asked until its first epoch: a sale that runs is not left alone because a
/// limit was lowered or a label taken away.
pub(super) async fn admitted(campaign: &CouponCampaign, context: &Context) -> Result<(), ReconcileError> {
    if campaign.status.as_ref().is_some_and(|status| status.epoch.is_some()) {
        return Ok(());
    }
    let class = class_of(campaign, context)?;
    if !in_use::serves(&class, campaign) {
        return Err(ClassError::Leaving(class.name_any()).into());
    }
    let name = campaign.namespace().unwrap_or_default();
    // The watch may not have shown a new namespace yet; the campaign's own event came first.
    let namespace = match context.namespaces.find(|each| each.name_any() == name) {
        Some(namespace) => (*namespace).clone(),
        None => Api::<Namespace>::all(context.client.clone()).get(&name).await.map_err(ClassError::Api)?,
    };
    class::admit(campaign, &class, &namespace, &context.campaigns.state())?;
    class::check_coupon_id_unique(campaign, &context.campaigns.state())?;
    Ok(())
}

/// Waits until a pass over this campaign may begin: those of its class take turns.
pub(crate) async fn turn(campaign: &CouponCampaign, context: &Context) -> Option<OwnedSemaphorePermit> {
    let class = class_of(campaign, context).ok()?;
    context.systems.turn(&class.name_any()).await
}

/// The class of a campaign; if it was removed by force, as it was last seen.
fn class_of(campaign: &CouponCampaign, context: &Context) -> Result<Arc<CampaignClass>, ClassError> {
    let classes = context.classes.state();
    match class::resolve(campaign, &classes) {
        Ok(class) => {
            context.last_classes.remember(class);
            Ok(Arc::clone(class))
        }
        // A campaign that has a ledger there must still be suspended, stored and deleted.
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
    let id = class::campaign_id(campaign, class, &systems.settings.operator)?;
    pinned::check_pinned(campaign, class, &id)?;
    Ok(id)
}

/// The campaign's class and the systems that it points to.
pub(crate) async fn resolve(
    campaign: &CouponCampaign,
    context: &Context,
) -> Result<(Arc<CampaignClass>, Arc<Systems>), ReconcileError> {
    let class = class_of(campaign, context)?;
    let systems = context.systems.get(&context.client, &class, &context.config.pod_namespace).await?;
    Ok((class, systems))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::Resource;
    use kube::runtime::reflector::{Store, store};
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::fixtures;
    use crate::reconcile::FINALIZER;

    /// What a watch has shown.
    fn shown<K: Resource<DynamicType = ()> + Clone + 'static>(object: K) -> Store<K> {
        let (store, mut writer) = store();
        writer.apply_watcher_event(&Event::Apply(object));
        store
    }

    /// Wrong: a class is deleted between a campaign's first pass and its first epoch: the class stays and says that it serves the campaign, which
    /// says that it is not taken, until somebody deletes it.
    #[tokio::test]
    async fn a_class_that_is_deleted_serves_the_campaigns_that_it_names_and_no_others() {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some("shop".to_owned());
        namespace.labels_mut().insert("coupon-operator.io/enabled".to_owned(), "true".to_owned());
        let mut leaving = fixtures::class();
        leaving.metadata.deletion_timestamp = Some(Time("2026-12-01T10:00:00Z".parse().unwrap()));
        for (what, class, finalizers, epoch, refused, named) in [
            ("it is new", fixtures::class(), vec![], None, None, false),
            ("it comes too late", leaving.clone(), vec![], None, Some("ClassBeingDeleted"), false),
            ("somebody else holds it", leaving.clone(), vec!["example.com/f"], None, Some("ClassBeingDeleted"), false),
            ("it was taken, and has no epoch yet", leaving.clone(), vec![FINALIZER], None, None, true),
            ("it runs", leaving, vec![FINALIZER], Some(1), None, true),
        ] {
            let mut campaign = fixtures::campaign();
            campaign.spec.class_name = Some("main".to_owned());
            campaign.metadata.finalizers = Some(finalizers.into_iter().map(str::to_owned).collect());
            campaign.status.get_or_insert_default().epoch = epoch;
            let (mut context, _) = fixtures::context();
            (context.classes, context.namespaces) = (shown(class.clone()), shown(namespace.clone()));
            let taken = admitted(&campaign, &context).await;
            assert_eq!(taken.err().map(|error| error.reason()), refused, "{what}");
            let users = in_use::users(&class, &[Arc::new(campaign)]);
            assert_eq!(in_use::report(&class, &users).is_some(), named, "{what}");
        }
    }
}
