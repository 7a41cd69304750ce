//! Reports to the platform team whether a class works: measures it from time to time and writes the class' status.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, PredicateConfig, WatchStreamExt, controller, predicates};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::api::conditions::{self, Report};
use crate::api::{CampaignClass, CampaignClassStatus, ConditionType};
use crate::class::ClassError;
use crate::class::authentication;
use crate::class::in_use::{self, FinalizerChange};
use crate::class::measure::clocks::FAR_APART;
use crate::class::measure::{measure, pods, routes};
use crate::class::pinned;
use crate::class::pools::{SECRETS_FRESH, Systems};
use crate::context::Context;
use crate::controller::unreadable::UNREADABLE;
use crate::controller::watches::Changes;
use crate::error::ReconcileError;
use crate::events;
use crate::kafka::topics::probe;
use crate::reconcile::contain;
use crate::workloads::apply::MANAGER;

/// How often a class that works is measured.
const CALM: Duration = Duration::from_secs(60);
/// How often it is asked whether its Secrets have changed: what is new is measured at once.
const AGAIN: Duration = SECRETS_FRESH;
/// How soon one that does not is looked at again, at first; the pause doubles up to the second.
const TROUBLED: Duration = Duration::from_secs(2);
const TROUBLED_LONGEST: Duration = Duration::from_secs(20);
/// How often it is asked whether campaigns still use a class that was deleted.
const LEAVING: Duration = Duration::from_secs(2);
/// Between how a class works and what is wrong with it all the same.
const BUT: &str = "; but ";
/// The reason of an event.
const SEVERAL_DEFAULTS: &str = "SeveralDefaultClasses";
/// How often connections of classes that are gone are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Runs until told to stop. Every class is looked at by itself, so that none waits for another.
pub(crate) async fn run(
    context: Arc<Context>,
    changes: Changes<CampaignClass>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let changes = changes.predicate_filter(predicates::generation, PredicateConfig::default());
    let reconciling = Controller::for_stream(changes, context.classes.clone())
        .with_config(controller::Config::default())
        .graceful_shutdown_on(shutdown)
        .reconcile_all_on(doubts(Arc::clone(&context)))
        .run(
            |class, context| async move {
                let reconciling = reconcile(Arc::clone(&class), Arc::clone(&context));
                finish(&class, &context, reconciling).await
            },
            |_, _: &kube::Error, _| Action::requeue(TROUBLED_LONGEST),
            Arc::clone(&context),
        )
        .for_each(|_| async {});
    tokio::select! {
        () = reconciling => {}
        () = sweep(&context) => {}
    }
}

/// When campaigns have met something that the last look at their class did not find. A class that nobody doubts costs nothing.
fn doubts(context: Arc<Context>) -> impl Stream<Item = ()> + Send + Sync {
    futures::stream::unfold(context, |context| async move {
        context.class_doubted.notified().await;
        Some(((), context))
    })
}

/// Closes what leads to the servers of classes that are gone. Never ends.
async fn sweep(context: &Context) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Before the watch has shown what there is, every class would be taken for gone.
        if context.watches_filled().await.is_ok() {
            // Read first: a class that comes in between has no slot that could be taken for an old one.
            let known = context.systems.classes();
            let classes = context.classes.state();
            let there = classes.iter().map(|class| class.name_any()).collect();
            // A class whose names cannot be used has no topic of looks.
            let named =
                classes.iter().filter_map(|class| Some((class.spec.kafka.names.checked().ok()?, &class.spec.realm)));
            let probed = named.map(|(names, realm)| probe::names(&names, realm).topic).collect();
            let there = &there | &context.last_classes.retain(&there, &context.campaigns.state());
            if !known.is_subset(&there) {
                context.systems.keep_only(&there, &probed).await;
            }
        }
    }
}

/// Brings a look to an end. A panic in it is that class's trouble: left alone it would end the process, and with it every campaign.
async fn finish(
    class: &CampaignClass,
    context: &Context,
    reconciling: impl Future<Output = Result<Action, kube::Error>>,
) -> Result<Action, kube::Error> {
    match contain(reconciling).await {
        Ok(looked) => looked,
        Err(error) => {
            report_failure(class, context, Report::no(ConditionType::Ready, error.reason(), error.to_string())).await
        }
    }
}

