//! One pass over one campaign: observe, plan, apply, report.
//!
//! A pass is level-triggered: it looks at what is there, never at what happened. A pass in which nothing changed writes
//! nothing. After a ledger step the pass is repeated at once and looks again.

pub(crate) mod admission;
pub(crate) mod adoption;
mod aims;
mod apply;
mod cluster;
mod control_token;
mod decided;
mod deletion;
mod differs;
mod done;
mod doubt;
mod elsewhere;
pub(crate) mod epochs;
mod finalizer;
mod given;
mod handover;
mod issuer_pods;
mod issuers;
mod lasting;
mod met;
pub(crate) mod notices;
pub(crate) mod numbers;
pub mod observe;
pub(crate) mod opening;
mod outcome;
mod owner;
mod pass;
mod pause;
pub mod plan;
mod pods_left;
pub(crate) mod proven;
pub(crate) mod publish;
mod refused;
mod removal;
mod report;
mod retention;
pub(crate) mod rollout;
mod scaling;
#[cfg(test)]
pub(crate) mod scene;
pub(crate) mod served;
mod size;
pub(crate) mod still;
pub(crate) mod strays;
mod strays_watch;
mod supply;
pub(crate) mod tampering;
mod terms;
mod told;
pub(crate) mod unread;
mod unserved;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use campaign::identity::CampaignId;
use campaign::table;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use serde_json::json;

pub use self::finalizer::FINALIZER;
pub use self::pass::Pass;
pub(super) use self::pass::{BUSY, campaigns};
use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, CouponCampaign, CouponCampaignStatus, Phase};
use crate::children::apply::MANAGER;
use crate::children::{Component, object_name};
use crate::class_use;
use crate::connections::Systems;
use crate::context::{Context, Memory};
use crate::error::ReconcileError;
use crate::events;
use crate::ledger_count::Effort;
use crate::limits::{self, InForce};
use crate::metrics::{CampaignLabels, ClassLabels};
use crate::repair;
use crate::serving::{Service, Verdict};
use crate::unreadable::UNREADABLE;
use admission::{admitted, class_gone, identified};
pub(crate) use admission::{resolve, turn};
use adoption::Adoption;
pub(crate) use apply::issuers as issuers_of;
pub use cluster::Cluster;
use handover::Elsewhere;
pub use handover::{CLUSTER_GONE_ANNOTATION, TAKE_OVER_ANNOTATION};
use lasting::{ailing_of, tell_ailing, tell_still, tell_unread};
use numbers::There;
use observe::{Known, Observation};
use outcome::failed;
pub(crate) use outcome::{contain, deadline};
pub use pause::PAUSE_ANNOTATION;
use plan::{Plan, Step};
use report::Blind;
use served::Moment;
use supply::Window;

/// While issuers do not serve what is open, and may yet.
const SOON: Duration = Duration::from_secs(1);
/// While a class has never been measured.
const FIRST_LOOK: Duration = Duration::from_millis(200);
/// Right after a ledger step.
const AT_ONCE: Duration = Duration::from_millis(20);
/// A dormant campaign is looked at this often: Redis may have lost it.
const CALM: Duration = Duration::from_secs(60);
/// The same while something is wrong with its class, or dead letters wait for somebody: status repeats that, and should not for long after
/// it is over.
const AILING: Duration = Duration::from_secs(15);
/// A pass that took longer looks at pods once more before it says what it found.
const LATE: Duration = Duration::from_secs(2);
/// The issued count in SQL is written at most this often.
const ISSUED_EVERY: Duration = Duration::from_secs(5);

/// Looks at a campaign and does what is to be done. Never fails: what went wrong is reported, and tried again as it deserves.
pub async fn reconcile(campaign: Arc<CouponCampaign>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let uid = campaign.uid().unwrap_or_default();
    let looking = async {
        context.watches_filled().await?;
        if campaign.meta().deletion_timestamp.is_some() {
            Ok(deletion::release(&campaign, &context, &uid).await?)
        } else {
            pass(&campaign, &context, &uid).await
        }
    };
    Ok(finish(&campaign, &context, &uid, looking).await)
}

