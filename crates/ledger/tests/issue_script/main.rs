//! `lua/issue.lua` against a small model in Rust: random ledgers, terms and batches, on a real Redis. After each batch the
//! answers and everything that Redis holds must be what the model says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cost;
mod model;
mod scenario;
mod subject;

use std::cell::RefCell;
use std::collections::BTreeMap;

use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_ledger::redis::{IssueRequest, RedisKeys, Refusal, Reply, issue, observe};
use proptest::test_runner::{Config, TestRunner};
use redis::AsyncCommands;

use self::scenario::{KEYS, Scenario, USERS, When, scenario};
use self::subject::{EPOCH, Subject, contents, redis};

#[test]
fn the_script_does_what_the_model_says() {
    let (runtime, connection) = redis();
    // Counted, so that a scenario that meets too little is noticed.
    let met = RefCell::new(BTreeMap::<&str, u32>::new());
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&scenario(), |scenario| {
            runtime.block_on(async {
                let mut subject = Subject::new(&connection, &scenario).await;
                for step in &scenario.steps {
                    subject.run(step).await;
                }
                for (what, times) in &subject.met {
                    *met.borrow_mut().entry(what).or_default() += times;
                }
                coupon_ledger::redis::forget(&mut subject.redis, &subject.keys).await.unwrap();
            });
            Ok(())
        })
        .unwrap();
    let wanted =
        ["granted", "granted again", "repeated", "user limit", "sold out", "not started", "ended", "suspended"];
    let met = met.into_inner();
    assert!(wanted.iter().all(|what| met.get(what).is_some_and(|times| *times >= 10)), "hardly met: {met:?}");
}

/// Would fail if a full batch met a bound of Redis' Lua.
#[test]
fn a_full_batch_of_users_with_many_coupons_fits() {
    let (runtime, connection) = redis();
    let scenario = Scenario {
        limit: 100,
        beyond: 0,
        spare: 10_000,
        held: Vec::new(),
        gaps: Vec::new(),
        when: When::Open,
        suspended: false,
        steps: Vec::new(),
    };
    runtime.block_on(async {
        let mut subject = Subject::new(&connection, &scenario).await;
        let request = |i: usize| IssueRequest {
            user: UserId::new(format!("user-{i}")).unwrap(),
            key: RequestKey::new("k".repeat(128)).unwrap(),
            minted: false,
        };
        let requests: Vec<IssueRequest> = (0..coupon_ledger::redis::MAX_BATCH).map(request).collect();
        subject.ask(requests.clone()).await;
        subject.ask(requests).await;
        assert_eq!(contents(&mut subject.redis, &subject.keys).await, subject.model.contents);
        coupon_ledger::redis::forget(&mut subject.redis, &subject.keys).await.unwrap();
    });
}

/// A key that is evicted, or a batch that an error broke off between two writes: who has a rank could get a second one, or a rank
/// could be lost. Such a campaign grants nothing, and is closed for everybody, until it is rebuilt.
#[test]
fn keys_that_do_not_fit_together_grant_nothing() {
    let (runtime, connection) = redis();
    let scenario = || Scenario {
        limit: 1,
        beyond: 0,
        spare: 10,
        held: vec![(true, 0, 0), (true, 1, 0)],
        gaps: vec![true, false, false],
        when: When::Open,
        suspended: false,
        steps: Vec::new(),
    };
    runtime.block_on(async {
        for (what, command) in [
            ("the requests are evicted", ["DEL", "request", ""]),
            ("one request is missing", ["HDEL", "request", "member"]),
            ("the winners are evicted", ["DEL", "issued", ""]),
            ("one winner is missing", ["ZREM", "issued", "member"]),
            ("the ranks to hand out again are evicted", ["DEL", "free", ""]),
            ("the counts are evicted", ["DEL", "count", ""]),
        ] {
            let mut subject = Subject::new(&connection, &scenario()).await;
            let RedisKeys { meta, issued, request, free, count } = subject.keys.clone();
            let member: Vec<String> =
                redis::cmd("ZRANGE").arg(&issued).arg(0).arg(0).query_async(&mut subject.redis).await.unwrap();
            let key = match command[1] {
                "request" => request,
                "issued" => issued,
                "count" => count,
                _ => free,
            };
            let mut damage = redis::cmd(command[0]);
            damage.arg(key);
            if command[2] == "member" {
                damage.arg(&member[0]);
            }
            let removed: i64 = damage.query_async(&mut subject.redis).await.unwrap();
            assert_eq!(removed, 1, "{what}: the damage is done");
            let seen = observe(&mut subject.redis, &subject.keys).await.unwrap();
            assert!(!seen.serves(EPOCH) && seen.open.unwrap().misfit.is_some(), "{what}: whoever looks sees it");

            let highest = subject.model.contents.highest;
            subject.refused(EPOCH, highest, Refusal::Damaged).await;
            let left: i64 = redis::cmd("EXISTS").arg(&meta).query_async(&mut subject.redis).await.unwrap();
            assert_eq!(left, 0, "{what}: closed for everybody");
            subject.refused(EPOCH, highest, Refusal::Closed).await;
            coupon_ledger::redis::forget(&mut subject.redis, &subject.keys).await.unwrap();
        }
    });
}

