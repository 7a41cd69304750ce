//! Rows and Redis are compared by rank.

use coupon_ledger::database::{self, StoreMode, store};
use coupon_ledger::redis::RedisKeys;
use coupon_ledger::redis::rebuild::Ledger;
use operator::ledger::repair::compare::{Difference, Holder, take_turn};
use operator::reconcile::memory::Memory;
use operator::reconcile::observation_cache::ObservationCache;
use operator::reconcile::observe::observe;

use super::missing_winners::held;
use crate::common::stage::Stage;

/// An operator's, to whom it looks each time as if one more dead letter had come.
#[derive(Default)]
struct Eyes {
    memory: Memory,
    letters: u64,
}

impl Eyes {
    /// What two looks find.
    async fn find(&mut self, stage: &Stage) -> Option<Difference> {
        let mut found = None;
        for _ in 0..2 {
            let mut seen = observe(&stage.systems, &stage.campaign, false, &mut ObservationCache::default()).await;
            self.letters += 1;
            seen.kafka.as_mut().unwrap().dead_letters = Some(self.letters);
            found = take_turn(&stage.systems, &stage.campaign, &seen, true, &mut self.memory).await.unwrap();
        }
        found
    }
}

async fn with_three_winners() -> (Stage, Eyes) {
    let stage = Stage::new().await;
    stage.fill(1, 1, &Ledger { winners: (1..=3).map(held).collect(), free: vec![], highest: 3 }).await;
    let rows = [1, 2, 3].map(|rank| stage.winner(rank, 1));
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    let mut eyes = Eyes::default();
    assert_eq!(eyes.find(&stage).await, None);
    (stage, eyes)
}

/// Wrong: what fits in number passes for the same.
#[tokio::test]
async fn a_rank_that_is_another_in_redis_is_found_by_its_row() {
    for (what, changes, rank, held) in [
        ("two scores are swapped", vec![("2", "1:user-3"), ("3", "1:user-2")], 2, Holder::Another),
        ("two share one", vec![("1", "1:user-3")], 3, Holder::Nobody),
        ("a free rank", vec![("9", "1:user-1")], 1, Holder::Nobody),
    ] {
        let (stage, mut eyes) = with_three_winners().await;
        let mut redis = stage.systems.redis().await.unwrap();
        for (score, member) in changes {
            let mut change = redis::cmd("ZADD");
            change.arg(RedisKeys::of(&stage.campaign).issued).arg(score).arg(member);
            change.query_async::<()>(&mut redis).await.unwrap();
        }
        assert_eq!(eyes.find(&stage).await, Some(Difference { rank, held }), "{what}");
    }
}

/// Wrong: while somebody is being forgotten, who has a pseudonym in the rows first, Redis is filled again and again.
#[tokio::test]
async fn whoever_is_forgotten_is_no_difference() {
    let (stage, mut eyes) = with_three_winners().await;
    let (winner, pseudonym) = (stage.winner(2, 1), database::new_pseudonym());
    database::forget(&stage.systems.sql, stage.row, &winner.user_id, &[2].into(), &pseudonym).await.unwrap();
    assert_eq!(eyes.find(&stage).await, None);
    // Somebody else's rank is another matter.
    let mut redis = stage.systems.redis().await.unwrap();
    let mut change = redis::cmd("ZADD");
    change.arg(RedisKeys::of(&stage.campaign).issued).arg(2).arg("1:user-3");
    change.query_async::<()>(&mut redis).await.unwrap();
    assert_eq!(eyes.find(&stage).await.map(|found| found.rank), Some(3));
}
