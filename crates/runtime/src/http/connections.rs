//! Who is connected, and who goes when there is no room for more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::phase::{Order, Progress};

/// Room that is made at once, as a part of all: one look at everybody serves many who come.
const AT_ONCE: usize = 64;

/// The connections of a port.
#[derive(Debug)]
pub(super) struct Connections {
    bound: usize,
    inner: Mutex<Inner>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    open: HashMap<u64, Arc<Progress>>,
    /// How many of them were told to go to make room, and have not yet.
    going: usize,
}

/// A connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Arc<Connections>,
    id: u64,
    /// What the connection is doing.
    pub(super) progress: Arc<Progress>,
}

/// What came of asking for a seat.
#[derive(Debug)]
pub(super) enum Admission {
    /// There is one; so many others were told to go.
    Seated { seat: Seat, evicted: usize },
    /// Those that were told to go are still on their way.
    Later,
    /// All are taken by requests that are being answered, or have just begun to arrive.
    Full,
}

impl Connections {
    /// Room for `bound` at once.
    pub(super) fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self { bound, inner: Mutex::default(), left: Notify::new() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.lock().open.len()
    }

    /// How many may be.
    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    /// A seat for one more. Without room, those that are most in the way are told to go, and the seat of one of them is given away
    /// before it has left: for a moment there are a few more than the bound.
    pub(super) fn admit(self: &Arc<Self>) -> Admission {
        let mut inner = self.lock();
        let batch = (self.bound / AT_ONCE).max(1);
        let mut evicted = 0;
        if inner.open.len() - inner.going >= self.bound {
            // Those that were told to go hold memory until they have.
            if inner.going >= 2 * batch {
                return Admission::Later;
            }
            evicted = inner.evict(batch);
            if evicted == 0 {
                return Admission::Full;
            }
        }
        let (id, progress) = (inner.next, Arc::new(Progress::new()));
        inner.next += 1;
        inner.open.insert(id, Arc::clone(&progress));
        Admission::Seated { seat: Seat { connections: Arc::clone(self), id, progress }, evicted }
    }

    /// Ends when one that was told to go has gone, maybe before this was asked.
    pub(super) async fn one_left(&self) {
        self.left.notified().await;
    }

    /// Tells all of them.
    pub(super) fn order(&self, order: Order) {
        for progress in self.lock().open.values() {
            progress.order(order);
        }
    }
}

impl Inner {
    /// Tells up to `wanted` to go: the least useful first, and of those whoever has been so for longest.
    fn evict(&mut self, wanted: usize) -> usize {
        let mut candidates: Vec<_> = self
            .open
            .values()
            .filter(|progress| progress.ordered() != Order::MakeRoom)
            .filter_map(|progress| Some((progress.in_the_way()?, progress)))
            .collect();
        if candidates.len() > wanted {
            candidates.select_nth_unstable_by_key(wanted - 1, |(order, _)| *order);
            candidates.truncate(wanted);
        }
        for (_, progress) in &candidates {
            progress.order(Order::MakeRoom);
        }
        let told = candidates.len();
        self.going += told;
        told
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.connections.lock();
        inner.open.remove(&self.id);
        if self.progress.ordered() == Order::MakeRoom {
            inner.going = inner.going.saturating_sub(1);
            self.connections.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::phase::Phase;
    use super::*;
    use std::time::Duration;

    fn seat(connections: &Arc<Connections>, phase: Phase) -> Seat {
        match connections.admit() {
            Admission::Seated { seat, .. } => {
                seat.progress.enter(phase);
                seat
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_goes_first_then_who_is_idle_and_never_who_is_answered() {
        let connections = Connections::new(5);
        let mut seats = Vec::new();
        for phase in [Phase::Answer, Phase::Idle, Phase::Head, Phase::Idle, Phase::Body] {
            seats.push(Some(seat(&connections, phase)));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        for expected in [2, 4, 1, 3] {
            let newcomer = seat(&connections, Phase::Answer);
            let told: Vec<_> = (0..seats.len())
                .filter(|i| seats[*i].as_ref().is_some_and(|seat| seat.progress.ordered() == Order::MakeRoom))
                .collect();
            assert_eq!(told, [expected]);
            seats[expected] = None;
            seats.push(Some(newcomer));
        }
        assert!(matches!(connections.admit(), Admission::Full), "all that are left are being answered");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_that_says_nothing_drives_out_nobody_who_was_answered() {
        let connections = Connections::new(4);
        let regulars = [seat(&connections, Phase::Idle), seat(&connections, Phase::Idle)];
        let mut burst = std::collections::VecDeque::from([seat(&connections, Phase::Head)]);
        tokio::time::advance(Duration::from_millis(1)).await;
        burst.push_back(seat(&connections, Phase::New));
        for _ in 0..20 {
            tokio::time::advance(Duration::from_millis(101)).await;
            burst.push_back(seat(&connections, Phase::Head));
            burst.pop_front().filter(|first| first.progress.ordered() == Order::MakeRoom).expect("the oldest goes");
        }
        assert!(regulars.iter().all(|seat| seat.progress.ordered() == Order::None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_free_again_when_its_connection_is_over() {
        let connections = Connections::new(2);
        let (one, two) = (seat(&connections, Phase::Answer), seat(&connections, Phase::Answer));
        assert!(matches!(connections.admit(), Admission::Full));
        drop(one);
        assert_eq!((connections.open(), connections.bound()), (1, 2));
        let three = seat(&connections, Phase::Idle);
        let four = seat(&connections, Phase::Answer);
        assert_eq!(connections.open(), 3, "the seat of who was told to go is given away at once");
        assert!(matches!(connections.admit(), Admission::Full));
        drop((two, three, four));
        assert_eq!((connections.open(), connections.lock().going), (0, 0));
    }
}
