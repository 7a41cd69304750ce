//! A database that comes back from a backup, or that loses the newest rows in a failover, is made whole from Redis.

use std::collections::BTreeMap;
use std::time::Instant;

use coupon_core::contract::KeyBy;
use coupon_ledger::database;
use coupon_ledger::kafka::producer::WinnerProducer;
use coupon_ledger::redis::rebuild::Ledger;
use coupon_ledger::redis::{RedisKeys, Terms, forget};
use futures::future::join_all;
use operator::api::Phase;
use operator::ledger::count::Effort;
use operator::ledger::count::pages::PAGE;
use operator::ledger::epoch::Opened;
use operator::ledger::repair::begin_after_opening;
use operator::ledger::repair::settle::{Settled, settle};
use operator::ledger::repair::watch::SETTLE;
use operator::reconcile::observation_cache::ObservationCache;
use operator::reconcile::observe::{observe, recount};
use operator::reconcile::plan::Step;

use super::missing_winners::held;
use super::operator_eyes::{FUTURE, Operator, PAST, Pass};
use crate::common::stage::Stage;

const WINNERS: u64 = 30;

fn terms(total: u64, start_ms: i64, end_ms: i64, suspended: bool) -> Terms {
    Terms { total, limit: 1, start_ms, end_ms, suspended }
}

fn open() -> Terms {
    terms(100, PAST, FUTURE, false)
}

fn over() -> Terms {
    terms(100, PAST, PAST + 1, false)
}

/// What an asynchronous failover, or a backup, takes away.
async fn lose(stage: &Stage, ranks: &str) {
    let sql = format!("DELETE FROM issued_coupon WHERE campaign_id = ? AND issue_rank {ranks}");
    let lost = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(stage.row.0).execute(&stage.systems.sql).await.unwrap();
    assert!(lost.rows_affected() > 0);
}

async fn publish(stage: &Stage, ranks: impl Iterator<Item = u64>) {
    let producer =
        WinnerProducer::new(&stage.systems.settings.operator.kafka, &stage.campaign, KeyBy::User, "test").unwrap();
    for rank in ranks {
        producer.append_all(&[stage.winner(rank, 1)]).one(0).await.unwrap();
    }
}

/// Wrong: rows that were counted once are believed for ever, and status says that all is stored.
#[tokio::test]
async fn rows_that_a_database_lost_come_back_in_every_phase() {
    let cases = [
        (Phase::Scheduled, terms(100, FUTURE - 1, FUTURE, false)),
        (Phase::Open, open()),
        (Phase::SoldOut, terms(WINNERS, PAST, FUTURE, false)),
        (Phase::Suspended, terms(100, PAST, FUTURE, true)),
        (Phase::Draining, over()),
        (Phase::Completed, over()),
    ];
    join_all(cases.map(|(phase, terms)| async move {
        let stage = Stage::of(terms.total).await;
        let waiting = u64::from(phase == Phase::Draining);
        let mut operator = Operator::of(&stage, terms, WINNERS, WINNERS - waiting).await;
        publish(&stage, WINNERS + 1 - waiting..=WINNERS).await;
        let before = operator.until("all is known", |pass| pass.stored() == WINNERS - waiting).await;
        assert_eq!(before.plan.phase, phase);
        for ranks in ["= 5", "> 20"] {
            lose(&stage, ranks).await;
            let missed = operator.pass().await;
            assert!(missed.stored() < WINNERS - waiting, "{phase}: {} rows", missed.stored());
            assert_ne!(missed.plan.phase, Phase::Completed, "{phase}: it says that all is stored");
            operator.until_stored(WINNERS).await;
        }
        let after = if phase == Phase::Draining { Phase::Completed } else { phase };
        operator.until("it is whole", |pass| pass.plan.phase == after).await;
        let rows = database::read_rows(&stage.systems.sql, &stage.campaign, stage.row, 0, 100).await.unwrap();
        assert_eq!(rows, (1..=WINNERS).map(|rank| stage.winner(rank, 1)).collect::<Vec<_>>(), "{phase}");
    }))
    .await;
}

