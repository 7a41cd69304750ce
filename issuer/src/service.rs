//! Puts the parts of a process together, and ends them again in the right order.

mod components;
mod ports;
mod probes;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use coupon_core::connections::Connections;
use coupon_core::contract::deadlines;
use coupon_ledger::kafka::producer::WinnerProducer;
use coupon_runtime::http::Server;
use coupon_runtime::{listening, telemetry};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::components::{BATCHER, Components};
pub use self::ports::Addresses;
use self::ports::{Ports, Routes, Servers, USERS_PORT};
use self::probes::Probes;
use self::tasks::Tasks;
use crate::config::Config;
use crate::control::{self, Control};
use crate::http;
use crate::metrics::{self, Metrics};
use crate::pipeline::admission;

/// What is kept of the time to end for flushing the producer, when users' connections do not close.
const FLUSH_RESERVE: Duration = deadlines::FLUSH;

/// A running issuer. Dropping it ends everything at once; [`Service::shut_down`] ends it in order.
pub struct Service {
    /// Where it listens.
    pub addresses: Addresses,
    tasks: Tasks,
    stopping: Arc<AtomicBool>,
    stop_accepting: CancellationToken,
    stop_batching: CancellationToken,
    stop_rest: CancellationToken,
    tracker: TaskTracker,
    users: Arc<Server>,
    producer: WinnerProducer,
    delay: Duration,
    drain: Duration,
}

impl Service {
    /// Starts everything. What is away now is waited for in the background; readiness says so.
    ///
    /// # Errors
    /// An address cannot be listened on, or a setting cannot be used.
    pub async fn start(config: &Config, connections: &Connections, control_token: String) -> anyhow::Result<Self> {
        let ports = Ports::bind(config).await?;
        let addresses = ports.addresses;
        let registry = telemetry::registry(metrics::PREFIX);
        let metrics = Metrics::register(&registry);
        let servers = Servers::new(config, &registry)?;
        let users = Arc::clone(&servers.users);
        let queue = admission::waiting(config.queue, users.connections().1);
        let (components, background) = Components::new(config, connections, queue, metrics)?;
        let (producer, tracker) = (components.producer.clone(), components.tracker.clone());

        let mut tasks = Tasks::default();
        let (stop_accepting, stop_batching, stop_rest) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        background.start(&components, &mut tasks, &stop_batching, &stop_rest);

        let stopping = Arc::new(AtomicBool::new(false));
        let probes = make_probes(&components, &users, &stopping, &mut tasks);
        let routes = Routes {
            control: control::router(make_control(&components, &users, control_token)),
            probe: telemetry::router(registry, Arc::new(probes)),
            public: http::router(make_parts(components, &users))?,
        };
        servers.serve(ports, routes, &mut tasks, &stop_accepting, &stop_rest);

        let Addresses { public, control, probe } = addresses;
        let named = [("public", public), ("control", control), ("probe", probe)];
        listening::announce(config.addresses_file.as_deref(), &named)?;
        tracing::info!(campaign = %config.campaign, %public, %control, %probe, "listening");
        Ok(Self {
            addresses,
            tasks,
            stopping,
            stop_accepting,
            stop_batching,
            stop_rest,
            tracker,
            users,
            producer,
            delay: config.shutdown_delay(),
            drain: config.drain_timeout(),
        })
    }

    /// Ends when a background task does, which none should.
    pub async fn failed(&mut self) -> anyhow::Error {
        self.tasks.failed().await
    }

    /// Ends in order. First readiness fails, and serving goes on for the delay while responses say that their connections close. Then nothing
    /// new is accepted, what was accepted gets its response, and the producer is flushed.
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
        if tokio::time::timeout_at(users_end, self.tasks.joined(USERS_PORT)).await.is_err() {
            tracing::warn!("some users' connections are still open; they are cut");
        }
        self.stop_batching.cancel();
        self.tracker.close();
        let drained = async {
            self.tasks.joined(BATCHER).await;
            self.tracker.wait().await;
        };
        tokio::time::timeout_at(end, drained).await.context("not everything that was accepted was answered in time")?;
        let (producer, left) = (self.producer.clone(), end.saturating_duration_since(Instant::now()));
        let flushed = tokio::task::spawn_blocking(move || producer.flush(left)).await?;
        anyhow::ensure!(flushed, "not everything was written to Kafka in time");
        self.stop_rest.cancel();
        tracing::info!("everything that was accepted is answered");
        Ok(())
    }
}

fn make_probes(components: &Components, users: &Arc<Server>, stopping: &Arc<AtomicBool>, tasks: &mut Tasks) -> Probes {
    Probes {
        epoch_guard: Arc::clone(&components.epoch_guard),
        kafka_known: Arc::clone(&components.kafka_known),
        breaker: components.breaker.clone(),
        stopping: Arc::clone(stopping),
        essential: tasks.take_essential(),
        users: Arc::clone(users),
        producer: components.producer.clone(),
        authenticator: Arc::clone(&components.authenticator),
    }
}

fn make_control(components: &Components, users: &Arc<Server>, token: String) -> Control {
    Control {
        token,
        epoch_guard: Arc::clone(&components.epoch_guard),
        queue: components.queue.clone(),
        link: components.link.clone(),
        breaker: components.breaker.clone(),
        users: Arc::clone(users),
        metrics: components.metrics.clone(),
    }
}

fn make_parts(components: Components, users: &Server) -> http::Parts {
    let Components {
        campaign,
        queue,
        sold_out,
        epoch_guard,
        link,
        lookups,
        row,
        authenticator,
        rate_limiter,
        metrics,
        ..
    } = components;
    let (pool, bodies) = (lookups, users.bodies());
    http::Parts {
        campaign,
        authenticator,
        rate_limiter,
        queue,
        sold_out,
        epoch_guard,
        link,
        pool,
        row,
        bodies,
        metrics,
    }
}