/// Brings a pass to an end, whatever becomes of it, and says what did.
async fn finish(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    looking: impl Future<Output = Result<Action, Stopped>>,
) -> Action {
    let started = Instant::now();
    // A pass that hangs would hold its campaign for ever. Dropping one is like a crash, which the protocol is made for.
    let guarded = contain(tokio::time::timeout(deadline(campaign.spec.total_quantity), looking));
    let result = match guarded.await {
        Ok(Ok(finished)) => finished,
        Ok(Err(_)) => Err(ReconcileError::PassTimeout.into()),
        Err(panicked) => Err(panicked.into()),
    };
    if let Err(Stopped { error, is_told: false }) = &result {
        tell_failure(campaign, context, uid, error, started).await;
    }
    let result = result.map_err(|stopped| stopped.error);
    context.metrics.duration.observe(started.elapsed().as_secs_f64());
    let outcome = match &result {
        Ok(_) => "success",
        Err(error) => error.reason(),
    };
    context.metrics.reconciliations.get_or_create(&crate::metrics::OutcomeLabels { outcome: outcome.to_owned() }).inc();
    match result {
        Ok(action) => action,
        Err(error) => failed(campaign, context, uid, &error).await,
    }
}

/// Why a pass ended early, and whether status says so already.
struct Stopped {
    error: ReconcileError,
    is_told: bool,
}

impl<E> From<E> for Stopped
where
    ReconcileError: From<E>,
{
    fn from(error: E) -> Self {
        Self { error: error.into(), is_told: false }
    }
}

/// Writes the status of a pass that wrote none: an old one, all green, must not stay for as long as passes fail.
async fn tell_failure(campaign: &CouponCampaign, context: &Context, uid: &str, error: &ReconcileError, begun: Instant) {
    // Before the watches are filled nothing is known that would be worth to be written.
    if error.is_overtaken() || matches!(error, ReconcileError::WatchesNotFilled) {
        return;
    }
    let now = Timestamp::now();
    let mut status = match campaign.meta().deletion_timestamp {
        Some(_) => {
            let closed = context.memory.get(uid).closed;
            report::status_while_leaving(campaign, &report::Leaving::Failed(error), closed, now)
        }
        None => status_of_blind_pass(campaign, context, uid, error, now).await,
    };
    crate::stop::correct(&mut status, campaign, context, uid, begun);
    if let Err(error) = publish::status(campaign, context, uid, status, false).await {
        tracing::warn!(campaign = campaign.name_any(), %error, "the status of a pass that failed could not be written");
    }
}

/// What is known where a pass ended before it could look: whether users are turned away is decided here as well.
async fn status_of_blind_pass(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    error: &ReconcileError,
    now: Timestamp,
) -> CouponCampaignStatus {
    let issuer = object_name(campaign, Component::Issuer);
    let there = context.deployment(&campaign.namespace().unwrap_or_default(), &issuer);
    let (ready, now_ms) = (There::of(there.as_deref()).ready, now.as_millisecond());
    let service = issuers::service_of_blind_pass(context, campaign, uid).await;
    let mut status = match error {
        ReconcileError::LedgerOwnedElsewhere(_) => report::status_elsewhere(campaign, error, now),
        _ => report::status_without_class(campaign, error, &Blind { ready, service: &service, now_ms }, now),
    };
    let supply = supply::of_blind_pass(campaign, error, ready, &service);
    let moment = Moment { at_ms: context.elapsed_ms(), now_ms, window: Window::of_blind_pass(campaign), time: now };
    let warning = context
        .memory
        .update(uid, |memory| served::note(&mut memory.served, &moment, campaign, &supply, None, &mut status));
    tell_served(campaign, context, warning).await;
    status
}

async fn tell_served(campaign: &CouponCampaign, context: &Context, warning: Option<served::Warning>) {
    if let Some(warning) = warning {
        events::warn(context, campaign, warning.reason, &warning.text).await;
    }
}