/// Says why a class could not be looked at.
async fn report_failure(class: &CampaignClass, context: &Context, report: Report) -> Result<Action, kube::Error> {
    warn(class, context, &report).await;
    let mut next = class.status.clone().unwrap_or_default();
    next.observed_generation = class.metadata.generation;
    conditions::set(&mut next.conditions, &report, class.metadata.generation.unwrap_or(0), Timestamp::now());
    write(class, context, next).await?;
    Ok(Action::requeue(TROUBLED_LONGEST))
}

/// What is said of a class beside what a look at its servers finds.
struct Remarks {
    /// Why it is not the default, although it is marked so.
    several: Option<String>,
    /// Campaigns that it does not fit.
    misfit: Option<Report>,
    /// Who uses it although it was deleted.
    in_use: Option<Report>,
    /// That somebody may be believed who is nobody.
    unauthenticated: Option<Report>,
}

impl Remarks {
    fn of(class: &CampaignClass, context: &Context, users: &[String]) -> Self {
        Self {
            several: several_defaults(class, &context.classes.state()),
            misfit: pinned::misfit(class, &context.campaigns.state()),
            in_use: in_use::report(class, users),
            unauthenticated: authentication::report(class, &context.campaigns.state()),
        }
    }

    /// Whether a status says them already, but for who uses the class.
    fn are_said(&self, status: &CampaignClassStatus) -> bool {
        let unauthenticated = match &self.unauthenticated {
            Some(report) => conditions::is_said(&status.conditions, report),
            None => conditions::find(&status.conditions, ConditionType::Unauthenticated).is_none(),
        };
        unauthenticated && says(status, self.several.as_deref()) && pinned::says(status, self.misfit.as_ref())
    }
}

async fn reconcile(class: Arc<CampaignClass>, context: Arc<Context>) -> Result<Action, kube::Error> {
    use ConditionType as C;
    if context.watches_filled().await.is_err() {
        return Ok(Action::requeue(TROUBLED));
    }
    if let Some(text) = context.unreadable.trouble(&*class) {
        return report_failure(&class, &context, Report::no(C::Ready, UNREADABLE, text)).await;
    }
    let users = in_use::users(&class, &context.campaigns.state());
    let change = in_use::finalizer_change(&class, users.len());
    if let Err(error) = in_use::write(&class, &context, change).await {
        tracing::debug!(class = class.name_any(), %error, "the finalizer was not written; reconciling again");
        return Ok(Action::requeue(LEAVING));
    }
    if change == FinalizerChange::Remove && in_use::is_leaving(&class) {
        return Ok(Action::await_change());
    }
    let remarks = Remarks::of(&class, &context, &users);
    if let Some(in_use) = &remarks.in_use {
        warn(&class, &context, in_use).await;
    }
    let mut next = class.status.clone().unwrap_or_default();
    let reports = match context.systems.get(&context.client, &class, &context.config.pod_namespace).await {
        Err(error) => {
            let part = match &error {
                ReconcileError::Class(ClassError::KafkaNames(_)) => C::KafkaReady,
                _ => C::CredentialsReady,
            };
            vec![Report::no(part, error.reason(), error.to_string())]
        }
        // The same servers and logins, and the same class: said already.
        Ok(systems)
            if next.observed_generation == class.metadata.generation
                && systems.found_well_within(CALM)
                && conditions::is_said(&next.conditions, &systems.credentials())
                && remarks.are_said(&next) =>
        {
            let Some(in_use) = remarks.in_use else { return Ok(Action::requeue(AGAIN)) };
            conditions::set(&mut next.conditions, &in_use, class.metadata.generation.unwrap_or(0), Timestamp::now());
            write(&class, &context, next).await?;
            return Ok(Action::requeue(LEAVING));
        }
        Ok(systems) => look(&class, &context, &systems, &mut next).await,
    };
    report(&class, &context, next, reports, remarks).await
}

/// Looks at the servers of a class, and notes what it found with their connections.
async fn look(
    class: &CampaignClass,
    context: &Context,
    systems: &Systems,
    next: &mut CampaignClassStatus,
) -> Vec<Report> {
    let pods = pods::check(&context.client, class, &systems.settings.workload, &context.config);
    let routing = routes::check(&context.client, class, &context.config);
    let (mut measured, pods, routing) = tokio::join!(measure(systems, class), pods, routing);
    (measured.pods, measured.routing) = (Some(pods), routing);
    let measured = Arc::new(measured);
    let reports = std::iter::once(systems.credentials()).chain(measured.reports()).collect();
    next.kafka_cluster_id = measured.kafka_cluster_id.clone().or(next.kafka_cluster_id.take());
    systems.set_measured(measured);
    reports
}

