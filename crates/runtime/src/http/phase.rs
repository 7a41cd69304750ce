//! What a connection is doing, since when, and how long it may.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::asker::Asker;
use super::limits::Limits;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing was asked on it yet.
    New = 0,
    /// Between two requests.
    Idle = 1,
    /// A part of a head has arrived.
    Head = 2,
    /// The head is whole, the body on its way.
    Body = 3,
    /// The request is whole and not answered yet.
    Answer = 4,
    /// The last word was said; the client may read it.
    Linger = 5,
}

impl Phase {
    fn from_bits(bits: u64) -> Self {
        match bits {
            0 => Self::New,
            1 => Self::Idle,
            2 => Self::Head,
            3 => Self::Body,
            5 => Self::Linger,
            _ => Self::Answer,
        }
    }

    /// How long it may last. What answers has deadlines of its own; this one is the last resort.
    fn bound(self, limits: &Limits) -> Duration {
        match self {
            Self::New | Self::Head => limits.head,
            Self::Idle => limits.idle,
            Self::Body => limits.body,
            Self::Answer => Duration::from_secs(60),
            Self::Linger => limits.linger,
        }
    }
}

/// A request that takes longer to arrive is in the way of others. A head and a body of usual size come in one packet.
const SLOW: Duration = Duration::from_millis(500);
/// A connection that was never answered has this long to ask, when there is no room: a round trip or two. Many of them may be begun
/// before the first is [`SLOW`]; who was answered before goes after who is idle.
const FIRST: Duration = Duration::from_millis(100);

/// What others want of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing.
    None,
    /// Answer what is being asked, and close.
    Finish,
    /// Close, to make room.
    MakeRoom,
}

/// Why a connection is closed before its client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It has nothing to say.
    Idle,
    /// A request did not arrive.
    Request,
    /// An answer was not taken, or none was found.
    Answer,
}

