//! Publishing winners again.

use campaign::event::CouponIssued;
use campaign::identity::CampaignId;
use campaign::log::producer::WinnerLog;
use std::time::Duration;

/// Publishes these and says which ranks Kafka has acknowledged.
pub(crate) async fn publish(log: &WinnerLog, campaign: &CampaignId, winners: &[CouponIssued]) -> Vec<u64> {
    let records: Vec<_> = winners.iter().map(|winner| (winner.rank, log.append(winner))).collect();
    let deadline = tokio::time::Instant::now() + BATCH_DEADLINE;
    let (mut published, mut refused) = (Vec::with_capacity(records.len()), None);
    for (rank, record) in records {
        let acknowledged = async {
            match record {
                Ok(appending) => appending.acknowledged().await,
                Err(error) => Err(error),
            }
        };
        match tokio::time::timeout_at(deadline, acknowledged).await {
            Ok(Ok(())) => published.push(rank),
            Ok(Err(error)) => refused = refused.or(Some(error)),
            Err(_) => {}
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
