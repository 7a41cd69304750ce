//! Winners that only Redis holds are found, whatever lies below them.

use coupon_core::contract::KeyBy;
use coupon_core::event::CouponIssued;
use coupon_core::identity::{RequestKey, UserId};
use coupon_ledger::database::{StoreMode, store};
use coupon_ledger::kafka::tail::{self, TailError};
use coupon_ledger::redis::rebuild::{Ledger, LedgerWinner};
use operator::ledger::count::pages::Pages;
use operator::ledger::epoch::ranks::Ranks;
use operator::ledger::repair::scan::{MAX_ASKED, Scan};
use operator::ledger::repair::watch::DueWinners;
use operator::ledger::repair::{Subject, publish_missing};
use rdkafka::message::Message;

use crate::common::stage::Stage;

pub(crate) fn held(rank: u64) -> LedgerWinner {
    LedgerWinner {
        rank,
        n: 1,
        user: UserId::new(format!("user-{rank}")).unwrap(),
        granted_ms: 1,
        key: RequestKey::new("k").unwrap(),
    }
}

pub(crate) async fn published(stage: &Stage) -> Vec<CouponIssued> {
    let (campaign, topic) = (stage.campaign.clone(), stage.campaign.topic());
    let (kafka, range) = (stage.systems.settings.operator.kafka.clone(), stage.span(&topic).await);
    let reading = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        tail::read::<TailError>(&kafka, &topic, &range, |message| {
            found.push(CouponIssued::decode(&campaign, message.payload()).unwrap());
            Ok(())
        })
        .map(|()| found)
    });
    reading.await.unwrap().unwrap()
}

/// Wrong: as many free ranks as one look asks about hide the winner above them for ever.
#[tokio::test]
async fn a_winner_above_thousands_of_free_ranks_and_dead_letters_is_published_again() {
    let stage = Stage::new().await;
    let highest = 2 * MAX_ASKED as u64 + 500;
    let dead: Ranks = (3..=202).collect();
    let free: Vec<u64> = (203..highest).collect();
    let winners = (1..=202).chain([highest]).map(held).collect();
    stage.fill(1, 1, &Ledger { winners, free, highest }).await;
    let rows: Vec<_> = (1..=2).map(|rank| stage.winner(rank, 1)).collect();
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();

    let subject = Subject {
        systems: &stage.systems,
        campaign: &stage.campaign,
        row: stage.row,
        key_by: KeyBy::User,
        dead: &dead,
        pages: &Pages::default(),
    };
    let due = DueWinners { up_to: highest, granted_by_ms: 1 };
    let mut scan = Scan::default();
    let mut looks = 0;
    loop {
        looks += 1;
        let found = publish_missing(&subject, &scan, due).await.unwrap();
        if looks == 1 {
            assert_eq!(found.result.missing, 0);
        }
        if scan.record(found.result, found.seen_up_to, due.up_to) {
            break;
        }
    }
    assert_eq!(looks, 3);
    assert_eq!((scan.found().missing, scan.found().published), (1, 1));
    assert_eq!(published(&stage).await, [CouponIssued { issued_count: 203, ..stage.winner(highest, 1) }]);
}
