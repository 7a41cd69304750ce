//! Reads what SQL, Kafka and Redis hold of a campaign, for opening an epoch.

use std::collections::BTreeMap;

use campaign::event::CouponIssued;
use campaign::identity::CampaignId;
use campaign::log;
use campaign::log::tail::{self, Range, TailError};
use campaign::settings::Kafka;
use campaign::stock::{self, Held, StockError, StockKeys};
use campaign::table::{self, Barriers, CampaignRowId, Position, TableError};
use rdkafka::message::{BorrowedMessage, Message};
use redis::aio::MultiplexedConnection;
use sqlx::mysql::MySqlPool;

use super::EpochError;

/// Rows, or members, of one call.
const PAGE: u32 = 5_000;

/// From the committed offsets (missing = the beginning) to `ends`.
pub fn range(committed: &BTreeMap<i32, Option<i64>>, ends: &BTreeMap<i32, i64>) -> Range {
    let from = |partition: &i32| committed.get(partition).copied().flatten().unwrap_or(0);
    ends.iter().map(|(partition, end)| (*partition, (from(partition), *end))).collect()
}

/// All rows.
pub async fn rows(sql: &MySqlPool, campaign: &CampaignId, id: CampaignRowId) -> Result<Vec<CouponIssued>, TableError> {
    let (mut all, mut above) = (Vec::new(), 0);
    loop {
        let page = table::read_rows(sql, campaign, id, above, PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        above = last.rank;
        all.extend(page);
    }
}

/// Winners in a range of the topic that are not void.
pub async fn tail(
    settings: &Kafka,
    campaign: &CampaignId,
    range: Range,
    barriers: Barriers,
) -> Result<Vec<CouponIssued>, EpochError> {
    read(settings, campaign, campaign.topic(), range, move |event, message| {
        (!barriers.voids(event.epoch, message.partition(), message.offset())).then_some(event)
    })
    .await
}

/// A winner in the dead-letter topic.
pub struct DeadLetter {
    /// The winner.
    pub event: CouponIssued,
    /// Where its record first lay; `None` when its headers do not say.
    pub origin: Option<Position>,
}

/// Whether a dead letter of this epoch, whose record lay there, still holds its rank: it does unless the record was void where
/// it lay. (It may be written long after the consumer read the record, when a newer epoch has given its rank to somebody else.)
pub fn holds_its_rank(epoch: u64, origin: Option<Position>, barriers: &Barriers) -> bool {
    !origin.is_some_and(|at| barriers.voids(epoch, at.partition, at.offset))
}

/// Winners among the dead letters, those that hold no rank included.
pub async fn dead_letters(
    settings: &Kafka,
    campaign: &CampaignId,
    range: Range,
) -> Result<Vec<DeadLetter>, EpochError> {
    read(settings, campaign, campaign.dead_letter_topic(), range, |event, message| {
        Some(DeadLetter { event, origin: log::origin(message) })
    })
    .await
}

async fn read<T: Send + 'static>(
    settings: &Kafka,
    campaign: &CampaignId,
    topic: String,
    range: Range,
    take: impl Fn(CouponIssued, &BorrowedMessage<'_>) -> Option<T> + Send + 'static,
) -> Result<Vec<T>, EpochError> {
    if range.values().all(|(from, to)| from >= to) {
        return Ok(Vec::new());
    }
    let (settings, campaign) = (settings.clone(), campaign.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        tail::read::<TailError>(&settings, &topic, &range, |message| {
            // What is no winner of ours is the consumer's to judge; it holds no rank.
            let event = CouponIssued::decode(&campaign, message.payload()).ok();
            found.extend(event.and_then(|event| take(event, message)));
            Ok(())
        })?;
        Ok::<_, TailError>(found)
    });
    Ok(reading.await??)
}

/// All winners that Redis holds.
pub async fn held(redis: &mut MultiplexedConnection, campaign: &CampaignId) -> Result<Vec<Held>, StockError> {
    let keys = StockKeys::of(campaign);
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let page = stock::read_winners(redis, &keys, from, PAGE as usize).await?;
        let Some(last) = page.last() else { return Ok(all) };
        from = last.rank + 1;
        all.extend(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_without_a_commit_starts_at_the_beginning() {
        let committed = BTreeMap::from([(0, Some(5)), (1, None)]);
        let ends = BTreeMap::from([(0, 7), (1, 3), (2, 1)]);
        let expected = BTreeMap::from([(0, (5, 7)), (1, (0, 3)), (2, (0, 1))]);
        assert_eq!(range(&committed, &ends), expected);
    }
}
