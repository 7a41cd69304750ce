//! A streamed repair comes to what merging everything in memory comes to, on a real Redis.

use std::collections::BTreeMap;

use coupon_core::contract::KeyBy;
use coupon_core::event::CouponIssued;
use coupon_core::identity::{RequestKey, UserId};
use coupon_ledger::database::{self, StoreMode, store};
use coupon_ledger::kafka::producer::WinnerProducer;
use coupon_ledger::redis::rebuild::{Attempt, Ledger, LedgerWinner};
use coupon_ledger::redis::{Held, IssueRequest, RedisKeys, forget, issue, observe, read_winners};
use operator::ledger::epoch::fill::{Filling, from_event, from_held};
use operator::ledger::epoch::join::{Join, Joined, Next};
use operator::ledger::epoch::{self, EpochError, Opened, Remembered};
use operator::reconcile;
use operator::reconcile::observation_cache::ObservationCache;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use redis::AsyncCommands;

use super::merge::{Merged, merge};
use crate::common::no_pods::no_issuers;
use crate::common::stage::{Stage, terms};

/// Sources that contradict each other in all ways are made so often.
const CASES: usize = 150;
const COUPONS: u64 = 10;

#[derive(Debug, Clone)]
struct Sources {
    rows: Vec<CouponIssued>,
    records: Vec<CouponIssued>,
    held: Vec<Held>,
}

fn event(rank: u64, user: usize, n: u32) -> CouponIssued {
    CouponIssued {
        coupon_id: "spring".into(),
        user_id: UserId::new(format!("user-{user}")).unwrap(),
        rank,
        issued_count: rank,
        occurred_at: jiff::Timestamp::from_millisecond(i64::try_from(rank).unwrap()).unwrap(),
        n,
        epoch: 1,
        request_key: RequestKey::new(format!("k-{rank}")).unwrap(),
    }
}

fn held_of(rank: u64, user: usize, n: u32) -> Held {
    let event = event(rank, user, n);
    let granted = rank.is_multiple_of(2).then(|| (event.occurred_at.as_millisecond(), event.request_key.clone()));
    Held { user: event.user_id, rank, n, granted }
}

/// As SQL and Redis can have them: rows with unique ranks and members, held members once; both by rank.
fn sources() -> impl Strategy<Value = Sources> {
    let winners = |most: u64, size| proptest::collection::vec((1..most, 0usize..4, 1u32..3), 0..size);
    (winners(8, 7), winners(13, 9), winners(13, 9), any::<bool>()).prop_map(|(rows, records, held, whole)| {
        let stored = merge(rows.into_iter().map(|(r, u, n)| event(r, u, n)).collect(), vec![], vec![], COUPONS);
        let rows: Vec<_> = stored.ledger.winners.iter().map(event_of).collect();
        let records: Vec<_> = records.into_iter().map(|(r, u, n)| event(r, u, n)).collect();
        let mut members = BTreeMap::new();
        if whole {
            // Often Redis has all that is durable: what is bound then must be bound rightly.
            let durable = merge(rows.clone(), records.clone(), vec![], COUPONS).ledger.winners;
            members.extend(durable.into_iter().map(|w| ((w.user.as_str().to_owned(), w.n), w.rank)));
        }
        for (rank, user, n) in held {
            members.entry((format!("user-{user}"), n)).or_insert(rank);
        }
        let user = |name: &str| name.trim_start_matches("user-").parse::<usize>().unwrap();
        let mut held: Vec<_> = members.iter().map(|((name, n), rank)| held_of(*rank, user(name), *n)).collect();
        held.sort_by_key(|held| (held.rank, held.n, held.user.as_str().to_owned()));
        Sources { rows, records, held }
    })
}

fn event_of(winner: &LedgerWinner) -> CouponIssued {
    event(winner.rank, winner.user.as_str().trim_start_matches("user-").parse().unwrap(), winner.n)
}

