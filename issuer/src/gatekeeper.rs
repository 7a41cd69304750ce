//! The [`Gate`] as the tasks of this process share it, with a count of what is under way under each epoch.
//!
//! Entering and fencing take the same lock: once a fence has returned, nothing more can be sent under an older epoch, and
//! what was sent before is counted until it is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campaign::event::MAX_NUMBER;
use campaign::sabotage::{Defence, without};
use campaign::stock::Refusal;
use tokio::sync::watch;

use crate::gate::{Gate, Reason};

/// Epochs that may be allotted while this process hears of none: an operator that dies between allotting and fencing, again and
/// again, allots one each time.
const EPOCHS_AHEAD: u64 = 1_000;

#[derive(Debug, Default)]
struct Inner {
    gate: Gate,
    /// Wishes under way, by the epoch they were sent under.
    outstanding: BTreeMap<u64, usize>,
    /// What the system said that keeps it unopened.
    words: Option<String>,
}

/// Shared by batcher, opener, control port and HTTP routes.
#[derive(Debug)]
pub struct Gatekeeper {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

/// Leave to send a number of wishes under one epoch. They count as under way until it is dropped.
#[derive(Debug)]
pub struct Pass {
    keeper: Arc<Gatekeeper>,
    epoch: u64,
    wishes: usize,
    seen: u64,
}

impl Pass {
    /// The epoch to send under.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The highest rank seen under that epoch when the pass was given.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether may still be sent under it: a fence may have come.
    pub fn is_valid(&self) -> bool {
        self.keeper.lock().gate.serving() == Some(self.epoch)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inner = self.keeper.lock();
        if let Some(count) = inner.outstanding.get_mut(&self.epoch) {
            *count = count.saturating_sub(self.wishes);
            if *count == 0 {
                inner.outstanding.remove(&self.epoch);
            }
        }
        drop(inner);
        self.keeper.changed.send_replace(());
    }
}

/// What became of a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// The floor in force, at least the one asked for.
    pub floor: u64,
    /// Wishes still under way under an epoch below the floor; 0 means that the fence holds.
    pub outstanding: usize,
}

