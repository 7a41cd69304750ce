//! A repair does not bring back who was forgotten.

use coupon_ledger::database::{self, StoreMode, store};
use coupon_ledger::redis::rebuild::Ledger;
use operator::ledger::epoch::fill::from_event;

use super::repair::{in_redis, lose, open, publish};
use crate::common::stage::Stage;

/// Wrong: after a repair Redis names somebody again who was forgotten: from a record nobody has read yet, from a dead letter, or from
/// what Redis held.
#[tokio::test]
async fn a_repair_brings_nobody_back_who_was_forgotten() {
    let stage = Stage::new().await;
    let sql = &stage.systems.sql;
    let (row, record, letter, held) = (stage.winner(1, 1), stage.winner(2, 1), stage.winner(3, 1), stage.winner(4, 1));
    store(sql, stage.row, StoreMode::Direct(std::slice::from_ref(&row))).await.unwrap();
    publish(&stage, std::slice::from_ref(&record)).await;
    stage.dead_letter(&letter, 7).await;
    let winners = [&row, &record, &letter, &held].map(|winner| from_event(winner.clone()));
    stage.fill(1, 1, &Ledger { winners: winners.to_vec(), free: vec![], highest: 4 }).await;
    let mut expected = Vec::new();
    for winner in [row, record, letter, held] {
        let pseudonym = database::new_pseudonym();
        let ranks = [winner.rank].into();
        database::forget(sql, stage.row, &winner.user_id, &ranks, &pseudonym).await.unwrap();
        let mut named = from_event(winner);
        (named.key, named.user) = (database::key_of_pseudonym(&pseudonym), pseudonym);
        expected.push(named);
    }
    // Redis does not know it yet: it was restored, or whoever forgot them died half way.
    let opened = open(&stage, 0).await.unwrap();
    assert_eq!((opened.winners, opened.redis_only, opened.rebound), (4, 1, false));
    assert_eq!(in_redis(&stage).await.winners, expected);
    lose(&stage).await;
    open(&stage, 0).await.unwrap();
    assert_eq!(in_redis(&stage).await.winners, expected[..3], "what no other system has is lost with Redis");
}