/// Records that fit in number and not in themselves: a winner without a rank, a count that says less than is held.
#[test]
fn a_record_without_its_counterpart_closes_the_campaign_and_is_no_second_rank() {
    let (runtime, connection) = redis();
    let scenario = || Scenario {
        limit: 3,
        beyond: 0,
        spare: 10,
        held: vec![(true, 0, 0), (true, 1, 0)],
        gaps: vec![false; 3],
        when: When::Open,
        suspended: false,
        steps: Vec::new(),
    };
    let asks = |user: usize, key: usize| IssueRequest {
        user: UserId::new(USERS[user]).unwrap(),
        key: RequestKey::new(KEYS[key]).unwrap(),
        minted: false,
    };
    runtime.block_on(async {
        for (what, commands, key) in [
            ("its rank is another's", vec!["ZREM issued 1:a", "ZADD issued 1 1:x"], 0),
            ("its count is gone", vec!["HDEL count a"], 1),
            ("its count is no number", vec!["HSET count a x"], 1),
            ("its request is another's", vec!["HDEL request 1:a", "HSET request 1:x 1:k", "HDEL count a"], 0),
        ] {
            let mut subject = Subject::new(&connection, &scenario()).await;
            let RedisKeys { issued, request, count, .. } = subject.keys.clone();
            for line in commands {
                let mut words = line.split(' ');
                let mut command = redis::cmd(words.next().unwrap());
                command.arg(match words.next() {
                    Some("issued") => &issued,
                    Some("request") => &request,
                    _ => &count,
                });
                words.for_each(|word| {
                    command.arg(word);
                });
                let _: i64 = command.query_async(&mut subject.redis).await.unwrap();
            }
            let highest = subject.model.contents.highest;
            let reply = issue(&mut subject.redis, &subject.keys, EPOCH, highest, &[asks(2, 0), asks(0, key)]).await;
            assert_eq!(reply.unwrap(), Reply::Refused(Refusal::Damaged), "{what}");
            let rank: Option<u64> = subject.redis.zscore(&issued, "1:a").await.unwrap();
            assert!(rank.is_none_or(|rank| rank == 1), "{what}: a rank that was told stays: {rank:?}");
            subject.refused(EPOCH, highest, Refusal::Closed).await;
            coupon_ledger::redis::forget(&mut subject.redis, &subject.keys).await.unwrap();
        }
    });
}

#[test]
fn a_closed_campaign_grants_nothing() {
    let (runtime, connection) = redis();
    runtime.block_on(async {
        let mut redis = connection.clone();
        let realm = format!("t{:016x}", rand::random::<u64>());
        let keys = RedisKeys::of(&CampaignId::with_default_names(&realm, "tests", "script").unwrap());
        let request =
            IssueRequest { user: UserId::new("a").unwrap(), key: RequestKey::new("k").unwrap(), minted: false };
        assert_eq!(issue(&mut redis, &keys, EPOCH, 0, &[request]).await.unwrap(), Reply::Refused(Refusal::Closed));
        assert_eq!(observe(&mut redis, &keys).await.unwrap().issued, 0);
    });
}
