//! A campaign of its own for each test: a row, both topics, and whatever Redis is to hold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coupon_core::event::CouponIssued;
use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_kafka_admin::{TopicSpec, TopicState};
use coupon_ledger::database::{self, CampaignRow, CampaignRowId, EpochCommit};
use coupon_ledger::kafka::tail::Range;
use coupon_ledger::kafka::{ORIGINAL_OFFSET, ORIGINAL_PARTITION, client_config};
use coupon_ledger::redis::rebuild::{Filled, Ledger, fill};
use coupon_ledger::redis::{RedisKeys, Terms, observe};
use operator::class::ClassConnections;
use operator::class::pools::Systems;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use coupon_testing::servers::connections;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Id of the campaign's topic, as the database knows it.
pub(crate) const TOPIC: &str = "topic-1";
/// Coupons of each campaign.
pub(crate) const TOTAL: u64 = 1_000_000;

/// A window that is open.
pub(crate) fn terms(total: u64) -> Terms {
    Terms { total, limit: 1, start_ms: 0, end_ms: i64::MAX / 4096, suspended: false }
}

/// One campaign, with one partition and an epoch 1 that is open.
pub(crate) struct Stage {
    pub(crate) systems: Systems,
    pub(crate) campaign: CampaignId,
    pub(crate) row: CampaignRowId,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::of(TOTAL).await
    }

    /// One of so many coupons.
    pub(crate) async fn of(total: u64) -> Self {
        let (operator, workload) = (connections(), connections());
        let systems = Systems::new(ClassConnections { operator, workload }).unwrap();
        let campaign =
            CampaignId::with_default_names("test", "operator", &format!("c{:016x}", rand::random::<u64>())).unwrap();
        systems.migrate().await.unwrap();
        let row = database::register(&systems.sql, &campaign, total).await.unwrap().id;
        database::set_topic(&systems.sql, row, TOPIC, "cluster-1").await.unwrap();
        let stage = Self { systems, campaign, row };
        stage.create_topic(&stage.campaign.topic(), 1).await;
        stage.create_topic(&stage.campaign.dead_letter_topic(), 1).await;
        stage.begin_epoch(1, 0).await;
        stage.open_epoch(1).await;
        stage
    }

    /// Creates a topic, and waits until it can be written to.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32) {
        let (replication_factor, config) = (1, BTreeMap::new());
        let spec = TopicSpec { name: name.to_owned(), partitions, replication_factor, config };
        self.systems.kafka.create_topic(&spec).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        let has_leaders = async || {
            let topics = self.systems.kafka.describe_topics(&[name]).await.unwrap();
            matches!(topics.get(name), Some(Ok(TopicState::Present(topic))) if topic.has_leaders())
        };
        while !has_leaders().await {
            assert!(Instant::now() < deadline, "{name} has no leader");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Allots an epoch and commits its barrier.
    pub(crate) async fn begin_epoch(&self, epoch: u64, end: i64) {
        let sql = &self.systems.sql;
        assert_eq!(database::allot_epoch(sql, self.row, 0).await.unwrap(), epoch);
        let ends = BTreeMap::from([(0, end)]);
        let committed = database::commit_barrier(sql, self.row, epoch, TOPIC, &ends).await.unwrap();
        assert_eq!(committed, EpochCommit::Done);
    }

    pub(crate) async fn open_epoch(&self, epoch: u64) {
        assert_eq!(database::open_epoch(&self.systems.sql, self.row, epoch).await.unwrap(), EpochCommit::Done);
    }

    pub(crate) async fn row(&self) -> CampaignRow {
        database::find(&self.systems.sql, &self.campaign).await.unwrap().unwrap()
    }

    /// A winner of this campaign.
    pub(crate) fn winner(&self, rank: u64, epoch: u64) -> CouponIssued {
        CouponIssued {
            coupon_id: self.campaign.coupon_id().to_owned(),
            user_id: UserId::new(format!("user-{rank}")).unwrap(),
            rank,
            issued_count: rank,
            occurred_at: jiff::Timestamp::from_millisecond(1).unwrap(),
            n: 1,
            epoch,
            request_key: RequestKey::new("k").unwrap(),
        }
    }

    /// Puts this into Redis.
    pub(crate) async fn fill(&self, epoch: u64, number: u64, ledger: &Ledger) {
        self.fill_on(epoch, number, terms(TOTAL), ledger).await;
    }

    /// The same, on other terms.
    pub(crate) async fn fill_on(&self, epoch: u64, number: u64, terms: Terms, ledger: &Ledger) {
        let mut redis = self.systems.redis().await.unwrap();
        let history = observe(&mut redis, &RedisKeys::of(&self.campaign)).await.unwrap().history;
        let (attempt, terms) = (epoch.to_string(), terms.numbered(number));
        let filled = fill(&mut redis, &self.campaign, &attempt, &history, epoch, &terms, ledger).await.unwrap();
        assert_eq!(filled, Filled::Done);
    }

    /// Writes a winner's record.
    pub(crate) async fn record(&self, winner: &CouponIssued) {
        let kafka = client_config(&self.systems.settings.operator.kafka, "test", &[("acks", "all")]);
        let producer: FutureProducer = kafka.create().unwrap();
        let (topic, value) = (self.campaign.topic(), winner.encode());
        let record = FutureRecord::<[u8], [u8]>::to(&topic).partition(0).payload(&value);
        producer.send(record, PATIENCE).await.unwrap();
    }

    /// Writes a dead letter whose record lay at this offset.
    pub(crate) async fn dead_letter(&self, winner: &CouponIssued, offset: i64) {
        let kafka = client_config(&self.systems.settings.operator.kafka, "test", &[("acks", "all")]);
        let producer: FutureProducer = kafka.create().unwrap();
        let offset = offset.to_string();
        let headers = [(ORIGINAL_PARTITION, "0"), (ORIGINAL_OFFSET, offset.as_str())];
        let headers = headers
            .into_iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
        let (topic, value) = (self.campaign.dead_letter_topic(), winner.encode());
        let record = FutureRecord::<[u8], [u8]>::to(&topic).partition(0).payload(&value).headers(headers);
        producer.send(record, PATIENCE).await.unwrap();
    }

    /// What is in the one partition of a topic.
    pub(crate) async fn span(&self, topic: &str) -> Range {
        let ends = self.systems.kafka.end_offsets(&[(topic, 0)]).await.unwrap();
        ends.into_iter().map(|((_, partition), end)| (partition, (0, end.unwrap()))).collect()
    }
}
