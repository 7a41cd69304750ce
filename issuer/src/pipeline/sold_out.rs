//! What losers of a campaign that is sold out are told without a call to Redis. Most requests of a sale are theirs.
//!
//! Once the last rank is given, a compact filter of all winners is read from Redis ([`super::sold_out_keeper`]). Who is not in it holds
//! nothing and can win nothing, as long as Redis says at which point its ledger is, and that is the point at which the winners were read. A
//! winner is always in it, and is answered by Redis, with the rank; so is one of a hundred losers.

use std::hash::RandomState;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use coupon_core::identity::UserId;
use coupon_ledger::redis::Batch;
use fastbloom::BloomFilter;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How old what Redis has said may be. A quantity that is raised is seen after as long.
pub(crate) const FRESH: Duration = Duration::from_millis(25);
/// Share of losers that Redis is asked about all the same: ten bits a winner.
const FALSE_POSITIVES: f64 = 0.01;

/// Where a ledger stands that gives no rank. Any change of it may give one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    epoch: u64,
    total: u64,
    issued: u64,
    highest: u64,
}

impl Standing {
    /// The standing under `epoch`, if everybody who holds nothing hears that all coupons are issued.
    pub(crate) fn of(epoch: u64, batch: &Batch) -> Option<Self> {
        let is_open = !batch.suspended && (batch.start_ms..batch.end_ms).contains(&batch.now_ms);
        let Batch { total, issued, highest, .. } = *batch;
        (is_open && issued >= total).then_some(Self { epoch, total, issued, highest })
    }

    /// How many winners there are.
    pub(crate) fn winners(&self) -> u64 {
        self.issued
    }
}

/// All winners of a standing, as far as that fits into ten bits for each.
pub(crate) struct Winners(BloomFilter<RandomState>);

impl Winners {
    /// Of so many, none yet.
    pub(crate) fn of(expected: u64) -> Self {
        let expected = usize::try_from(expected).unwrap_or(usize::MAX).max(1);
        // Seeded by chance: nobody can choose user ids that are taken for winners'.
        Self(BloomFilter::with_false_pos(FALSE_POSITIVES).hasher(RandomState::new()).expected_items(expected))
    }

    /// One more.
    pub(crate) fn add(&mut self, user: &UserId) {
        self.0.insert(user.as_str());
    }

    /// False: certainly not one of them.
    fn may_have(&self, user: &UserId) -> bool {
        self.0.contains(user.as_str())
    }
}

struct KnownWinners {
    standing: Standing,
    winners: Winners,
    /// Milliseconds from [`SoldOut::begun`] to the moment at which Redis was last asked and had the standing still.
    confirmed_ms: AtomicU64,
}

/// Shared by the routes, which ask it, the batcher, which notices that all is issued, and the keeper.
pub(crate) struct SoldOut {
    begun: Instant,
    known: RwLock<Option<Arc<KnownWinners>>>,
    noticed: Notify,
    is_asked: AtomicBool,
    asked: Notify,
}

