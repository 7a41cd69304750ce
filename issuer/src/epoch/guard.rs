//! The [`EpochState`] as the tasks of this process share it, with a count of what is under way under each epoch.
//!
//! Entering and fencing take the same lock: once a fence has returned, nothing more can be sent under an older epoch, and
//! what was sent before is counted until it is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coupon_core::event::{EPOCHS_AHEAD, MAX_NUMBER};
use coupon_core::failpoints::{Safeguard, is_disabled};
use coupon_ledger::redis::Refusal;
use tokio::sync::watch;

use crate::epoch::state::{EpochState, NotServing};

#[derive(Debug, Default)]
struct Inner {
    state: EpochState,
    /// Requests under way, by the epoch they were sent under.
    outstanding: BTreeMap<u64, usize>,
    /// What the system that prevents serving has said.
    words: Option<String>,
}

/// Shared by batcher, prober, epoch poller, control port and HTTP routes.
#[derive(Debug)]
pub(crate) struct EpochGuard {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

/// Permission to send a number of requests to Redis under one epoch. They count as under way until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlightPermit {
    guard: Arc<EpochGuard>,
    epoch: u64,
    requests: usize,
    seen: u64,
}

impl InFlightPermit {
    /// The epoch to send under.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The highest rank seen under that epoch when the permit was given.
    pub(crate) fn highest_rank(&self) -> u64 {
        self.seen
    }

    /// Whether it still holds: a fence may have come since.
    pub(crate) fn is_valid(&self) -> bool {
        self.guard.lock().state.serving() == Some(self.epoch)
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        let mut inner = self.guard.lock();
        if let Some(count) = inner.outstanding.get_mut(&self.epoch) {
            *count = count.saturating_sub(self.requests);
            if *count == 0 {
                inner.outstanding.remove(&self.epoch);
            }
        }
        drop(inner);
        self.guard.changed.send_replace(());
    }
}

/// What became of a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drained {
    /// The floor in force, at least the one asked for.
    pub(crate) floor: u64,
    /// Requests still under way under an epoch below the floor; 0 means that the fence holds.
    pub(crate) outstanding: usize,
}

