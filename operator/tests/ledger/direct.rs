//! Winners that were stored past Kafka get their records when it takes them again.

use coupon_core::contract::KeyBy;
use coupon_core::position::Position;
use coupon_ledger::database::{self, LoggedWinner, StoreMode, store};
use operator::ledger::repair::direct::publish_stored_directly;

use super::missing_winners::published;
use crate::common::stage::Stage;

/// Wrong: whoever reads the topic never hears of winners that were stored while Kafka was away; or hears of all again and again.
#[tokio::test]
async fn winners_that_were_stored_past_kafka_get_their_records() {
    const DIRECT: u64 = 1_200;
    let stage = Stage::new().await;
    let sql = &stage.systems.sql;
    let unpublished = async || database::has_unpublished(sql, stage.row).await.unwrap();
    let publish = async || {
        let row = stage.row().await;
        publish_stored_directly(&stage.systems, &stage.campaign, &row, KeyBy::User).await.unwrap()
    };
    let logged: Vec<LoggedWinner> = (DIRECT + 1..=DIRECT + 10)
        .zip(0..)
        .map(|(rank, offset)| LoggedWinner {
            event: stage.winner(rank, 1),
            position: Position { partition: 0, offset },
        })
        .collect();
    store(sql, stage.row, StoreMode::Logged(&logged)).await.unwrap();
    assert!(!unpublished().await, "those have records");
    let direct: Vec<_> = (1..=DIRECT).map(|rank| stage.winner(rank, 1)).collect();
    store(sql, stage.row, StoreMode::Direct(&direct)).await.unwrap();
    assert!(unpublished().await);

    // Another epoch is open by now: records of theirs would be void.
    stage.begin_epoch(2, 0).await;
    stage.open_epoch(2).await;
    assert_eq!(publish().await, DIRECT);
    let found = published(&stage).await;
    let mut ranks: Vec<u64> = found.iter().map(|winner| winner.rank).collect();
    ranks.sort_unstable();
    assert!(ranks.iter().copied().eq(1..=DIRECT), "each once: {} records", ranks.len());
    assert!(found.iter().all(|winner| winner.epoch == 2 && winner.user_id.as_str() == format!("user-{}", winner.rank)));
    assert!(!unpublished().await);
    assert_eq!(publish().await, 0, "once is enough");

    // What was stored twice has its record already.
    let mut again: Vec<_> = (1..=3).map(|rank| stage.winner(rank, 2)).collect();
    store(sql, stage.row, StoreMode::Direct(&again)).await.unwrap();
    assert!(!unpublished().await);
    // A record that was overtaken by an epoch is void, and written anew.
    again = vec![stage.winner(DIRECT + 11, 2)];
    store(sql, stage.row, StoreMode::Direct(&again)).await.unwrap();
    database::set_published(sql, stage.row, 1, &[DIRECT + 11]).await.unwrap();
    assert!(unpublished().await);
    assert_eq!(publish().await, 1);
}
