//! Forgets the series of campaigns that are gone. Most go with their finalizer; this is for those whose finalizer somebody else removed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::context::Context;
use crate::metrics::CampaignLabels;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);

/// Never ends.
pub(crate) async fn run(context: Arc<Context>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Before the watch has shown what there is, every campaign would be taken for gone.
        if context.watches_filled().await.is_ok() {
            let present = context.campaigns.state().iter().map(|campaign| CampaignLabels::of(campaign)).collect();
            context.metrics.keep_only(&present);
        }
    }
}
