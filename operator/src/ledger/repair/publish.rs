//! Publishing winners again.

use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_ledger::kafka::producer::WinnerProducer;
use std::time::Duration;

/// Publishes these and says which ranks Kafka has acknowledged.
pub(crate) async fn publish(producer: &WinnerProducer, campaign: &CampaignId, winners: &[CouponIssued]) -> Vec<u64> {
    let records = producer.append_all(winners);
    // What is not known by then may be written all the same, and is found missing again if it is not.
    let _ = tokio::time::timeout(BATCH_DEADLINE, records.all()).await;
    let (mut published, mut refused) = (Vec::with_capacity(winners.len()), None);
    for (at, winner) in winners.iter().enumerate() {
        match records.result(at) {
            Some(Ok(())) => published.push(winner.rank),
            Some(Err(error)) => refused = refused.or(Some(error)),
            None => {}
        }
    }
    if let Some(error) = refused {
        let left = winners.len() - published.len();
        tracing::warn!(%campaign, %error, left, "some winners could not be published; trying again later");
    }
    published
}

/// How long Kafka may take for one batch of them; what is not acknowledged is found missing again.
pub(crate) const BATCH_DEADLINE: Duration = Duration::from_secs(10);
