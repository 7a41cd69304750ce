//! Up to where the log was once found stored. Committed offsets expire after days without members; what is on record in the
//! database does not.

use std::collections::BTreeMap;

use coupon_core::identity::CampaignId;
use coupon_kafka_admin::TopicState;
use coupon_ledger::database::{self, CampaignRow, CampaignRowId, DatabaseError, TopicClaim};
use sqlx::mysql::MySqlPool;

use super::KafkaView;
use crate::class::pools::Systems;

/// What is on record for the campaign's topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// Row, topic and generation of the counts for which it was read.
    of: Option<(CampaignRowId, String, u64)>,
    ends: BTreeMap<i32, i64>,
}

impl Drained {
    /// Brings it up to date. It is read again only for another topic, or when the database may be another: `generation` tells.
    ///
    /// # Errors
    /// The database failed.
    pub async fn refresh(&mut self, sql: &MySqlPool, row: &CampaignRow, generation: u64) -> Result<(), DatabaseError> {
        let of = match row.topic_claim() {
            TopicClaim::Owned(topic_id) => Some((row.id, topic_id, generation)),
            TopicClaim::None | TopicClaim::Announced => None,
        };
        if of == self.of {
            return Ok(());
        }
        self.ends = match &of {
            Some((id, topic_id, _)) => database::drained(sql, *id, topic_id).await?,
            None => BTreeMap::new(),
        };
        self.of = of;
        Ok(())
    }

    /// Takes it into account in what Kafka says, if that is about the same topic.
    pub fn apply(&self, view: &mut KafkaView) {
        let TopicState::Present(topic) = &view.topic.events else { return };
        let ours = self.of.as_ref().is_some_and(|(_, topic_id, _)| *topic_id == topic.topic_id);
        let Some(offsets) = view.offsets.as_mut().filter(|_| ours && !self.ends.is_empty()) else { return };
        offsets.drained.clone_from(&self.ends);
        // A log that is shorter than it was has lost its end: what comes there now is new.
        offsets.drained.retain(|partition, drained| offsets.ends.get(partition).is_some_and(|end| *drained <= *end));
        // A lag that is not known stays so.
        view.lag = view.lag.map(|_| offsets.lag());
    }

    /// Puts on record up to where the log of a completed campaign is stored, and gives the group back what expired of its
    /// commits: else the whole log would be read again, and what was dead-lettered would be once more. Nothing is written when
    /// that is known. Failing costs no more than that. `consumers`: whether any run, as a group takes commits from its members
    /// only.
    pub async fn persist(&mut self, systems: &Systems, campaign: &CampaignId, kafka: &KafkaView, consumers: bool) {
        let Some(offsets) = kafka.offsets.as_ref().filter(|_| kafka.lag == Some(0)) else { return };
        if let Err(error) = self.record(&systems.sql, &offsets.ends).await {
            tracing::warn!(%campaign, %error, "how far the log is stored could not be put on record");
        }
        let expired = offsets.expired();
        if expired.is_empty() || consumers {
            return;
        }
        if let Err(error) = systems.kafka.commit_offsets(&campaign.group(), &campaign.topic(), &expired).await {
            tracing::warn!(%campaign, %error, "the group's expired offsets could not be given back");
        }
    }

    async fn record(&mut self, sql: &MySqlPool, ends: &BTreeMap<i32, i64>) -> Result<(), DatabaseError> {
        let Some((id, topic_id, _)) = &self.of else { return Ok(()) };
        let new: BTreeMap<i32, i64> = ends
            .iter()
            .filter(|(partition, end)| **end > self.ends.get(partition).copied().unwrap_or(0))
            .map(|(partition, end)| (*partition, *end))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        database::set_drained(sql, *id, topic_id, &new).await?;
        self.ends.extend(new);
        Ok(())
    }
}
