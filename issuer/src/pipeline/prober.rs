//! Asks Redis whether it would give ranks, while no user asks: without that, a sale without requests would report that it grants for as
//! long as Redis is away.
//!
//! It calls the script that gives ranks with an empty batch. That fails where a request would fail (Redis does not answer, takes no writes,
//! has another history, holds another epoch, or keys that do not fit together), and gives nothing. It costs users nothing: while batches are
//! sent, no probe is, and no batch waits for one.

use std::sync::Arc;
use std::time::Duration;

use coupon_ledger::redis::{Batch, Executed, IssueRequest, RedisError, RedisKeys, Reply, issue};
use tokio::time::Instant;

use crate::epoch::guard::{EpochGuard, InFlightPermit};
use crate::pipeline::redis_health::{LASTS, RedisHealth};
use crate::pipeline::redis_link::{CALL_TIMEOUT, Live, RedisLink};

/// A probe is sent when Redis was not asked for this long. Operators look as often.
const EVERY: Duration = Duration::from_secs(2);

/// Calls the script with an empty batch.
#[derive(Clone)]
pub(crate) struct Probe {
    /// The connection.
    pub(crate) link: RedisLink,
    /// Which epoch is served. While none is, the epoch poller asks Redis.
    pub(crate) epoch_guard: Arc<EpochGuard>,
    /// The campaign's keys.
    pub(crate) keys: RedisKeys,
    /// How calls have gone.
    pub(crate) redis_health: Arc<RedisHealth>,
}

/// The task that asks.
pub(crate) struct Prober(pub(crate) Probe);

impl Prober {
    /// Works until it is dropped.
    pub(crate) async fn run(self) {
        let Self(probe) = self;
        loop {
            // What fails is asked again as soon as it may be called lasting.
            let pause = if probe.redis_health.is_failing(Instant::now()) { LASTS } else { EVERY };
            tokio::time::sleep(pause.mul_f64(rand::random_range(1.0..=1.2))).await;
            if !probe.redis_health.was_asked(pause, Instant::now()) {
                // What it finds is on record in the parts that it reports to.
                let _ = probe.ask().await;
            }
        }
    }
}

impl Probe {
    /// What Redis says, and under which epoch. `None`: no epoch is served, or Redis grants nothing now.
    pub(crate) async fn ask(&self) -> Option<(u64, Batch)> {
        let permit = self.epoch_guard.enter(1).ok()?;
        let Some(mut live) = self.link.live() else {
            let why = self.link.why_away();
            self.redis_health.failed(why.as_deref().unwrap_or("no connection to Redis"), false, Instant::now());
            return None;
        };
        let call =
            issue(&mut live.connection, &self.keys, permit.epoch(), permit.highest_rank(), &[] as &[IssueRequest]);
        let reply = match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return self.failed(&permit, &live, &error),
            Err(_) => return self.failed(&permit, &live, &RedisError::Timeout(CALL_TIMEOUT.as_millis())),
        };
        live.serves();
        // Rights that a grant needs beyond this, only a grant can show.
        self.redis_health.refused(Instant::now());
        match reply {
            Reply::Answered(batch) => {
                self.epoch_guard.saw(permit.epoch(), batch.highest);
                Some((permit.epoch(), batch))
            }
            Reply::Refused(refusal) => {
                tracing::warn!(
                    epoch = permit.epoch(),
                    ?refusal,
                    "Redis would refuse a batch; the open epoch is read again"
                );
                self.epoch_guard.refused(permit.epoch(), refusal);
                None
            }
        }
    }

    fn failed<T>(&self, permit: &InFlightPermit, live: &Live, error: &RedisError) -> Option<T> {
        // A right that is missing here is there again when this succeeds.
        self.redis_health.failed(&error.to_string(), false, Instant::now());
        self.link.failed(live, error);
        if error.executed() == Executed::Fatal {
            tracing::error!(%error, epoch = permit.epoch(), "Redis' answer makes no sense; issuing stops until a new epoch opens");
            self.epoch_guard.broken(permit.epoch());
        }
        None
    }
}
