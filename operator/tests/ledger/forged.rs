//! What somebody writes into the topic, or into the database, is no winner for that.

use coupon_core::event::CouponIssued;
use coupon_core::identity::UserId;
use coupon_ledger::database::{self, StoreMode, store};
use coupon_ledger::redis::rebuild::{Ledger, LedgerWinner};
use coupon_ledger::redis::{self, RedisKeys, Terms};
use operator::ledger::epoch::{RecordScope, first_named};
use operator::ledger::repair::settle::{Settled, settle};
use operator::reconcile::observation_cache::ObservationCache;
use operator::reconcile::observe::observe;

use super::missing_winners::held;
use super::operator_eyes::{FUTURE, Operator, PAST};
use crate::common::stage::{Stage, TOTAL};

fn named(winner: CouponIssued, user: &str) -> CouponIssued {
    CouponIssued { user_id: UserId::new(user).unwrap(), ..winner }
}

/// Writes a row that no part of the product writes.
async fn write_row(stage: &Stage, rank: u64, user: &str) {
    let row = "INSERT INTO issued_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms) \
               VALUES (?, ?, ?, 1, 'k', 1, 1)";
    sqlx::query(row).bind(stage.row.0).bind(rank).bind(user).execute(&stage.systems.sql).await.unwrap();
}

/// Wrong: a record that somebody forged counts as a winner who was told a rank, and covers for one who is missing.
#[tokio::test]
async fn a_letter_that_redis_does_not_hold_is_no_winner() {
    let stage = Stage::new().await;
    let ledger = || Ledger { winners: (1..=3).map(held).collect(), free: vec![], highest: 3 };
    stage.fill(1, 1, &ledger()).await;
    let rows = [1, 2].map(|rank| stage.winner(rank, 1));
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    let mut known = ObservationCache::default();
    let mut seen = async || {
        let kafka = observe(&stage.systems, &stage.campaign, false, &mut known).await.kafka.unwrap();
        let count = |found: Option<u64>| found.unwrap();
        [kafka.dead_letters, kafka.dead_ranks, kafka.stranded, kafka.contradicted].map(count)
    };

    // In the place of a row of the same user, and at the rank of a row of somebody else.
    stage.dead_letter(&CouponIssued { rank: 7, ..stage.winner(1, 1) }, 7).await;
    stage.dead_letter(&named(stage.winner(2, 1), "mallory"), 8).await;
    assert_eq!(seen().await, [2, 0, 0, 2]);
    stage.dead_letter(&stage.winner(3, 1), 9).await;
    assert_eq!(seen().await, [3, 1, 1, 2], "who was told a rank is a winner");

    // While nobody can say what Redis holds, what was said stands, and what comes new is believed.
    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), RedisKeys::of(&stage.campaign));
    redis::close(&mut redis, &keys).await.unwrap();
    assert_eq!(seen().await, [3, 1, 1, 2]);
    stage.dead_letter(&named(stage.winner(9, 1), "trudy"), 10).await;
    assert_eq!(seen().await, [4, 2, 2, 2]);
    stage.fill(1, 1, &ledger()).await;
    assert_eq!(seen().await, [4, 1, 1, 3]);
    assert_eq!(seen().await, [4, 1, 1, 3]);
}

