//! What Redis, Kafka and SQL say in the end, each asked in its own words.

use std::time::Duration;

use anyhow::{Context, Result};
use coupon_core::connections;
use coupon_core::event::CouponIssued;
use coupon_core::identity::{CampaignId, parse_member};
use coupon_ledger::kafka::tail::{self, Range, TailError};
use coupon_ledger::redis::RedisKeys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde::Serialize;
use sqlx::MySqlPool;
use stack::Connections;

use crate::database;
use crate::logins;
use crate::redis_cli::redis;

const KAFKA: Duration = Duration::from_secs(10);

/// A record of the log: rank, user, epoch.
pub type Logged = (u64, String, u64);

/// The end of a sale.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// SQL: rank and user.
    pub rows: Vec<(u64, String)>,
    /// Redis' sorted set: rank and user.
    pub members: Vec<(u64, String)>,
    /// Kafka: rank, user and epoch of every record, void ones too. For the evidence.
    pub records: Vec<Logged>,
    /// Records in the dead-letter topic.
    pub dead_letters: usize,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub id: i32,
    /// The broker that leads it.
    pub leader: i32,
    /// The brokers that have a copy; the first of them is to lead it.
    pub replicas: Vec<i32>,
    /// The brokers whose copy has everything.
    pub in_sync: Vec<i32>,
}

/// Where to ask.
#[derive(Clone)]
pub struct Sources {
    /// The database.
    pub pool: MySqlPool,
    /// The brokers themselves, without a proxy.
    pub kafka: connections::Kafka,
    /// The Redis that is the primary now, `redis://user:password@host:port`.
    pub redis: String,
}

impl Sources {
    /// Those of the stack in which this runs.
    pub async fn new(connections: &Connections) -> Result<Self> {
        let redis = connections.redis.clone().context("the stack has no Redis")?;
        Ok(Self { pool: database::connect(connections).await?, kafka: logins::kafka(connections)?, redis })
    }

    /// The same with another Redis.
    pub fn at(&self, redis: String) -> Self {
        Self { redis, ..self.clone() }
    }

    /// SQL only: rank and user, by rank.
    pub async fn rows(&self, campaign: &CampaignId) -> Result<Vec<(u64, String)>> {
        self.rows_above(campaign, 0).await
    }

    async fn rows_above(&self, campaign: &CampaignId, above: u64) -> Result<Vec<(u64, String)>> {
        let (realm, namespace, coupon_id) = (campaign.realm(), campaign.namespace(), campaign.coupon_id());
        Ok(database::rows_above(&self.pool, realm, namespace, coupon_id, above).await?.winners)
    }

    /// Redis only: rank and user, by rank.
    pub async fn members(&self, campaign: &CampaignId) -> Result<Vec<(u64, String)>> {
        self.members_above(campaign, 0).await
    }

    async fn members_above(&self, campaign: &CampaignId, above: u64) -> Result<Vec<(u64, String)>> {
        let (key, from) = (RedisKeys::of(campaign).issued, format!("({above}"));
        let text = redis(&self.redis, &["ZRANGE", &key, &from, "+inf", "BYSCORE", "WITHSCORES"]).await?;
        let lines: Vec<&str> = text.lines().collect();
        let pair = |pair: &[&str]| {
            let [member, score] = pair else { return None };
            Some((score.parse().ok()?, parse_member(member)?.1.as_str().to_owned()))
        };
        lines.chunks(2).map(|each| pair(each).with_context(|| format!("Redis says {each:?} in {key}"))).collect()
    }

    /// All three.
    pub async fn read(&self, campaign: &CampaignId) -> Result<Ledger> {
        self.read_above(campaign, 0).await
    }

    /// All three, of ranks above this one, which they count from.
    pub async fn read_above(&self, campaign: &CampaignId, above: u64) -> Result<Ledger> {
        let (rows, members) = (self.rows_above(campaign, above).await?, self.members_above(campaign, above).await?);
        let (sources, campaign) = (self.clone(), campaign.clone());
        let read = move || sources.log(&campaign);
        let (records, dead_letters) = tokio::task::spawn_blocking(read).await??;
        let from = |(rank, user): (u64, String)| (rank - above, user);
        Ok(Ledger {
            rows: rows.into_iter().map(from).collect(),
            members: members.into_iter().map(from).collect(),
            records: records
                .into_iter()
                .filter_map(|(rank, user, epoch)| Some((rank.checked_sub(above)?, user, epoch)))
                .collect(),
            dead_letters,
        })
    }

    /// The records of the log, and how many dead letters there are.
    fn log(&self, campaign: &CampaignId) -> Result<(Vec<Logged>, usize)> {
        let mut records = Vec::new();
        let topic = campaign.topic();
        tail::read::<TailError>(&self.kafka, &topic, &self.range(&topic)?, |message| {
            use rdkafka::Message;
            if let Ok(event) = CouponIssued::decode(campaign, message.payload()) {
                records.push((event.rank, event.user_id.as_str().to_owned(), event.epoch));
            }
            Ok(())
        })?;
        let mut dead = 0;
        let topic = campaign.dead_letter_topic();
        tail::read::<TailError>(&self.kafka, &topic, &self.range(&topic)?, |_| {
            dead += 1;
            Ok(())
        })?;
        Ok((records, dead))
    }

    /// The partitions of a topic, or of all topics. Blocks for at most 10 s.
    pub fn partitions(&self, topic: Option<&str>) -> Result<Vec<Partition>> {
        let consumer: BaseConsumer = coupon_ledger::kafka::client_config(&self.kafka, "chaos", &[]).create()?;
        let metadata = consumer.fetch_metadata(topic, KAFKA)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok(partitions
            .map(|each| Partition {
                id: each.id(),
                leader: each.leader(),
                replicas: each.replicas().to_vec(),
                in_sync: each.isr().to_vec(),
            })
            .collect())
    }

    fn range(&self, topic: &str) -> Result<Range> {
        let consumer: BaseConsumer = coupon_ledger::kafka::client_config(&self.kafka, "chaos", &[]).create()?;
        let metadata = consumer.fetch_metadata(Some(topic), KAFKA)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id());
        partitions.map(|id| Ok((id, consumer.fetch_watermarks(topic, id, KAFKA)?))).collect()
    }
}
