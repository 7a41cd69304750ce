//! What becomes of records that were handed to the client together: one signal for all of them, not a future for each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::error::KafkaError;
use tokio::sync::Notify;

use super::append_error::AppendError;

/// What became of one record.
pub type Acknowledged = Result<(), AppendError>;

/// The records of one [`super::producer::WinnerProducer::append_all`], by their places from 0. Clones speak of the same records.
#[derive(Debug, Clone)]
pub struct Acknowledgements(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    results: Vec<Option<Acknowledged>>,
    /// How many are not known yet.
    left: usize,
    /// Somebody waits for single records.
    one_by_one: bool,
}

/// The place of a record that the client has. Dropped without a word, nobody will ever know what became of the record.
#[derive(Debug)]
pub(super) struct Place {
    /// Until it is settled.
    records: Option<Acknowledgements>,
    at: usize,
}

impl Place {
    /// The client has heard of the record for the last time.
    pub(super) fn settle(mut self, result: Acknowledged) {
        self.tell(result);
    }

    fn tell(&mut self, result: Acknowledged) {
        if let Some(records) = self.records.take() {
            records.settle(self.at, result);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tell(Err(AppendError::Unacknowledged(KafkaError::Canceled)));
    }
}

impl Acknowledgements {
    /// Of so many records, none of which is known yet.
    pub(super) fn of(records: usize) -> Self {
        let state = State { results: vec![None; records], left: records, one_by_one: false };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    /// The place of the record `at`.
    pub(super) fn place(&self, at: usize) -> Place {
        Place { records: Some(self.clone()), at }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first word on a record stands.
    fn settle(&self, at: usize, result: Acknowledged) {
        let mut state = self.lock();
        let Some(place) = state.results.get_mut(at).filter(|place| place.is_none()) else { return };
        *place = Some(result);
        state.left -= 1;
        let tells = state.left == 0 || state.one_by_one;
        drop(state);
        if tells {
            self.0.changed.notify_waiters();
        }
    }

    /// What became of the record `at`; `None` as long as that is not known. A record that the client did not take is known at once.
    pub fn result(&self, at: usize) -> Option<Acknowledged> {
        self.lock().results.get(at).cloned().flatten()
    }

    /// Waits until all are known: each within [`super::producer::DELIVERY_TIMEOUT`].
    pub async fn all(&self) {
        loop {
            // Before looking, so that no word comes in between.
            let changed = self.0.changed.notified();
            if self.lock().left == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the record `at` is known.
    ///
    /// # Errors
    /// It is not known to be durable.
    pub async fn one(&self, at: usize) -> Acknowledged {
        self.lock().one_by_one = true;
        loop {
            let changed = self.0.changed.notified();
            if let Some(result) = self.result(at) {
                return result;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: one slow record holds up the word on the others for good, or a word that comes in between is missed.
    #[tokio::test]
    async fn all_and_each_are_told() {
        let records = Acknowledgements::of(3);
        let (first, second, third) = (records.place(0), records.place(1), records.place(2));
        second.settle(Err(AppendError::QueueFull));
        assert!(records.result(0).is_none());
        assert!(matches!(records.result(1), Some(Err(AppendError::QueueFull))));
        let (one, all) = (records.clone(), records.clone());
        let one = tokio::spawn(async move { one.one(0).await });
        let all = tokio::spawn(async move { all.all().await });
        tokio::task::yield_now().await;
        first.settle(Ok(()));
        assert!(one.await.unwrap().is_ok());
        assert!(!all.is_finished());
        drop(third);
        all.await.unwrap();
        assert!(matches!(records.result(2), Some(Err(AppendError::Unacknowledged(KafkaError::Canceled)))));
        Acknowledgements::of(0).all().await;
    }
}
