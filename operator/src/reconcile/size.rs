//! How much of Redis' memory a campaign takes, for a metric. Seldom, from samples, and for one campaign of a class at a time.

use std::time::Duration;

use coupon_ledger::redis::RedisKeys;

use super::ReconcileContext;
use super::observe::Observation;
use crate::metrics::CampaignLabels;

/// How often it is measured.
const EVERY: Duration = Duration::from_secs(60);

/// Measures it, if it is time to. What cannot be measured, as where the login has no right to, is absent, and harms nothing else.
pub(super) async fn measure(pass: &ReconcileContext<'_>, seen: &Observation, labels: &CampaignLabels) {
    let ReconcileContext { context, systems, id, memory, .. } = pass;
    if seen.redis.is_err() {
        context.metrics.redis_bytes(labels, None);
        return;
    }
    if memory.get().size.is_recent(EVERY) {
        return;
    }
    let Some(measured) = systems.redis_bytes(&RedisKeys::of(id)).await else { return };
    memory.update(|memory| memory.size.reset());
    let bytes =
        measured.inspect_err(|error| tracing::debug!(campaign = %id, %error, "the size of its keys is not known"));
    context.metrics.redis_bytes(labels, bytes.ok().and_then(|bytes| i64::try_from(bytes).ok()));
}
