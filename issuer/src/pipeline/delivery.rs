//! From Redis' answers to the outcomes of requests: a winner gets a success only once it is durable.

use std::sync::Arc;
use std::time::Duration;

use coupon_core::contract::deadlines;
use coupon_core::failpoints::{CrashPoint, crash_point};
use coupon_core::identity::CampaignId;
use coupon_ledger::redis::{Answer, winner};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::durability::DurabilityPaths;
use super::outcome::{RequestOutcome, of_answer};
use super::request::PendingRequest;
use super::stored::StoredWinners;
use crate::epoch::guard::InFlightPermit;
use crate::metrics::Metrics;
use coupon_core::contract::Acknowledge;

/// From asking Redis to the last moment at which a winner gets a success. Where no fence can reach this process (a ledger that another
/// cluster takes over), the operator waits for as long after it has closed the campaign in Redis. So the deadline also holds if this
/// process was frozen meanwhile.
const RESPOND_DEADLINE: Duration = deadlines::RESPOND;

/// A batch that Redis has answered.
pub(crate) struct IssuedBatch {
    /// The requests.
    pub(crate) pending: Vec<PendingRequest>,
    /// One answer per request, in order.
    pub(crate) answers: Vec<Answer>,
    /// When Redis was asked.
    pub(crate) asked: Instant,
    /// Held until the last winner is durable or given up: a fence waits for it.
    pub(crate) permit: InFlightPermit,
    /// Room for the batch's records.
    pub(crate) room: OwnedSemaphorePermit,
    /// Its turn at Kafka, if it has one: until Kafka has answered, or is late.
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

/// Delivers batches in the background. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Delivery {
    campaign: CampaignId,
    paths: Arc<DurabilityPaths>,
    stored: Arc<StoredWinners>,
    acknowledge: Acknowledge,
    metrics: Metrics,
    tracker: TaskTracker,
}

impl Delivery {
    /// `tracker` knows what is still under way.
    pub(crate) fn new(
        campaign: CampaignId,
        paths: DurabilityPaths,
        stored: StoredWinners,
        acknowledge: Acknowledge,
        metrics: Metrics,
        tracker: TaskTracker,
    ) -> Self {
        Self { campaign, paths: Arc::new(paths), stored: Arc::new(stored), acknowledge, metrics, tracker }
    }

    /// Delivers a batch. Returns at once.
    pub(crate) fn deliver(&self, batch: IssuedBatch) {
        let delivery = self.clone();
        self.tracker.spawn(async move { delivery.run(batch).await });
    }

    async fn run(&self, batch: IssuedBatch) {
        let IssuedBatch { pending, answers, asked, permit, mut room, mut turn } = batch;
        let (mut winners, mut events) = (Vec::with_capacity(pending.len()), Vec::with_capacity(pending.len()));
        for (entry, answer) in pending.into_iter().zip(answers) {
            match of_answer(answer) {
                // A repeated grant that is no row is written again, so that it is as durable as the first.
                RequestOutcome::Issued { grant, repeated } => {
                    events.push(winner(&self.campaign, permit.epoch(), &entry.request.user, &grant));
                    winners.push(Winner { entry: Some(entry), outcome: RequestOutcome::Issued { grant, repeated } });
                }
                other => {
                    drop(room.split(1));
                    entry.respond(other);
                }
            }
        }
        // Whoever waits for a new rank waits for no database.
        if !winners.is_empty() && winners.iter().all(Winner::is_repeated) {
            turn = None;
            let stored = self.stored.among(&events).await;
            for place in (0..stored.len()).rev().filter(|place| stored[*place]) {
                drop(room.split(1));
                events.remove(place);
                winners.remove(place).conclude(true);
            }
        }
        if winners.is_empty() {
            return;
        }
        let handed = Arc::new(self.paths.hand_over(&events));
        crash_point(CrashPoint::AfterProduce);
        if self.acknowledge == Acknowledge::Fast {
            // No success is sent for a record that Kafka's client did not take.
            let taken = winners.iter_mut().enumerate().filter(|(place, _)| handed.client_has(*place));
            taken.for_each(|(_, winner)| winner.respond());
        }
        self.paths.wait_together(&handed).await;
        drop(turn);
        let mut left = FuturesUnordered::new();
        let (in_time, mut unconfirmed) = (is_in_time(asked, Instant::now()), 0);
        for (place, (winner, event)) in winners.into_iter().zip(events).enumerate() {
            let slot = room.split(1);
            if handed.is_acknowledged(place) {
                unconfirmed += u64::from(!in_time);
                winner.conclude(in_time);
            } else {
                let stored = Arc::clone(&self.paths).store_one(Arc::clone(&handed), place, event);
                left.push(async move {
                    let confirmed = stored.await && is_in_time(asked, Instant::now());
                    winner.conclude(confirmed);
                    drop(slot);
                    confirmed
                });
            }
        }
        while let Some(confirmed) = left.next().await {
            unconfirmed += u64::from(!confirmed);
        }
        if unconfirmed > 0 {
            self.metrics.unconfirmed.inc_by(unconfirmed);
            tracing::warn!(
                unconfirmed,
                epoch = permit.epoch(),
                "neither Kafka nor the database has taken winners; they keep their ranks"
            );
        }
        drop(permit);
    }
}

/// A request that has won, until its user is told.
struct Winner {
    /// None once the user was told.
    entry: Option<PendingRequest>,
    /// What the user is told once the winner is durable.
    outcome: RequestOutcome,
}

impl Winner {
    /// Whether the user has asked for it before.
    fn is_repeated(&self) -> bool {
        matches!(self.outcome, RequestOutcome::Issued { repeated: true, .. })
    }

    /// Tells the user, unless that was done.
    fn respond(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry.respond(std::mem::replace(&mut self.outcome, RequestOutcome::Unconfirmed));
        }
    }

    /// Tells the user how it ended.
    fn conclude(mut self, confirmed: bool) {
        crash_point(CrashPoint::BeforeAnswer);
        if !confirmed {
            self.outcome = RequestOutcome::Unconfirmed;
        }
        self.respond();
    }
}

/// Whether a winner may still get a success `now`. A timeout alone does not decide that: after this process was frozen, the result and the
/// expired timer are there at the same time, and the result wins.
fn is_in_time(asked: Instant, now: Instant) -> bool {
    now.saturating_duration_since(asked) <= RESPOND_DEADLINE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a process that was frozen between Redis' answer and Kafka's tells a winner of whom nobody knows any more.
    #[test]
    fn nobody_is_told_who_was_granted_too_long_ago() {
        let asked = Instant::now();
        assert!(is_in_time(asked, asked + RESPOND_DEADLINE));
        assert!(!is_in_time(asked, asked + RESPOND_DEADLINE + Duration::from_millis(1)));
    }
}
