//! Makes a winner durable: in Kafka or, while Kafka is away ([`super::breaker`]), in the database ([`super::direct_writer`]).

use std::sync::Arc;
use std::time::Duration;

use coupon_core::contract::deadlines;
use coupon_core::event::CouponIssued;
use coupon_ledger::kafka::acknowledgements::Acknowledgements;
use coupon_ledger::kafka::producer::WinnerProducer;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::breaker::{PATIENCE, Route};
use super::direct_writer::DirectWriter;
use super::shared_breaker::SharedBreaker;
use crate::metrics::Metrics;

/// How long a winner may take to become durable.
const CONFIRM_DEADLINE: Duration = deadlines::CONFIRM;
/// How long the records of a batch are waited for together, which costs a signal instead of a future and timers for each. A healthy cluster
/// takes a few milliseconds; after that each winner is waited for alone, so that a slow partition holds up nobody else.
const TOGETHER: Duration = Duration::from_millis(50);

/// Winners of one batch, on their way.
pub(crate) struct Handed {
    at: Instant,
    route: Route,
    /// How many of the first of them Kafka's client was given.
    given: usize,
    records: Acknowledgements,
}

impl Handed {
    /// Whether Kafka's client has taken the record of the winner at `place`.
    pub(crate) fn client_has(&self, place: usize) -> bool {
        place < self.given && !matches!(self.records.result(place), Some(Err(_)))
    }

    /// Whether Kafka has acknowledged it by now.
    pub(crate) fn is_acknowledged(&self, place: usize) -> bool {
        matches!(self.records.result(place), Some(Ok(())))
    }

    fn route(&self, place: usize) -> Route {
        if place < self.given { self.route } else { Route::Direct }
    }
}

/// The two paths on which a winner becomes durable, and the breaker that chooses.
pub(crate) struct DurabilityPaths {
    /// Through Kafka.
    pub(crate) producer: WinnerProducer,
    /// Straight into the database.
    pub(crate) direct_writer: DirectWriter,
    /// Chooses the path.
    pub(crate) breaker: SharedBreaker,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Knows what is still under way.
    pub(crate) tracker: TaskTracker,
}

impl DurabilityPaths {
    /// Starts to make the winners of a batch durable. What Kafka's client takes is on its way when this returns.
    pub(crate) fn hand_over(&self, events: &[CouponIssued]) -> Handed {
        let at = Instant::now();
        let route = self.breaker.route(at);
        let given = match route {
            Route::Kafka => events.len(),
            // One record shows whether Kafka is back.
            Route::Probe => events.len().min(1),
            Route::Direct => 0,
        };
        Handed { at, route, given, records: self.producer.append_all(&events[..given]) }
    }

    /// Waits for Kafka's word on all of them, but not for long.
    pub(crate) async fn wait_together(&self, handed: &Handed) {
        if handed.route != Route::Kafka {
            return;
        }
        // What is not known by then is waited for one by one.
        let _ = tokio::time::timeout(TOGETHER, handed.records.all()).await;
        if (0..handed.given).any(|place| handed.is_acknowledged(place)) {
            self.metrics.kafka_seconds.observe(handed.at.elapsed().as_secs_f64());
            self.breaker.acknowledged(handed.at);
        }
    }

    /// Makes one winner durable that Kafka has not acknowledged yet; false if it is not known to be within [`CONFIRM_DEADLINE`].
    pub(crate) async fn store_one(self: Arc<Self>, handed: Arc<Handed>, place: usize, event: CouponIssued) -> bool {
        let deadline = handed.at + CONFIRM_DEADLINE;
        let patience = handed.at + PATIENCE;
        let route = handed.route(place);
        let acknowledged = Arc::clone(&self).acknowledged(handed, place);
        let acknowledged = match route {
            // The result of a probe is always recorded, also if the database is faster. Otherwise the breaker would never close.
            Route::Probe => self.tracker.spawn(acknowledged).map(|ended| ended.unwrap_or(false)).boxed(),
            Route::Kafka | Route::Direct => acknowledged.boxed(),
        };
        let durable = self.durable(route, event, acknowledged, patience);
        tokio::time::timeout_at(deadline, durable).await.unwrap_or(false)
    }

    /// Whether Kafka acknowledges the record, if it was given one. The breaker learns of it.
    async fn acknowledged(self: Arc<Self>, handed: Arc<Handed>, place: usize) -> bool {
        if place >= handed.given {
            return false;
        }
        match handed.records.one(place).await {
            Ok(()) => {
                self.metrics.kafka_seconds.observe(handed.at.elapsed().as_secs_f64());
                self.breaker.acknowledged(handed.at);
                true
            }
            Err(error) => {
                self.breaker.failed(&error.to_string());
                if let Some(words) = error.missing_right() {
                    self.breaker.refused(words);
                }
                false
            }
        }
    }

    /// Whether the winner becomes durable on either path. `acknowledged`: whether Kafka acknowledges the record, for which alone is waited
    /// until `patience`.
    async fn durable(
        self: Arc<Self>,
        route: Route,
        event: CouponIssued,
        mut acknowledged: BoxFuture<'static, bool>,
        patience: Instant,
    ) -> bool {
        if route == Route::Kafka {
            match tokio::time::timeout_at(patience, &mut acknowledged).await {
                Ok(true) => return true,
                Ok(false) => acknowledged = async { false }.boxed(),
                Err(_) => self.breaker.failed("no acknowledgement in time"),
            }
        }
        let again = (route == Route::Direct).then(|| event.clone());
        let stored = async {
            let stored = self.direct_writer.store(event).await;
            self.metrics.stored_directly.inc_by(u64::from(stored));
            stored
        };
        if either(acknowledged, stored.boxed()).await {
            return true;
        }
        // The database is away too. Kafka may be back: it was not asked for this winner.
        let Some(event) = again else { return false };
        self.producer.append_all(std::slice::from_ref(&event)).one(0).await.is_ok()
    }
}

/// True as soon as one of them is; false when both are not.
async fn either(one: BoxFuture<'_, bool>, other: BoxFuture<'_, bool>) -> bool {
    let (first, rest) = futures::future::select(one, other).await.factor_first();
    first || rest.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_way_is_enough_and_the_slower_one_counts_too() {
        let never = || std::future::pending().boxed();
        let now = |value: bool| async move { value }.boxed();
        let soon = |value: bool| {
            async move {
                tokio::task::yield_now().await;
                value
            }
            .boxed()
        };
        assert!(either(now(true), never()).await);
        assert!(either(never(), soon(true)).await);
        assert!(either(now(false), soon(true)).await, "a no of one way is not a no of both");
        assert!(!either(now(false), soon(false)).await);
    }
}
