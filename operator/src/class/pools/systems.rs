//! Live connections to the systems of one class.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use coupon_core::connections;
use coupon_core::names::Names;
use coupon_kafka_admin::KafkaAdmin;
use coupon_ledger::database;
use coupon_ledger::kafka::client_config;
use coupon_ledger::kafka::probe::RoundTrip;
use coupon_ledger::redis::connect::connect;
use coupon_ledger::redis::{self, Afterwards, RedisError, RedisKeys, probe, sentinel};
use sqlx::mysql::MySqlPool;
use tokio::sync::{Mutex, Notify};

use super::tried::Tried;
use crate::api::ConditionType;
use crate::api::conditions::Report;
use crate::class::doubts::Doubts;
use crate::class::measure::clocks::Witnesses;
use crate::class::measure::{self, Measured};
use crate::class::{ClassConnections, ClassError, IssuerFiles};
use crate::error::ReconcileError;
use crate::kafka::topics::make::TopicMaker;
use crate::kafka::view::reader::KafkaReader;

/// How long what came of trying something is taken as known.
const TRIED_FRESH: Duration = Duration::from_millis(1900);
/// How long one call to Redis may take.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long removing what looks have made may take, each part of it, when the class is gone.
const LAST_CALL: Duration = Duration::from_secs(3);
/// What clients of looks call themselves to the brokers.
const PROBE_CLIENT: &str = "coupon-operator-probe";
/// Database connections of the operator per class.
const SQL_CONNECTIONS: u32 = 8;

