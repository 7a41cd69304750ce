//! What every step of a replay works with.

use coupon_core::connections::Connections;
use coupon_core::identity::CampaignId;
use coupon_kafka_admin::KafkaAdmin;
use sqlx::mysql::MySqlPool;
use std::collections::BTreeMap;

/// Where a campaign's dead letters are.
pub struct ReplayService {
    pub(crate) campaign: CampaignId,
    pub(crate) connections: Connections,
    pub(crate) admin: KafkaAdmin,
    pub(crate) pool: MySqlPool,
}

/// The dead-letter topic as it is at one moment.
pub(crate) struct DeadTopic {
    /// Its id.
    pub(crate) id: String,
    /// First and next offset of each partition.
    pub(crate) span: BTreeMap<i32, (i64, i64)>,
}

/// Letters that are looked at in one run: it bounds memory. They are the oldest of each partition.
pub(crate) const MAX_LETTERS: u64 = 50_000;

/// Names this program to the brokers.
pub(crate) const CLIENT_ID: &str = "coupon-dead-letters";