/// A connection's phase, written by whoever reads, answers and writes, read by who looks for room.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    /// Milliseconds since `begun` at which the phase began, and the phase in the lowest three bits.
    phase: AtomicU64,
    /// Whether a request was answered on it.
    served: AtomicBool,
    /// Whether a request may be answered before others have their turn.
    turn: AtomicBool,
    /// Milliseconds since `begun` at which a write stalled, and one; 0 while none does.
    stalled: AtomicU64,
    /// Who sends the body that is on its way, for an answer without hyper.
    asker: Mutex<Option<Arc<Asker>>>,
    order: AtomicU64,
    wake: Notify,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            phase: AtomicU64::new(Phase::New as u64),
            served: AtomicBool::new(false),
            turn: AtomicBool::new(false),
            stalled: AtomicU64::new(0),
            asker: Mutex::default(),
            order: AtomicU64::new(0),
            wake: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX >> 3)
    }

    pub(super) fn enter(&self, phase: Phase) {
        if phase == Phase::Idle {
            self.served.store(true, Ordering::Relaxed);
        }
        self.phase.store(self.now() << 3 | phase as u64, Ordering::Release);
    }

    /// Enters `next` if the phase is one of `from`.
    pub(super) fn enter_from(&self, from: &[Phase], next: Phase) {
        if from.contains(&self.phase()) {
            self.enter(next);
        }
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::from_bits(self.phase.load(Ordering::Acquire) & 7)
    }

    /// The phase, and how long it has lasted.
    pub(super) fn lasted(&self) -> (Phase, Duration) {
        let packed = self.phase.load(Ordering::Acquire);
        (Phase::from_bits(packed & 7), Duration::from_millis(self.now().saturating_sub(packed >> 3)))
    }

    /// Who goes first when there is no room: the lower, the sooner, and of equals who has been so for longest; `None` is never.
    pub(super) fn in_the_way(&self) -> Option<(u8, Reverse<Duration>)> {
        let (phase, lasted) = self.lasted();
        let class = match phase {
            Phase::Linger => 0,
            Phase::New | Phase::Head | Phase::Body if lasted > SLOW => 1,
            Phase::New | Phase::Head | Phase::Body if lasted > FIRST && !self.served.load(Ordering::Relaxed) => 2,
            Phase::Idle => 3,
            // Nobody else is: a head of usual size comes in one packet, and who begins the next one at once and ends it late would hold a seat for good.
            Phase::Head if lasted > FIRST => 4,
            Phase::New | Phase::Head | Phase::Body | Phase::Answer => return None,
        };
        Some((class, Reverse(lasted)))
    }

    /// The body that comes now is of this asker.
    pub(super) fn asked_by(&self, asker: Option<Arc<Asker>>) {
        *self.asker.lock().unwrap_or_else(PoisonError::into_inner) = asker;
    }

    /// Whose body is on its way, in [`Phase::Body`].
    pub(super) fn asker(&self) -> Option<Arc<Asker>> {
        self.asker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection's task has its turn: one request is answered in it.
    pub(super) fn begin_turn(&self) {
        self.turn.store(true, Ordering::Relaxed);
    }

    /// Whether the turn is still to be used; it is now.
    pub(super) fn take_turn(&self) -> bool {
        self.turn.swap(false, Ordering::Relaxed)
    }

    /// A write could not go on.
    pub(super) fn stalls(&self) {
        // The first of several counts.
        let _ = self.stalled.compare_exchange(0, self.now() + 1, Ordering::AcqRel, Ordering::Acquire);
    }

    /// A write went on.
    pub(super) fn flows(&self) {
        if self.stalled.load(Ordering::Relaxed) != 0 {
            self.stalled.store(0, Ordering::Release);
        }
    }

    fn stalled_for(&self) -> Option<Duration> {
        let since = self.stalled.load(Ordering::Acquire).checked_sub(1)?;
        Some(Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// Tells the connection's task what is wanted of it.
    pub(super) fn order(&self, order: Order) {
        self.order.fetch_max(order as u64, Ordering::AcqRel);
        self.wake.notify_one();
    }

    pub(super) fn ordered(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::None,
            1 => Order::Finish,
            _ => Order::MakeRoom,
        }
    }

    /// Ends when there is an order.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Why the connection must go now, or how long it may be left alone.
    pub(super) fn check(&self, limits: &Limits) -> Result<Duration, Overdue> {
        let (phase, lasted) = self.lasted();
        let left = phase.bound(limits).checked_sub(lasted).filter(|left| !left.is_zero());
        let Some(mut left) = left else {
            return Err(match phase {
                Phase::New | Phase::Idle | Phase::Linger => Overdue::Idle,
                Phase::Head | Phase::Body => Overdue::Request,
                Phase::Answer => Overdue::Answer,
            });
        };
        // A phase that is shorter than this one may begin meanwhile.
        left = left.min(limits.head);
        match self.stalled_for().map(|stalled| limits.write.checked_sub(stalled).filter(|left| !left.is_zero())) {
            Some(None) => Err(Overdue::Answer),
            Some(Some(to_write)) => Ok(left.min(to_write)),
            None => Ok(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_time() {
        let limits = Limits { idle: Duration::from_secs(75), ..Limits::internal() };
        for (phase, within, over, overdue) in [
            (Phase::New, 4, 5, Overdue::Idle),
            (Phase::Head, 4, 5, Overdue::Request),
            (Phase::Body, 5, 6, Overdue::Request),
            (Phase::Idle, 74, 75, Overdue::Idle),
            (Phase::Answer, 59, 60, Overdue::Answer),
            (Phase::Linger, 0, 1, Overdue::Idle),
        ] {
            let progress = Progress::new();
            progress.enter(phase);
            tokio::time::advance(Duration::from_secs(within)).await;
            assert!(progress.check(&limits).is_ok_and(|left| left <= limits.head), "{phase:?} after {within} s");
            tokio::time::advance(Duration::from_secs(over - within)).await;
            assert_eq!(progress.check(&limits), Err(overdue), "{phase:?} after {over} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up_and_one_that_goes_on_is_not() {
        let limits = Limits::internal();
        let progress = Progress::new();
        progress.enter(Phase::Idle);
        progress.stalls();
        tokio::time::advance(Duration::from_secs(4)).await;
        progress.stalls();
        assert!(progress.check(&limits).is_ok_and(|left| left <= Duration::from_secs(1)));
        progress.flows();
        progress.stalls();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(progress.check(&limits).is_ok());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(progress.check(&limits), Err(Overdue::Answer));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_never_answered_goes_before_who_is_idle_and_who_is_answered_never() {
        let class_of = async |phase: Phase, served: bool, ms: u64| {
            let progress = Progress::new();
            if served {
                progress.enter(Phase::Idle);
            }
            progress.enter(phase);
            tokio::time::advance(Duration::from_millis(ms)).await;
            progress.in_the_way().map(|(class, _)| class)
        };
        for (phase, served, expected) in [
            (Phase::Linger, true, [Some(0), Some(0), Some(0)]),
            (Phase::New, false, [None, Some(2), Some(1)]),
            (Phase::Head, false, [None, Some(2), Some(1)]),
            (Phase::Body, false, [None, Some(2), Some(1)]),
            (Phase::Head, true, [None, Some(4), Some(1)]),
            (Phase::Body, true, [None, None, Some(1)]),
            (Phase::Idle, true, [Some(3), Some(3), Some(3)]),
            (Phase::Answer, true, [None, None, None]),
        ] {
            for (ms, expected) in [50, 200, 2_000].into_iter().zip(expected) {
                assert_eq!(class_of(phase, served, ms).await, expected, "{phase:?}, served {served}, after {ms} ms");
            }
        }
    }

    #[tokio::test]
    async fn the_stronger_order_stands() {
        let progress = Progress::new();
        assert_eq!(progress.ordered(), Order::None);
        progress.order(Order::MakeRoom);
        progress.order(Order::Finish);
        progress.woken().await;
        assert_eq!(progress.ordered(), Order::MakeRoom);
    }
}
