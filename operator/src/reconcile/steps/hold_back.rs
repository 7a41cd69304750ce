//! Step 4: what is not done yet although it was planned, and what is done besides.

use std::time::{Duration, Instant};

use crate::api::ConditionType;
use crate::api::conditions::Report;
use crate::class::measure::system::System;
use crate::controller::unreadable::UNREADABLE;
use crate::error::ReconcileError;
use crate::issuer_client::serving::right_missing;
use crate::reconcile::admission::class_gone;
use crate::reconcile::elsewhere::Elsewhere;
use crate::reconcile::observed::Observed;
use crate::reconcile::plan::Plan;
use crate::reconcile::reconcile_context::{BUSY, ReconcileContext};
use crate::reconcile::restraints::Restraints;
use crate::reconcile::{differs, handover, issuers, raised, refused};

/// While a class has never been measured, its campaigns look again after this long.
const FIRST_LOOK: Duration = Duration::from_millis(200);

/// Holds back what must wait, and adds what issuers and rows need: issuers that do not serve are replaced, or cause a new epoch, and so do
/// ranks that differ between rows and Redis, and a raised total whose ranks the ledger names already. I/O: a page of rows and Redis is compared;
/// for a raise, what is unread of the topic, and the dead letters, are read.
///
/// # Errors
/// The ledger is another cluster's: nothing else is to be done here.
pub(in crate::reconcile) async fn hold_back(
    pass: &ReconcileContext<'_>,
    observed: &Observed,
    plan: &mut Plan,
) -> Result<Restraints, ReconcileError> {
    if let Some(row) = observed.row().filter(|row| plan.is_closed_out && Elsewhere::of(row, pass.cluster).is_some()) {
        return Err(handover::stand_aside(pass, row, plan).await);
    }
    refuse_for_objects(pass, plan);
    let waits_for_class = waits_for_class(observed, plan);
    doubt_class(pass, observed);
    let epochs = pass.memory.update(|memory| {
        memory.epochs.observe(observed.seen.winners(), observed.seen.served(), Instant::now());
        memory.epochs.clone()
    });
    let pause = epochs.left(Instant::now()).filter(|_| plan.opens_epoch());
    if waits_for_class.is_some() || pause.is_some() {
        plan.open_nothing();
    }
    let stop = pass.memory.get().stop.map(|(stop, _)| stop);
    let stop = stop.filter(|_| pass.object.spec.suspend && observed.seen.redis.is_err());
    plan.stopped(stop);
    let service = issuers::service(pass, observed, &observed.answers);
    let serving = issuers::decide(pass, plan, &observed.seen, &observed.answers);
    issuers::amend(plan, &serving);
    let compared = match epochs.left(Instant::now()) {
        None => differs::repair_what_differs(pass, &observed.seen, plan).await,
        Some(_) => Ok(()),
    };
    let compared = compared.and(raised::keep_what_was_told(pass, &observed.seen, plan).await);
    Ok(Restraints { waits_for_class, pause, epochs, stop, service, serving, compared })
}

/// Refuses what the state of the objects in Kubernetes forbids: the class is gone, or the campaign cannot be decoded any more.
fn refuse_for_objects(pass: &ReconcileContext<'_>, plan: &mut Plan) {
    if !pass.class_exists {
        plan.refusals.splice(0..0, class_gone(pass.class));
    }
    let unreadable = pass.context.unreadable.trouble(pass.object);
    plan.refusals.splice(0..0, unreadable.map(|text| Report::yes(ConditionType::Stalled, UNREADABLE, text)));
}

/// Whether this pass would open a campaign for the first time, and its class is not known to work. What it is known not to be able to do is
/// not tried, and no epoch is used up for it; a campaign that has had one is repaired as well as it goes. Answers when to look again.
fn waits_for_class(observed: &Observed, plan: &Plan) -> Option<Duration> {
    let opens_first = observed.row().is_some_and(|row| row.epoch == 0) && plan.opens_epoch();
    match &observed.measured {
        // The class is measured by itself, and its first measurement ends any moment.
        None => opens_first.then_some(FIRST_LOOK),
        Some(found) => (opens_first && found.forbids_opening().is_some()).then_some(BUSY),
    }
}

/// Has the class measured again at once, where this pass has met something else than the last measurement.
fn doubt_class(pass: &ReconcileContext<'_>, observed: &Observed) {
    let Observed { seen, answers, ailing, measured, .. } = observed;
    let answering = [
        (System::Database, seen.ledger.is_ok()),
        (System::Redis, seen.redis.is_ok()),
        (System::Kafka, seen.kafka.is_ok()),
    ];
    let found_nobody = |system| measured.as_ref().is_some_and(|found| found.found_nobody(system));
    if answering.into_iter().any(|(system, answers)| answers && found_nobody(system)) {
        pass.context.doubt(pass.systems);
    }
    let redis_refuses = right_missing(answers).is_some();
    if redis_refuses && measured.as_ref().is_some_and(|found| !found.pods_lack_redis_rights()) {
        pass.context.doubt(pass.systems);
    }
    refused::doubt(pass, seen, answers, ailing, measured.as_deref());
}