async fn pass(campaign: &CouponCampaign, context: &Context, uid: &str) -> Result<Action, Stopped> {
    let resolved = match admitted(campaign, context).await {
        Ok(()) => resolve(campaign, context).await,
        Err(error) => Err(error),
    };
    let (class, systems) = match resolved {
        Ok(found) => found,
        Err(error) => return Err(error.into()),
    };
    let namespace = campaign.namespace().unwrap_or_default();
    let id = identified(campaign, &class, &systems)?;
    let cluster = context.cluster()?;
    let class_is_there = context.classes.find(|each| each.name_any() == class.name_any());
    if let Some(class) = &class_is_there {
        // Before the campaign's own: from here on the class is used.
        class_use::write(class, context, class_use::hold(class, 1)).await?;
    }
    ensure_finalizer(campaign, context).await?;
    let deployment = |component| context.deployment(&namespace, &object_name(campaign, component));
    let consumers = There::of(deployment(Component::Consumer).as_deref());
    let issuers = There::of(deployment(Component::Issuer).as_deref());
    // Pods are found for what the campaign may have; what it asks for beyond that, the plan refuses.
    let has = InForce::in_status(campaign.status.as_ref()).with_pods(issuers.current, consumers.current);
    let (held, _) = limits::hold(campaign, &class.spec.limits, &has);
    let Memory { mut known, status_heard, known_as, .. } = context.memory.get(uid);
    let known_as = known_as.unwrap_or_else(|| cluster.name().to_owned());
    let (cluster, known_as) = (&cluster, known_as.as_str());
    let pass = Pass { context, campaign: &held, uid, class: &class, id: &id, cluster, known_as, systems: &systems };
    // Only what the process before this one wrote: what status says later, this one has written, or somebody by hand.
    if !status_heard {
        known.rows.pages.remember(had(campaign, &id));
    }
    let observed_at = Instant::now();
    let ((seen, mut plan), answers, ailing) = tokio::join!(
        look_and_decide(&systems, campaign, &class, &id, cluster, consumers.current > 0, &mut known),
        issuers::ask(&pass),
        ailing_of(&pass)
    );
    let redis_refusal = match &seen.stock {
        Ok(stock) if stock.open.is_some() => systems.redis_refusal(id.realm()).await,
        _ => None,
    };
    let given = seen.ledger.as_ref().ok().and_then(|ledger| ledger.row.as_ref()).map(|row| row.terms_number);
    if let Ok(stock) = &seen.stock
        && let Some(text) = context.memory.update(uid, |memory| memory.terms_seen.see(stock.open.as_ref(), given))
    {
        events::warn(context, campaign, tampering::CHANGED, &text).await;
    }
    let requests = i64::try_from(systems.kafka_requests()).unwrap_or(i64::MAX);
    context.metrics.kafka_requests.get_or_create(&ClassLabels { class: class.name_any() }).set(requests);
    context.memory.update(uid, |memory| {
        memory.keep(known);
        // Not before it is kept: a pass may be dropped on its way.
        memory.status_heard = true;
    });
    let row = seen.ledger.as_ref().ok().and_then(|ledger| ledger.row.as_ref());
    let known_as = row.map_or(known_as, |row| cluster.in_row(row));
    context.memory.update(uid, |memory| memory.known_as = Some(known_as.to_owned()));
    let pass = Pass { known_as, ..pass };
    if let Some(row) = row.filter(|row| plan.is_closed_out && Elsewhere::of(row, cluster).is_some()) {
        return Err(handover::stand_aside(&pass, row, &plan).await.into());
    }
    if class_is_there.is_none() {
        plan.refusals.splice(0..0, class_gone(&class));
    }
    let unreadable = context.unreadable.trouble(campaign);
    plan.refusals.splice(0..0, unreadable.map(|text| Report::yes(ConditionType::Stalled, UNREADABLE, text)));
    let measured = systems.measured();
    let waits =
        opens_first_epoch(&plan, &seen) && measured.as_ref().is_none_or(|found| found.forbids_opening().is_some());
    let right_missing = crate::serving::right_missing(&answers);
    if right_missing.is_some() && measured.as_ref().is_some_and(|found| !found.pods_lack_redis_rights()) {
        context.doubt(&systems);
    }
    refused::doubt(&pass, &seen, &answers, &ailing, measured.as_deref());
    let epochs = context.memory.update(uid, |memory| {
        memory.epochs.see(seen.given(), seen.served(), Instant::now());
        memory.epochs.clone()
    });
    let pause = epochs.left(Instant::now()).filter(|_| plan.opens_epoch());
    if waits || pause.is_some() {
        plan.open_nothing();
    }
    let stop = context.memory.get(uid).stop.map(|(stop, _)| stop);
    let stop = stop.filter(|_| campaign.spec.suspend && seen.stock.is_err());
    plan.stopped(stop);
    let service = issuers::service(&pass, &seen, &answers);
    let serving = issuers::judge(&pass, &plan, &seen, &answers);
    issuers::mend(&mut plan, &serving);

    let mut compared = Ok(());
    if epochs.left(Instant::now()).is_none() {
        compared = differs::repair_what_differs(&pass, &seen, &mut plan).await;
    }
    issuers::tell(&pass, &plan, &serving).await;
    let adopted = context.memory.update(uid, |memory| memory.adoption.see(pass.is_new_to_ledger(), uid, &seen));
    let mut done = apply::Done { adopted, ..apply::Done::default() };
    let ledger = apply::ledger(&pass, &plan, &seen, &mut done).await;
    issuers::replace(&pass, &plan).await;
    if done.opened.is_none() {
        plan.aims = plan.aims.after_the_fence(plan.phase, issuers.current);
    }
    let (issuer, consumer) = (deployment(Component::Issuer), deployment(Component::Consumer));
    let numbers = scaling::find(&pass, &plan, &seen, issuer.as_deref(), consumer.as_deref(), &answers);
    let (scaled, workloads) = match plan.hands_off {
        true => (apply::Scaled::default(), Ok(())),
        false => {
            let work =
                rollout::Work::of(issuer.as_deref(), consumer.as_deref(), &ailing, &serving, &context.memory.get(uid));
            apply::workloads(&pass, &plan, &numbers, work).await
        }
    };
    let looked_at_pods = !plan.hands_off && workloads.is_ok();
    let failure = ledger.and(workloads).err();
    if let Some((opened, _)) = &done.opened {
        context.memory.update(uid, |memory| {
            repair::begin_after_opening(memory, opened, &seen, observed_at.elapsed());
        });
    }
    let failure = failure.or(compared.err()).or(record_issued(&pass, &seen).await.err());
    let at_rest = !plan.hands_off && plan.steps.iter().all(Step::can_wait);
    let failure = failure.or(repair::look_for_missing(&pass, &seen, plan.key_by, at_rest).await.err());
    let failure = failure.or(repair::direct::publish_what_is_due(&pass, &seen, plan.key_by, at_rest).await.err());
    let Memory { scan, compare, .. } = context.memory.get(uid);
    let (looked, compared) = (scan.found(), compare.standing(&seen));
    // Kept here as well: the watch may show the status that was just written only after the next pass.
    let adopted = context.memory.update(uid, |memory| {
        memory.adoption = done.adopted.map_or(memory.adoption, Adoption::Of);
        memory.adoption.winners()
    });

    // What users meet is said as it is when it is said: a system that does not answer may have held the pass up for long.
    let (issuer, consumer) = (deployment(Component::Issuer), deployment(Component::Consumer));
    let (service, ailing) = match observed_at.elapsed() > LATE {
        false => (service, ailing),
        true => {
            let (answers, ailing) = tokio::join!(issuers::ask(&pass), ailing_of(&pass));
            (issuers::service(&pass, &seen, &answers), ailing)
        }
    };
    tell_ailing(&pass, &ailing).await;
    let strays = strays::look(&pass).await;
    let still = tell_still(&pass, &seen, There::of(consumer.as_deref()).ready).await;
    let facts = report::Facts {
        campaign,
        class: &class,
        id: &id,
        seen: &seen,
        plan: &plan,
        numbers: &numbers,
        failure: failure.as_ref(),
        issuer: issuer.as_deref(),
        consumer: consumer.as_deref(),
        adopted,
        looked: &looked,
        compared,
        nobody_serves: serving.nobody_serves().filter(|_| service != Service::Grants),
        service: &service,
        users_reach_issuers: pass.users_reach_issuers(),
        strays: strays.as_deref(),
        redis_refusal: redis_refusal.as_deref(),
        ailing: &ailing,
        stop,
        epochs: &epochs,
        right_missing,
        kafka_refuses: refused::by_issuers(&pass, &answers),
        offsets_unread: tell_unread(&pass, &seen).await,
        consumers_still: still.as_deref(),
        measured: measured.as_deref(),
        rollouts: &rollout::look(&pass, issuer.as_deref(), consumer.as_deref(), looked_at_pods).await,
    };
    let mut status = report::status(&facts, Timestamp::now());
    let supply = supply::of_pass(campaign, &plan, &service, &status);
    let moment = Moment {
        at_ms: context.elapsed_ms(),
        now_ms: plan.now_ms,
        window: Window::of_pass(&plan, campaign),
        time: Timestamp::now(),
    };
    let warning = context.memory.update(uid, |memory| {
        served::note(&mut memory.served, &moment, campaign, &supply, plan.has_opened, &mut status)
    });
    tell_served(campaign, context, warning).await;
    publish::events(&pass, &plan, &done, &scaled).await;
    pass.tell_vanished_rows(seen.ledger.as_ref().ok()).await;
    pass.tell_dead_letters(seen.log.as_ref().ok()).await;
    pass.tell_pause().await;
    let labels = CampaignLabels { namespace: namespace.clone(), campaign: campaign.name_any() };
    let letters_wait = status.dead_letters.is_some_and(|letters| letters > 0);
    let lag = seen.log.as_ref().ok().and_then(|log| log.lag).and_then(|lag| i64::try_from(lag).ok());
    context.metrics.observe(&labels, status.issued, status.persisted, lag, status.dead_letters);
    context.metrics.unconfirmed(
        &labels,
        status.unconfirmed,
        looked.oldest_ms.map(|oldest| (plan.now_ms - oldest) / 1000),
    );
    size::measure(&pass, &seen, &labels).await;
    let failure = failure.or(observation_failure(seen));
    // What an event has told once must be found in status by the next process.
    let in_between = failure.is_none() && done.adopted.is_none() && !plan.steps.iter().all(Step::can_wait);
    crate::stop::correct(&mut status, campaign, context, uid, observed_at);
    publish::status(campaign, context, uid, status, in_between).await?;
    if let Some(error) = failure {
        return Err(Stopped { error, is_told: true });
    }
    context.memory.update(uid, |memory| {
        memory.failures = 0;
        memory.warned = None;
    });
    if done.keys_removed {
        return Ok(Action::requeue(AT_ONCE));
    }
    if waits {
        // The class is looked at by itself; its first look ends any moment.
        return Ok(Action::requeue(if measured.is_some() { BUSY } else { FIRST_LOOK }));
    }
    if let Some(pause) = pause {
        return Ok(Action::requeue(pause.min(BUSY)));
    }
    let class_ails = measured.as_ref().is_some_and(|measured| !measured.findings.is_empty());
    let ails = class_ails || letters_wait || compared.suspect.is_some();
    Ok(next(&plan, &serving, ails, context.elapsed_ms()))
}

