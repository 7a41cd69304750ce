//! The [`Breaker`] as all tasks of a process share it; it logs and counts each change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::breaker::{Breaker, Route};
use crate::metrics::Metrics;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedBreaker {
    breaker: Arc<Mutex<Breaker>>,
    metrics: Metrics,
}

impl SharedBreaker {
    /// Closed.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { breaker: Arc::default(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        // Each change is one assignment, so the state is consistent also after a panic.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether winners go straight to SQL.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    /// The route of the next winner.
    pub(crate) fn route(&self, now: Instant) -> Route {
        self.lock().route(now)
    }

    /// Kafka failed, or is late.
    pub(crate) fn failed(&self, why: &str) {
        if self.lock().failed(Instant::now()) {
            self.metrics.breaker_open.set(1);
            tracing::warn!(why, "Kafka does not take winners in time; they are stored directly until it does");
        }
    }

    /// Kafka does not let its user write, in Kafka's words.
    pub(crate) fn refused(&self, words: String) {
        self.lock().refused(words);
    }

    /// Why Kafka takes no winners, if it is that its user lacks a right.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.lock().refusal().map(str::to_owned)
    }

    /// Kafka has acknowledged what it was given at `handed`.
    pub(crate) fn acknowledged(&self, handed: Instant) {
        if let Some(open) = self.lock().acknowledged(handed, Instant::now()) {
            self.metrics.breaker_open.set(0);
            tracing::info!(open_ms = open.as_millis(), "Kafka takes winners again");
        }
    }
}
