//! Makes the parts of a process, and starts those that run in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use coupon_core::connections::Connections;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRowId};
use coupon_ledger::kafka::producer::WinnerProducer;
use coupon_ledger::redis::{RedisKeys, sentinel};
use futures::future::BoxFuture;
use sqlx::MySqlPool;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tasks::Tasks;
use crate::authentication::{Authenticator, KeyReader};
use crate::config::Config;
use crate::epoch::guard::EpochGuard;
use crate::epoch::poller::EpochPoller;
use crate::metrics::Metrics;
use crate::pipeline::batcher::{Batcher, Queue, RedisCalls};
use crate::pipeline::delivery::Delivery;
use crate::pipeline::direct_writer::{DirectWriter, DirectWriterTask};
use crate::pipeline::durability::DurabilityPaths;
use crate::pipeline::prober::{Probe, Prober};
use crate::pipeline::redis_link::RedisLink;
use crate::pipeline::shared_breaker::SharedBreaker;
use crate::pipeline::sold_out::SoldOut;
use crate::pipeline::sold_out_keeper::SoldOutKeeper;
use crate::pipeline::stored::StoredWinners;
use crate::rate_limits::RateLimiter;

/// Name of the task that sends batches.
pub(super) const BATCHER: &str = "batcher";
/// Connections to the database for the epoch poller, and to store winners without Kafka. One of each is left while another is given up.
const DATABASE_CONNECTIONS: u32 = 2;
/// Others for look-ups, which users may ask for as often as they like, and for whether who asks again is a row.
const LOOKUP_CONNECTIONS: u32 = 2;
/// How long one request for the topic's metadata may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two such requests.
const METADATA_PAUSE: Duration = Duration::from_millis(500);
/// How often gauges that are derived are brought up to date.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// What the ports of a process work with.
pub(super) struct Components {
    pub(super) campaign: CampaignId,
    pub(super) queue: Queue,
    pub(super) sold_out: Arc<SoldOut>,
    pub(super) epoch_guard: Arc<EpochGuard>,
    pub(super) link: RedisLink,
    pub(super) lookups: MySqlPool,
    pub(super) row: watch::Receiver<Option<CampaignRowId>>,
    pub(super) producer: WinnerProducer,
    pub(super) breaker: SharedBreaker,
    /// Knows which batches are still being delivered.
    pub(super) tracker: TaskTracker,
    /// Whether the topic's metadata was read.
    pub(super) kafka_known: Arc<AtomicBool>,
    /// Knows who asks.
    pub(super) authenticator: Arc<Authenticator>,
    /// Knows who asks too often, where that is limited.
    pub(super) rate_limiter: Option<Arc<RateLimiter>>,
    pub(super) metrics: Metrics,
}

/// What runs in the background, not started yet.
pub(super) struct Background {
    link: BoxFuture<'static, ()>,
    sentinel: BoxFuture<'static, ()>,
    poller: EpochPoller,
    prober: Prober,
    sold_out_keeper: SoldOutKeeper,
    direct_writer: DirectWriterTask,
    batcher: Batcher,
    key_reader: Option<KeyReader>,
}

