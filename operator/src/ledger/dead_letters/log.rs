//! The dead-letter topic as one look finds it.

use std::collections::BTreeSet;

use coupon_core::position::Position;
use coupon_ledger::database::{self, CampaignRowId, DatabaseError};
use coupon_ledger::kafka::tail::Range;
use sqlx::mysql::MySqlPool;

/// What is there of the dead-letter topic, and which of its letters people have given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLog {
    /// First offset and end of each partition.
    pub range: Range,
    /// Letters that hold nothing any more. They may lie there for long: Kafka removes from the head of a partition only.
    pub discarded: BTreeSet<Position>,
}

impl DeadLog {
    /// Asks which letters of the topic with this id are given up, if there are any letters.
    ///
    /// # Errors
    /// The database failed.
    pub async fn of(sql: &MySqlPool, id: CampaignRowId, topic_id: &str, range: Range) -> Result<Self, DatabaseError> {
        let discarded = match range.values().any(|(from, to)| from < to) {
            true => database::discarded_records(sql, id, topic_id).await?,
            false => BTreeSet::new(),
        };
        Ok(Self { range, discarded })
    }
}
