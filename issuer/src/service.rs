//! Puts the parts together, and takes them apart again in the right order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use campaign::http::{Limits, Server, Stats, raise_open_files};
use campaign::log::producer::WinnerLog;
use campaign::settings::Connections;
use campaign::stock::{StockKeys, sentinel};
use campaign::{listening, table, telemetry};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batcher::Batcher;
use crate::config::Config;
use crate::control::{self, Control};
use crate::delivery::{Delivery, SharedBreaker, Ways};
use crate::direct::Direct;
use crate::gatekeeper::Gatekeeper;
use crate::http;
use crate::metrics::{self, Metrics};
use crate::opener::Opener;
use crate::redis_link::RedisLink;

/// Connections to the database for the opener, and to store winners past Kafka. One of each is left over while another is given up.
const DATABASE_CONNECTIONS: u32 = 2;
/// Others for look-ups, which users may ask for as often as they like.
const LOOKUP_CONNECTIONS: u32 = 2;
/// How long one question for the topic's metadata may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two such questions.
const METADATA_PAUSE: Duration = Duration::from_millis(500);
/// What is kept of the time to end for flushing the producer, when users' connections do not close.
const FLUSH_RESERVE: Duration = Duration::from_secs(3);
/// How often gauges that are derived are brought up to date.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// The addresses that are listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// For users.
    pub public: SocketAddr,
    /// For the operator.
    pub control: SocketAddr,
    /// For probes and metrics.
    pub probe: SocketAddr,
}

/// A running issuer. Dropping it ends everything at once; [`Service::shut_down`] ends it in order.
pub struct Service {
    /// Where it listens.
    pub addresses: Addresses,
    tasks: JoinSet<&'static str>,
    stopping: Arc<AtomicBool>,
    stop_accepting: CancellationToken,
    stop_batching: CancellationToken,
    stop_rest: CancellationToken,
    tracker: TaskTracker,
    users: Arc<Server>,
    log: WinnerLog,
    delay: Duration,
    drain: Duration,
}

/// What the probes look at.
struct Probes {
    keeper: Arc<Gatekeeper>,
    kafka_known: Arc<AtomicBool>,
    breaker: SharedBreaker,
    stopping: Arc<AtomicBool>,
    essential: Vec<(&'static str, AbortHandle)>,
    users: Arc<Server>,
    log: WinnerLog,
}

impl telemetry::Probes for Probes {
    fn alive(&self) -> telemetry::Verdict {
        match self.essential.iter().find(|(_, task)| task.is_finished()) {
            // While stopping, tasks end one after the other.
            Some((name, _)) if !self.stopping.load(Ordering::Relaxed) => Err(format!("the task `{name}` has ended")),
            // A producer that failed for good would take ranks and never confirm one.
            _ => self.log.fatal_error().map_or(Ok(()), |why| Err(format!("the Kafka producer failed for good: {why}"))),
        }
    }

    /// Once ready, it stays so while Redis or Kafka is away: it answers 503 itself, and says why.
    fn ready(&self) -> telemetry::Verdict {
        if self.stopping.load(Ordering::Relaxed) {
            Err("shutting down".into())
        } else if let Some(why) = self.users.locked_out() {
            Err(why)
        } else if !self.keeper.has_served() {
            Err(format!("no open epoch yet: {}", self.keeper.why_closed()))
        } else if !self.kafka_known.load(Ordering::Relaxed) && !self.breaker.is_open() {
            // While Kafka is away winners go straight to the database; nobody waits for it.
            Err("the topic's metadata is not known yet".into())
        } else {
            Ok(())
        }
    }