/// Whether this pass would open a campaign for the first time. What its class is known not to be able to do is not tried, and no
/// epoch is used up for it; a campaign that has had one is repaired as well as it goes.
fn opens_first_epoch(plan: &Plan, seen: &Observation) -> bool {
    let row = seen.ledger.as_ref().ok().and_then(|ledger| ledger.row.as_ref());
    row.is_some_and(|row| row.epoch == 0) && plan.opens_epoch()
}

/// Reads what is there and decides what should be. `cluster`: this one. `consumers`: whether any run. What is worth to be remembered goes to `known`.
pub async fn look_and_decide(
    systems: &Systems,
    campaign: &CouponCampaign,
    class: &CampaignClass,
    id: &CampaignId,
    cluster: &Cluster,
    consumers: bool,
    known: &mut Known,
) -> (Observation, Plan) {
    let decide = |seen: &Observation| plan::plan(campaign, class, id, cluster, seen, Timestamp::now().as_millisecond());
    known.most.asked = terms::asked(campaign).total;
    let mut seen = observe::observe(systems, id, consumers, known).await;
    let mut plan = decide(&seen);
    if plan.wants_count {
        observe::recount(systems, &mut seen, known, Effort::Whole).await;
        plan = decide(&seen);
    }
    if let (Phase::Completed, Ok(log)) = (plan.phase, &seen.log) {
        known.drained.keep(systems, id, log, consumers).await;
    }
    (seen, plan)
}

