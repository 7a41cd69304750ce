//! How much of Redis' memory a campaign takes, for a metric. Seldom, from samples, and for one campaign of a class at a time.

use std::time::{Duration, Instant};

use campaign::stock::StockKeys;

use super::Pass;
use super::observe::Observation;
use crate::metrics::CampaignLabels;

/// How often it is measured.
const EVERY: Duration = Duration::from_secs(60);

/// Measures it, if it is time to. What cannot be measured, as where the login has no right to, is absent, and harms nothing else.
pub(super) async fn measure(pass: &Pass<'_>, seen: &Observation, labels: &CampaignLabels) {
    let Pass { context, uid, systems, id, .. } = pass;
    if seen.stock.is_err() {
        context.metrics.redis_bytes(labels, None);
        return;
    }
    if context.memory.get(uid).sized.is_some_and(|at| at.elapsed() < EVERY) {
        return;
    }
    let Some(measured) = systems.redis_bytes(&StockKeys::of(id)).await else { return };
    context.memory.update(uid, |memory| memory.sized = Some(Instant::now()));
    let bytes =
        measured.inspect_err(|error| tracing::debug!(campaign = %id, %error, "the size of its keys is not known"));
    context.metrics.redis_bytes(labels, bytes.ok().and_then(|bytes| i64::try_from(bytes).ok()));
}
