//! What starts passes over campaigns, and everything that runs beside them.

use std::sync::Arc;
use std::time::Instant;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, controller, predicates};
use kube::{Client, Resource, ResourceExt};
use tokio::sync::OnceCell;

use crate::api::{CampaignClass, CouponCampaign};
use crate::class::in_use::LastKnown;
use crate::class::pools::SystemsByClass;
use crate::config::Config;
use crate::context::Context;
use crate::controller::health::{Health, Subsystem};
use crate::controller::unreadable::UnreadableObjects;
use crate::controller::watches::{Changes, WatchBackoff, Watches};
use crate::controller::{class, suspension};
use crate::issuer_client::pods::PodClient;
use crate::ledger::epoch::Queue;
use crate::metrics::Metrics;
use crate::reconcile::memory::Memories;
use crate::reconcile::{deadline, error_policy, reconcile, turn};

/// Runs until told to stop.
pub async fn run(
    client: Client,
    config: Config,
    metrics: Metrics,
    health: Arc<Health>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let reporter = Reporter { controller: "coupon-operator".to_owned(), instance: Some(config.pod_name.clone()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let (unreadable, naming) = UnreadableObjects::new(metrics.clone(), recorder.clone());
    let unreadable = Arc::new(unreadable);
    let watches = Watches::new(&client, &health, &unreadable);
    let http = match PodClient::new() {
        Ok(http) => http,
        Err(error) => return tracing::error!(%error, "the HTTP client for pods cannot be set up"),
    };
    let context = Arc::new(Context {
        recorder,
        systems: SystemsByClass::default(),
        campaigns: watches.campaigns.store,
        classes: watches.classes.store,
        last_classes: LastKnown::default(),
        namespaces: watches.namespaces.store,
        deployments: watches.deployments.store,
        pods: watches.pods.store,
        autoscalers: watches.autoscalers.store,
        endpoints: watches.endpoints.store,
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
    let triggers = Triggers {
        campaigns: watches.campaigns.changes,
        classes: watches.classes.changes,
        namespaces: watches.namespaces.changes,
        deployments: watches.deployments.changes,
    };
    let shutdown = shutdown.shared();
    let classes = class::run(Arc::clone(&context), watches.class_changes, shutdown.clone());
    let stopping = suspension::run(Arc::clone(&context));
    let forgetting = super::gone::run(Arc::clone(&context));
    let campaigns = run_passes(triggers, context, Arc::clone(&health), shutdown);
    let copies = keep_copies(watches.pods.changes, watches.autoscalers.changes, watches.endpoints.changes);
    let kept = async { tokio::join!(copies, naming) };
    tokio::select! {
        _ = async { tokio::join!(campaigns, classes) } => {}
        () = stopping => tracing::error!("the task that suspends campaigns has ended by itself"),
        () = forgetting => tracing::error!("the task that forgets campaigns that are gone has ended by itself"),
        _ = kept => tracing::error!("a watch has ended by itself"),
        // In the same task as the controller: it ticks only while that is polled.
        () = health.beat(Subsystem::Controller) => {}
    }
}

/// Keeps copies up to date in which passes look things up. No change in them starts a pass.
async fn keep_copies(
    pods: Changes<Pod>,
    autoscalers: Changes<HorizontalPodAutoscaler>,
    endpoints: Changes<EndpointSlice>,
) {
    let pods = pods.for_each(|_| std::future::ready(()));
    let autoscalers = autoscalers.for_each(|_| std::future::ready(()));
    let endpoints = endpoints.for_each(|_| std::future::ready(()));
    tokio::join!(pods, autoscalers, endpoints);
}

/// What starts passes.
struct Triggers {
    campaigns: Changes<CouponCampaign>,
    classes: Changes<CampaignClass>,
    namespaces: Changes<Namespace>,
    deployments: Changes<Deployment>,
}

/// Starts passes until told to stop.
async fn run_passes(
    triggers: Triggers,
    context: Arc<Context>,
    health: Arc<Health>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (of_class, of_namespace) = (context.campaigns.clone(), context.campaigns.clone());
    // Our own status writes must not start the next pass: only what people change does, and time.
    let campaigns = triggers.campaigns.predicate_filter(changed_by_people, PredicateConfig::default());
    let classes = triggers
        .classes
        .predicate_filter(predicates::generation.combine(predicates::annotations), PredicateConfig::default());
    let namespaces = triggers.namespaces.predicate_filter(predicates::labels, PredicateConfig::default());
    Controller::for_stream(campaigns, context.campaigns.clone())
        // Without a bound of its own: each class has one, so that passes which hang take turns from those of their class only.
        .with_config(controller::Config::default())
        .trigger_backoff(WatchBackoff::default())
        .owns_stream(triggers.deployments)
        .watches_stream(classes, move |class: CampaignClass| {
            let name = class.name_any();
            refs(&of_class, move |each| {
                let status = each.status.as_ref().and_then(|status| status.class_name.as_ref());
                each.spec.class_name.as_ref().or(status).is_none_or(|used| *used == name)
            })
        })
        .watches_stream(namespaces, move |namespace: Namespace| {
            let name = namespace.name_any();
            refs(&of_namespace, move |each| each.namespace().as_deref() == Some(name.as_str()))
        })
        .graceful_shutdown_on(shutdown)
        .run(
            move |campaign: Arc<CouponCampaign>, context| {
                let name = ObjectRef::from_obj(campaign.as_ref()).to_string();
                let health = Arc::clone(&health);
                async move {
                    let _turn = turn(&campaign, &context).await;
                    let under_way = health.pass(name, deadline(campaign.spec.total_quantity));
                    let result = reconcile(campaign, context).await;
                    drop(under_way);
                    result
                }
            },
            |campaign, error, context| error_policy(&campaign, error, &context),
            context,
        )
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "controller");
            }
        })
        .await;
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