fn joined(sources: &Sources) -> Option<Joined> {
    let mut join = Join::new(COUPONS);
    let (mut rows, mut held) = (sources.rows.chunks(2), sources.held.chunks(3));
    loop {
        match join.compare() {
            Next::Rows => join.push_rows(rows.next().unwrap_or_default().to_vec()),
            Next::Held => join.push_held(held.next().unwrap_or_default().to_vec()),
            Next::Differs => return None,
            Next::Finished => break,
        }
    }
    sources.records.iter().all(|record| join.record(record)).then(|| join.joined())
}

fn merged(sources: &Sources) -> Merged {
    merge(sources.rows.clone(), sources.records.clone(), sources.held.clone(), COUPONS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Wrong: a Redis that lacks a winner, or has another one at its rank, is bound and goes on.
    #[test]
    fn what_is_bound_is_the_ledger(sources in sources()) {
        let merged = merged(&sources);
        let joined = joined(&sources);
        if let Some(Joined { winners, redis_only }) = joined {
            prop_assert!(merged.in_redis);
            prop_assert_eq!((winners, redis_only), (merged.ledger.winners.len() as u64, merged.redis_only));
        }
        // Only contradictions within the log are left to filling.
        let alone = merge(vec![], sources.records.clone(), vec![], COUPONS).ledger.winners.len();
        let consistent = sources.records.iter().all(|record| {
            record.rank > COUPONS
                || sources.rows.iter().any(|row| row.rank == record.rank)
                || merged.ledger.winners.iter().any(|w| (w.rank, w.user.as_str(), w.n) == (record.rank, record.user_id.as_str(), record.n))
        });
        if merged.in_redis && consistent && alone > 0 {
            prop_assert!(joined.is_some());
        }
    }
}

/// Wrong: a streamed repair lets another winner stand than the order of authority does, or keeps other free ranks.
#[tokio::test]
async fn what_is_filled_is_the_ledger() {
    let stage = Stage::new().await;
    let keys = RedisKeys::of(&stage.campaign);
    let mut redis = stage.systems.redis().await.unwrap();
    let history = observe(&mut redis, &keys).await.unwrap().history;
    let mut runner = TestRunner::deterministic();
    for case in 0..CASES {
        let sources = sources().new_tree(&mut runner).unwrap().current();
        let expected = merged(&sources);
        let attempt = Attempt::begin(&redis, &stage.campaign, &format!("case-{case}"), &history).await.unwrap();
        let mut filling = Filling::new(attempt, COUPONS);
        for rows in sources.rows.chunks(3) {
            filling.add(rows.iter().cloned().map(from_event).collect()).await.unwrap();
        }
        for records in sources.records.chunks(4) {
            filling.add(records.iter().cloned().map(from_event).collect()).await.unwrap();
        }
        let redis_only = filling.add(sources.held.iter().cloned().map(from_held).collect()).await.unwrap();
        let epoch = case as u64 + 1;
        let totals = filling.finish(epoch, &terms(COUPONS).numbered(epoch)).await.unwrap();

        assert_eq!(redis_only, expected.redis_only, "{sources:?}");
        assert_eq!(in_redis(&stage).await, expected.ledger, "{sources:?}");
        let winners = &expected.ledger.winners;
        assert_eq!((totals.winners, totals.highest), (winners.len() as u64, expected.ledger.highest));
        assert_eq!(totals.latest_ms, winners.iter().map(|w| w.granted_ms).max().unwrap_or(0), "{sources:?}");
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        winners.iter().for_each(|w| *counts.entry(w.user.as_str().to_owned()).or_default() += 1);
        let found: BTreeMap<String, u64> = redis.hgetall(&keys.count).await.unwrap();
        assert_eq!(found, counts, "{sources:?}");
    }
}

/// The ledger that Redis holds now.
pub(crate) async fn in_redis(stage: &Stage) -> Ledger {
    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), RedisKeys::of(&stage.campaign));
    let winners = read_winners(&mut redis, &keys, 0, 100).await.unwrap().into_iter().map(from_held).collect();
    let free: Vec<u64> = redis.lrange(&keys.free, 0, -1).await.unwrap();
    let highest = observe(&mut redis, &keys).await.unwrap().open.unwrap().highest;
    Ledger { winners, free, highest }
}