impl SoldOut {
    /// Nothing is known.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            known: RwLock::default(),
            noticed: Notify::new(),
            is_asked: AtomicBool::new(false),
            asked: Notify::new(),
        })
    }

    fn known(&self) -> Option<Arc<KnownWinners>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether `user` holds nothing and would be told that all coupons are issued, by the Redis that serves `epoch`. False: Redis is to be asked.
    pub(crate) fn refuses(&self, user: &UserId, epoch: u64, now: Instant) -> bool {
        let Some(known) = self.known() else { return false };
        if !self.is_asked.swap(true, Ordering::Relaxed) {
            self.asked.notify_one();
        }
        let age = self.ms(now).saturating_sub(known.confirmed_ms.load(Ordering::Relaxed));
        known.standing.epoch == epoch && u128::from(age) <= FRESH.as_millis() && !known.winners.may_have(user)
    }

    /// A batch was answered. The keeper is told if all is issued.
    pub(crate) fn saw(&self, epoch: u64, batch: &Batch) {
        if Standing::of(epoch, batch).is_some() {
            self.noticed.notify_one();
        }
    }

    /// Waits for a batch that found all issued.
    pub(crate) async fn noticed(&self) {
        self.noticed.notified().await;
    }

    /// Waits until somebody was asked about since the last call.
    pub(crate) async fn asked(&self) {
        while !self.is_asked.swap(false, Ordering::Relaxed) {
            self.asked.notified().await;
        }
    }

    /// These are the winners of `standing`, which Redis had when it was asked at `asked`.
    pub(crate) fn learn(&self, standing: Standing, winners: Winners, asked: Instant) {
        let known = KnownWinners { standing, winners, confirmed_ms: AtomicU64::new(self.ms(asked)) };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(known));
    }

    /// Redis was asked at `asked`, and stands there (none: ranks may be given). True if that is what is known.
    pub(crate) fn confirm(&self, standing: Option<Standing>, asked: Instant) -> bool {
        let Some(known) = self.known() else { return false };
        if standing != Some(known.standing) {
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = None;
            return false;
        }
        known.confirmed_ms.store(self.ms(asked), Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch {
            now_ms: 1_500,
            total: 3,
            limit: 1,
            issued: 3,
            highest: 3,
            start_ms: 1_000,
            end_ms: 2_000,
            suspended: false,
            answers: Vec::new(),
        }
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn winners() -> Winners {
        let mut winners = Winners::of(3);
        ["anna", "bert", "carl"].iter().for_each(|name| winners.add(&user(name)));
        winners
    }

    /// Wrong: somebody hears that all is issued while ranks are given, before the window, or of a suspended sale.
    #[test]
    fn only_a_sale_that_is_open_and_has_no_rank_left_is_sold_out() {
        let standing = Standing::of(7, &batch()).unwrap();
        assert_eq!(standing, Standing { epoch: 7, total: 3, issued: 3, highest: 3 });
        for (what, other) in [
            ("one is left", Batch { issued: 2, ..batch() }),
            ("suspended", Batch { suspended: true, ..batch() }),
            ("not begun", Batch { now_ms: 999, ..batch() }),
            ("over", Batch { now_ms: 2_000, ..batch() }),
        ] {
            assert_eq!(Standing::of(7, &other), None, "{what}");
        }
    }

    /// Wrong: a winner who asks again hears that all is issued; or a raised quantity, a new epoch or a Redis that says nothing is not heard of.
    #[test]
    fn losers_are_refused_while_redis_stands_where_the_winners_were_read() {
        let sold_out = SoldOut::new();
        let at = |ms: u64| sold_out.begun + Duration::from_millis(ms);
        let standing = Standing::of(7, &batch()).unwrap();
        assert!(!sold_out.refuses(&user("dora"), 7, at(0)), "nothing is known");
        assert!(!sold_out.confirm(Some(standing), at(0)));

        sold_out.learn(standing, winners(), at(100));
        assert!(sold_out.refuses(&user("dora"), 7, at(100)));
        for name in ["anna", "bert", "carl"] {
            assert!(!sold_out.refuses(&user(name), 7, at(100)), "{name} has won");
        }
        assert!(!sold_out.refuses(&user("dora"), 8, at(100)), "another epoch");
        assert!(!sold_out.refuses(&user("dora"), 7, at(126)), "Redis has said nothing for a while");
        assert!(sold_out.confirm(Some(standing), at(120)));
        assert!(sold_out.refuses(&user("dora"), 7, at(126)));

        let raised = Standing::of(7, &Batch { total: 4, issued: 4, highest: 4, ..batch() });
        for now in [raised, None] {
            sold_out.learn(standing, winners(), at(200));
            assert!(!sold_out.confirm(now, at(200)));
            assert!(!sold_out.refuses(&user("dora"), 7, at(200)));
        }
    }

    #[tokio::test]
    async fn the_keeper_hears_of_a_sale_that_is_sold_out_and_of_who_asks() {
        let sold_out = SoldOut::new();
        sold_out.saw(7, &Batch { issued: 2, ..batch() });
        assert!(tokio::time::timeout(Duration::from_millis(1), sold_out.noticed()).await.is_err());
        sold_out.saw(7, &batch());
        sold_out.noticed().await;
        sold_out.learn(Standing::of(7, &batch()).unwrap(), winners(), Instant::now());
        assert!(tokio::time::timeout(Duration::from_millis(1), sold_out.asked()).await.is_err());
        sold_out.refuses(&user("dora"), 7, Instant::now());
        sold_out.asked().await;
    }
}
