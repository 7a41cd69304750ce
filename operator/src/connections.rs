//! Live connections to the systems of each class, shared by all of its campaigns.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campaign::log::admin::KafkaAdmin;
use campaign::log::client_config;
use campaign::stock::connect::connect;
use campaign::stock::{StockError, sentinel};
use campaign::table;
use kube::{Client, ResourceExt};
use redis::aio::MultiplexedConnection;
use sqlx::mysql::MySqlPool;
use tokio::sync::{Mutex, Notify, OnceCell};

use crate::api::CampaignClass;
use crate::class::{self, ClassConnections};
use crate::error::ReconcileError;
use crate::log_view::reader::LogReader;
use crate::topic::make::TopicMaker;

/// How long the Secrets of a class are taken as read.
const SECRETS_FRESH: Duration = Duration::from_secs(10);
/// How long one call to Redis may take.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
/// Database connections of the operator per class.
const SQL_CONNECTIONS: u32 = 8;

/// The three systems of a class, as the operator reaches them.
pub struct Systems {
    /// Settings for the operator and for workloads.
    pub settings: ClassConnections,
    /// Kafka administration.
    pub kafka: KafkaAdmin,
    /// Reads topics and offsets of all campaigns.
    pub log: LogReader,
    /// Makes their topics.
    pub topics: TopicMaker,
    /// The database.
    pub sql: MySqlPool,
    redis: Arc<Mutex<Option<MultiplexedConnection>>>,
    migrated: OnceCell<()>,
    /// Ends with these systems.
    _sentinel: AbortOnDrop,
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Systems {
    /// Nothing is connected to before it is needed. Call it within a runtime.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn new(settings: ClassConnections) -> Result<Self, ReconcileError> {
        let redis: Arc<Mutex<Option<MultiplexedConnection>>> = Arc::default();
        let (held, switched) = (Arc::clone(&redis), Arc::new(Notify::new()));
        let told = Arc::clone(&switched);
        let watching = sentinel::watch(settings.operator.redis.clone(), move || told.notify_one());
        let forgetting = async move {
            loop {
                switched.notified().await;
                *held.lock().await = None;
            }
        };
        let sentinel = tokio::spawn(async move {
            tokio::join!(watching, forgetting);
        });
        let client = |name| KafkaAdmin::new(&client_config(&settings.operator.kafka, name, &[]));
        let kafka = client("coupon-operator")?;
        Ok(Self {
            log: LogReader::start(kafka.clone()),
            topics: TopicMaker::start(client("coupon-operator-topics")?),
            kafka,
            sql: table::connect(&settings.operator.database, SQL_CONNECTIONS),
            redis,
            migrated: OnceCell::new(),
            _sentinel: AbortOnDrop(sentinel),
            settings,
        })
    }

    /// A connection to the Redis primary. Call [`Self::forget_redis`] after an error: a broken one is not repaired.
    pub async fn redis(&self) -> Result<MultiplexedConnection, StockError> {
        let mut held = self.redis.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let connection = connect(&self.settings.operator.redis, REDIS_TIMEOUT).await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// Makes the next [`Self::redis`] connect anew.
    pub async fn forget_redis(&self) {
        *self.redis.lock().await = None;
    }

    /// Does some work on a connection to the Redis primary. After a failure the next one connects anew, and asks again who the
    /// primary is.
    ///
    /// # Errors
    /// Redis is away, or the work failed.
    pub async fn with_redis<T>(
        &self,
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, StockError>,
    ) -> Result<T, StockError> {
        let result = work(&mut self.redis().await?).await;
        if result.is_err() {
            self.forget_redis().await;
        }
        result
    }

    /// How many administrative requests were made of Kafka.
    pub fn kafka_requests(&self) -> u64 {
        self.kafka.requests() + self.topics.requests()
    }

    /// Brings the tables up to date, once per process and class.
    pub async fn migrate(&self) -> Result<(), table::TableError> {
        self.migrated.get_or_try_init(|| table::migrate(&self.sql)).await.copied()
    }
}

struct Known {
    systems: Arc<Systems>,
    generation: Option<i64>,
    read_at: Instant,
}

/// The systems of every class in use.
#[derive(Default)]
pub struct SystemsByClass {
    known: Mutex<HashMap<String, Known>>,
}

impl SystemsByClass {
    /// The systems of `class`. Secrets are read again every few seconds; new connections are made only when they changed.
    pub async fn get(
        &self,
        client: &Client,
        class: &CampaignClass,
        own_namespace: &str,
    ) -> Result<Arc<Systems>, ReconcileError> {
        let mut known = self.known.lock().await;
        let name = class.name_any();
        if let Some(entry) = known.get(&name)
            && entry.generation == class.metadata.generation
            && entry.read_at.elapsed() < SECRETS_FRESH
        {
            return Ok(Arc::clone(&entry.systems));
        }
        let settings = class::connections(client, class, own_namespace).await?;
        let systems = match known.get(&name) {
            Some(entry) if entry.systems.settings == settings => Arc::clone(&entry.systems),
            _ => Arc::new(Systems::new(settings)?),
        };
        let entry =
            Known { systems: Arc::clone(&systems), generation: class.metadata.generation, read_at: Instant::now() };
        known.insert(name, entry);
        Ok(systems)
    }
}