/// Writes the status of a class that was looked at, with an event of what is wrong.
async fn report(
    class: &CampaignClass,
    context: &Context,
    mut next: CampaignClassStatus,
    mut reports: Vec<Report>,
    remarks: Remarks,
) -> Result<Action, kube::Error> {
    use ConditionType as C;
    let ready = readiness(&reports);
    // What does not work at all is told first.
    let mut ready = remarks.misfit.filter(|_| ready.status == Some(true)).unwrap_or(ready);
    if let Some(several) = &remarks.several {
        if !says(&next, Some(several)) {
            warn(class, context, &Report::no(C::Ready, SEVERAL_DEFAULTS, several.clone())).await;
        }
        ready.message = format!("{}{BUT}{several}", ready.message);
    }
    let well = ready.status == Some(true);
    let apart = reports.iter().find(|report| report.condition == C::ClocksAgree && report.status == Some(false));
    if let Some(trouble) = if well { apart } else { Some(&ready) } {
        warn(class, context, trouble).await;
    }
    reports.push(ready);
    let leaving = remarks.in_use.is_some();
    reports.extend(remarks.in_use);
    reports.extend(remarks.unauthenticated);
    let name = class.name_any();
    let all = context.campaigns.state();
    let users =
        all.iter().filter(|each| each.status.as_ref().and_then(|status| status.class_name.as_ref()) == Some(&name));
    next.campaigns = i64::try_from(users.count()).ok();
    next.observed_generation = class.metadata.generation;
    conditions::merge(&mut next.conditions, &reports, class.metadata.generation.unwrap_or(0), Timestamp::now());
    write(class, context, next).await?;
    let pause = pause(context.systems.record_check(&name, well));
    Ok(Action::requeue(if leaving { pause.min(LEAVING) } else { pause }))
}

/// When to look again after so many looks in a row that found something wrong.
fn pause(troubled: u32) -> Duration {
    match troubled {
        0 => AGAIN,
        more => TROUBLED.saturating_mul(1 << (more - 1).min(8)).min(TROUBLED_LONGEST),
    }
}

/// Why a class that is the default is none, if others are as well.
fn several_defaults(class: &CampaignClass, all: &[Arc<CampaignClass>]) -> Option<String> {
    let mut names: Vec<String> = all.iter().filter(|each| each.is_default()).map(|each| each.name_any()).collect();
    names.sort();
    (class.is_default() && names.len() > 1).then(|| {
        format!(
            "CampaignClasses {} are all marked as the default, so campaigns that name no class are refused: leave the annotation \
             coupon-operator.io/is-default-class on one of them",
            names.join(", ")
        )
    })
}

/// Whether a status says this of defaults, or nothing where there is nothing to say.
fn says(status: &CampaignClassStatus, several: Option<&str>) -> bool {
    let ready = conditions::find(&status.conditions, ConditionType::Ready);
    let said = ready.and_then(|ready| ready.message.split_once(BUT)).map(|(_, said)| said);
    said == several
}

/// What the parts say together. Clocks that differ by a second or two are said, and stop nothing.
fn readiness(reports: &[Report]) -> Report {
    use ConditionType as C;
    let stops = |report: &&Report| match report.condition {
        C::ClocksAgree => report.reason == FAR_APART,
        // An API server that does not answer says nothing of the class.
        C::PodTemplatesValid | C::RoutingValid => report.status == Some(false),
        _ => report.status != Some(true),
    };
    match reports.iter().find(stops) {
        None => {
            Report::yes(C::Ready, "AllMeasured", "Kafka, Redis and the database do what is needed, with both logins")
        }
        Some(broken) => Report::no(C::Ready, broken.reason, broken.message.clone()),
    }
}

/// A Warning event, once per cause: not where the status says the same already.
async fn warn(class: &CampaignClass, context: &Context, trouble: &Report) {
    let before = class.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let told = conditions::find(before, trouble.condition)
        .is_some_and(|old| old.reason == trouble.reason && old.message == trouble.message);
    if !told {
        tracing::warn!(class = class.name_any(), reason = trouble.reason, "{}", trouble.message);
        events::warn_about(context, &class.object_ref(&()), trouble.reason, &trouble.message).await;
    }
}

