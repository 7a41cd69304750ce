//! Step 2: reads what is there.

use std::time::Instant;

use kube::ResourceExt;

use crate::events;
use crate::metrics::ClassLabels;
use crate::reconcile::lasting::ailing_of;
use crate::reconcile::observation_cache::rows_in_status;
use crate::reconcile::observed::Observed;
use crate::reconcile::plan::terms;
use crate::reconcile::reconcile_context::ReconcileContext;
use crate::reconcile::replicas::ReplicaCount;
use crate::reconcile::{issuers, observe as systems, tampering};
use crate::workloads::Component;

/// Reads database, Redis and Kafka; at the same time asks issuers what they serve, and pods why they are not ready. A system that cannot be
/// read is an error in its own part and hides nothing of the others. I/O: reads only, but for events.
pub(in crate::reconcile) async fn observe(pass: &ReconcileContext<'_>) -> Observed {
    let consumers = ReplicaCount::of(pass.deployment(Component::Consumer).as_deref());
    let issuers = ReplicaCount::of(pass.deployment(Component::Issuer).as_deref());
    let mut cache = pass.memory.get().cache;
    // Only what the process before this one wrote: what status says later, this one has written, or somebody by hand.
    if !std::mem::replace(&mut cache.has_read_status, true) {
        cache.rows.pages.remember(rows_in_status(pass.object, pass.id));
    }
    cache.totals.asked = terms::asked(pass.object).total;
    let begun = Instant::now();
    let (seen, answers, ailing) = tokio::join!(
        systems::observe(pass.systems, pass.id, consumers.current > 0, &mut cache),
        issuers::ask(pass),
        ailing_of(pass)
    );
    let redis_refusal = match &seen.redis {
        Ok(redis) if redis.open.is_some() => pass.systems.redis_refusal(pass.id.realm()).await,
        _ => None,
    };
    let measured = pass.systems.measured();
    let observed = Observed { begun, seen, cache, answers, ailing, redis_refusal, measured, issuers, consumers };
    warn_of_tampering(pass, &observed).await;
    let requests = i64::try_from(pass.systems.kafka_requests()).unwrap_or(i64::MAX);
    pass.context.metrics.kafka_requests.get_or_create(&ClassLabels { class: pass.class.name_any() }).set(requests);
    observed
}

/// Warns where the terms in Redis have changed, and no change of ours came between.
async fn warn_of_tampering(pass: &ReconcileContext<'_>, observed: &Observed) {
    let Ok(redis) = &observed.seen.redis else { return };
    let given = observed.row().map(|row| row.terms_number);
    let changed = pass.memory.update(|memory| memory.terms_seen.observe(redis.open.as_ref(), given));
    if let Some(text) = changed {
        events::warn(pass.context, pass.object, tampering::CHANGED, &text).await;
    }
}
