//! The stream of passes: watches in, passes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, controller, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::OnceCell;

use crate::api::{CampaignClass, CouponCampaign};
use crate::children::MANAGED_BY;
use crate::class_use::LastKnown;
use crate::config::Config;
use crate::connections::SystemsByClass;
use crate::context::{Context, Memories};
use crate::epoch::Queue;
use crate::metrics::Metrics;
use crate::pods::PodClient;
use crate::progress::{Part, Progress};
use crate::reconcile::{deadline, reconcile, turn};
use crate::unreadable::UnreadableObjects;
use crate::way;

/// Watches that failed are tried again after this long at most: all of them share one pause.
const WATCH_PAUSE: Duration = Duration::from_secs(5);
/// And after this long at first.
const WATCH_PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Pauses between tries of a watch: doubled up to a low cap, since all watches share one pause.
#[derive(Debug, Clone)]
struct WatchPause(Duration);

impl Default for WatchPause {
    fn default() -> Self {
        Self(WATCH_PAUSE_FIRST)
    }
}

impl Iterator for WatchPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(WATCH_PAUSE);
        Some(pause)
    }
}

impl Backoff for WatchPause {
    fn reset(&mut self) {
        self.0 = WATCH_PAUSE_FIRST;
    }
}

/// Watches a kind and keeps a copy of every object.
fn watched<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    progress: &Arc<Progress>,
    unreadable: &Arc<UnreadableObjects>,
    slim: fn(&mut K),
) -> (Store<K>, impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let (progress, unreadable) = (Arc::clone(progress), Arc::clone(unreadable));
    let stream = watcher(api, config)
        .backoff(WatchPause::default())
        .filter_map(move |event| std::future::ready(event.map(|event| unreadable.decoded(event)).transpose()))
        .modify(move |object| {
            // What other managers wrote is of no use to us, except on Deployments, where it tells who owns replicas.
            if K::kind(&()) != "Deployment" {
                object.managed_fields_mut().clear();
            }
            slim(object);
        })
        .inspect(move |event| match event {
            Ok(_) => progress.watch_works(&K::kind(&())),
            Err(error) => progress.watch_failed(&K::kind(&()), error.to_string()),
        })
        .reflect(writer)
        .touched_objects();
    (store, stream)
}

