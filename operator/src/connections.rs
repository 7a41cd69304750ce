//! Live connections to the systems of each class, shared by all of its campaigns.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use campaign::log::admin::KafkaAdmin;
use campaign::log::client_config;
use campaign::log::probe::RoundTrip;
use campaign::names::Names;
use campaign::settings;
use campaign::stock::connect::connect;
use campaign::stock::{self, Afterwards, StockError, StockKeys, probe, sentinel};
use campaign::table;
use kube::{Client, ResourceExt};
use redis::aio::MultiplexedConnection;
use sqlx::mysql::MySqlPool;
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};

use crate::api::CampaignClass;
use crate::class::{self, ClassConnections};
use crate::doubts::Doubts;
use crate::error::ReconcileError;
use crate::log_view::reader::LogReader;
use crate::measure::clocks::Witnesses;
use crate::measure::{self, Measured};
use crate::topic::make::TopicMaker;

/// How long the Secrets of a class are taken as read.
pub(crate) const SECRETS_FRESH: Duration = Duration::from_secs(10);
/// How long what came of trying a write is taken as known.
const REFUSAL_FRESH: Duration = Duration::from_millis(1900);
/// How long one call to Redis may take.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long removing what looks have made may take, each part of it, when the class is gone.
const LAST_CALL: Duration = Duration::from_secs(3);
/// What clients of looks call themselves to the brokers.
const PROBE_CLIENT: &str = "coupon-operator-probe";
/// Database connections of the operator per class.
const SQL_CONNECTIONS: u32 = 8;
/// Passes over campaigns of one class at the same time. They mostly wait, and Kafka is read once for those that come together.
const PASSES: usize = 64;
// Whatever is repaired, most of them are left for others.
const _: () = assert!(2 * crate::epoch::MOST_PASSES <= PASSES);

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
    pub log: LogReader,
    /// Makes their topics.
    pub topics: TopicMaker,
    /// The database.
    pub sql: MySqlPool,
    redis: Arc<Mutex<Option<MultiplexedConnection>>>,
    /// When the tables were last found, or made, up to date.
    migrated: Mutex<Option<Instant>>,
    /// Held by who asks how much memory a campaign takes.
    sizing: Mutex<()>,
    /// What came of the last try to write to Redis, and when that was.
    refusal: Mutex<Option<(Option<Arc<StockError>>, Instant)>>,
    /// What Redis was last found not to let a login of the pods run, and when that was.
    lacking: Mutex<Option<(settings::Redis, Option<String>, Instant)>>,
    /// Campaigns have met something else than the last look at the class found.
    doubts: Doubts,
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
            log: LogReader::start(kafka.clone()),
            topics: TopicMaker::start(client("coupon-operator-topics")?),
            operator_trip: RoundTrip::new(&settings.operator.kafka, PROBE_CLIENT),
            workload_trip: RoundTrip::new(&settings.workload.kafka, PROBE_CLIENT),
            probed: OnceLock::new(),
            kafka,
            workload_kafka,
            measured: StdMutex::default(),
            sql: table::connect(&settings.operator.database, SQL_CONNECTIONS),
            redis,
            migrated: Mutex::default(),
            sizing: Mutex::default(),
            refusal: Mutex::default(),
            lacking: Mutex::default(),
            doubts: Doubts::default(),
            _sentinel: AbortOnDrop(sentinel),
            settings,
        })
    }

    /// A connection to the Redis primary. Call [`Self::forget_redis`] after an error that spoils it: a broken one is not repaired.
    pub async fn redis(&self) -> Result<MultiplexedConnection, StockError> {
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
    pub async fn redis_refusal(&self, realm: &str) -> Option<Arc<StockError>> {
        let mut tried = self.refusal.lock().await;
        if let Some((refusal, at)) = tried.as_ref()
            && at.elapsed() < REFUSAL_FRESH
        {
            return refusal.clone();
        }
        let trying = self.with_redis(async |redis| probe::probe(redis, realm, probe::Role::Issuer).await);
        // That nobody answers is no refusal, and shows elsewhere.
        let refusal = trying.await.err().filter(StockError::is_answer).map(Arc::new);
        *tried = Some((refusal.clone(), Instant::now()));
        refusal
    }

    /// What Redis does not let this login of the pods run, in words: tried on keys of no campaign, for all campaigns of the class together.
    pub(crate) async fn pods_lack(&self, login: &settings::Redis, realm: &str) -> Option<String> {
        let mut tried = self.lacking.lock().await;
        if let Some((of, said, at)) = tried.as_ref()
            && of == login
            && at.elapsed() < REFUSAL_FRESH
        {
            return said.clone();
        }
        let said = measure::pods_lack(login, realm).await.map(|finding| finding.to_string());
        *tried = Some((login.clone(), said.clone(), Instant::now()));
        said
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
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, StockError>,
    ) -> Result<T, StockError> {
        let result = work(&mut self.redis().await?).await;
        if result.as_ref().is_err_and(|error| error.connection() == Afterwards::GivenUp) {
            self.forget_redis().await;
        }
        result
    }

    /// Bytes of Redis' memory that these keys take; `None`: somebody else asks at this moment, for another campaign.
    pub async fn redis_bytes(&self, keys: &StockKeys) -> Option<Result<u64, StockError>> {
        let _one_at_a_time = self.sizing.try_lock().ok()?;
        Some(self.with_redis(async |redis| stock::bytes(redis, keys).await).await)
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
        self.doubts.looked(measured.forbids_opening().is_none());
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
    pub async fn migrate(&self) -> Result<(), table::TableError> {
        let mut migrated = self.migrated.lock().await;
        if migrated.is_some_and(|at| !table::has_moved_since(at)) {
            return Ok(());
        }
        let begun = Instant::now();
        match table::migrate(&self.sql).await {
            Ok(()) => {
                *migrated = Some(begun);
                Ok(())
            }
            Err(error) => Err(self.explained(error).await),
        }
    }

    /// A failed statement with its cause, where the pool hides it.
    pub async fn explained(&self, error: table::TableError) -> table::TableError {
        table::explained(&self.settings.operator.database, error).await
    }
}

/// What is known of one class.
#[derive(Default)]
struct Slot {
    /// Taken while Secrets are read: one class waits for its own only.
    known: Mutex<Option<Known>>,
    /// Looks in a row that found something wrong.
    troubled: AtomicU32,
    /// Passes of its campaigns at the same time.
    passes: OnceLock<Arc<Semaphore>>,
}

struct Known {
    systems: Arc<Systems>,
    generation: Option<i64>,
    read_at: Instant,
}

/// The systems of every class in use, each with a lock, connections and pauses of its own: a class that does not work delays no other.
#[derive(Default)]
pub struct SystemsByClass {
    slots: StdMutex<HashMap<String, Arc<Slot>>>,
}

impl SystemsByClass {
    fn slot(&self, class: &str) -> Arc<Slot> {
        // Slots are plain values: one that a panicking pass left behind is as good as any.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(class.to_owned()).or_default())
    }

    /// The systems of `class`. Secrets are read again every few seconds; new connections are made only when they changed.
    pub async fn get(
        &self,
        client: &Client,
        class: &CampaignClass,
        own_namespace: &str,
    ) -> Result<Arc<Systems>, ReconcileError> {
        let slot = self.slot(&class.name_any());
        let mut known = slot.known.lock().await;
        if let Some(entry) = known.as_ref()
            && entry.generation == class.metadata.generation
            && entry.read_at.elapsed() < SECRETS_FRESH
        {
            return Ok(Arc::clone(&entry.systems));
        }
        let settings = class::connections(client, class, own_namespace).await?;
        let systems = match known.as_ref() {
            Some(entry) if entry.systems.settings == settings => Arc::clone(&entry.systems),
            _ => Arc::new(Systems::new(settings)?),
        };
        let (generation, read_at) = (class.metadata.generation, Instant::now());
        *known = Some(Known { systems: Arc::clone(&systems), generation, read_at });
        Ok(systems)
    }

    /// Waits for the turn of a pass over a campaign of this class. Passes that hang, as their class's servers do, take turns from
    /// each other only.
    pub async fn turn(&self, class: &str) -> Option<OwnedSemaphorePermit> {
        let slot = self.slot(class);
        let passes = slot.passes.get_or_init(|| Arc::new(Semaphore::new(PASSES)));
        // Nobody closes it.
        Arc::clone(passes).acquire_owned().await.ok()
    }

    /// Takes in how a look at a class ended. Answers how many in a row have found something wrong.
    pub fn looked(&self, class: &str, well: bool) -> u32 {
        let slot = self.slot(class);
        if well {
            slot.troubled.store(0, Ordering::Relaxed);
            return 0;
        }
        slot.troubled.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Closes the connections of classes that are not there any more, and removes what looks at them have made. `probed`: the topics of
    /// looks at classes that are there.
    pub async fn keep_only(&self, classes: &BTreeSet<String>, probed: &BTreeSet<String>) {
        let gone: Vec<(String, Arc<Slot>)> = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.extract_if(|name, _| !classes.contains(name)).collect()
        };
        for (class, slot) in gone {
            // A pass that still has them notices, and ends; Kafka's clients go with the last of their users.
            if let Some(known) = slot.known.lock().await.take() {
                known.systems.remove_probed(&class, probed).await;
                known.systems.sql.close().await;
                known.systems.forget_redis().await;
            }
        }
    }

    /// The classes of which something is known.
    pub fn classes(&self) -> BTreeSet<String> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// Wrong: campaigns of a class whose servers do not answer keep those of another one from their turn.
    #[tokio::test(start_paused = true)]
    async fn passes_of_one_class_take_no_turns_from_another() {
        let all = SystemsByClass::default();
        let mut hanging = Vec::new();
        for _ in 0..PASSES {
            hanging.push(all.turn("broken").await.unwrap());
        }
        let within = |class: &'static str| tokio::time::timeout(Duration::from_secs(1), all.turn(class));
        assert!(within("broken").await.is_err(), "its own wait");
        assert!(within("healthy").await.is_ok());
        hanging.pop();
        assert!(within("broken").await.is_ok());
    }

    #[tokio::test]
    async fn classes_that_are_gone_are_forgotten_and_their_troubles_with_them() {
        let all = SystemsByClass::default();
        assert_eq!((all.looked("a", false), all.looked("a", false), all.looked("b", false)), (1, 2, 1));
        assert_eq!((all.looked("a", true), all.looked("a", false)), (0, 1));
        all.keep_only(&BTreeSet::from(["b".to_owned()]), &BTreeSet::new()).await;
        assert_eq!(all.classes(), BTreeSet::from(["b".to_owned()]));
        assert_eq!((all.looked("a", false), all.looked("b", false)), (1, 2));
    }

    /// Wrong: the process dials the dead servers of a class that is gone for as long as it lives.
    #[tokio::test]
    async fn what_leads_to_the_servers_of_a_class_that_is_gone_is_closed() {
        let all = SystemsByClass::default();
        let both = ClassConnections { operator: fixtures::connections(), workload: fixtures::connections() };
        let mut systems = Vec::new();
        for class in ["gone", "there"] {
            let made = Arc::new(Systems::new(both.clone()).unwrap());
            let known = Known { systems: Arc::clone(&made), generation: None, read_at: Instant::now() };
            *all.slot(class).known.lock().await = Some(known);
            systems.push(made);
        }
        all.keep_only(&BTreeSet::from(["there".to_owned()]), &BTreeSet::new()).await;
        assert_eq!((systems[0].sql.is_closed(), systems[1].sql.is_closed()), (true, false));
        // Clients of Kafka, and the watch of Sentinel, end with their last user, and nobody but us is one any more.
        assert_eq!((Arc::strong_count(&systems[0]), Arc::strong_count(&systems[1])), (1, 2));
    }
}
