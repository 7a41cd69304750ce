//! A campaign of its own for each test, and users who ask.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use coupon_core::connections::{Connections, Kafka};
use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_kafka_admin::{KafkaAdmin, TopicSpec};
use coupon_ledger::database::{self, CampaignRowId, EpochCommit};
use coupon_ledger::kafka::{client_config, tail};
use coupon_ledger::redis::rebuild::{Filled, Ledger, LedgerWinner, fill};
use coupon_ledger::redis::{Configured, RedisKeys, RedisState, Terms, configure, connect, observe, read_winners};
use coupon_testing::servers;
use issuer::config::{Cli, Config};
use issuer::service::Service;
use rdkafka::message::Message;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use sqlx::MySqlPool;

pub(crate) const TOKEN: &str = "a-token-of-the-tests-0123456789";
const PARTITIONS: i32 = 3;
const DEADLINE: Duration = Duration::from_secs(30);

fn connections(redis: &str, database: &str) -> Connections {
    Connections {
        kafka: servers::kafka(&servers::variable("COUPON_KAFKA")),
        redis: servers::redis(redis),
        database: servers::database(&servers::variable(database)),
        kafka_names: Default::default(),
    }
}

fn admin(kafka: &Kafka) -> KafkaAdmin {
    KafkaAdmin::new(&client_config(kafka, "issuer-tests", &[])).unwrap()
}

async fn create_topic(kafka: &Kafka, campaign: &CampaignId) {
    let spec =
        TopicSpec { name: campaign.topic(), partitions: PARTITIONS, replication_factor: 1, config: BTreeMap::new() };
    admin(kafka).create_topic(&spec).await.unwrap();
}

pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// An open window.
pub(crate) fn terms(total: u64, limit: u32) -> Terms {
    Terms { total, limit, start_ms: now_ms() - 3_600_000, end_ms: now_ms() + 3_600_000, suspended: false }
}

/// Polls until `done` answers with something.
pub(crate) async fn eventually<T>(what: &str, done: impl AsyncFnMut() -> Option<T>) -> T {
    within(DEADLINE, what, done).await
}

