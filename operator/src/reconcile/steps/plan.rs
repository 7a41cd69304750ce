//! Step 3: decides what should be. The decision itself is pure: [`plan::plan`].

use jiff::Timestamp;

use crate::api::Phase;
use crate::class::pools::Systems;
use crate::ledger::count::Effort;
use crate::reconcile::observation_cache::ObservationCache;
use crate::reconcile::observe::{self, Observation};
use crate::reconcile::observed::Observed;
use crate::reconcile::plan::{self, Plan};
use crate::reconcile::reconcile_context::ReconcileContext;

/// Decides what should be, from what was read. I/O only where a sale seems to be over: all rows are counted then.
pub(in crate::reconcile) async fn plan(pass: &ReconcileContext<'_>, observed: &mut Observed) -> Plan {
    let ReconcileContext { object, class, id, cluster, systems, .. } = *pass;
    let Observed { seen, cache, consumers, .. } = observed;
    let decide = |seen: &Observation| plan::plan(object, class, id, cluster, seen, Timestamp::now().as_millisecond());
    let plan = plan_counted(systems, seen, cache, decide).await;
    if let (Phase::Completed, Ok(kafka)) = (plan.phase, &seen.kafka) {
        cache.drained.persist(systems, id, kafka, consumers.current > 0).await;
    }
    // Not before it is whole: a pass may be dropped on its way.
    let cache = std::mem::take(cache);
    pass.memory.update(|memory| memory.remember(cache));
    plan
}

/// What `decide` makes of what was read. Where that wants all rows to be counted, they are counted, and it decides again.
pub async fn plan_counted(
    systems: &Systems,
    seen: &mut Observation,
    cache: &mut ObservationCache,
    decide: impl Fn(&Observation) -> Plan,
) -> Plan {
    let plan = decide(seen);
    if !plan.wants_count {
        return plan;
    }
    observe::recount(systems, seen, cache, Effort::Whole).await;
    decide(seen)
}