impl Components {
    /// Connects to nothing yet. `queue`: how many requests may wait.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub(super) fn new(
        config: &Config,
        connections: &Connections,
        queue: usize,
        metrics: Metrics,
    ) -> anyhow::Result<(Self, Background)> {
        let campaign = connections.campaign(config.campaign.clone());
        let producer = WinnerProducer::new(&connections.kafka, &campaign, config.key_by, &config.pod_name)
            .context("the Kafka settings cannot be used")?;
        let pool = database::connect(&connections.database, DATABASE_CONNECTIONS);
        let lookups = database::connect(&connections.database, LOOKUP_CONNECTIONS);
        let (link, link_task) = RedisLink::new(connections.redis.clone());
        let epoch_guard = EpochGuard::new();
        let keys = RedisKeys::of(&campaign);
        let tracker = TaskTracker::new();
        let (row_sender, row) = watch::channel(None);
        let (direct_writer, direct_writer_task) = DirectWriter::new(pool.clone(), row.clone());
        let breaker = SharedBreaker::new(metrics.clone());
        let paths = DurabilityPaths {
            producer: producer.clone(),
            direct_writer,
            breaker: breaker.clone(),
            metrics: metrics.clone(),
            tracker: tracker.clone(),
        };
        let stored = StoredWinners::new(lookups.clone(), campaign.clone());
        let (delivering, counted) = (tracker.clone(), metrics.clone());
        let delivery = Delivery::new(campaign.clone(), paths, stored, config.acknowledge, counted, delivering);
        let sold_out = SoldOut::new();
        let calls = RedisCalls {
            link: link.clone(),
            epoch_guard: Arc::clone(&epoch_guard),
            keys: keys.clone(),
            sold_out: Arc::clone(&sold_out),
        };
        let (queue, batcher) = Batcher::new(queue, calls, delivery, metrics.clone());
        let probe = Probe {
            link: link.clone(),
            epoch_guard: Arc::clone(&epoch_guard),
            keys: keys.clone(),
            redis_health: queue.redis_health(),
        };
        let sold_out_keeper = SoldOutKeeper { sold_out: Arc::clone(&sold_out), probe: probe.clone() };
        let poller = EpochPoller {
            campaign: campaign.clone(),
            keys,
            pool,
            link: link.clone(),
            epoch_guard: Arc::clone(&epoch_guard),
            cluster: config.cluster.clone(),
            row: row_sender,
        };
        let renewed = link.clone();
        let sentinel = Box::pin(sentinel::watch(connections.redis.clone(), move || renewed.renew()));
        let kafka_known = Arc::default();
        let (authenticator, key_reader) = Authenticator::new(&config.authentication, metrics.clone())?;
        let rate_limiter = RateLimiter::new(&config.rate_limits, &metrics)?;
        let components = Self {
            campaign,
            queue,
            sold_out,
            epoch_guard,
            link,
            lookups,
            row,
            producer,
            breaker,
            tracker,
            kafka_known,
            authenticator: Arc::new(authenticator),
            rate_limiter,
            metrics,
        };
        let background = Background {
            link: Box::pin(link_task),
            sentinel,
            poller,
            prober: Prober(probe),
            sold_out_keeper,
            direct_writer: direct_writer_task,
            batcher,
            key_reader,
        };
        Ok((components, background))
    }
}

impl Background {
    /// Starts all. The batcher ends in order at `stop_batching`; the others are cut off at `stop_rest`.
    pub(super) fn start(
        self,
        components: &Components,
        tasks: &mut Tasks,
        stop_batching: &CancellationToken,
        stop_rest: &CancellationToken,
    ) {
        let Components { producer, breaker, kafka_known, metrics, epoch_guard, rate_limiter, .. } = components;
        tasks.spawn_until("redis link", stop_rest, self.link);
        tasks.spawn_until("sentinel", stop_rest, self.sentinel);
        tasks.spawn_until("epoch poller", stop_rest, self.poller.run());
        tasks.spawn_until("prober", stop_rest, self.prober.run());
        tasks.spawn_until("sold-out keeper", stop_rest, self.sold_out_keeper.run());
        tasks.spawn_until("gauges", stop_rest, keep_gauges(metrics.clone(), Arc::clone(epoch_guard)));
        let topic = learn_topic(producer.clone(), breaker.clone(), Arc::clone(kafka_known));
        tasks.spawn_until("topic", stop_rest, topic);
        tasks.spawn_until("direct writer", stop_rest, self.direct_writer.run());
        if let Some(reader) = self.key_reader {
            tasks.spawn_until("keys of tokens", stop_rest, reader.run());
        }
        if let Some(limiter) = rate_limiter {
            tasks.spawn_until("rate limits", stop_rest, Arc::clone(limiter).keep());
        }
        tasks.spawn_essential(BATCHER, self.batcher.run(stop_batching.clone()));
    }
}

/// Asks for the topic's metadata until it is known, so that the first user does not wait for it. Then sleeps.
async fn learn_topic(producer: WinnerProducer, breaker: SharedBreaker, known: Arc<AtomicBool>) {
    let mut logged = false;
    loop {
        let (asked, begun) = (producer.clone(), Instant::now());
        match tokio::task::spawn_blocking(move || asked.learn_topic(METADATA_TIMEOUT)).await {
            Ok(Ok(partitions)) => {
                tracing::info!(partitions, "the topic is known");
                known.store(true, Ordering::Relaxed);
                breaker.acknowledged(begun);
                std::future::pending::<()>().await;
            }
            Ok(Err(error)) if !logged => {
                tracing::warn!(%error, "the topic's metadata cannot be had; asking again and again");
                breaker.failed("the topic's metadata cannot be had");
                logged = true;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(METADATA_PAUSE).await;
    }
}

async fn keep_gauges(metrics: Metrics, epoch_guard: Arc<EpochGuard>) {
    loop {
        metrics.epoch.set(epoch_guard.serving().unwrap_or(0));
        metrics.outstanding.set(i64::try_from(epoch_guard.outstanding()).unwrap_or(i64::MAX));
        tokio::time::sleep(GAUGES_EVERY).await;
    }
}