    fn note(&self) -> Option<String> {
        self.users.crowded()
    }
}

impl Service {
    /// Starts everything. What is away now is waited for in the background; readiness says so.
    ///
    /// # Errors
    /// An address cannot be listened on, or a setting cannot be used.
    pub async fn start(config: &Config, connections: &Connections, control_token: String) -> anyhow::Result<Self> {
        let (public, public_address) = listening::bind(config.listen, "users").await?;
        let (control_listener, control_address) = listening::bind(config.control_listen, "the operator").await?;
        let (probe, probe_address) = listening::bind(config.probe_listen, "probes").await?;

        let registry = telemetry::registry(metrics::PREFIX);
        let metrics = Metrics::register(&registry);
        let files = raise_open_files().context("the limit of open files")?;
        let for_users = Limits::for_users(config.memory_limit, files, config.keep_alive());
        tracing::info!(connections = for_users.connections, memory = config.memory_limit, files, "users may connect");
        let [users_stats, control_stats, probe_stats] = Stats::register(&registry, ["users", "control", "probes"]);
        let users = Server::new(for_users, users_stats);
        let campaign = connections.campaign(config.campaign.clone());
        let log = WinnerLog::new(&connections.kafka, &campaign, config.key_by.into(), &config.pod_name)
            .context("the Kafka settings cannot be used")?;
        let pool = table::connect(&connections.database, DATABASE_CONNECTIONS);
        let lookups = table::connect(&connections.database, LOOKUP_CONNECTIONS);
        let (link, link_task) = RedisLink::new(connections.redis.clone());
        let keeper = Gatekeeper::new();
        let keys = StockKeys::of(&campaign);
        let tracker = TaskTracker::new();
        let (row_sender, row) = watch::channel(None);
        let (direct, direct_writer) = Direct::new(pool.clone(), row.clone());
        let breaker = SharedBreaker::new(metrics.clone());
        let ways = Ways { log: log.clone(), direct, breaker: breaker.clone() };
        let delivery = Delivery::new(campaign.clone(), ways, config.acknowledge, metrics.clone(), tracker.clone());
        let (queue, batcher) =
            Batcher::new(config.queue, link.clone(), Arc::clone(&keeper), keys.clone(), delivery, metrics.clone());
        let opener = Opener {
            campaign: campaign.clone(),
            keys,
            pool,
            link: link.clone(),
            keeper: Arc::clone(&keeper),
            cluster: config.cluster.clone(),
            row: row_sender,
        };

        let stopping = Arc::new(AtomicBool::new(false));
        let kafka_known = Arc::new(AtomicBool::new(false));
        let (stop_accepting, stop_batching, stop_rest) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let mut spawn_until =
            |name, stop: &CancellationToken, task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
                let stop = stop.clone();
                tasks.spawn(async move {
                    // Whether a task ended by itself or was stopped is decided by who joins it.
                    let _ = stop.run_until_cancelled(task).await;
                    name
                })
            };
        let topic = learn_topic(log.clone(), breaker.clone(), Arc::clone(&kafka_known));
        let gauges = keep_gauges(metrics.clone(), Arc::clone(&keeper));
        let essential = vec![
            ("redis link", spawn_until("redis link", &stop_rest, Box::pin(link_task))),
            ("sentinel", {
                let link = link.clone();
                let watching = sentinel::watch(connections.redis.clone(), move || link.renew());
                spawn_until("sentinel", &stop_rest, Box::pin(watching))
            }),
            ("opener", spawn_until("opener", &stop_rest, Box::pin(opener.run()))),
            ("gauges", spawn_until("gauges", &stop_rest, Box::pin(gauges))),
            ("topic", spawn_until("topic", &stop_rest, Box::pin(topic))),
            ("direct writer", spawn_until("direct writer", &stop_rest, Box::pin(direct_writer.run()))),
            ("batcher", {
                let stop = stop_batching.clone();
                tasks.spawn(async move {
                    batcher.run(stop).await;
                    "batcher"
                })
            }),
        ];
        let control = Control {
            breaker: breaker.clone(),
            link: link.clone(),
            token: control_token,
            keeper: Arc::clone(&keeper),
            queue: queue.clone(),
            users: Arc::clone(&users),
            metrics: metrics.clone(),
        };
        let probes = Arc::new(Probes {
            keeper: Arc::clone(&keeper),
            kafka_known,
            breaker,
            stopping: Arc::clone(&stopping),
            essential,
            users: Arc::clone(&users),
            log: log.clone(),
        });
        let bodies = users.bodies();
        let parts = http::Parts { campaign, queue, keeper, link, pool: lookups, row, bodies, metrics };
        let internal = |stats| Server::new(Limits::internal(), stats);
        for (name, server, listener, router, stop) in [
            ("users' port", Arc::clone(&users), public, http::router(parts)?, &stop_accepting),
            ("control port", internal(control_stats), control_listener, control::router(control), &stop_rest),
            ("probe port", internal(probe_stats), probe, telemetry::router(registry, probes), &stop_rest),
        ] {
            let serving = server.serve(listener, router, stop.clone());
            tasks.spawn(async move {
                serving.await;
                name
            });
        }
        let addresses = Addresses { public: public_address, control: control_address, probe: probe_address };
        let named = [("public", public_address), ("control", control_address), ("probe", probe_address)];
        listening::announce(config.addresses_file.as_deref(), &named)?;
        tracing::info!(campaign = %config.campaign, public = %addresses.public, control = %addresses.control, probe = %addresses.probe, "listening");
        Ok(Self {
            addresses,
            tasks,
            stopping,
            stop_accepting,
            stop_batching,
            stop_rest,
            tracker,
            users,
            log,
            delay: config.shutdown_delay(),
            drain: config.drain_timeout(),
        })
    }