/// Wrong: winners that the opening of an epoch found in Redis only are not published, or wait for issuers that were fenced.
#[tokio::test]
async fn a_campaigns_row_that_was_put_back_costs_no_winner() {
    let stage = Stage::of(100).await;
    let mut operator = Operator::of(&stage, open(), WINNERS, WINNERS).await;
    operator.until("all is known", |pass| pass.stored() == WINNERS).await;
    let row = stage.row().await;
    let ledger = || Ledger { winners: (1..=WINNERS).map(held).collect(), free: Vec::new(), highest: WINNERS };
    stage.begin_epoch(2, 0).await;
    stage.open_epoch(2).await;
    stage.fill_on(2, 3, open(), &ledger()).await;
    let at_rest = |pass: &Pass| pass.plan.steps.iter().all(Step::can_wait) && pass.stored() == WINNERS;
    operator.until("epoch 2 is at rest", at_rest).await;

    lose(&stage, "> 20").await;
    let back = "UPDATE campaign SET epoch = ?, open_epoch = ?, terms_number = ? WHERE id = ?";
    let back = sqlx::query(back).bind(row.epoch).bind(row.open_epoch).bind(row.terms_number).bind(stage.row.0);
    back.execute(&stage.systems.sql).await.unwrap();
    let pass = operator.pass().await;
    assert!(format!("{:?}", pass.plan.steps).contains("EpochMismatch"), "{:?}", pass.plan.steps);
    // What the opening does: an epoch above both, its barrier, and Redis as it was, with what only it holds.
    let begun = Instant::now();
    let epoch = database::allot_epoch(&stage.systems.sql, stage.row, 2).await.unwrap();
    stage.open_epoch(epoch).await;
    let number = stage.row().await.terms_number.max(4);
    stage.fill_on(epoch, number, open(), &ledger()).await;
    let opened = Opened { epoch, winners: WINNERS, free: 0, redis_only: 10, rebound: false, given_before: WINNERS };
    begin_after_opening(&mut operator.memory, &opened, &pass.seen, begun.elapsed());

    let found = operator.until("it is published", |pass| pass.looked.published > 0).await;
    assert_eq!(found.looked.published, 10);
    assert!(begun.elapsed() < SETTLE, "at once, and not after {:?}", begun.elapsed());
    operator.until_stored(WINNERS).await;
}

/// Wrong: a partition that gets no new record is waited for, though retention has taken what the group never read.
#[tokio::test]
async fn winners_whose_records_were_removed_unread_are_published_again() {
    let stage = Stage::of(100).await;
    let mut operator = Operator::of(&stage, over(), WINNERS, 0).await;
    publish(&stage, 1..=WINNERS).await;
    operator.until("they wait in the log", |pass| pass.seen.kafka.as_ref().unwrap().lag == Some(WINNERS)).await;
    let topic = stage.campaign.topic();
    let end = stage.span(&topic).await[&0].1;
    stage.systems.kafka.delete_records(&topic, &BTreeMap::from([(0, end)])).await.unwrap();
    let done = operator.until_stored(WINNERS).await;
    assert_eq!(done.stored(), WINNERS);
}

/// Wrong: with a dead letter, a campaign that was drained reads its whole log again once the group's commits have expired.
#[tokio::test]
async fn a_campaign_that_was_drained_stays_drained() {
    let stage = Stage::of(100).await;
    let mut operator = Operator::of(&stage, over(), WINNERS, WINNERS - 1).await;
    publish(&stage, 1..WINNERS).await;
    stage.dead_letter(&stage.winner(WINNERS, 1), 7).await;
    let waiting =
        operator.until("the log is seen", |pass| pass.seen.kafka.as_ref().unwrap().lag == Some(WINNERS - 1)).await;
    operator.consume(&waiting).await;
    operator.until("it is completed", |pass| pass.plan.phase == Phase::Completed).await;

    stage.systems.kafka.delete_group(&stage.campaign.group()).await.unwrap();
    let mut operator = operator.restarted();
    let pass = operator.pass().await;
    let kafka = pass.seen.kafka.unwrap();
    assert_eq!((pass.plan.phase, kafka.lag), (Phase::Completed, Some(0)));
    let committed = operator
        .until("the group is given its commits back", |pass| {
            let kafka = pass.seen.kafka.as_ref().unwrap();
            kafka.offsets.as_ref().unwrap().committed.values().all(Option::is_some)
        })
        .await;
    assert_eq!(committed.plan.phase, Phase::Completed);

    // Winners that come later, in a window that was opened again, are work.
    publish(&stage, 1..=1).await;
    operator.until("a new record waits", |pass| pass.seen.kafka.as_ref().unwrap().lag == Some(1)).await;
}

