//! Redis and MariaDB of this test's own, as their counters count everybody; Kafka is the stack's.

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_core::connections::Connections;
use coupon_core::event::CouponIssued;
use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_ledger::redis::rebuild::{Filled, Ledger, fill};
use coupon_ledger::redis::{RedisKeys, Terms, connect, observe};
use coupon_testing::servers;
use redis::aio::MultiplexedConnection;
use sqlx::mysql::MySqlPool;
use stack::services::{MariaDb, Redis};

/// As long as those of `make bench`.
pub(crate) fn user(number: u64) -> UserId {
    UserId::new(format!("user{number:012}")).unwrap()
}

/// A winner as issuers make them.
pub(crate) fn winner(campaign: &CampaignId, rank: u64) -> CouponIssued {
    CouponIssued {
        coupon_id: campaign.coupon_id().to_owned(),
        user_id: user(rank),
        rank,
        issued_count: rank,
        occurred_at: jiff::Timestamp::from_millisecond(1_800_000_000_125).unwrap(),
        n: 1,
        epoch: 1,
        request_key: RequestKey::new(format!("auto-{rank:032}")).unwrap(),
    }
}

/// The servers.
pub(crate) struct Servers {
    redis: Redis,
    database: MariaDb,
    kafka: String,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let kafka = servers::variable("COUPON_KAFKA");
        Self { redis: Redis::start().unwrap(), database: MariaDb::start().unwrap(), kafka }
    }

    /// With all rights.
    pub(crate) fn connections(&self) -> Connections {
        Connections {
            kafka: servers::kafka(&self.kafka),
            redis: servers::redis(&self.redis.url()),
            database: servers::database(&self.database.url()),
            kafka_names: Default::default(),
        }
    }

    /// A campaign of this name, in a realm of its own: the stack's Kafka may have another of it.
    pub(crate) fn campaign(&self, name: &str) -> CampaignId {
        let realm = format!("s{:016x}", rand::random::<u64>());
        CampaignId::with_default_names(&realm, "smoke", name).unwrap()
    }

    pub(crate) async fn redis(&self) -> MultiplexedConnection {
        connect::connect(&self.connections().redis, Duration::from_secs(10)).await.unwrap()
    }
}

/// Fills Redis for a campaign of so many coupons, under the first epoch.
pub(crate) async fn open_redis(redis: &mut MultiplexedConnection, campaign: &CampaignId, total: u64) {
    let terms = Terms { total, limit: 1, start_ms: 0, end_ms: i64::MAX / 4096, suspended: false };
    let history = observe(redis, &RedisKeys::of(campaign)).await.unwrap().history;
    let ledger = Ledger { winners: Vec::new(), free: Vec::new(), highest: 0 };
    let filled = fill(redis, campaign, "a1", &history, 1, &terms.numbered(1), &ledger).await.unwrap();
    assert_eq!(filled, Filled::Done);
}

/// How often each command of Redis was called, those of scripts too.
pub(crate) async fn commands(redis: &mut MultiplexedConnection) -> BTreeMap<String, f64> {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(redis).await.unwrap();
    let one = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    stats.lines().filter_map(one).collect()
}

/// A counter of the database, over all connections.
pub(crate) async fn counter(pool: &MySqlPool, name: &str) -> f64 {
    let question =
        "SELECT CAST(VARIABLE_VALUE AS DOUBLE) FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = ?";
    sqlx::query_scalar(question).bind(name).fetch_one(pool).await.unwrap()
}