/// The same for what takes longer.
pub(crate) async fn within<T>(deadline: Duration, what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + deadline;
    loop {
        if let Some(value) = done().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "not within {} s: {what}", deadline.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A campaign with its topic, its row and its keys, as the operator would have made them.
pub(crate) struct Fixture {
    pub campaign: CampaignId,
    pub keys: RedisKeys,
    pub redis: MultiplexedConnection,
    pub pool: MySqlPool,
    pub row: CampaignRowId,
    pub epoch: u64,
    pub terms: Terms,
    /// Number of the terms in Redis.
    terms_number: u64,
    /// What the issuer gets: the workload's credentials.
    pub workload: Connections,
    operator: Connections,
}

impl Fixture {
    /// Open to issuers.
    pub(crate) async fn open(terms: Terms) -> Self {
        let fixture = Self::closed(terms).await;
        fixture.open_epoch().await;
        fixture
    }

    /// Open to issuers, on a Redis of its own.
    pub(crate) async fn open_on(server: &stack::services::Redis, terms: Terms) -> Self {
        let fixture = Self::closed_on(&server.url(), &server.workload_url(), terms).await;
        fixture.open_epoch().await;
        fixture
    }

    /// With an epoch that is allotted, but not open in SQL.
    pub(crate) async fn closed(terms: Terms) -> Self {
        Self::closed_on(&servers::variable("COUPON_REDIS"), &servers::variable("COUPON_REDIS_WORKLOAD"), terms).await
    }

    async fn closed_on(redis_url: &str, workload_url: &str, terms: Terms) -> Self {
        let operator = connections(redis_url, "COUPON_DATABASE");
        let workload = connections(workload_url, "COUPON_DATABASE_WORKLOAD");
        let realm = format!("t{:016x}", rand::random::<u64>());
        let campaign = CampaignId::with_default_names(&realm, "tests", "spring").unwrap();
        let keys = RedisKeys::of(&campaign);
        let pool = database::connect(&operator.database, 2);
        database::migrate(&pool).await.unwrap();
        let row = database::register(&pool, &campaign, terms.total).await.unwrap().id;
        create_topic(&operator.kafka, &campaign).await;
        let redis = connect::connect(&operator.redis, Duration::from_secs(10)).await.unwrap();
        let mut fixture =
            Self { campaign, keys, redis, pool, row, epoch: 0, terms, terms_number: 1, workload, operator };
        fixture.rebuild().await;
        fixture
    }

    /// Uses another Kafka from now on, one that a test may stop.
    pub(crate) async fn move_topic_to(&mut self, bootstrap_server: &str) {
        for connections in [&mut self.operator, &mut self.workload] {
            connections.kafka.bootstrap_servers = vec![bootstrap_server.to_owned()];
        }
        create_topic(&self.operator.kafka, &self.campaign).await;
        let admin = admin(&self.operator.kafka);
        let partitions: Vec<(String, i32)> = (0..PARTITIONS).map(|id| (self.campaign.topic(), id)).collect();
        eventually("the topic has leaders", async || {
            let ends = admin.end_offsets(&partitions).await.ok()?;
            (ends.len() == partitions.len() && ends.values().all(Result::is_ok)).then_some(())
        })
        .await;
    }

    /// Allots the next epoch and writes Redis under it, with the winners it holds now.
    pub(crate) async fn rebuild(&mut self) {
        self.epoch = database::allot_epoch(&self.pool, self.row, 0).await.unwrap();
        let history = self.state().await.history;
        let winners: Vec<LedgerWinner> = read_winners(&mut self.redis.clone(), &self.keys, 0, 100_000)
            .await
            .unwrap()
            .into_iter()
            .map(|held| {
                let (granted_ms, key) = held.granted.unwrap();
                LedgerWinner { rank: held.rank, n: held.n, user: held.user, granted_ms, key }
            })
            .collect();
        let highest = winners.iter().map(|winner| winner.rank).max().unwrap_or(0);
        let ledger = Ledger { winners, free: Vec::new(), highest };
        let (mut redis, attempt) = (self.redis.clone(), format!("{:032x}", rand::random::<u128>()));
        let filled = fill(
            &mut redis,
            &self.campaign,
            &attempt,
            &history,
            self.epoch,
            &self.terms.numbered(self.terms_number),
            &ledger,
        )
        .await
        .unwrap();
        assert_eq!(filled, Filled::Done);
    }

    /// Opens the present epoch in SQL.
    pub(crate) async fn open_epoch(&self) {
        assert_eq!(database::open_epoch(&self.pool, self.row, self.epoch).await.unwrap(), EpochCommit::Done);
    }

    /// Brings other terms into Redis.
    pub(crate) async fn configure(&mut self, terms: Terms) {
        self.terms = terms;
        self.terms_number += 1;
        let change = terms.numbered(self.terms_number);
        let configured = configure(&mut self.redis.clone(), &self.keys, self.epoch, &change).await.unwrap();
        assert_eq!(configured, Configured::Done);
    }

    /// What Redis holds.
    pub(crate) async fn state(&self) -> RedisState {
        observe(&mut self.redis.clone(), &self.keys).await.unwrap()
    }

    /// Ranks in Redis by member.
    pub(crate) async fn ranks(&self) -> BTreeMap<u64, String> {
        let held = read_winners(&mut self.redis.clone(), &self.keys, 0, 100_000).await.unwrap();
        held.into_iter().map(|held| (held.rank, held.user.as_str().to_owned())).collect()
    }

    /// Every record of the topic, in no particular order.
    pub(crate) async fn records(&self) -> Vec<CouponIssued> {
        let admin = admin(&self.operator.kafka);
        let topic = self.campaign.topic();
        let partitions: Vec<(String, i32)> = (0..PARTITIONS).map(|id| (topic.clone(), id)).collect();
        let ends = admin.end_offsets(&partitions).await.unwrap();
        let range: tail::Range = ends.into_iter().map(|((_, id), end)| (id, (0, end.unwrap()))).collect();
        let (kafka, campaign) = (self.operator.kafka.clone(), self.campaign.clone());
        tokio::task::spawn_blocking(move || {
            let mut events = Vec::new();
            tail::read(&kafka, &topic, &range, |message| {
                events.push(CouponIssued::decode(&campaign, message.payload()).unwrap());
                Ok::<_, tail::TailError>(())
            })
            .unwrap();
            events
        })
        .await
        .unwrap()
    }

    /// Who is durable, by rank: in the log, or in a row, as winners go past a Kafka that needs more than a second, which on a starved
    /// machine a healthy one does. Two different grants of one rank fail the test.
    pub(crate) async fn durable(&self) -> BTreeMap<u64, CouponIssued> {
        let rows = database::read_rows(&self.pool, &self.campaign, self.row, 0, 100_000).await.unwrap();
        let mut all = BTreeMap::new();
        for event in self.records().await.into_iter().chain(rows) {
            let first = all.entry(event.rank).or_insert_with(|| event.clone());
            assert!(first.same_grant(&event), "rank {} is granted twice: {first:?}, {event:?}", event.rank);
        }
        all
    }

    /// The configuration of an issuer of this campaign on free ports.
    pub(crate) fn config(&self, more: &[&str]) -> Config {
        let campaign = self.campaign.to_string();
        let fixed =
            ["coupon-issuer", "--campaign", &campaign, "--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"];
        let fixed = fixed.into_iter().chain(["--probe-listen", "127.0.0.1:0"]).chain(more.iter().copied());
        Cli::try_parse_from(fixed).unwrap().config.unwrap()
    }

    /// An issuer in this process, not waited for.
    pub(crate) async fn start(&self, connections: &Connections, more: &[&str]) -> Issuer {
        let service = Service::start(&self.config(more), connections, TOKEN.to_owned()).await.unwrap();
        let at = |address: std::net::SocketAddr| format!("http://{address}");
        let (public, control, probe) =
            (at(service.addresses.public), at(service.addresses.control), at(service.addresses.probe));
        Issuer { users: Users::new(public, self.campaign.coupon_id()), control, probe, _service: service }
    }

    /// An issuer in this process that is ready.
    pub(crate) async fn ready(&self) -> Issuer {
        let issuer = self.start(&self.workload, &[]).await;
        issuer.wait_ready().await;
        issuer
    }
}

/// An answer: status, headers, body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn rank(&self) -> u64 {
        self.body["rank"].as_u64().unwrap_or_else(|| panic!("no rank: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Users of one issuer.
#[derive(Clone)]
pub(crate) struct Users {
    pub http: reqwest::Client,
    pub base: String,
    coupon: String,
}

impl Users {
    pub(crate) fn new(base: String, coupon: &str) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Self { http, base, coupon: coupon.to_owned() }
    }

    pub(crate) fn issue_url(&self) -> String {
        format!("{}/api/coupons/{}/issue", self.base, self.coupon)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{status} is not JSON ({e}): {text}"));
        Ok(Reply { status, headers, body })
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.http.get(format!("{}{path}", self.base))).await.unwrap()
    }

    pub(crate) async fn try_ask(&self, user: &str, key: Option<&str>) -> reqwest::Result<Reply> {
        let request = self.http.post(self.issue_url()).json(&serde_json::json!({ "userId": user }));
        let request = match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        };
        self.send(request).await
    }

    pub(crate) async fn ask(&self, user: &str) -> Reply {
        self.try_ask(user, None).await.unwrap()
    }

    pub(crate) async fn ask_with(&self, user: &str, key: &str) -> Reply {
        self.try_ask(user, Some(key)).await.unwrap()
    }
}

/// A running issuer.
pub(crate) struct Issuer {
    pub users: Users,
    pub control: String,
    pub probe: String,
    _service: Service,
}

impl Issuer {
    pub(crate) async fn readiness(&self) -> (u16, String) {
        let response = self.users.http.get(format!("{}/readyz", self.probe)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn wait_ready(&self) {
        eventually("the issuer is ready", async || (self.readiness().await.0 == 200).then_some(())).await;
    }

    pub(crate) async fn metrics(&self) -> String {
        self.users.http.get(format!("{}/metrics", self.probe)).send().await.unwrap().text().await.unwrap()
    }

    pub(crate) async fn fence(&self, floor: u64) -> Reply {
        let request = self.users.http.post(format!("{}/fence", self.control)).bearer_auth(TOKEN);
        self.users.send(request.json(&serde_json::json!({ "floor": floor }))).await.unwrap()
    }

    pub(crate) async fn pressure(&self) -> Value {
        let request = self.users.http.get(format!("{}/pressure", self.control)).bearer_auth(TOKEN);
        self.users.send(request).await.unwrap().body
    }
}