/// Runs until told to stop.
pub async fn run(
    client: Client,
    config: Config,
    metrics: Metrics,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let reporter = Reporter { controller: "coupon-operator".to_owned(), instance: Some(config.pod_name.clone()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let (unreadable, naming) = UnreadableObjects::new(metrics.clone(), recorder.clone());
    let unreadable = Arc::new(unreadable);
    let everything = watcher::Config::default();
    let ours = watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
    let (campaigns, campaign_stream) =
        watched::<CouponCampaign>(Api::all(client.clone()), everything.clone(), &progress, &unreadable, |_| {});
    let (classes, class_stream) =
        watched::<CampaignClass>(Api::all(client.clone()), everything.clone(), &progress, &unreadable, |_| {});
    let (namespaces, namespace_stream) =
        watched::<Namespace>(Api::all(client.clone()), everything, &progress, &unreadable, |_| {});
    let (deployments, deployment_stream) =
        watched::<Deployment>(Api::all(client.clone()), ours.clone(), &progress, &unreadable, |_| {});
    // Slices bear the labels of their Service.
    let (endpoints, endpoint_stream) =
        watched::<EndpointSlice>(Api::all(client.clone()), ours, &progress, &unreadable, way::slim);
    let of_ours = format!("app.kubernetes.io/managed-by={MANAGED_BY},app.kubernetes.io/component in (issuer,consumer)");
    let (pods, pod_stream) = watched::<Pod>(
        Api::all(client.clone()),
        watcher::Config::default().labels(&of_ours),
        &progress,
        &unreadable,
        |pod| pod.spec = None,
    );
    let (autoscalers, autoscaler_stream) = watched::<HorizontalPodAutoscaler>(
        Api::all(client.clone()),
        watcher::Config::default(),
        &progress,
        &unreadable,
        |autoscaler| autoscaler.status = None,
    );
    let http = match PodClient::new() {
        Ok(http) => http,
        Err(error) => return tracing::error!(%error, "there is no way to speak to pods"),
    };
    let context = Arc::new(Context {
        recorder,
        systems: SystemsByClass::default(),
        campaigns: campaigns.clone(),
        classes,
        last_classes: LastKnown::default(),
        namespaces,
        deployments,
        pods,
        autoscalers,
        endpoints,
        unreadable,
        filled: OnceCell::new(),
        started: Instant::now(),
        metrics,
        http,
        memory: Memories::default(),
        repairs: Queue::default(),
        class_doubted: tokio::sync::Notify::new(),
        client,
        config,
    });
    let of_class = campaigns.clone();
    let of_namespace = campaigns.clone();
    // Our own status writes must not start the next pass: only what people change does, and time.
    let campaign_stream = campaign_stream.predicate_filter(changed_by_people, PredicateConfig::default());
    let class_stream = class_stream
        .predicate_filter(predicates::generation.combine(predicates::annotations), PredicateConfig::default());
    let namespace_stream = namespace_stream.predicate_filter(predicates::labels, PredicateConfig::default());
    let shutdown = shutdown.shared();
    let classes_watched = crate::class_status::run(Arc::clone(&context), shutdown.clone());
    let stopping = crate::stop::run(Arc::clone(&context));
    let passing = Arc::clone(&progress);
    let campaigns_watched = Controller::for_stream(campaign_stream, campaigns)
        // Without a bound of its own: each class has one, so that passes which hang take turns from those of their class only.
        .with_config(controller::Config::default())
        .trigger_backoff(WatchPause::default())
        .owns_stream(deployment_stream)
        .watches_stream(class_stream, move |class: CampaignClass| {
            let name = class.name_any();
            refs(&of_class, move |each| {
                let status = each.status.as_ref().and_then(|status| status.class_name.as_ref());
                each.spec.class_name.as_ref().or(status).is_none_or(|used| *used == name)
            })
        })
        .watches_stream(namespace_stream, move |namespace: Namespace| {
            let name = namespace.name_any();
            refs(&of_namespace, move |each| each.namespace().as_deref() == Some(name.as_str()))
        })
        .graceful_shutdown_on(shutdown)
        .run(
            move |campaign: Arc<CouponCampaign>, context| {
                let name = ObjectRef::from_obj(campaign.as_ref()).to_string();
                let passing = Arc::clone(&passing);
                async move {
                    let _turn = turn(&campaign, &context).await;
                    let under_way = passing.pass(name, deadline(campaign.spec.total_quantity));
                    let result = reconcile(campaign, context).await;
                    drop(under_way);
                    result
                }
            },
            |_, error, _| {
                // Passes handle their own errors; this is for what the runtime itself reports.
                tracing::warn!(%error, "pass failed");
                controller::Action::requeue(WATCH_PAUSE)
            },
            context,
        )
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "controller");
            }
        });
    // Looked up by passes; nothing starts a pass.
    let kept = async {
        let pods = pod_stream.for_each(|_| std::future::ready(()));
        let autoscalers = autoscaler_stream.for_each(|_| std::future::ready(()));
        let endpoints = endpoint_stream.for_each(|_| std::future::ready(()));
        tokio::join!(pods, autoscalers, endpoints, naming);
    };
    let passes = async { tokio::join!(campaigns_watched, classes_watched) };
    tokio::select! {
        _ = passes => {}
        () = stopping => tracing::error!("suspending has ended by itself"),
        _ = kept => tracing::error!("a watch has ended by itself"),
        // In the same task as the controller: it ticks only while that is polled.
        () = progress.beat(Part::Controller) => {}
    }
}

/// What people change: spec, annotations, deletion, finalizers. Not status, which is ours.
fn changed_by_people(campaign: &CouponCampaign) -> Option<u64> {
    let deleting = |campaign: &CouponCampaign| Some(u64::from(campaign.meta().deletion_timestamp.is_some()));
    predicates::generation
        .combine(predicates::annotations)
        .combine(predicates::finalizers)
        .combine(deleting)
        .hash_property(campaign)
}

fn refs(
    campaigns: &Store<CouponCampaign>,
    concerned: impl Fn(&CouponCampaign) -> bool,
) -> Vec<ObjectRef<CouponCampaign>> {
    campaigns.state().iter().filter(|each| concerned(each)).map(|each| ObjectRef::from_obj(each.as_ref())).collect()
}