async fn write(class: &CampaignClass, context: &Context, next: CampaignClassStatus) -> Result<(), kube::Error> {
    if class.status.as_ref() == Some(&next) {
        return Ok(());
    }
    // Of the answer nothing is wanted, and the object may be one that cannot be decoded.
    let kind = ApiResource::erase::<CampaignClass>(&());
    let classes: Api<DynamicObject> = Api::all_with(context.client.clone(), &kind);
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"status": next}));
    classes.patch_status(&class.name_any(), &parameters, &patch).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_a_class_does_not_work() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 4, 5, u32::MAX].map(|troubled| pause(troubled).as_secs()).to_vec();
        assert_eq!(seconds, [10, 2, 4, 8, 16, 20, 20]);
    }

    /// Wrong: a fault of ours in the look at one class ends the operator, and with it every campaign of every class.
    #[tokio::test]
    async fn a_panic_in_a_look_is_that_classs_trouble() {
        async fn panics() -> Result<Action, kube::Error> {
            std::panic::panic_any("attempt to add with overflow")
        }
        let (context, sent) = crate::fixtures::context();
        let action = finish(&crate::fixtures::class(), &context, panics()).await.unwrap();
        assert_eq!(action, Action::requeue(TROUBLED_LONGEST));
        let sent = sent.lock().unwrap().clone();
        let status = sent.iter().find(|(path, _)| path.contains("/campaignclasses/main/status?"));
        let condition = &status.unwrap().1["status"]["conditions"][0];
        assert_eq!((&condition["type"], &condition["reason"]), (&json!("Ready"), &json!("InternalError")));
        assert!(condition["message"].as_str().unwrap().contains("attempt to add with overflow"), "{condition}");
    }

    /// Wrong: two classes are the default, both are well, and only campaigns that are refused tell.
    #[test]
    fn classes_that_are_all_the_default_say_so_and_name_each_other() {
        let class = |name: &str, value: &str| {
            let mut class = crate::fixtures::class();
            class.metadata.name = Some(name.to_owned());
            class.annotations_mut().insert(crate::api::DEFAULT_CLASS_ANNOTATION.to_owned(), value.to_owned());
            Arc::new(class)
        };
        let all = [class("b", "true"), class("a", "true"), class("c", "false")];
        let said = several_defaults(&all[0], &all).unwrap();
        assert!(said.starts_with("CampaignClasses a, b are all marked as the default"), "{said}");
        assert_eq!(several_defaults(&all[2], &all), None, "it claims nothing");
        assert_eq!(several_defaults(&all[0], &all[..1]), None);

        let mut status = CampaignClassStatus::default();
        let ready = Report::yes(ConditionType::Ready, "AllMeasured", format!("all is well{BUT}{said}"));
        assert!(says(&status, None) && !says(&status, Some(&said)));
        conditions::set(&mut status.conditions, &ready, 1, Timestamp::UNIX_EPOCH);
        assert!(says(&status, Some(&said)) && !says(&status, None), "what is over is taken back");
    }

    #[test]
    fn a_class_is_ready_when_all_of_it_is() {
        use ConditionType as C;
        let well =
            || vec![Report::yes(C::CredentialsReady, "SecretsRead", ""), Report::yes(C::RedisReady, "Available", "")];
        let with = |report: Report| readiness(&[well(), vec![report]].concat());
        assert_eq!(with(Report::no(C::KafkaReady, "KafkaNotAuthorized", "x")).reason, "KafkaNotAuthorized");
        assert_eq!(with(Report::no(C::ClocksAgree, "ClocksFarApart", "x")).reason, "ClocksFarApart");
        assert_eq!(with(Report::no(C::PodTemplatesValid, "PodsRefused", "x")).reason, "PodsRefused");
        assert_eq!(with(Report::no(C::RoutingValid, "GatewayApiMissing", "x")).reason, "GatewayApiMissing");
        for harmless in [
            Report::no(C::ClocksAgree, "ClocksApart", ""),
            Report::unknown(C::ClocksAgree, "ClocksUnread", ""),
            Report::yes(C::ClocksAgree, "WithinASecond", ""),
            Report::unknown(C::PodTemplatesValid, "Unread", ""),
            Report::unknown(C::RoutingValid, "Unread", ""),
        ] {
            assert_eq!(with(harmless).status, Some(true));
        }
    }
}