/// Wrong: a winner that only one of the systems has is lost, or a lost rank is not given again.
#[tokio::test]
async fn what_each_system_has_comes_together() {
    let stage = Stage::new().await;
    let of = |rank| from_event(stage.winner(rank, 1));
    let ledger = Ledger { winners: [1, 6].map(of).to_vec(), free: vec![2, 3, 4, 5], highest: 6 };
    stage.fill(1, 1, &ledger).await;
    let rows = [1, 2].map(|rank| stage.winner(rank, 1));
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    stage.dead_letter(&stage.winner(4, 1), 7).await;
    let open = async || {
        epoch::open(
            &stage.systems,
            &no_issuers(),
            &stage.campaign,
            &stage.row().await,
            &terms(100),
            Remembered::default(),
            || {},
        )
        .await
    };
    let opened = open().await.unwrap();
    assert_eq!((opened.winners, opened.free, opened.redis_only, opened.rebound), (4, 2, 1, false));
    let expected = Ledger { winners: [1, 2, 4, 6].map(of).to_vec(), free: vec![3, 5], highest: 6 };
    assert_eq!(in_redis(&stage).await, expected);
    // Nothing was lost since.
    let opened = open().await.unwrap();
    assert_eq!((opened.winners, opened.free, opened.redis_only, opened.rebound), (4, 2, 1, true));
    assert_eq!(in_redis(&stage).await, expected);
}

pub(crate) async fn open(stage: &Stage, known: u64) -> Result<Opened, EpochError> {
    epoch::open(
        &stage.systems,
        &no_issuers(),
        &stage.campaign,
        &stage.row().await,
        &terms(100),
        Remembered { epoch: known, ..Remembered::default() },
        || {},
    )
    .await
}

/// Redis has lost everything.
pub(crate) async fn lose(stage: &Stage) {
    let mut redis = stage.systems.redis().await.unwrap();
    forget(&mut redis, &RedisKeys::of(&stage.campaign)).await.unwrap();
}

pub(crate) async fn publish(stage: &Stage, winners: &[CouponIssued]) {
    let producer =
        WinnerProducer::new(&stage.systems.settings.operator.kafka, &stage.campaign, KeyBy::User, "test").unwrap();
    for winner in winners {
        producer.append_all(std::slice::from_ref(winner)).one(0).await.unwrap();
    }
}

