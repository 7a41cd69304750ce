//! Whether the process is alive and ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coupon_ledger::kafka::producer::WinnerProducer;
use coupon_runtime::http::Server;
use coupon_runtime::telemetry;
use tokio::task::AbortHandle;

use crate::authentication::Authenticator;
use crate::epoch::guard::EpochGuard;
use crate::pipeline::shared_breaker::SharedBreaker;

/// What the probes look at.
pub(super) struct Probes {
    pub(super) epoch_guard: Arc<EpochGuard>,
    pub(super) kafka_known: Arc<AtomicBool>,
    pub(super) breaker: SharedBreaker,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) essential: Vec<(&'static str, AbortHandle)>,
    pub(super) users: Arc<Server>,
    pub(super) producer: WinnerProducer,
    pub(super) authenticator: Arc<Authenticator>,
}

impl telemetry::Probes for Probes {
    fn alive(&self) -> telemetry::Verdict {
        match self.essential.iter().find(|(_, task)| task.is_finished()) {
            // While stopping, tasks end one after the other.
            Some((name, _)) if !self.stopping.load(Ordering::Relaxed) => Err(format!("the task `{name}` has ended")),
            // A producer that failed for good would take ranks and never confirm one.
            _ => self
                .producer
                .fatal_error()
                .map_or(Ok(()), |why| Err(format!("the Kafka producer failed for good: {why}"))),
        }
    }

    /// Once ready, it stays so while Redis, Kafka or who publishes the keys of tokens is away: it answers 503 itself, and says why.
    fn ready(&self) -> telemetry::Verdict {
        if self.stopping.load(Ordering::Relaxed) {
            Err("shutting down".into())
        } else if let Some(why) = self.users.locked_out() {
            Err(why)
        } else if !self.epoch_guard.has_served() {
            Err(format!("no open epoch yet: {}", self.epoch_guard.why_closed()))
        } else if !self.kafka_known.load(Ordering::Relaxed) && !self.breaker.is_open() {
            // While Kafka is away winners go straight to the database; nobody waits for it.
            Err("the topic's metadata is not known yet".into())
        } else if let Some(why) = self.authenticator.why_not_ready() {
            Err(why)
        } else {
            Ok(())
        }
    }

    fn note(&self) -> Option<String> {
        self.users.crowded()
    }
}