/// Wrong: winners whom somebody gave ranks above the total, in Redis and by hand, are said nowhere once Redis is filled anew; and a raised total
/// gives their ranks to others.
#[tokio::test]
async fn ranks_above_the_total_that_the_ledger_names_are_seen_before_a_raise() {
    let stage = Stage::of(5).await;
    let sql = &stage.systems.sql;
    let topic = stage.campaign.topic();
    let looked = async |ranks, records| {
        first_named(&stage.systems, &stage.campaign, &stage.row().await, &ranks, records).await.unwrap()
    };
    let named = async |ranks| looked(ranks, RecordScope::Unread).await;
    let rows: Vec<_> = (1..=5).map(|rank| stage.winner(rank, 1)).collect();
    store(sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    assert_eq!(named(6..=9).await, None);

    stage.record(&stage.winner(7, 1)).await;
    assert_eq!(named(6..=9).await, Some(7), "unread");
    assert_eq!((named(6..=6).await, named(8..=9).await), (None, None));
    let read = [(0, 1)].into();
    stage.systems.kafka.commit_offsets(&stage.campaign.group(), &topic, &read).await.unwrap();
    assert_eq!(named(6..=9).await, None, "a consumer has dealt with it");
    assert_eq!(looked(6..=9, RecordScope::All).await, Some(7), "or somebody has set the offset behind it");

    stage.dead_letter(&stage.winner(7, 1), 0).await;
    assert_eq!(named(6..=9).await, Some(7), "a dead letter");
    let kafka = observe(&stage.systems, &stage.campaign, false, &mut ObservationCache::default()).await.kafka.unwrap();
    assert_eq!((kafka.dead_letters, kafka.dead_ranks, kafka.above_total), (Some(1), Some(0), Some(1)));

    write_row(&stage, 6, "early").await;
    assert_eq!(named(6..=6).await, Some(6), "a row");
}

/// Wrong: whoever was forgotten was told nothing, as Redis holds a pseudonym.
#[tokio::test]
async fn a_letter_of_whoever_was_forgotten_is_still_a_winner() {
    let stage = Stage::new().await;
    let (winner, pseudonym) = (stage.winner(1, 1), database::new_pseudonym());
    let held_as = |user: &UserId| Ledger {
        winners: vec![LedgerWinner { user: user.clone(), ..held(1) }],
        free: vec![],
        highest: 1,
    };
    stage.dead_letter(&winner, 7).await;
    database::forget(&stage.systems.sql, stage.row, &winner.user_id, &[1].into(), &pseudonym).await.unwrap();
    for user in [&winner.user_id, &pseudonym] {
        stage.fill(1, 1, &held_as(user)).await;
        let kafka =
            observe(&stage.systems, &stage.campaign, false, &mut ObservationCache::default()).await.kafka.unwrap();
        assert_eq!((kafka.dead_ranks, kafka.contradicted), (Some(1), Some(0)), "{}", user.as_str());
    }
}

/// Wrong: a row that is nobody's is counted in place of the winner's that is missing, who is then never published again.
#[tokio::test]
async fn a_row_above_every_rank_does_not_stand_for_one_that_is_missing() {
    for rank in [TOTAL + 1, u64::MAX] {
        let stage = Stage::new().await;
        let terms = Terms { total: TOTAL, limit: 1, start_ms: PAST, end_ms: FUTURE, suspended: true };
        let mut operator = Operator::of(&stage, terms, 5, 4).await;
        write_row(&stage, rank, "mallory").await;
        let pass = operator.pass().await;
        let ledger = pass.seen.ledger.as_ref().unwrap();
        assert_eq!((ledger.stored, ledger.had, ledger.highest, ledger.foreign), (4, 4, 4, Some(rank)), "{rank}");
        let reasons: Vec<_> = pass.plan.refusals.iter().map(|refusal| refusal.reason).collect();
        assert_eq!(reasons, ["ForeignRow"], "{rank}");
        operator.until_stored(5).await;
    }
}

/// Wrong: a campaign goes, and with it the only trace of a winner for whom a row of somebody else's was counted.
#[tokio::test]
async fn a_campaign_that_goes_counts_no_row_of_somebody_elses_as_a_winners() {
    let stage = Stage::new().await;
    let winners = [1, 2, 4].map(held).to_vec();
    stage.fill(1, 1, &Ledger { winners, free: vec![3], highest: 4 }).await;
    let rows = [1, 2].map(|rank| stage.winner(rank, 1));
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    write_row(&stage, 3, "mallory").await;
    let settled = settle(&stage.systems, &stage.campaign, &mut ObservationCache::default()).await.unwrap();
    assert_eq!(settled, Settled { stored: 1, in_the_way: 0 });
    assert_eq!(database::read_ranks(&stage.systems.sql, stage.row, 1, 9, 9).await.unwrap(), [1, 2, 3, 4]);
}