/// Wrong: a repair hands a rank out again that people have settled, or takes the user's place for it, so that the user gets nothing.
#[tokio::test]
async fn a_grant_that_was_given_up_keeps_its_rank_through_repairs() {
    let stage = Stage::new().await;
    let sql = &stage.systems.sql;
    let rows = [1, 3].map(|rank| stage.winner(rank, 1));
    store(sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    for rank in [2, 5] {
        database::discard(sql, stage.row, &stage.winner(rank, 1), "a conflict").await.unwrap();
    }
    let holder = |rank, n| LedgerWinner { n, ..from_event(stage.winner(rank, 1)) };
    let kept = |rank| holder(rank, 1_000_000 + u32::try_from(rank).unwrap());
    let expected = Ledger { winners: vec![holder(1, 1), kept(2), holder(3, 1), kept(5)], free: vec![4], highest: 5 };
    let opened = open(&stage, 0).await.unwrap();
    assert_eq!((opened.winners, opened.free, opened.redis_only, opened.rebound), (4, 1, 0, false));
    assert_eq!(in_redis(&stage).await, expected);

    let opened = open(&stage, 0).await.unwrap();
    assert!(opened.rebound, "nothing was lost");
    assert_eq!(in_redis(&stage).await, expected);
    lose(&stage).await;
    assert!(!open(&stage, 0).await.unwrap().rebound);
    assert_eq!(in_redis(&stage).await, expected, "nor after a loss");

    // A Redis of before it was given up has the rank free.
    let free = Ledger { winners: [1, 3].map(|rank| holder(rank, 1)).to_vec(), free: vec![2, 4, 5], highest: 5 };
    let row = stage.row().await;
    stage.fill(row.epoch, row.terms_number, &free).await;
    assert!(!open(&stage, 0).await.unwrap().rebound);
    assert_eq!(in_redis(&stage).await, expected, "nor by a Redis that knows nothing of it");

    let (mut redis, keys) = (stage.systems.redis().await.unwrap(), RedisKeys::of(&stage.campaign));
    let user = |rank| IssueRequest {
        user: UserId::new(format!("user-{rank}")).unwrap(),
        key: RequestKey::new("again").unwrap(),
        minted: false,
    };
    issue(&mut redis, &keys, stage.row().await.epoch, 5, &[user(2), user(9)]).await.unwrap();
    let given: Vec<(u64, String)> =
        in_redis(&stage).await.winners[3..].iter().map(|w| (w.rank, w.user.to_string())).collect();
    assert_eq!(given, [(4, "user-2".to_owned()), (5, "user-5".to_owned()), (6, "user-9".to_owned())]);
    let mut known = ObservationCache::default();
    let seen = reconcile::observe::observe(&stage.systems, &stage.campaign, false, &mut known).await.kafka.unwrap();
    assert_eq!(seen.dead_ranks, Some(2), "and each is accounted for");
}

/// Wrong: winners that nobody has read yet are lost with Redis, or what came after the barrier of an epoch counts.
#[tokio::test]
async fn records_that_nobody_has_read_yet_are_merged() {
    let stage = Stage::new().await;
    let of = |rank| from_event(stage.winner(rank, 1));
    publish(&stage, &[1, 2, 5, 4].map(|rank| stage.winner(rank, 1))).await;
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&[stage.winner(1, 1)])).await.unwrap();
    let opened = open(&stage, 0).await.unwrap();
    assert_eq!((opened.winners, opened.free, opened.redis_only), (4, 1, 0));
    assert_eq!(in_redis(&stage).await, Ledger { winners: [1, 2, 4, 5].map(of).to_vec(), free: vec![3], highest: 5 });

    // An issuer of the old epoch was late. What the new one grants counts.
    publish(&stage, &[stage.winner(3, 1), stage.winner(6, opened.epoch)]).await;
    lose(&stage).await;
    let opened = open(&stage, 0).await.unwrap();
    assert_eq!((opened.winners, opened.free), (5, 1));
    assert_eq!(in_redis(&stage).await, Ledger { winners: [1, 2, 4, 5, 6].map(of).to_vec(), free: vec![3], highest: 6 });
}

/// Wrong: what an attempt wrote lies in Redis for a quarter of an hour after it was given up, and is then freed at one blow.
#[tokio::test]
async fn an_attempt_that_is_given_up_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let mut redis = stage.systems.redis().await.unwrap();
    let history = observe(&mut redis, &RedisKeys::of(&stage.campaign)).await.unwrap().history;
    let attempt = Attempt::begin(&redis, &stage.campaign, "given-up", &history).await.unwrap();
    let mut filling = Filling::new(attempt, 100);
    filling.add((1..=50).map(|rank| from_event(stage.winner(rank, 1))).collect()).await.unwrap();
    let pattern = format!("coupon:rebuild:given-up:*{}*", stage.campaign.coupon_id());
    assert_eq!(keys(&mut redis, &pattern).await, 4);
    drop(filling);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while keys(&mut redis, &pattern).await > 0 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn keys(redis: &mut redis::aio::MultiplexedConnection, pattern: &str) -> usize {
    redis.keys::<_, Vec<String>>(pattern).await.unwrap().len()
}