    /// Ends when a background task does, which none should.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(name)) => anyhow::anyhow!("the task `{name}` has ended"),
            Some(Err(error)) => anyhow::anyhow!("a task failed: {error}"),
            None => anyhow::anyhow!("no task is running"),
        }
    }

    /// Ends in order: readiness fails, and serving goes on for the delay while answers say that their connections end; nothing new is accepted, what was accepted is
    /// answered; the producer is flushed.
    ///
    /// # Errors
    /// Not everything was answered or flushed within the time given.
    pub async fn shut_down(mut self) -> anyhow::Result<()> {
        let end = Instant::now() + self.delay + self.drain;
        self.stopping.store(true, Ordering::Relaxed);
        self.users.announce_close();
        tracing::info!(delay_ms = self.delay.as_millis(), "shutting down; still serving");
        tokio::time::sleep(self.delay).await;

        self.stop_accepting.cancel();
        let users_end = end.checked_sub(FLUSH_RESERVE.min(self.drain / 4)).unwrap_or(end);
        if tokio::time::timeout_at(users_end, self.joined("users' port")).await.is_err() {
            tracing::warn!("some users' connections are still open; they are cut");
        }
        self.stop_batching.cancel();
        self.tracker.close();
        let drained = async {
            self.joined("batcher").await;
            self.tracker.wait().await;
        };
        tokio::time::timeout_at(end, drained).await.context("not everything that was accepted was answered in time")?;
        let (log, left) = (self.log.clone(), end.saturating_duration_since(Instant::now()));
        let flushed = tokio::task::spawn_blocking(move || log.flush(left)).await?;
        anyhow::ensure!(flushed, "not everything was written to Kafka in time");
        self.stop_rest.cancel();
        tracing::info!("everything that was accepted is answered");
        Ok(())
    }

    /// Waits until the task `wanted` has ended, passing over others that end.
    async fn joined(&mut self, wanted: &str) {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(name) if name == wanted => return,
                Ok(name) => tracing::warn!(name, "a task has ended while shutting down"),
                Err(error) => tracing::warn!(%error, "a task failed while shutting down"),
            }
        }
    }
}

/// Asks for the topic's metadata until it is known, so that the first user does not wait for it. Then sleeps.
async fn learn_topic(log: WinnerLog, breaker: SharedBreaker, known: Arc<AtomicBool>) {
    let mut told = false;
    loop {
        let (asked, begun) = (log.clone(), Instant::now());
        match tokio::task::spawn_blocking(move || asked.learn_topic(METADATA_TIMEOUT)).await {
            Ok(Ok(partitions)) => {
                tracing::info!(partitions, "the topic is known");
                known.store(true, Ordering::Relaxed);
                breaker.acknowledged(begun);
                std::future::pending::<()>().await;
            }
            Ok(Err(error)) if !told => {
                tracing::warn!(%error, "the topic's metadata cannot be had; asking again and again");
                breaker.failed("the topic's metadata cannot be had");
                told = true;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(METADATA_PAUSE).await;
    }
}

async fn keep_gauges(metrics: Metrics, keeper: Arc<Gatekeeper>) {
    loop {
        metrics.epoch.set(keeper.serving().unwrap_or(0));
        metrics.outstanding.set(i64::try_from(keeper.outstanding()).unwrap_or(i64::MAX));
        tokio::time::sleep(GAUGES_EVERY).await;
    }
}
