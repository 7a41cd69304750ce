//! Changes of terms that were overtaken: the stories of `crates/ledger/tests/protocol`, told to a real Redis and a real database.

use coupon_core::event::EPOCHS_AHEAD;
use coupon_ledger::database::{TotalSet, allot_terms, begin_epoch, set_total};
use coupon_ledger::redis::rebuild::Ledger;
use coupon_ledger::redis::{Configured, RedisKeys, close, configure, observe, suspend};

use crate::common::stage::{Stage, TOTAL, terms};

const NOTHING: Ledger = Ledger { winners: Vec::new(), free: Vec::new(), highest: 0 };

/// Takes a number for a change that is decided from what is there now.
async fn decide(stage: &Stage) -> u64 {
    allot_terms(&stage.systems.sql, &stage.row().await, 0).await.unwrap().unwrap()
}

async fn to_sql(stage: &Stage, number: u64, total: u64) -> TotalSet {
    set_total(&stage.systems.sql, stage.row, number, total).await.unwrap()
}

async fn to_redis(stage: &Stage, epoch: u64, number: u64, total: u64) -> Configured {
    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), RedisKeys::of(&stage.campaign));
    configure(&mut redis, &keys, epoch, &terms(total).numbered(number)).await.unwrap()
}

/// The totals in Redis and in the database.
async fn totals(stage: &Stage) -> (u64, u64) {
    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), RedisKeys::of(&stage.campaign));
    let open = observe(&mut redis, &keys).await.unwrap().open.unwrap();
    (open.terms.total, stage.row().await.total)
}

/// Wrong: Redis gives ranks that the database refuses to store.
#[tokio::test]
async fn a_raise_that_was_taken_back_does_not_reach_redis_late() {
    let stage = Stage::new().await;
    stage.fill(1, 1, &NOTHING).await;
    let slow = decide(&stage).await;
    assert_eq!(to_sql(&stage, slow, TOTAL + 1).await, TotalSet::Done);
    // It stalls; the next operator takes it back, in Redis too, which never had it.
    let next = decide(&stage).await;
    assert_eq!(to_redis(&stage, 1, next, TOTAL).await, Configured::Done);
    assert_eq!(to_sql(&stage, next, TOTAL).await, TotalSet::Done);
    assert_eq!(to_redis(&stage, 1, slow, TOTAL + 1).await, Configured::Superseded);
    assert_eq!(totals(&stage).await, (TOTAL, TOTAL));
}

/// The same, by an epoch that was filled with the old total meanwhile.
#[tokio::test]
async fn a_reduction_that_was_taken_back_does_not_reach_the_database_after_an_epoch() {
    let stage = Stage::new().await;
    stage.fill(1, 1, &NOTHING).await;
    let slow = decide(&stage).await;
    assert_eq!(to_redis(&stage, 1, slow, TOTAL - 1).await, Configured::Done);
    let begun = begin_epoch(&stage.systems.sql, &stage.row().await, 0).await.unwrap().unwrap();
    stage.fill(begun.epoch, begun.terms, &NOTHING).await;
    assert_eq!(to_sql(&stage, slow, TOTAL - 1).await, TotalSet::Superseded);
    assert_eq!(to_redis(&stage, begun.epoch, slow, TOTAL - 1).await, Configured::Superseded);
    assert_eq!(totals(&stage).await, (TOTAL, TOTAL));
}

/// Wrong: a number that a restored database has forgotten keeps terms in Redis that nobody asked for, until the database has counted up to it, one
/// at each pass. (One that no database can have forgotten is followed by a new epoch instead: `plan/tests/epochs.rs`.)
#[tokio::test]
async fn a_number_in_redis_that_the_database_never_gave_is_passed_at_once() {
    let stage = Stage::new().await;
    stage.fill(1, 1, &NOTHING).await;
    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), RedisKeys::of(&stage.campaign));
    const FORGOTTEN: u64 = EPOCHS_AHEAD;
    assert_eq!(to_redis(&stage, 1, FORGOTTEN, TOTAL + 5).await, Configured::Done);
    let slow = decide(&stage).await;
    assert_eq!(to_redis(&stage, 1, slow, TOTAL).await, Configured::Superseded);
    let known = observe(&mut redis, &keys).await.unwrap().open.unwrap().number;
    let next = allot_terms(&stage.systems.sql, &stage.row().await, known).await.unwrap().unwrap();
    assert_eq!((known, next), (FORGOTTEN, FORGOTTEN + 1));
    assert_eq!(to_redis(&stage, 1, next, TOTAL).await, Configured::Done);
    assert_eq!(to_sql(&stage, next, TOTAL).await, TotalSet::Done);
    assert_eq!(totals(&stage).await, (TOTAL, TOTAL));
}

/// Wrong: an emergency stop waits for a number that only the database gives; or it opens what is closed.
#[tokio::test]
async fn issuing_is_stopped_without_a_number_and_goes_on_with_the_next() {
    let stage = Stage::new().await;
    stage.fill(1, 1, &NOTHING).await;
    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), RedisKeys::of(&stage.campaign));
    suspend(&mut redis, &keys).await.unwrap();
    assert_eq!(observe(&mut redis, &keys).await.unwrap().open.map(|open| open.terms.suspended), Some(true));
    let next = decide(&stage).await;
    assert_eq!(to_redis(&stage, 1, next, TOTAL).await, Configured::Done);
    assert_eq!(observe(&mut redis, &keys).await.unwrap().open.map(|open| open.terms.suspended), Some(false));
    close(&mut redis, &keys).await.unwrap();
    suspend(&mut redis, &keys).await.unwrap();
    assert_eq!(observe(&mut redis, &keys).await.unwrap().open, None);
}
