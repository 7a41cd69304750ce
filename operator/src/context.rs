//! What every pass shares: clients, what the watches know, metrics, and the memories of campaigns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use tokio::sync::{Notify, OnceCell};

use crate::api::{CampaignClass, CouponCampaign};
use crate::class::in_use::LastKnown;
use crate::class::pools::{Systems, SystemsByClass};
use crate::config::Config;
use crate::controller::unreadable::UnreadableObjects;
use crate::error::ReconcileError;
use crate::issuer_client::endpoints;
use crate::issuer_client::pods::PodClient;
use crate::ledger::epoch::Queue;
use crate::metrics::Metrics;
use crate::reconcile::Cluster;
use crate::reconcile::memory::Memories;
use crate::workloads::{Component, selector};

/// How long a pass waits for the watches to show what there is.
const WATCHES_FILLED: Duration = Duration::from_secs(30);

/// What every pass shares.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// How the operator runs.
    pub config: Config,
    /// Connections to Kafka, Redis and databases.
    pub systems: SystemsByClass,
    /// Every campaign, as the watch knows it.
    pub campaigns: Store<CouponCampaign>,
    /// Every class.
    pub classes: Store<CampaignClass>,
    /// Classes as they were last seen, for campaigns whose class is gone.
    pub last_classes: LastKnown,
    /// Every namespace.
    pub namespaces: Store<Namespace>,
    /// Every Deployment that we made.
    pub deployments: Store<Deployment>,
    /// Every pod that is ours.
    pub pods: Store<Pod>,
    /// Every HorizontalPodAutoscaler, by what it scales.
    pub autoscalers: Store<HorizontalPodAutoscaler>,
    /// What our Services lead to.
    pub endpoints: Store<EndpointSlice>,
    /// Objects that cannot be decoded as they are now.
    pub(crate) unreadable: Arc<UnreadableObjects>,
    /// Set once every watch has shown what there is.
    pub(crate) filled: OnceCell<()>,
    /// The zero of a clock that never jumps.
    pub started: Instant,
    /// Publishes events.
    pub recorder: Recorder,
    /// What the operator counts.
    pub metrics: Metrics,
    /// Speaks to pods.
    pub http: PodClient,
    /// What is remembered of each campaign, by UID.
    pub memory: Memories,
    /// Whose repair may go on.
    pub repairs: Queue,
    /// Classes are to be looked at again at once, those that are doubted.
    pub(crate) class_doubted: Notify,
}

impl Context {
    /// Whether a namespace is being deleted.
    pub(crate) fn namespace_is_leaving(&self, name: &str) -> bool {
        let found = self.namespaces.find(|namespace| namespace.name_any() == name);
        found.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }

    /// This cluster, as ledgers name it.
    ///
    /// # Errors
    /// It has no namespace `kube-system`, and nobody gave it another name.
    pub(crate) fn cluster(&self) -> Result<Cluster, ReconcileError> {
        let uid = self.namespaces.find(|each| each.name_any() == "kube-system").and_then(|found| found.uid());
        Cluster::of(self.config.cluster_id.as_deref(), uid.as_deref()).ok_or(ReconcileError::ClusterUnknown)
    }

    /// The campaign as the watch knows it now, if it is still the same object.
    pub(crate) fn present(&self, campaign: &CouponCampaign) -> Option<Arc<CouponCampaign>> {
        let present = self.campaigns.get(&ObjectRef::from_obj(campaign))?;
        (present.uid() == campaign.uid()).then_some(present)
    }

    /// Whether people have changed what it asks for since it was read, or have deleted it. A pass may take long where a system does not answer.
    pub(crate) fn is_overtaken(&self, campaign: &CouponCampaign) -> bool {
        self.present(campaign).is_some_and(|present| present.metadata.generation != campaign.metadata.generation)
    }

    /// A campaign has met something else than the last look at its class found: it is looked at again at once.
    pub(crate) fn doubt(&self, systems: &Systems) {
        if systems.doubt() {
            self.class_doubted.notify_one();
        }
    }

    /// A Deployment of ours, as the watch knows it.
    pub fn deployment(&self, namespace: &str, name: &str) -> Option<Arc<Deployment>> {
        self.deployments.find(|each| each.name_any() == name && each.namespace().as_deref() == Some(namespace))
    }