impl EpochGuard {
    /// Unopened, with nothing under way.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), changed: watch::Sender::new(()) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding the lock; if it did, the state would still be consistent: each change is one assignment.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, act: impl FnOnce(&mut EpochState) -> T) -> T {
        let result = act(&mut self.lock().state);
        self.changed.send_replace(());
        result
    }

    /// Permission to send this many requests now, or why not.
    pub(crate) fn enter(self: &Arc<Self>, requests: usize) -> Result<InFlightPermit, NotServing> {
        let mut inner = self.lock();
        let Some(epoch) = inner.state.serving() else {
            return Err(inner.state.reason().unwrap_or(NotServing::Starting));
        };
        *inner.outstanding.entry(epoch).or_default() += requests;
        let seen = inner.state.highest_rank(epoch);
        Ok(InFlightPermit { guard: Arc::clone(self), epoch, requests, seen })
    }

    /// The epoch that is served, or why none is.
    pub(crate) fn serving(&self) -> Result<u64, NotServing> {
        let inner = self.lock();
        inner.state.serving().ok_or_else(|| inner.state.reason().unwrap_or(NotServing::Starting))
    }

    /// Below this epoch nothing is served.
    pub(crate) fn floor(&self) -> u64 {
        self.lock().state.floor()
    }

    /// The highest epoch that a fence may name now. A floor never falls, so one that is beyond every epoch would end this process's
    /// work for good. Some may have been allotted without this process learning of them: an operator that dies between allotting and fencing,
    /// again and again, allots one each time; and the one that it fences for may be above the farthest that it believes Redis or the topic. A
    /// fence that is refused costs the pod, so both fit.
    pub(crate) fn highest_fence(&self) -> u64 {
        match self.lock().state.highest_epoch() {
            0 => MAX_NUMBER,
            known => known.saturating_add(2 * EPOCHS_AHEAD).min(MAX_NUMBER),
        }
    }

    /// Whether an epoch was ever served.
    pub(crate) fn has_served(&self) -> bool {
        self.lock().state.has_served()
    }

    /// The highest rank ever seen under `epoch`.
    pub(crate) fn highest_rank(&self, epoch: u64) -> u64 {
        self.lock().state.highest_rank(epoch)
    }

    /// Requests under way.
    pub(crate) fn outstanding(&self) -> usize {
        self.lock().outstanding.values().sum()
    }

    /// See [`EpochState::open`].
    pub(crate) fn open(&self, epoch: u64) -> bool {
        self.change(|state| state.open(epoch))
    }

    /// See [`EpochState::stay_closed`]. `words`: what the system that prevents serving has said.
    pub(crate) fn stay_closed(&self, reason: NotServing, words: Option<String>) {
        self.lock().words = words;
        self.change(|state| state.stay_closed(reason));
    }

    /// Why nothing is served, for operators: with the message of the system that prevents it, which users do not get to see. Empty while an
    /// epoch is served.
    pub(crate) fn why_closed(&self) -> String {
        let inner = self.lock();
        match (inner.state.reason(), &inner.words) {
            (None, _) => String::new(),
            (Some(reason @ (NotServing::DatabaseAway | NotServing::RedisAway)), Some(words)) => {
                format!("{reason}: {words}")
            }
            (Some(reason), _) => reason.to_string(),
        }
    }

    /// See [`EpochState::refused`].
    pub(crate) fn refused(&self, epoch: u64, refusal: Refusal) {
        self.change(|state| state.refused(epoch, refusal));
    }

    /// See [`EpochState::broken`].
    pub(crate) fn broken(&self, epoch: u64) {
        self.change(|state| state.broken(epoch));
    }

    /// See [`EpochState::saw`].
    pub(crate) fn saw(&self, epoch: u64, highest: u64) {
        self.lock().state.saw(epoch, highest);
    }

    /// Waits until nothing is served.
    pub(crate) async fn unopened(&self) {
        let mut changes = self.changed.subscribe();
        while self.serving().is_ok() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Raises the floor, at once, and waits until nothing that was sent under an older epoch is under way, at most `bound`.
    pub(crate) async fn fence(&self, floor: u64, bound: Duration) -> Drained {
        let mut changes = self.changed.subscribe();
        if is_disabled(Safeguard::Floor) {
            self.change(|state| state.stop_below(floor));
        } else {
            self.change(|state| state.fence(floor));
        }
        let below = || {
            let inner = self.lock();
            let floor = floor.max(inner.state.floor());
            Drained { floor, outstanding: inner.outstanding.range(..floor).map(|(_, count)| count).sum() }
        };
        let empty = async {
            while below().outstanding > 0 {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // The count shows whether the bound came first.
        let _ = tokio::time::timeout(bound, empty).await;
        below()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fence_waits_for_what_was_sent_before_it() {
        let guard = EpochGuard::new();
        assert!(matches!(guard.enter(1), Err(NotServing::Starting)));
        assert!(guard.open(3));
        let permit = guard.enter(2).unwrap();
        assert!(permit.is_valid());
        let not_yet = guard.fence(4, Duration::from_millis(1)).await;
        assert_eq!(not_yet, Drained { floor: 4, outstanding: 2 });
        assert!(!permit.is_valid(), "a batch must not be sent again after the fence");
        assert!(matches!(guard.enter(1), Err(NotServing::Fenced)));

        let waiting = tokio::spawn({
            let guard = Arc::clone(&guard);
            async move { guard.fence(4, Duration::from_secs(60)).await }
        });
        drop(permit);
        assert_eq!(waiting.await.unwrap(), Drained { floor: 4, outstanding: 0 });
    }

    #[test]
    fn a_fence_beyond_every_epoch_is_told_from_a_late_one() {
        let guard = EpochGuard::new();
        assert_eq!(guard.highest_fence(), MAX_NUMBER, "nothing was heard of yet");
        guard.open(7);
        assert_eq!(guard.highest_fence(), 7 + 2 * EPOCHS_AHEAD);
        guard.change(|state| state.fence(9));
        assert_eq!(guard.highest_fence(), 9 + 2 * EPOCHS_AHEAD);
        // Wrong: somebody writes the farthest epoch that a repair believes into Redis, and every issuer refuses its fence and is deleted.
        for allotted_unheard in [0, 1, EPOCHS_AHEAD - 1] {
            let believed = 9 + allotted_unheard + EPOCHS_AHEAD;
            assert!(believed < guard.highest_fence(), "the repair's epoch is above {believed}");
        }
    }

    /// Wrong: pods with a wrong login say "the database is not reachable", and nobody knows what to change.
    #[test]
    fn what_keeps_it_closed_is_said_in_the_words_of_whoever_is_in_the_way() {
        let guard = EpochGuard::new();
        for (reason, words, expected) in [
            (
                NotServing::DatabaseAway,
                Some("1045: Access denied"),
                "the database is not reachable: 1045: Access denied",
            ),
            (NotServing::RedisAway, Some("refused"), "Redis cannot be read: refused"),
            (NotServing::Closed, None, "the campaign is closed for now"),
        ] {
            guard.stay_closed(reason, words.map(str::to_owned));
            assert_eq!(guard.why_closed(), expected);
            assert!(!reason.to_string().contains("1045"), "users do not hear it");
        }
        guard.stay_closed(NotServing::DatabaseAway, Some("1045".to_owned()));
        guard.change(|state| state.fence(2));
        guard.open(1);
        assert_eq!(
            guard.why_closed(),
            "the campaign's keys in Redis are being repaired",
            "what was said before is over"
        );
        guard.open(2);
        assert_eq!(guard.why_closed(), "");
    }

    #[tokio::test]
    async fn work_of_the_new_epoch_does_not_hold_a_repeated_fence_up() {
        let guard = EpochGuard::new();
        guard.fence(4, Duration::ZERO).await;
        assert!(guard.open(4));
        let _permit = guard.enter(7).unwrap();
        assert_eq!(guard.fence(4, Duration::ZERO).await, Drained { floor: 4, outstanding: 0 });
        assert_eq!(guard.fence(2, Duration::ZERO).await, Drained { floor: 4, outstanding: 0 });
        assert_eq!(guard.outstanding(), 7);
    }
}
