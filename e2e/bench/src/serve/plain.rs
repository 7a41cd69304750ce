//! The design that people write first, on the same libraries: one script call and one awaited record for each request.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, Script};
use serde::Serialize;

use super::listen::{self, Listen};
use super::wire::{Ask, issued, refused};

/// How long one call of the script, and one record, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Coupons that one user may hold.
const LIMIT: u32 = 1;

/// Where its systems are.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlainOptions {
    /// Where to listen.
    #[command(flatten)]
    listen: Listen,
    /// URL of Redis, with all rights.
    #[arg(long)]
    redis: String,
    /// Kafka's bootstrap server.
    #[arg(long)]
    kafka: String,
    /// The topic of winners.
    #[arg(long)]
    topic: String,
    /// The campaign's coupon id.
    #[arg(long)]
    coupon: String,
    /// Coupons there are.
    #[arg(long)]
    total: u64,
}

/// What every request works with.
struct Plain {
    redis: MultiplexedConnection,
    script: Script,
    keys: [String; 3],
    producer: FutureProducer,
    topic: String,
    coupon: String,
    total: u64,
}

/// The value of a record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Winner<'a> {
    coupon_id: &'a str,
    user_id: &'a str,
    rank: u64,
    issued_count: u64,
    occurred_at: jiff::Timestamp,
}

/// The names of a campaign's keys: winners, coupons of each user, coupons in all.
pub(crate) fn keys(coupon: &str) -> [String; 3] {
    ["issued", "user-count", "count"].map(|what| format!("plain:{what}:{{{coupon}}}"))
}

/// Serves until the process is ended.
///
/// # Errors
/// It cannot listen, or Redis cannot be connected to.
pub(crate) fn run(options: PlainOptions) -> Result<()> {
    listen::runtime()?.block_on(async {
        let listen = options.listen.clone();
        let plain = Arc::new(Plain::connect(options).await?);
        let router = Router::new().route("/api/coupons/{id}/issue", post(issue)).with_state(plain);
        listen::serve(&listen, router).await
    })
}

impl Plain {
    async fn connect(options: PlainOptions) -> Result<Self> {
        let PlainOptions { redis, kafka, topic, coupon, total, .. } = options;
        let server = redis.into_connection_info()?.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let connection = Client::open(server)?.get_multiplexed_async_connection_with_config(&config).await;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", kafka)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "10")
            .set("batch.size", "16384")
            .set("compression.type", "snappy")
            .create()
            .context("the Kafka settings cannot be used")?;
        Ok(Self {
            redis: connection.context("Redis cannot be connected to")?,
            script: Script::new(include_str!("plain.lua")),
            keys: keys(&coupon),
            producer,
            topic,
            coupon,
            total,
        })
    }

    /// Code and rank.
    async fn decide(&self, user: &str) -> redis::RedisResult<(String, u64)> {
        let mut call = self.script.prepare_invoke();
        for key in &self.keys {
            call.key(key);
        }
        call.arg(user).arg(self.total).arg(LIMIT);
        call.invoke_async(&mut self.redis.clone()).await
    }

    /// Whether Kafka has taken the winner.
    async fn record(&self, user: &str, rank: u64) -> bool {
        let winner = Winner {
            coupon_id: &self.coupon,
            user_id: user,
            rank,
            issued_count: rank,
            occurred_at: jiff::Timestamp::now(),
        };
        let Ok(value) = serde_json::to_vec(&winner) else { return false };
        self.producer.send(FutureRecord::to(&self.topic).key(user).payload(&value), PATIENCE).await.is_ok()
    }
}

async fn issue(State(plain): State<Arc<Plain>>, Path(id): Path<String>, Json(ask): Json<Ask>) -> Response {
    if id != plain.coupon || ask.user_id.is_empty() {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_REQUEST");
    }
    match plain.decide(&ask.user_id).await {
        Ok((code, rank)) if code == "ISSUED" => match plain.record(&ask.user_id, rank).await {
            true => issued(rank),
            false => refused(StatusCode::SERVICE_UNAVAILABLE, "UNCONFIRMED"),
        },
        Ok((code, _)) => refused(StatusCode::BAD_REQUEST, &code),
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "REDIS_UNAVAILABLE"),
    }
}