    /// Waits until every watch has shown what there is, for at most [`WATCHES_FILLED`]. Before that a store that is empty says
    /// nothing: a class that it does not show would be taken for missing, and running pods for none.
    ///
    /// # Errors
    /// They did not come in time, or a watch has ended.
    pub async fn watches_filled(&self) -> Result<(), ReconcileError> {
        let all = async {
            tokio::try_join!(
                self.campaigns.wait_until_ready(),
                self.classes.wait_until_ready(),
                self.namespaces.wait_until_ready(),
                self.deployments.wait_until_ready(),
                self.pods.wait_until_ready(),
                self.autoscalers.wait_until_ready(),
                self.endpoints.wait_until_ready(),
            )
        };
        // A store wakes only the last of those that wait for it: one waits, and all others for that one.
        let once = self.filled.get_or_try_init(|| async { all.await.map(drop) });
        match tokio::time::timeout(WATCHES_FILLED, once).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ReconcileError::WatchesNotFilled),
        }
    }

    /// Milliseconds of a clock that never jumps.
    pub fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// The HorizontalPodAutoscaler that has a Deployment, if there is one.
    pub fn autoscaler_of(&self, namespace: &str, deployment: &str) -> Option<String> {
        let found = self.autoscalers.find(|each| {
            let target = each.spec.as_ref().map(|spec| &spec.scale_target_ref);
            each.namespace().as_deref() == Some(namespace)
                && target.is_some_and(|target| target.kind == "Deployment" && target.name == deployment)
        });
        found.map(|each| each.name_any())
    }

    /// Whether requests to a Service reach a pod, as far as Kubernetes has found.
    pub fn has_ready_endpoint(&self, namespace: &str, service: &str) -> bool {
        let is_of = |slice: &EndpointSlice| {
            slice.namespace().as_deref() == Some(namespace)
                && slice.labels().get(endpoints::SERVICE_LABEL).is_some_and(|name| name == service)
        };
        let slices: Vec<_> = self.endpoints.state().into_iter().filter(|slice| is_of(slice)).collect();
        endpoints::has_ready_endpoint(&slices)
    }

    /// Whether a Service is there, as far as its slices show: Kubernetes makes one of each that has a selector, and removes it with it.
    pub(crate) fn shows_service(&self, namespace: &str, service: &str) -> bool {
        let is_of = |slice: &EndpointSlice| {
            slice.namespace().as_deref() == Some(namespace)
                && slice.labels().get(endpoints::SERVICE_LABEL).is_some_and(|name| name == service)
        };
        self.endpoints.find(is_of).is_some()
    }

    /// A campaign's pods of one kind.
    pub fn pods_of(&self, campaign: &CouponCampaign, component: Component) -> Vec<Arc<Pod>> {
        let wanted = selector(campaign, component);
        let ours = |pod: &Pod| {
            pod.namespace() == campaign.namespace()
                && wanted.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
        };
        self.pods.state().into_iter().filter(|pod| ours(pod)).collect()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::fixtures;

    /// Wrong: a pass that a slow system held up brings in what was asked for before, over a suspension that somebody has asked for since.
    #[tokio::test]
    async fn a_pass_is_overtaken_once_the_spec_is_another() {
        let read = fixtures::campaign();
        let changed = |change: &dyn Fn(&mut CouponCampaign)| {
            let mut campaign = read.clone();
            change(&mut campaign);
            campaign
        };
        let newer = |campaign: &mut CouponCampaign| {
            campaign.metadata.generation = Some(read.metadata.generation.unwrap_or(0) + 1);
        };
        for (what, present, expected) in [
            ("as it was", Some(read.clone()), false),
            ("status was written", Some(changed(&|each| each.metadata.resource_version = Some("9".into()))), false),
            ("suspended meanwhile", Some(changed(&newer)), true),
            (
                "another object of that name",
                Some(changed(&|each| (each.metadata.uid = Some("other".into()), newer(each)).1)),
                false,
            ),
            ("gone", None, false),
        ] {
            let (mut context, _) = fixtures::context();
            let (campaigns, mut writer) = store();
            present.into_iter().for_each(|each| writer.apply_watcher_event(&Event::Apply(each)));
            context.campaigns = campaigns;
            assert_eq!(context.is_overtaken(&read), expected, "{what}");
        }
    }
}