/// Wrong: deletion removes the keys of winners that nobody else has.
#[tokio::test]
async fn what_only_redis_holds_is_stored_before_a_campaign_goes() {
    let stage = Stage::of(100).await;
    let mut operator = Operator::of(&stage, open(), WINNERS, WINNERS).await;
    operator.until("all is known", |pass| pass.stored() == WINNERS).await;
    lose(&stage, "IN (5, 6, 30)").await;
    stage.dead_letter(&stage.winner(6, 1), 7).await;
    let mut known: ObservationCache = operator.memory.cache.clone();
    // As closing does.
    database::allot_epoch(&stage.systems.sql, stage.row, 1).await.unwrap();
    let settled = settle(&stage.systems, &stage.campaign, &mut known).await.unwrap();
    assert_eq!(settled, Settled { stored: 2, in_the_way: 0 });
    let again = settle(&stage.systems, &stage.campaign, &mut known).await.unwrap();
    assert_eq!(again, Settled::default(), "once");
    let rows = database::read_ranks(&stage.systems.sql, stage.row, 1, 100, 100).await.unwrap();
    assert_eq!(rows, (1..=WINNERS).filter(|rank| *rank != 6).collect::<Vec<_>>(), "a dead letter is people's");
}

/// Wrong: what both have lost is called stored.
#[tokio::test]
async fn what_redis_lost_too_is_known_to_be_missing() {
    let stage = Stage::of(100).await;
    let mut operator = Operator::of(&stage, open(), WINNERS, WINNERS).await;
    operator.until("all is known", |pass| pass.stored() == WINNERS).await;
    lose(&stage, "> 20").await;
    let mut redis = stage.systems.redis().await.unwrap();
    forget(&mut redis, &RedisKeys::of(&stage.campaign)).await.unwrap();
    let left = Ledger { winners: (1..=20).map(held).collect(), free: Vec::new(), highest: 20 };
    stage.fill_on(1, 5, open(), &left).await;
    let pass = operator.until("the loss is seen", |pass| pass.stored() == 20).await;
    let ledger = pass.seen.ledger.unwrap();
    assert_eq!((ledger.had, pass.seen.redis.unwrap().issued), (WINNERS, 20));
}

/// Wrong: only the last page is counted, or a count is derived.
#[tokio::test]
async fn rows_are_counted_over_pages_and_a_server_says_who_it_is() {
    let stage = Stage::of(4 * PAGE).await;
    let rows: Vec<_> = [1, 2, PAGE, PAGE + 1, 3 * PAGE].map(|rank| stage.winner(rank, 1)).into();
    database::store(&stage.systems.sql, stage.row, database::StoreMode::Direct(&rows)).await.unwrap();
    let mut known = ObservationCache::default();
    let seen = observe(&stage.systems, &stage.campaign, false, &mut known).await.ledger.unwrap();
    assert_eq!((seen.stored, seen.highest, seen.counted_whole), (5, 3 * PAGE, true));
    let highest = database::highest_rank(&stage.systems.sql, stage.row, &mut Default::default()).await.unwrap();
    assert!(highest.server.split('/').count() >= 3 && highest.rank == 3 * PAGE, "{highest:?}");

    lose(&stage, "= 2").await;
    let mut seen = observe(&stage.systems, &stage.campaign, false, &mut known).await;
    recount(&stage.systems, &mut seen, &mut known, Effort::Whole).await;
    let ledger = seen.ledger.unwrap();
    assert_eq!((ledger.stored, ledger.had, ledger.counted_whole), (4, 5, true));
}