impl Gatekeeper {
    /// Unopened, with nothing under way.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), changed: watch::Sender::new(()) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding the lock; if it did, the state is still whole: each change is one assignment.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, act: impl FnOnce(&mut Gate) -> T) -> T {
        let result = act(&mut self.lock().gate);
        self.changed.send_replace(());
        result
    }

    /// Leave to send `wishes` wishes now, or why not.
    pub fn enter(self: &Arc<Self>, wishes: usize) -> Result<Pass, Reason> {
        let mut inner = self.lock();
        let Some(epoch) = inner.gate.serving() else { return Err(inner.gate.reason().unwrap_or(Reason::Starting)) };
        *inner.outstanding.entry(epoch).or_default() += wishes;
        let seen = inner.gate.seen(epoch);
        Ok(Pass { keeper: Arc::clone(self), epoch, wishes, seen })
    }

    /// The epoch that is served, or why none is.
    pub fn serving(&self) -> Result<u64, Reason> {
        let inner = self.lock();
        inner.gate.serving().ok_or_else(|| inner.gate.reason().unwrap_or(Reason::Starting))
    }

    /// Below this epoch nothing is served.
    pub fn floor(&self) -> u64 {
        self.lock().gate.floor()
    }

    /// The highest epoch that a fence may name now. A floor never falls, so one that is beyond every epoch would end this process's
    /// work for good.
    pub fn highest_fence(&self) -> u64 {
        match self.lock().gate.known() {
            0 => MAX_NUMBER,
            known => known.saturating_add(EPOCHS_AHEAD).min(MAX_NUMBER),
        }
    }

    /// Whether an epoch was ever served.
    pub fn has_served(&self) -> bool {
        self.lock().gate.has_served()
    }

    /// The highest rank ever seen under `epoch`.
    pub fn seen(&self, epoch: u64) -> u64 {
        self.lock().gate.seen(epoch)
    }

    /// Wishes under way.
    pub fn outstanding(&self) -> usize {
        self.lock().outstanding.values().sum()
    }

    /// See [`Gate::open`].
    pub fn open(&self, epoch: u64) -> bool {
        self.change(|gate| gate.open(epoch))
    }

    /// See [`Gate::stay_closed`]. `words`: what the system said that is in the way.
    pub fn stay_closed(&self, reason: Reason, words: Option<String>) {
        self.lock().words = words;
        self.change(|gate| gate.stay_closed(reason));
    }

    /// Why nothing is served, for whoever has to mend it: with the words of the system that is in the way, which users do not hear.
    /// Empty while something is.
    pub fn why_closed(&self) -> String {
        let inner = self.lock();
        match (inner.gate.reason(), &inner.words) {
            (None, _) => String::new(),
            (Some(reason @ (Reason::DatabaseAway | Reason::RedisAway)), Some(words)) => format!("{reason}: {words}"),
            (Some(reason), _) => reason.to_string(),
        }
    }

    /// See [`Gate::refused`].
    pub fn refused(&self, epoch: u64, refusal: Refusal) {
        self.change(|gate| gate.refused(epoch, refusal));
    }

    /// See [`Gate::broken`].
    pub fn broken(&self, epoch: u64) {
        self.change(|gate| gate.broken(epoch));
    }

    /// See [`Gate::saw`].
    pub fn saw(&self, epoch: u64, highest: u64) {
        self.lock().gate.saw(epoch, highest);
    }

    /// Waits until nothing is served.
    pub async fn unopened(&self) {
        let mut changes = self.changed.subscribe();
        while self.serving().is_ok() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Raises the floor, at once, and waits until nothing that was sent under an older epoch is under way, at most `bound`.
    pub async fn fence(&self, floor: u64, bound: Duration) -> Drained {
        let mut changes = self.changed.subscribe();
        if without(Defence::Floor) {
            self.change(|gate| gate.stop_below(floor));
        } else {
            self.change(|gate| gate.fence(floor));
        }
        let below = || {
            let inner = self.lock();
            let floor = floor.max(inner.gate.floor());
            Drained { floor, outstanding: inner.outstanding.range(..floor).map(|(_, count)| count).sum() }
        };
        let empty = async {
            while below().outstanding > 0 {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whether the bound came first shows in the count.
        let _ = tokio::time::timeout(bound, empty).await;
        below()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fence_waits_for_what_was_sent_before_it() {
        let keeper = Gatekeeper::new();
        assert!(matches!(keeper.enter(1), Err(Reason::Starting)));
        assert!(keeper.open(3));
        let pass = keeper.enter(2).unwrap();
        assert!(pass.is_valid());
        let not_yet = keeper.fence(4, Duration::from_millis(1)).await;
        assert_eq!(not_yet, Drained { floor: 4, outstanding: 2 });
        assert!(!pass.is_valid(), "a batch must not be sent again after the fence");
        assert!(matches!(keeper.enter(1), Err(Reason::Fenced)));

        let waiting = tokio::spawn({
            let keeper = Arc::clone(&keeper);
            async move { keeper.fence(4, Duration::from_secs(60)).await }
        });
        drop(pass);
        assert_eq!(waiting.await.unwrap(), Drained { floor: 4, outstanding: 0 });
    }

    #[test]
    fn a_fence_beyond_every_epoch_is_told_from_a_late_one() {
        let keeper = Gatekeeper::new();
        assert_eq!(keeper.highest_fence(), MAX_NUMBER, "nothing was heard of yet");
        keeper.open(7);
        assert_eq!(keeper.highest_fence(), 7 + EPOCHS_AHEAD);
        keeper.change(|gate| gate.fence(9));
        assert_eq!(keeper.highest_fence(), 9 + EPOCHS_AHEAD);
    }

    /// Wrong: pods with a wrong login say "the database is not reachable", and nobody knows what to change.
    #[test]
    fn what_keeps_it_closed_is_said_in_the_words_of_whoever_is_in_the_way() {
        let keeper = Gatekeeper::new();
        for (reason, words, expected) in [
            (Reason::DatabaseAway, Some("1045: Access denied"), "the database is not reachable: 1045: Access denied"),
            (Reason::RedisAway, Some("refused"), "Redis cannot be read: refused"),
            (Reason::Closed, None, "the campaign is closed for now"),
        ] {
            keeper.stay_closed(reason, words.map(str::to_owned));
            assert_eq!(keeper.why_closed(), expected);
            assert!(!reason.to_string().contains("1045"), "users do not hear it");
        }
        keeper.stay_closed(Reason::DatabaseAway, Some("1045".to_owned()));
        keeper.change(|gate| gate.fence(2));
        keeper.open(1);
        assert_eq!(keeper.why_closed(), "the campaign's stock is being repaired", "what was said before is over");
        keeper.open(2);
        assert_eq!(keeper.why_closed(), "");
    }

    #[tokio::test]
    async fn work_of_the_new_epoch_does_not_hold_a_repeated_fence_up() {
        let keeper = Gatekeeper::new();
        keeper.fence(4, Duration::ZERO).await;
        assert!(keeper.open(4));
        let _pass = keeper.enter(7).unwrap();
        assert_eq!(keeper.fence(4, Duration::ZERO).await, Drained { floor: 4, outstanding: 0 });
        assert_eq!(keeper.fence(2, Duration::ZERO).await, Drained { floor: 4, outstanding: 0 });
        assert_eq!(keeper.outstanding(), 7);
    }
}