/// How many rows this ledger had at most, as far as status remembers.
fn had(campaign: &CouponCampaign, id: &CampaignId) -> u64 {
    let status = campaign.status.as_ref().filter(|status| status.coupon_id.as_deref() == Some(id.coupon_id()));
    let rows = status.and_then(|status| status.once_persisted.max(status.persisted));
    rows.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0)
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

/// Keeps the issued count in the campaign's row, some seconds behind, without touching the row per coupon.
async fn record_issued(pass: &Pass<'_>, seen: &Observation) -> Result<(), ReconcileError> {
    let (Ok(ledger), Ok(stock)) = (&seen.ledger, &seen.stock) else { return Ok(()) };
    let Some(row) = &ledger.row else { return Ok(()) };
    let recent = pass.context.memory.get(pass.uid).issued_recorded.is_some_and(|(_, at)| at.elapsed() < ISSUED_EVERY);
    if row.issued_count == stock.issued || recent || stock.open.is_none() {
        return Ok(());
    }
    if table::try_set_issued_count(&pass.systems.sql, row.id, stock.issued).await? {
        pass.context.memory.update(pass.uid, |memory| memory.issued_recorded = Some((stock.issued, Instant::now())));
    }
    Ok(())
}

/// The first system that could not be read: the pass counts as failed, and is tried again sooner than its turn.
fn observation_failure(seen: Observation) -> Option<ReconcileError> {
    let Observation { ledger, stock, log, .. } = seen;
    ledger
        .err()
        .map(ReconcileError::from)
        .or(stock.err().map(ReconcileError::from))
        .or(log.err().map(ReconcileError::from))
}

