//! Step 8: says what was found and done: events, metrics, status.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;

use crate::api::{CouponCampaignStatus, Phase};
use crate::controller::suspension;
use crate::diagnosis;
use crate::error::ReconcileError;
use crate::events;
use crate::issuer_client::serving::{Service, right_missing};
use crate::ledger::repair::compare::ComparisonStatus;
use crate::ledger::repair::scan::ScanResult;
use crate::metrics::CampaignLabels;
use crate::metrics::campaign_facts::{LogFacts, RetentionFacts};
use crate::reconcile::adoption::Adoption;
use crate::reconcile::applied::{Applied, Reported};
use crate::reconcile::lasting::{ailing_of, warn_of_ailing, warn_of_standstill, warn_of_unread_offsets};
use crate::reconcile::observe::Observation;
use crate::reconcile::observed::Observed;
use crate::reconcile::plan::{Plan, Step};
use crate::reconcile::reconcile_context::ReconcileContext;
use crate::reconcile::replicas::{ReplicaCount, ScalingDecision};
use crate::reconcile::report::{self, Facts};
use crate::reconcile::restraints::Restraints;
use crate::reconcile::served::{self, PassTime};
use crate::reconcile::starting::Starting;
use crate::reconcile::stopped::Stopped;
use crate::reconcile::supply::{self, WindowMs};
use crate::reconcile::{issuers, publish, refused, rollout, size, strays};
use crate::workloads::Component;

/// A pass that took longer looks at pods once more before it says what it found.
const LATE: Duration = Duration::from_secs(2);

/// Says what was found and done. What status is to say is pure ([`report::status`]); I/O: events and status are written.
///
/// # Errors
/// What went wrong in this pass, once status says it; or status could not be written.
pub(in crate::reconcile) async fn report(
    pass: &ReconcileContext<'_>,
    mut observed: Observed,
    plan: &Plan,
    held: &mut Restraints,
    applied: Applied,
) -> Result<Reported, Stopped> {
    let known_for = look_again_if_late(pass, &mut observed, held).await;
    let memory = pass.memory.get();
    let (scan, compared) = (memory.scan.found(), memory.compare.status(&observed.seen));
    let mut status = status(pass, &observed, plan, held, &applied, (&scan, compared)).await;
    status.accepted_lost_winners = memory.accepted_lost_winners.clone().or(status.accepted_lost_winners);
    publish::events(pass, plan, &applied.ledger, &applied.workloads.scaled).await;
    pass.warn_of_vanished_rows(observed.seen.ledger.as_ref().ok()).await;
    pass.warn_of_dead_letters(observed.seen.kafka.as_ref().ok()).await;
    pass.note_pause().await;
    measure(pass, &observed, plan, &scan, &status).await;
    let is_ailing = observed.measured.as_ref().is_some_and(|measured| !measured.findings.is_empty())
        || status.dead_letters.is_some_and(|letters| letters > 0)
        || compared.suspect.is_some()
        || report::route_is_refused(&status);
    let Observed { begun, seen, .. } = observed;
    let failure = applied.failure.or(observation_failure(seen));
    // What an event says once must be in status for the next process.
    let accepted = pass.object.status.as_ref().and_then(|before| before.accepted_lost_winners.as_ref());
    let is_said_once = applied.ledger.adopted.is_some() || accepted != status.accepted_lost_winners.as_ref();
    let in_between = failure.is_none() && !is_said_once && !plan.steps.iter().all(Step::can_wait);
    // Of what was asked for before nothing is said, nor counted against it: the next pass, at once, knows what is asked for now.
    if is_said_once || !pass.context.is_overtaken(pass.object) {
        count_unserved(pass, &held.service, known_for, plan, &mut status).await;
        suspension::correct(&mut status, pass.object, pass.context, pass.uid, begun);
        publish::status(pass.object, pass.context, pass.uid, status, in_between).await?;
    }
    match failure {
        Some(error) => Err(Stopped { error, is_reported: true }),
        None => {
            pass.memory.update(|memory| memory.failures.clear());
            Ok(Reported { keys_removed: applied.ledger.keys_removed, is_ailing })
        }
    }
}

/// Status says how users are served at the moment at which it is written: a system that does not answer may have held the pass up for long.
/// Returns for how long it has been as it is now.
async fn look_again_if_late(pass: &ReconcileContext<'_>, observed: &mut Observed, held: &mut Restraints) -> Duration {
    if observed.begun.elapsed() <= LATE {
        return observed.begun.elapsed();
    }
    let did_grant = held.service == Service::Grants;
    let (answers, ailing) = tokio::join!(issuers::ask(pass), ailing_of(pass));
    held.service = issuers::service(pass, observed, &answers);
    observed.ailing = ailing;
    let does_grant = held.service == Service::Grants;
    if did_grant == does_grant { observed.begun.elapsed() } else { Duration::ZERO }
}

