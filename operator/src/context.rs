//! What every pass shares: clients, what the watches know, and what is remembered from pass to pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use tokio::sync::{Notify, OnceCell};

use crate::api::{CampaignClass, CouponCampaign, Phase, RolledOut};
use crate::children::{Component, ControlTokens, selector};
use crate::class_use::LastKnown;
use crate::config::Config;
use crate::connections::{Systems, SystemsByClass};
use crate::epoch::Queue;
use crate::error::ReconcileError;
use crate::metrics::Metrics;
use crate::pods::PodClient;
use crate::pressure::Counts;
use crate::reconcile::Cluster;
use crate::reconcile::adoption::Adoption;
use crate::reconcile::epochs::EpochWatch;
use crate::reconcile::notices::Told;
use crate::reconcile::numbers::Policies;
use crate::reconcile::observe::Known;
use crate::reconcile::opening::Met;
use crate::reconcile::proven::Given;
use crate::reconcile::served::ServedWatch;
use crate::reconcile::still::StillWatch;
use crate::reconcile::strays::StraysWatch;
use crate::reconcile::tampering::TermsSeen;
use crate::reconcile::unread::UnreadWatch;
use crate::repair::compare::CompareWatch;
use crate::repair::scan::Scan;
use crate::repair::watch::Watch;
use crate::serving::ServingWatch;
use crate::stop::Stop;
use crate::unreadable::UnreadableObjects;
use crate::way;

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
    pub fn leads_somewhere(&self, namespace: &str, service: &str) -> bool {
        let is_of = |slice: &EndpointSlice| {
            slice.namespace().as_deref() == Some(namespace)
                && slice.labels().get(way::SERVICE_LABEL).is_some_and(|name| name == service)
        };
        let slices: Vec<_> = self.endpoints.state().into_iter().filter(|slice| is_of(slice)).collect();
        way::leads_somewhere(&slices)
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

/// What a process remembers of a campaign. Losing it costs some reads, nothing else.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// What need not be read again.
    pub known: Known,
    /// When missing winners can be told from those on their way.
    pub watch: Watch,
    /// Where the looks for missing winners are, and what they found.
    pub scan: Scan,
    /// How far rows and Redis are compared by rank.
    pub(crate) compare: CompareWatch,
    /// Whether the ledger was another object's.
    pub(crate) adoption: Adoption,
    /// Failures in a row.
    pub failures: u32,
    /// What became of its epochs.
    pub(crate) epochs: EpochWatch,
    /// The record of a later version that the last attempt to open one met in the topic.
    pub(crate) newer_met: Option<Met>,
    /// The ledger was taken over from another cluster, and no epoch was opened since.
    pub(crate) taken_over: bool,
    /// When the status was last written; at first, when the campaign was first looked at.
    pub status_written: Option<Instant>,
    /// The phase that the last pass found.
    pub phase_told: Option<Phase>,
    /// When the counters in SQL were last written.
    pub issued_recorded: Option<(u64, Instant)>,
    /// What the policies of scaling have learned.
    pub policies: Policies,
    /// What the issuers counted last.
    pub counts: Counts,
    /// Whether they serve.
    pub(crate) serving: ServingWatch,
    /// Since when offsets cannot be read.
    pub(crate) unread: UnreadWatch,
    /// Since when users get nothing though the window is open.
    pub(crate) served: ServedWatch,
    /// Since when consumers store nothing though records wait.
    pub(crate) still: StillWatch,
    /// Children other than Deployments: what was last wanted, and when it was last looked at.
    pub children: Option<(String, Instant)>,
    /// What the pods connect to.
    pub(crate) given: Given,
    /// Since when the campaign is known to be closed in Redis for the issuers of the cluster that had the ledger before, and at which
    /// epoch.
    pub(crate) other_closed: Option<(u64, Instant)>,
    /// Issuing was closed for the campaign's deletion.
    pub closed: bool,
    /// What authenticates us to the issuers.
    pub tokens: Option<ControlTokens>,
    /// The text of the last warning event, so that the same one is not sent with every pass.
    pub warned: Option<String>,
    /// What became of the last try to stop issuing at once, and when.
    pub(crate) stop: Option<(Stop, Instant)>,
    /// What an event has told of pods that do not come up, by kind of pod.
    pub ailing_told: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// What status said of rows, before this process wrote any, is remembered.
    pub status_heard: bool,
    /// What the Service leads to besides the issuers.
    pub(crate) strays: StraysWatch,
    /// The terms that Redis had.
    pub terms_seen: TermsSeen,
    /// The refusals that an event has told.
    pub refusals_told: Vec<String>,
    /// Pods that should be replaced, and until when that waits.
    pub(crate) waiting: Vec<(Component, String)>,
    /// Kinds of pods that were told to change, while their Deployment's own figures are of the time before.
    pub(crate) begun: Vec<Component>,
    /// What the annotation about rollouts has brought about.
    pub(crate) rolled_out: Option<RolledOut>,
    /// When it was last tried to remove keys that are not needed any more, if they were not.
    pub(crate) removal_tried: Option<Instant>,
    /// When the size of its keys was last asked for.
    pub(crate) sized: Option<Instant>,
    /// What else events have told.
    pub(crate) told: Told,
    /// What the ledger called this cluster when it was last read.
    pub(crate) known_as: Option<String>,
}

impl Memory {
    /// Takes in what a pass has learned. Where counts were forgotten, looks for missing winners begin at the first rank.
    pub fn keep(&mut self, known: Known) {
        if self.known.rows.pages.generation() != known.rows.pages.generation() {
            self.scan = Scan::default();
        }
        self.known = known;
    }
}

/// The memories of all campaigns.
#[derive(Debug, Default)]
pub struct Memories(Mutex<HashMap<String, Memory>>);

impl Memories {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        // Memories are plain values: one that a panicking pass left behind is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a campaign.
    pub fn get(&self, uid: &str) -> Memory {
        self.lock().get(uid).cloned().unwrap_or_default()
    }

    /// Changes what is remembered.
    pub fn update<T>(&self, uid: &str, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(self.lock().entry(uid.to_owned()).or_default())
    }

    /// Forgets a campaign that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}