/// The pause that ends, by the clock that all campaigns share, at a moment at which others look as well: Kafka is then asked
/// once for all of them.
fn together(pause: Duration, elapsed_ms: i64) -> Duration {
    if pause < BUSY {
        return pause;
    }
    let beat = i64::try_from(BUSY.as_millis()).unwrap_or(i64::MAX);
    let past = u64::try_from(elapsed_ms.rem_euclid(beat)).unwrap_or(0);
    pause - Duration::from_millis(past)
}

/// When to look again. `ailing`: status tells of something that people are about to mend.
fn next(plan: &Plan, serving: &Verdict, ailing: bool, elapsed_ms: i64) -> Action {
    if !plan.steps.iter().all(Step::can_wait) {
        return Action::requeue(AT_ONCE);
    }
    if serving.is_open_question() {
        return Action::requeue(SOON);
    }
    let calm = match plan.phase {
        Phase::Pending => Duration::from_millis(300),
        Phase::Scheduled | Phase::Completed if plan.aims.are_dormant() && ailing => AILING,
        Phase::Scheduled | Phase::Completed if plan.aims.are_dormant() => CALM,
        _ => BUSY,
    };
    let calm = together(calm, elapsed_ms);
    let until_next = plan
        .next_ms
        .and_then(|at| u64::try_from(at - plan.now_ms).ok())
        .map_or(calm, |ms| Duration::from_millis(ms + 5));
    Action::requeue(calm.min(until_next))
}

#[cfg(test)]
mod tests {
    use super::scene::Scene;
    use super::*;
    use crate::fixtures;

    /// Wrong: a pass that failed leaves the status of before, all green; or its panic ends the process, and with it every campaign.
    #[tokio::test(start_paused = true)]
    async fn whatever_becomes_of_a_pass_status_says_so_and_others_go_on() {
        async fn pass(ends: &str) -> Result<Action, Stopped> {
            match ends {
                "LedgerMoved" => Err(ReconcileError::LedgerMoved.into()),
                "InternalError" => std::panic::panic_any("attempt to add with overflow"),
                _ => std::future::pending().await,
            }
        }
        let campaign = Scene::open().campaign;
        for reason in ["LedgerMoved", "InternalError", "PassTimeout"] {
            let (context, sent) = fixtures::context();
            let action = finish(&campaign, &context, "0001", pass(reason)).await;
            assert_ne!(action, Action::await_change(), "{reason}: it is tried again");
            let sent = sent.lock().unwrap().clone();
            let status = sent.iter().find(|(path, _)| path.contains("/couponcampaigns/spring/status?"));
            let (_, status) = status.unwrap_or_else(|| panic!("{reason}: nothing is written: {sent:?}"));
            let ready = status["status"]["conditions"].as_array().unwrap().iter().find(|each| each["type"] == "Ready");
            assert_eq!(ready.map(|ready| &ready["reason"]), Some(&json!(reason)), "{status}");
        }
    }

    /// Wrong: what the operator writes beside children bears the name `unknown`, and nobody sees who it was.
    #[tokio::test]
    async fn what_is_written_bears_our_name() {
        let (context, sent) = fixtures::context();
        let campaign = fixtures::campaign();
        ensure_finalizer(&campaign, &context).await.unwrap();
        class_use::write(&fixtures::class(), &context, class_use::hold(&fixtures::class(), 1)).await.unwrap();
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

    /// Wrong: a campaign that was completed is not looked at again, and a backup that takes its rows away is never noticed.
    #[test]
    fn a_completed_campaign_is_looked_at_every_minute() {
        let look = |scene: Scene, ailing| next(&scene.plan(), &Verdict::Serving, ailing, 0);
        assert_eq!(look(Scene::completed(), false), Action::requeue(CALM));
        assert_eq!(
            look(Scene::completed(), true),
            Action::requeue(AILING),
            "until the class is well again, or letters are gone"
        );
        assert_eq!(look(Scene::completed().stored(90), false), Action::requeue(BUSY), "rows are missing");
    }
}
