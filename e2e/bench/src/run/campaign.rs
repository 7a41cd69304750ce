//! A campaign of its own for each case and round: a row, topics, keys.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use coupon_core::identity::{CampaignId, Identity};
use coupon_kafka_admin::{TopicSpec, TopicState};
use coupon_ledger::database::{self, CampaignRowId};
use coupon_ledger::redis::{self, RedisKeys, Terms};
use operator::ledger::epoch::{self, Opened, Remembered};

use super::stage::{PATIENCE, Stage};

/// What a campaign has that says nothing of it.
pub(crate) const PARTITIONS: i32 = 3;
/// A window that is open.
const WINDOW_END_MS: i64 = i64::MAX / 4096;

/// A campaign.
#[derive(Debug)]
pub(crate) struct Campaign {
    /// Who it is.
    pub(crate) id: CampaignId,
    /// Its row.
    pub(crate) row: CampaignRowId,
    /// Coupons in all.
    pub(crate) total: u64,
}

impl Campaign {
    /// With a row and both topics. Nothing is in Redis, and no epoch is open.
    ///
    /// # Errors
    /// A server fails.
    pub(crate) async fn closed(stage: &Stage, name: &str, total: u64) -> Result<Self> {
        let id = stage.workload.campaign(Identity::new("bench", "sales", name)?);
        let row = database::register(&stage.systems.sql, &id, total).await?.id;
        for topic in [id.topic(), id.dead_letter_topic()] {
            create_topic(stage, &topic).await?;
        }
        Ok(Self { id, row, total })
    }

    /// Open to issuers.
    ///
    /// # Errors
    /// A server fails.
    pub(crate) async fn open(stage: &Stage, name: &str, total: u64) -> Result<Self> {
        let campaign = Self::closed(stage, name, total).await?;
        let opened = campaign.open_epoch(stage).await?;
        ensure!((opened.winners, opened.free) == (0, 0), "a new campaign has winners: {opened:?}");
        Ok(campaign)
    }

    /// Fills Redis from the rows, as the operator does, and opens an epoch.
    ///
    /// # Errors
    /// The epoch was not opened.
    pub(crate) async fn open_epoch(&self, stage: &Stage) -> Result<Opened> {
        let Some(row) = database::find(&stage.systems.sql, &self.id).await? else { bail!("{} has no row", self.id) };
        let terms = Terms { total: self.total, limit: 1, start_ms: 0, end_ms: WINDOW_END_MS, suspended: false };
        let (systems, issuers) = (&stage.systems, &stage.issuers);
        Ok(epoch::open(systems, issuers, &self.id, &row, &terms, Remembered::default(), || {}).await?)
    }

    /// Winners in Redis.
    ///
    /// # Errors
    /// Redis fails.
    pub(crate) async fn issued(&self, stage: &Stage) -> Result<u64> {
        Ok(redis::observe(&mut stage.redis().await?, &RedisKeys::of(&self.id)).await?.issued)
    }

    /// How many rows it has, and the highest rank among them.
    ///
    /// # Errors
    /// The database fails.
    pub(crate) async fn rows(&self, stage: &Stage) -> Result<(u64, u64)> {
        Ok(database::count_stored(&stage.systems.sql, self.row, 0).await?)
    }

    /// What is wrong with its rows, if there should be one for each rank up to this.
    ///
    /// # Errors
    /// The database fails.
    pub(crate) async fn stored_faults(&self, stage: &Stage, winners: u64) -> Result<Vec<String>> {
        let (rows, highest) = self.rows(stage).await?;
        let fault = format!("there are {rows} rows up to rank {highest}, and {winners} winners");
        // Ranks are unique: as many rows as the highest rank are all ranks.
        Ok(if (rows, highest) == (winners, winners) { Vec::new() } else { vec![fault] })
    }

    /// Records in its topic.
    ///
    /// # Errors
    /// Kafka fails.
    pub(crate) async fn records(&self, stage: &Stage) -> Result<u64> {
        let ends = epoch::ends(&stage.systems, &self.id.topic(), PARTITIONS).await?;
        Ok(ends.values().map(|end| end.unsigned_abs()).sum())
    }

    /// Takes away what it has in Redis and Kafka. Its row stays.
    ///
    /// # Errors
    /// A server fails.
    pub(crate) async fn remove(&self, stage: &Stage) -> Result<()> {
        redis::forget(&mut stage.redis().await?, &RedisKeys::of(&self.id)).await?;
        for topic in [self.id.topic(), self.id.dead_letter_topic()] {
            stage.systems.kafka.delete_topic(&topic).await?;
        }
        Ok(())
    }
}

/// Makes a topic, and waits until it can be written to.
async fn create_topic(stage: &Stage, name: &str) -> Result<()> {
    let spec =
        TopicSpec { name: name.to_owned(), partitions: PARTITIONS, replication_factor: 1, config: BTreeMap::new() };
    stage.systems.kafka.create_topic(&spec).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let topics = stage.systems.kafka.describe_topics(&[name]).await?;
        if matches!(topics.get(name), Some(Ok(TopicState::Present(topic))) if topic.has_leaders()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{name} has no leaders");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