/// The status that the campaign should have. `found`: what looking for missing winners and comparing rows with Redis has come to.
async fn status(
    pass: &ReconcileContext<'_>,
    observed: &Observed,
    plan: &Plan,
    held: &Restraints,
    applied: &Applied,
    found: (&ScanResult, ComparisonStatus),
) -> CouponCampaignStatus {
    let Observed { seen, answers, ailing, .. } = observed;
    // Kept here as well: the watch may show the status that was just written only after the next pass.
    let adopted = pass.memory.update(|memory| {
        memory.adoption = applied.ledger.adopted.map_or(memory.adoption, Adoption::Of);
        memory.adoption.winners()
    });
    let (issuer, consumer) = (pass.deployment(Component::Issuer), pass.deployment(Component::Consumer));
    warn_of_ailing(pass, ailing).await;
    let strays = strays::find(pass).await;
    let still = warn_of_standstill(pass, seen, ReplicaCount::of(consumer.as_deref()).ready).await;
    let facts = Facts {
        campaign: pass.object,
        class: pass.class,
        id: pass.id,
        seen,
        plan,
        numbers: &applied.workloads.numbers,
        failure: applied.failure.as_ref(),
        issuer: issuer.as_deref(),
        consumer: consumer.as_deref(),
        adopted,
        scan: found.0,
        compared: found.1,
        nobody_serves: held.serving.nobody_serves().filter(|_| held.service != Service::Grants),
        service: &held.service,
        users_reach_issuers: pass.users_reach_issuers(),
        route: pass.memory.get().route.said().cloned(),
        strays: strays.as_deref(),
        redis_refusal: observed.redis_refusal.as_deref(),
        ailing,
        starting: starting(pass, plan, &applied.workloads.numbers, issuer.as_deref(), consumer.as_deref()),
        ending_issuers: diagnosis::ending(&pass.context.pods_of(pass.campaign, Component::Issuer)),
        stop: held.stop,
        epochs: &held.epochs,
        right_missing: right_missing(answers),
        kafka_refuses: refused::by_issuers(pass, answers),
        offsets_unread: warn_of_unread_offsets(pass, seen).await,
        consumers_still: still.as_deref(),
        measured: observed.measured.as_deref(),
        rollouts: &rollout::observe(pass, issuer.as_deref(), consumer.as_deref(), applied.workloads.compared).await,
    };
    report::status(&facts, Timestamp::now())
}

/// Whether pods that are missing were just added. Those of a campaign that is not prepared are not expected yet, and the first that it has
/// are waited for by whoever waits for `Ready`.
fn starting(
    pass: &ReconcileContext<'_>,
    plan: &Plan,
    numbers: &ScalingDecision,
    issuer: Option<&Deployment>,
    consumer: Option<&Deployment>,
) -> Starting {
    if plan.phase == Phase::Pending {
        return Starting::default();
    }
    let (issuers, consumers, now) = (ReplicaCount::of(issuer), ReplicaCount::of(consumer), Instant::now());
    pass.memory.update(|memory| Starting {
        issuer: memory.issuer_starts.observe(&numbers.issuer, issuers, now),
        consumer: memory.consumer_starts.observe(&numbers.consumer, consumers, now),
    })
}

/// Counts the time of the open window in which users get no coupon, and completes the status with it.
async fn count_unserved(
    pass: &ReconcileContext<'_>,
    service: &Service,
    known_for: Duration,
    plan: &Plan,
    status: &mut CouponCampaignStatus,
) {
    let supply = supply::of_pass(pass.object, plan, service, status);
    let moment = PassTime {
        at_ms: pass.context.elapsed_ms(),
        known_for_ms: i64::try_from(known_for.as_millis()).unwrap_or(i64::MAX),
        now_ms: plan.now_ms,
        window: WindowMs::of_pass(plan, pass.object),
        time: Timestamp::now(),
    };
    let warning = pass
        .memory
        .update(|memory| served::update(&mut memory.served, &moment, pass.object, &supply, plan.has_opened, status));
    if let Some(warning) = warning {
        events::warn(pass.context, pass.object, warning.reason, &warning.text).await;
    }
}

/// Brings the campaign's metrics up to date.
async fn measure(
    pass: &ReconcileContext<'_>,
    observed: &Observed,
    plan: &Plan,
    scan: &ScanResult,
    status: &CouponCampaignStatus,
) {
    let labels = CampaignLabels::of(pass.object);
    let seen = &observed.seen;
    let kafka = seen.kafka.as_ref().ok();
    let lag = kafka.and_then(|kafka| kafka.lag).and_then(|lag| i64::try_from(lag).ok());
    let metrics = &pass.context.metrics;
    metrics.observe(&labels, status.issued, status.persisted, lag, status.dead_letters);
    let oldest_s = scan.oldest_ms.map(|oldest| (plan.now_ms - oldest) / 1000);
    metrics.unconfirmed(&labels, status.unconfirmed, oldest_s);
    let has_pods = observed.issuers.current > 0 || observed.consumers.current > 0;
    let log = kafka.and_then(|kafka| LogFacts::of(pass.id, kafka, has_pods));
    let start = status.terms.as_ref().map(|terms| terms.window.start);
    let retention = kafka.zip(start).map(|(kafka, start)| RetentionFacts::of(kafka, plan.now_ms, start));
    metrics.campaigns.log(&labels, log, retention);
    size::measure(pass, seen, &labels).await;
}

/// The first system that could not be read: the pass counts as failed, and is tried again sooner than its turn.
fn observation_failure(seen: Observation) -> Option<ReconcileError> {
    let Observation { ledger, redis, kafka, .. } = seen;
    ledger
        .err()
        .map(ReconcileError::from)
        .or(redis.err().map(ReconcileError::from))
        .or(kafka.err().map(ReconcileError::from))
}