/// The three systems of a class, as the operator reaches them.
pub struct Systems {
    /// Settings for the operator and for workloads.
    pub settings: ClassConnections,
    /// Kafka administration.
    pub kafka: KafkaAdmin,
    /// The same with the pods' login.
    pub workload_kafka: KafkaAdmin,
    /// Writes and reads a record with the operator's login.
    pub operator_trip: RoundTrip,
    /// Writes and reads a record with the pods' login.
    pub workload_trip: RoundTrip,
    /// The names of looks whose topic is there.
    probed: OnceLock<Names>,
    /// Reads topics and offsets of all campaigns.
    pub kafka_reader: KafkaReader,
    /// Makes their topics.
    pub topics: TopicMaker,
    /// The database.
    pub sql: MySqlPool,
    redis: Arc<Mutex<Option<MultiplexedConnection>>>,
    /// When the tables were last found, or made, up to date.
    migrated: Mutex<Option<Instant>>,
    /// Held by who asks how much memory a campaign takes.
    sizing: Mutex<()>,
    /// What came of the last try to write to Redis.
    refusal: Tried<(), Option<Arc<RedisError>>>,
    /// What Redis was last found not to let a login of the pods run.
    lacking: Tried<connections::Redis, Option<String>>,
    /// Campaigns have met something else than the last look at the class found.
    doubts: Doubts,
    /// What issuers find about keys of tokens and the gateway's header, and what is wrong with what the class has now: other ones are no reason to
    /// connect anew.
    issuer_files: StdMutex<(Arc<IssuerFiles>, Option<Report>)>,
    /// What the last look at the class found.
    measured: StdMutex<Option<(Arc<Measured>, Instant)>>,
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
        let workload_kafka = if settings.operator.kafka == settings.workload.kafka {
            kafka.clone()
        } else {
            KafkaAdmin::new(&client_config(&settings.workload.kafka, PROBE_CLIENT, &[]))?
        };
        Ok(Self {
            kafka_reader: KafkaReader::start(kafka.clone()),
            topics: TopicMaker::start(client("coupon-operator-topics")?),
            operator_trip: RoundTrip::new(&settings.operator.kafka, PROBE_CLIENT),
            workload_trip: RoundTrip::new(&settings.workload.kafka, PROBE_CLIENT),
            probed: OnceLock::new(),
            kafka,
            workload_kafka,
            issuer_files: StdMutex::default(),
            measured: StdMutex::default(),
            sql: database::connect(&settings.operator.database, SQL_CONNECTIONS),
            redis,
            migrated: Mutex::default(),
            sizing: Mutex::default(),
            refusal: Tried::default(),
            lacking: Tried::default(),
            doubts: Doubts::default(),
            _sentinel: AbortOnDrop(sentinel),
            settings,
        })
    }

    /// A connection to the Redis primary. Call [`Self::forget_redis`] after an error that spoils it: a broken one is not repaired.
    pub async fn redis(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut held = self.redis.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let connection = connect(&self.settings.operator.redis, REDIS_TIMEOUT).await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// Why Redis takes no writes though it answers, if it does not: tried with a script of the product, on keys of no campaign, for all
    /// campaigns of the class together.
    pub async fn redis_refusal(&self, realm: &str) -> Option<Arc<RedisError>> {
        let trying = async || {
            let tried = self.with_redis(async |redis| probe::probe(redis, realm, probe::Role::Issuer).await);
            // That nobody answers is no refusal, and shows elsewhere.
            tried.await.err().filter(RedisError::is_answer).map(Arc::new)
        };
        self.refusal.get(&(), TRIED_FRESH, trying).await
    }

    /// What Redis does not let this login of the pods run, in words: tried on keys of no campaign, for all campaigns of the class together,
    /// and within the last `fresh` at least.
    pub(crate) async fn pods_lack(&self, login: &connections::Redis, realm: &str, fresh: Duration) -> Option<String> {
        let trying = async || measure::pods_lack(login, realm).await.map(|finding| finding.to_string());
        self.lacking.get(login, fresh.min(TRIED_FRESH), trying).await
    }

    /// Makes the next [`Self::redis`] connect anew.
    pub async fn forget_redis(&self) {
        *self.redis.lock().await = None;
    }

    /// Does some work on a connection to the Redis primary. After a failure that spoils it the next one connects anew, and asks again
    /// who the primary is; a server that is heard and refuses keeps its connection.
    ///
    /// # Errors
    /// Redis is away, or the work failed.
    pub async fn with_redis<T>(
        &self,
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, RedisError> {
        let result = work(&mut self.redis().await?).await;
        if result.as_ref().is_err_and(|error| error.connection() == Afterwards::GivenUp) {
            self.forget_redis().await;
        }
        result
    }

    /// Bytes of Redis' memory that these keys take; `None`: somebody else asks at this moment, for another campaign.
    pub async fn redis_bytes(&self, keys: &RedisKeys) -> Option<Result<u64, RedisError>> {
        let _one_at_a_time = self.sizing.try_lock().ok()?;
        Some(self.with_redis(async |redis| redis::bytes(redis, keys).await).await)
    }

    /// The files for issuers, as last found good.
    pub(crate) fn issuer_files(&self) -> Arc<IssuerFiles> {
        Arc::clone(&self.issuer_files.lock().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Takes in how files for issuers were read. What cannot be used takes nothing away.
    pub(crate) fn set_issuer_files(&self, read: Result<IssuerFiles, ClassError>) {
        let mut known = self.issuer_files.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(files) => *known = (Arc::new(files), None),
            Err(error) => {
                let text = format!("{error}; issuers go on with what they have");
                known.1 = Some(Report::no(ConditionType::CredentialsReady, error.reason(), text));
            }
        }
    }

    /// Whether all that the class has in Secrets can be used.
    pub(crate) fn credentials(&self) -> Report {
        let trouble = self.issuer_files.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
        let good = || Report::yes(ConditionType::CredentialsReady, "SecretsRead", "the Secrets hold what is needed");
        trouble.unwrap_or_else(good)
    }

    /// What the last look at the class found; `None` before the first one has ended.
    pub fn measured(&self) -> Option<Arc<Measured>> {
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.as_ref().map(|(measured, _)| Arc::clone(measured))
    }

    /// Whether they were measured within this time, and nothing was wrong.
    pub fn found_well_within(&self, time: Duration) -> bool {
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let well = |measured: &Measured| measured.forbids_opening().is_none() && !self.doubts.is_open();
        measured.as_ref().is_some_and(|(measured, at)| at.elapsed() < time && well(measured))
    }

    /// Campaigns have met something else than the last look at the class found. False: that look was a moment ago, and stands.
    pub(crate) fn doubt(&self) -> bool {
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.as_ref().is_some_and(|(_, at)| self.doubts.raise(at.elapsed()))
    }

    /// Remembers what a look found.
    pub fn set_measured(&self, measured: Arc<Measured>) {
        self.doubts.record_look(measured.forbids_opening().is_none());
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = Some((measured, Instant::now()));
    }

    /// Remembers that a look has found, or made, the topic of these names.
    pub(crate) fn set_probed(&self, names: Names) {
        // A class keeps its realm and its names.
        let _ = self.probed.set(names);
    }

    /// Removes the topic of looks and its group, unless it is among those of classes that are there. Where it cannot be done, what stays is
    /// said, and nothing waits for it. One that another operator uses as well, as where names have no realm, is made anew by its next look.
    pub async fn remove_probed(&self, class: &str, kept: &BTreeSet<String>) {
        let Some(names) = self.probed.get().filter(|names| !kept.contains(&names.topic)) else { return };
        let (topic, group) = (&names.topic, &names.group);
        let kafka = self.kafka.within(LAST_CALL);
        let (topic_gone, group_gone) = tokio::join!(kafka.delete_topic(topic), kafka.delete_group(group));
        for (what, name, error) in [("topic", topic, topic_gone.err()), ("group", group, group_gone.err())] {
            match error {
                None => tracing::info!(class, name, "the class is gone, and with it the {what} of its looks"),
                Some(error) => {
                    tracing::warn!(class, name, %error, "the class is gone; the {what} of its looks stays in Kafka: delete it there");
                }
            }
        }
    }

    /// The clocks that are heard beside Redis' own.
    pub fn witnesses(&self) -> Witnesses {
        let clocks = self.measured().map(|measured| measured.clocks).unwrap_or_default();
        clocks.witnesses(jiff::Timestamp::now().as_millisecond(), Instant::now())
    }

    /// How many administrative requests were made of Kafka.
    pub fn kafka_requests(&self) -> u64 {
        self.kafka.requests() + self.topics.requests()
    }

    /// Brings the tables up to date: once per process and class, and again after a server has missed one, as where a backup of an older
    /// version was put back.
    ///
    /// # Errors
    /// The database refused it, or is away.
    pub async fn migrate(&self) -> Result<(), database::DatabaseError> {
        let mut migrated = self.migrated.lock().await;
        if migrated.is_some_and(|at| !database::has_moved_since(at)) {
            return Ok(());
        }
        let begun = Instant::now();
        match database::migrate(&self.sql).await {
            Ok(()) => {
                *migrated = Some(begun);
                Ok(())
            }
            Err(error) => Err(self.explained(error).await),
        }
    }

    /// A failed statement with its cause, where the pool hides it.
    pub async fn explained(&self, error: database::DatabaseError) -> database::DatabaseError {
        database::explained(&self.settings.operator.database, error).await
    }
}
