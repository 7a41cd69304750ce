//! Step 1: what the campaign is: its class, the systems of its class, its identity. What is refused or missing ends the pass here.

use std::sync::Arc;

use coupon_core::identity::CampaignId;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::api::{CampaignClass, CouponCampaign};
use crate::class::in_use;
use crate::class::limits::{self, InForce};
use crate::class::pools::Systems;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::reconcile::admission::{self, admitted, identified};
use crate::reconcile::cluster::Cluster;
use crate::reconcile::finalizer::FINALIZER;
use crate::reconcile::memory::CampaignMemory;
use crate::reconcile::reconcile_context::{ReconcileContext, campaigns};
use crate::reconcile::replicas::ReplicaCount;
use crate::workloads::apply::MANAGER;
use crate::workloads::{Component, object_name};

/// What a campaign is.
pub(in crate::reconcile) struct Resolved {
    class: Arc<CampaignClass>,
    /// The class is there. If not, it was removed by force, and this is what was last known of it.
    class_exists: bool,
    systems: Arc<Systems>,
    id: CampaignId,
    cluster: Cluster,
    /// The campaign within the limits of its class.
    limited: CouponCampaign,
    memory: CampaignMemory,
    /// What the ledger called this cluster when it was last read.
    known_as: String,
}

impl Resolved {
    /// What the other steps need.
    pub(crate) fn context<'a>(
        &'a self,
        object: &'a CouponCampaign,
        context: &'a Context,
        uid: &'a str,
    ) -> ReconcileContext<'a> {
        ReconcileContext {
            context,
            object,
            campaign: &self.limited,
            uid,
            memory: &self.memory,
            class: &self.class,
            class_exists: self.class_exists,
            id: &self.id,
            cluster: &self.cluster,
            known_as: &self.known_as,
            systems: &self.systems,
        }
    }
}

/// Finds what the campaign is, and puts the finalizers on its class and on itself. I/O: Kubernetes.
///
/// # Errors
/// The campaign may not use its class, something that the class names is missing, or Kubernetes could not be asked.
pub(in crate::reconcile) async fn resolve(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
) -> Result<Resolved, ReconcileError> {
    admitted(campaign, context).await?;
    let (class, systems) = admission::resolve(campaign, context).await?;
    let id = identified(campaign, &class, &systems)?;
    let cluster = context.cluster()?;
    let existing = context.classes.find(|each| each.name_any() == class.name_any());
    if let Some(class) = &existing {
        // Before the campaign's own: from here on the class is used.
        in_use::write(class, context, in_use::finalizer_change(class, 1)).await?;
    }
    ensure_finalizer(campaign, context).await?;
    let replicas = |component| {
        let namespace = campaign.namespace().unwrap_or_default();
        ReplicaCount::of(context.deployment(&namespace, &object_name(campaign, component)).as_deref()).current
    };
    // Pods are found for what the campaign may have; what it asks for beyond that, the plan refuses.
    let has = InForce::in_status(campaign.status.as_ref())
        .with_pods(replicas(Component::Issuer), replicas(Component::Consumer));
    let (limited, _) = limits::hold(campaign, &class.spec.limits, &has);
    let memory = context.memory.of(uid);
    let known_as = memory.get().known_as.unwrap_or_else(|| cluster.name().to_owned());
    Ok(Resolved { class, class_exists: existing.is_some(), systems, id, cluster, limited, memory, known_as })
}

async fn ensure_finalizer(campaign: &CouponCampaign, context: &Context) -> Result<(), kube::Error> {
    if campaign.finalizers().iter().any(|each| each == FINALIZER) {
        return Ok(());
    }
    let mut finalizers = campaign.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    // The resourceVersion makes the write fail if somebody else changed the list meanwhile.
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": campaign.resource_version()}});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    campaigns(campaign, context).patch(&campaign.name_any(), &parameters, &Patch::Merge(patch)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::fixtures;
    use crate::issuer_client::serving::Service;
    use crate::reconcile::publish;
    use crate::reconcile::report::{self, Blind};

    /// Wrong: what the operator writes beside the pods bears the name `unknown`, and nobody sees who wrote it.
    #[tokio::test]
    async fn what_is_written_bears_our_name() {
        let (context, sent) = fixtures::context();
        let campaign = fixtures::campaign();
        ensure_finalizer(&campaign, &context).await.unwrap();
        in_use::write(&fixtures::class(), &context, in_use::finalizer_change(&fixtures::class(), 1)).await.unwrap();
        let status = report::status_without_class(
            &campaign,
            &ReconcileError::PassTimeout,
            &Blind { ready: 0, service: &Service::Silent, now_ms: 0 },
            Timestamp::now(),
        );
        publish::status(&campaign, &context, "0001", status, false).await.unwrap();
        let sent = sent.lock().unwrap().clone();
        assert_eq!(sent.len(), 3, "{sent:?}");
        for (uri, _) in sent {
            assert!(uri.contains("fieldManager=coupon-operator"), "{uri}");
        }
    }
}
