//! Tells the platform team whether a class works: looks at each system once in a while and writes the class' status.

use std::sync::Arc;
use std::time::Duration;

use campaign::stock::StockError;
use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::{Controller, WatchStreamExt, controller, predicates, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::api::conditions::{self, Report};
use crate::api::{CampaignClass, CampaignClassStatus, ConditionType};
use crate::children::apply::MANAGER;
use crate::connections::Systems;
use crate::context::Context;
use crate::error::{stock_advice, stock_reason, table_advice, table_reason};
use crate::unreadable::UnreadableObjects;

/// How often a class that works is looked at.
const CALM: Duration = Duration::from_secs(60);
/// How often one that does not.
const TROUBLED: Duration = Duration::from_secs(10);

/// Runs until told to stop.
pub(crate) async fn run(
    context: Arc<Context>,
    unreadable: Arc<UnreadableObjects>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let api: Api<DeserializeGuard<CampaignClass>> = Api::all(context.client.clone());
    let (store, writer) = kube::runtime::reflector::store();
    let stream = watcher(api, watcher::Config::default())
        .default_backoff()
        .filter_map(move |event| std::future::ready(event.map(|event| unreadable.decoded(event)).transpose()))
        .reflect(writer)
        .touched_objects()
        .predicate_filter(predicates::generation, Default::default());
    Controller::for_stream(stream, store)
        .with_config(controller::Config::default().concurrency(2))
        .graceful_shutdown_on(shutdown)
        .run(look, |_, _: &kube::Error, _| Action::requeue(TROUBLED), context)
        .for_each(|_| async {})
        .await;
}

async fn look(class: Arc<CampaignClass>, context: Arc<Context>) -> Result<Action, kube::Error> {
    use ConditionType as C;
    let mut reports = Vec::new();
    let mut next = class.status.clone().unwrap_or_default();
    if context.watches_filled().await.is_err() {
        return Ok(Action::requeue(TROUBLED));
    }
    match context.systems.get(&context.client, &class, &context.config.pod_namespace).await {
        Err(error) => {
            reports.push(Report::no(C::CredentialsReady, error.reason(), error.to_string()));
        }
        Ok(systems) => {
            reports.push(Report::yes(C::CredentialsReady, "SecretsRead", "the Secrets hold what is needed"));
            reports.extend(systems_reports(&systems, &mut next).await);
        }
    }
    let broken = reports.iter().find(|report| report.status != Some(true)).cloned();
    let ready = match &broken {
        None => Report::yes(C::Ready, "AllReachable", "Kafka, Redis and the database answer"),
        Some(broken) => Report::no(C::Ready, broken.reason, broken.message.clone()),
    };
    reports.push(ready);
    let name = class.name_any();
    let all = context.campaigns.state();
    let users =
        all.iter().filter(|each| each.status.as_ref().and_then(|status| status.class_name.as_ref()) == Some(&name));
    next.campaigns = i64::try_from(users.count()).ok();
    next.observed_generation = class.metadata.generation;
    conditions::merge(&mut next.conditions, &reports, class.metadata.generation.unwrap_or(0), Timestamp::now());
    write(&class, &context, next).await?;
    Ok(Action::requeue(if broken.is_some() { TROUBLED } else { CALM }))
}

async fn systems_reports(systems: &Systems, next: &mut CampaignClassStatus) -> Vec<Report> {
    use ConditionType as C;
    let redis = async {
        let mut connection = systems.redis().await?;
        let pong: Result<String, StockError> =
            redis::cmd("PING").query_async(&mut connection).await.map_err(StockError::from);
        if pong.is_err() {
            systems.forget_redis().await;
        }
        pong
    };
    let (kafka, redis, database) = tokio::join!(systems.kafka.describe_cluster(), redis, systems.migrate());
    vec![
        match kafka {
            Ok(found) => {
                next.kafka_cluster_id = Some(found.cluster_id);
                Report::yes(C::KafkaReady, "Available", "Kafka answers")
            }
            Err(error) => Report::no(C::KafkaReady, error.reason(), error.to_string()),
        },
        match redis {
            Ok(_) => Report::yes(C::RedisReady, "Available", "Redis answers"),
            Err(error) => Report::no(C::RedisReady, stock_reason(&error), stock_advice(&error)),
        },
        match database {
            Ok(()) => Report::yes(C::DatabaseReady, "Available", "the tables are of the right version"),
            Err(error) => Report::no(C::DatabaseReady, table_reason(&error), table_advice(&error)),
        },
    ]
}

async fn write(class: &CampaignClass, context: &Context, next: CampaignClassStatus) -> Result<(), kube::Error> {
    if class.status.as_ref() == Some(&next) {
        return Ok(());
    }
    let classes: Api<CampaignClass> = Api::all(context.client.clone());
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"status": next}));
    classes.patch_status(&class.name_any(), &parameters, &patch).await?;
    Ok(())
}
