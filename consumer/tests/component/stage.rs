//! What a test needs: topics and a row of its own, a consumer in this process, and eyes on all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consumer::BatchLimits;
use consumer::Patience;
use consumer::metrics::Metrics;
use consumer::service::{Service, ServiceError};
use consumer::status::Status;
use coupon_core::connections::Connections;
use coupon_core::contract::KeyBy;
use coupon_core::event::CouponIssued;
use coupon_core::identity::{CampaignId, Identity, RequestKey, UserId};
use coupon_core::names::KafkaNames;
use coupon_kafka_admin::{KafkaAdmin, TopicSpec, TopicState};
use coupon_ledger::database::{self, CampaignRowId, TotalSet};
use coupon_ledger::kafka::client_config;
use coupon_ledger::kafka::producer::WinnerProducer;
use coupon_ledger::kafka::tail::{self, Range, TailError};
use coupon_testing::servers;
use rdkafka::message::{Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::mysql::MySqlPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `check` holds; fails after [`PATIENCE`] with what it was.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One campaign of its own.
pub(crate) struct Stage {
    pub campaign: CampaignId,
    pub connections: Connections,
    pub admin: KafkaAdmin,
    pub pool: MySqlPool,
    pub row: CampaignRowId,
    pub partitions: i32,
}

impl Stage {
    /// With both topics, a row, and coupons without end.
    pub(crate) async fn new(partitions: i32) -> Self {
        let stage = Self::without_dead_letter_topic(partitions).await;
        stage.create_topic(&stage.campaign.dead_letter_topic()).await;
        stage
    }

    /// The same under other names.
    pub(crate) async fn named(names: KafkaNames) -> Self {
        let stage = Self::of(1, names).await;
        stage.create_topic(&stage.campaign.dead_letter_topic()).await;
        stage
    }

    pub(crate) async fn without_dead_letter_topic(partitions: i32) -> Self {
        Self::of(partitions, KafkaNames::default()).await
    }

    async fn of(partitions: i32, kafka_names: KafkaNames) -> Self {
        Self::on(Connections { kafka_names, ..servers::connections() }, partitions).await
    }

    /// On these servers, with logins that may do everything. Without the dead-letter topic.
    pub(crate) async fn on(connections: Connections, partitions: i32) -> Self {
        if std::env::var_os("RUST_LOG").is_some() {
            coupon_runtime::telemetry::init_logging(false);
        }
        let coupon_id = format!("c{:016x}", rand::random::<u64>());
        let campaign = connections.campaign(Identity::new("test", "consumer", &coupon_id).unwrap());
        let pool = database::connect(&connections.database, 4);
        database::migrate(&pool).await.unwrap();
        let row = database::register(&pool, &campaign, 1_000_000).await.unwrap().id;
        let admin = KafkaAdmin::new(&client_config(&connections.kafka, "test", &[])).unwrap();
        let stage = Self { campaign, connections, admin, pool, row, partitions };
        stage.create_topic(&stage.campaign.topic()).await;
        stage
    }

    pub(crate) async fn create_topic(&self, name: &str) {
        self.create_topic_with(name, &[]).await;
    }

    /// With these settings.
    pub(crate) async fn create_topic_with(&self, name: &str, settings: &[(&str, &str)]) {
        let own = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let spec = TopicSpec {
            name: name.to_owned(),
            partitions: self.partitions,
            replication_factor: 1,
            // Tests write records of any time. With the default of a week Kafka removes those of 1970 when it next looks: half a
            // minute after its start, and every five minutes from then on.
            config: own.chain([("retention.ms".to_owned(), "-1".to_owned())]).collect(),
        };
        self.admin.create_topic(&spec).await.unwrap();
        eventually("the topic has leaders", async || {
            let topics = self.admin.describe_topics(&[name]).await.unwrap();
            matches!(topics.get(name), Some(Ok(TopicState::Present(topic))) if topic.has_leaders())
        })
        .await;
    }

    /// A winner of this campaign.
    pub(crate) fn winner(&self, rank: u64) -> CouponIssued {
        CouponIssued {
            coupon_id: self.campaign.coupon_id().to_owned(),
            user_id: UserId::new(format!("user-{rank}")).unwrap(),
            rank,
            issued_count: rank,
            occurred_at: jiff::Timestamp::now(),
            n: 1,
            epoch: 1,
            request_key: RequestKey::new(format!("key-{rank}")).unwrap(),
        }
    }

    /// Writes winners as the issuer does, and waits for the acknowledgements.
    pub(crate) async fn publish(&self, winners: impl IntoIterator<Item = CouponIssued>) {
        let log = WinnerProducer::new(&self.connections.kafka, &self.campaign, KeyBy::User, "test").unwrap();
        let winners: Vec<_> = winners.into_iter().collect();
        let records = log.append_all(&winners);
        for place in 0..winners.len() {
            records.one(place).await.unwrap();
        }
    }

    /// Writes anything into one partition. Returns its offset.
    pub(crate) async fn publish_raw(
        &self,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
        timestamp: i64,
    ) -> i64 {
        let producer: FutureProducer =
            client_config(&self.connections.kafka, "test", &[("acks", "all")]).create().unwrap();
        let topic = self.campaign.topic();
        let mut record = FutureRecord::<[u8], [u8]>::to(&topic).partition(partition).timestamp(timestamp);
        record.key = key;
        record.payload = value;
        record.headers = headers;
        producer.send(record, PATIENCE).await.unwrap().offset
    }

    /// Writes a winner among the dead letters, as somebody may who knows nothing of their headers.
    pub(crate) async fn publish_to_dead_letters(&self, winner: &CouponIssued) {
        let producer: FutureProducer =
            client_config(&self.connections.kafka, "test", &[("acks", "all")]).create().unwrap();
        let (topic, value) = (self.campaign.dead_letter_topic(), winner.encode());
        let record = FutureRecord::to(&topic).partition(0).payload(&value).key(winner.user_id.as_str());
        producer.send(record, PATIENCE).await.unwrap();
    }

    /// Writes a value of a stranger's, which may be large, into one partition, compressed.
    pub(crate) async fn publish_large(&self, partition: i32, value: &[u8], headers: Option<OwnedHeaders>) {
        let settings = [("acks", "all"), ("message.max.bytes", "10000000"), ("compression.type", "lz4")];
        let producer: FutureProducer = client_config(&self.connections.kafka, "test", &settings).create().unwrap();
        let topic = self.campaign.topic();
        let mut record = FutureRecord::<[u8], [u8]>::to(&topic).partition(partition).payload(value).key(b"stranger");
        record.headers = headers;
        producer.send(record, PATIENCE).await.unwrap();
    }

    pub(crate) async fn publish_to(&self, partition: i32, winner: &CouponIssued) -> i64 {
        let value = winner.encode();
        self.publish_raw(partition, Some(winner.user_id.as_str().as_bytes()), Some(&value), None, 1).await
    }

    /// Sets the campaign's total.
    pub(crate) async fn limit_to(&self, total: u64) {
        let row = database::find(&self.pool, &self.campaign).await.unwrap().unwrap();
        let number = database::allot_terms(&self.pool, &row, 0).await.unwrap().unwrap();
        assert_eq!(database::set_total(&self.pool, self.row, number, total).await.unwrap(), TotalSet::Done);
    }

    pub(crate) async fn stored(&self) -> u64 {
        database::count_stored(&self.pool, self.row, 0).await.unwrap().0
    }

    /// What the group has committed, nothing counting as 0.
    pub(crate) async fn committed(&self) -> BTreeMap<i32, i64> {
        let (group, topic) = (self.campaign.group(), self.campaign.topic());
        let committed = self.admin.committed_offsets(&group, &topic, self.partitions).await.unwrap();
        committed.into_iter().map(|(partition, offset)| (partition, offset.unwrap_or(0))).collect()
    }

    pub(crate) async fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let wanted: Vec<_> = (0..self.partitions).map(|partition| (topic, partition)).collect();
        let ends = self.admin.end_offsets(&wanted).await.unwrap();
        ends.into_iter().map(|((_, partition), end)| (partition, end.unwrap())).collect()
    }

    /// From the beginning of the campaign's topic to its end.
    pub(crate) async fn whole(&self) -> Range {
        self.ends(&self.campaign.topic()).await.into_iter().map(|(partition, end)| (partition, (0, end))).collect()
    }

    /// Waits until the group has committed all that is in the topic.
    pub(crate) async fn all_committed(&self) {
        let ends = self.ends(&self.campaign.topic()).await;
        eventually("everything is committed", async || self.committed().await == ends).await;
    }

    /// All records of the dead letter topic.
    pub(crate) async fn dead_letters(&self) -> Vec<OwnedMessage> {
        self.records(&self.campaign.dead_letter_topic()).await
    }

    /// All records of a topic.
    pub(crate) async fn records(&self, topic: &str) -> Vec<OwnedMessage> {
        let range = self.ends(topic).await.into_iter().map(|(partition, end)| (partition, (0, end))).collect();
        let (kafka, topic) = (self.connections.kafka.clone(), topic.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            tail::read::<TailError>(&kafka, &topic, &range, |message| {
                found.push(message.detach());
                Ok(())
            })
            .map(|()| found)
        });
        let mut found = read.await.unwrap().unwrap();
        found.sort_by_key(|message| (message.partition(), message.offset()));
        found
    }

    pub(crate) fn start(&self) -> Running {
        self.start_with(self.connections.clone())
    }

    pub(crate) fn start_with(&self, connections: Connections) -> Running {
        self.start_watched(connections, Patience { above_total: Duration::from_secs(1), ..Patience::default() })
    }

    /// With another patience for a reader that stands still.
    pub(crate) fn start_watched(&self, connections: Connections, patience: Patience) -> Running {
        let metrics = Metrics::default();
        let status = Arc::new(Status::new(&self.campaign, &metrics));
        let stop = CancellationToken::new();
        let service = Service {
            campaign: self.campaign.clone(),
            connections,
            client_id: "test".into(),
            limits: BatchLimits { rows: 100, wait: Duration::from_millis(20) },
            patience,
            status: Arc::clone(&status),
            metrics: metrics.clone(),
        };
        let work = tokio::spawn(service.run(stop.clone()));
        Running { status, metrics, stop, work }
    }
}

/// A consumer in this process.
pub(crate) struct Running {
    pub status: Arc<Status>,
    pub metrics: Metrics,
    stop: CancellationToken,
    work: JoinHandle<Result<(), ServiceError>>,
}

impl Running {
    /// Waits until it ends by itself, and says why.
    pub(crate) async fn ended(self) -> ServiceError {
        let ended = tokio::time::timeout(PATIENCE, self.work).await.expect("it ends in time");
        ended.unwrap().expect_err("it ends with an error")
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.work).await.expect("it stops in time").unwrap().unwrap();
    }
}
