//! `lua/issue.lua` against a small model in Rust: random ledgers, terms and batches, on a real Redis. After each batch the
//! answers and everything that Redis holds must be what the model says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cost;
mod model;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use campaign::identity::{CampaignId, RequestKey, UserId};
use campaign::stock::rebuild::{Filled, Ledger, LedgerWinner, fill};
use campaign::stock::{Answer, Configured, Refusal, Reply, StockKeys, Terms, Wish, configure, issue, observe};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use self::model::{Contents, Model};

/// Few, so that they meet often; some look like parts of what Redis holds.
const USERS: [&str; 5] = ["a", "1:a", "b:c", "\u{20ac}", "d e"];
const KEYS: [&str; 4] = ["k", "1:k", "12:", "\u{fc} x"];
const EPOCH: u64 = 3;
const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Clone, Copy)]
enum When {
    Before,
    Open,
    After,
}

#[derive(Debug, Clone)]
enum Step {
    /// User and key, by number; no key means that one is minted.
    Ask(Vec<(usize, Option<usize>)>),
    /// The last batch once more.
    Replay,
    /// Other terms: more coupons, another window, suspended or not.
    Change { more: u64, when: When, suspended: bool },
    /// A caller of another epoch.
    OtherEpoch,
    /// A caller that has seen a higher rank.
    Behind,
    /// Another history.
    HistoryChanged,
}

#[derive(Debug, Clone)]
struct Scenario {
    limit: u32,
    /// Ranks above the highest that is held.
    beyond: u64,
    /// Coupons above the highest rank ever given.
    spare: u64,
    /// For each user and n: whether it is held, where in the order, with which key.
    held: Vec<(bool, u8, usize)>,
    /// For each rank that could be held: whether it is skipped, and so free.
    gaps: Vec<bool>,
    when: When,
    suspended: bool,
    steps: Vec<Step>,
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![6 => Just(When::Open), 1 => Just(When::Before), 1 => Just(When::After)]
}

fn step() -> impl Strategy<Value = Step> {
    let wish = (0..USERS.len(), proptest::option::weighted(0.6, 0..KEYS.len()));
    prop_oneof![
        8 => proptest::collection::vec(wish, 1..12).prop_map(Step::Ask),
        2 => Just(Step::Replay),
        2 => (0u64..3, when(), proptest::bool::weighted(0.2))
            .prop_map(|(more, when, suspended)| Step::Change { more, when, suspended }),
        1 => Just(Step::OtherEpoch),
        1 => Just(Step::Behind),
        1 => Just(Step::HistoryChanged),
    ]
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let most = USERS.len() * 3;
    let held = proptest::collection::vec((proptest::bool::weighted(0.3), any::<u8>(), 0..KEYS.len()), most);
    let gaps = proptest::collection::vec(proptest::bool::weighted(0.3), 2 * most);
    let steps = proptest::collection::vec(step(), 1..8);
    (1u32..=3, 0u64..3, 0u64..8, held, gaps, when(), proptest::bool::weighted(0.1), steps).prop_map(
        |(limit, beyond, spare, held, gaps, when, suspended, steps)| Scenario {
            limit,
            beyond,
            spare,
            held,
            gaps,
            when,
            suspended,
            steps,
        },
    )
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn window(when: When) -> (i64, i64) {
    let now = now_ms();
    match when {
        When::Before => (now + HOUR_MS, now + 2 * HOUR_MS),
        When::Open => (now - HOUR_MS, now + HOUR_MS),
        When::After => (now - 2 * HOUR_MS, now - HOUR_MS),
    }
}

/// The ledger to begin with: winners with gaps between their ranks, and users who lack a lower n than one they hold.
fn ledger(scenario: &Scenario) -> Ledger {
    let mut places: Vec<(u8, usize, u32, usize)> = Vec::new();
    for (index, (held, order, key)) in scenario.held.iter().enumerate() {
        let n = u32::try_from(index / USERS.len()).unwrap() + 1;
        if *held && n <= scenario.limit {
            places.push((*order, index % USERS.len(), n, *key));
        }
    }
    places.sort_unstable();
    let mut ranks = (1u64..).zip(&scenario.gaps).filter(|(_, gap)| !**gap).map(|(rank, _)| rank);
    // A user's coupons have keys of their own: a wish wins once.
    let mut used: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut winners = Vec::new();
    for (_, user, n, key) in places {
        let Some(rank) = ranks.next() else { break };
        let keys = used.entry(user).or_default();
        let key = (0..KEYS.len()).map(|shift| (key + shift) % KEYS.len()).find(|key| !keys.contains(key)).unwrap();
        keys.push(key);
        winners.push(LedgerWinner {
            rank,
            n,
            user: UserId::new(USERS[user]).unwrap(),
            granted_ms: 1_000 + i64::try_from(rank).unwrap(),
            key: RequestKey::new(KEYS[key]).unwrap(),
        });
    }
    let highest = winners.iter().map(|winner| winner.rank).max().unwrap_or(0) + scenario.beyond;
    let free = (1..=highest).filter(|rank| winners.iter().all(|winner| winner.rank != *rank)).collect();
    Ledger { winners, free, highest }
}

async fn contents(redis: &mut MultiplexedConnection, keys: &StockKeys) -> Contents {
    let issued: Vec<(String, u64)> = redis.zrange_withscores(&keys.issued, 0, -1).await.unwrap();
    let (highest, last_ms): (u64, i64) = redis.hmget(&keys.meta, &["highest", "last_ms"]).await.unwrap();
    Contents {
        issued: issued.into_iter().collect(),
        requests: redis.hgetall(&keys.request).await.unwrap(),
        counts: redis.hgetall(&keys.count).await.unwrap(),
        free: redis.lrange(&keys.free, 0, -1).await.unwrap(),
        highest,
        last_ms,
    }
}

struct Subject {
    redis: MultiplexedConnection,
    keys: StockKeys,
    model: Model,
    minted: u32,
    /// Number of the terms in force.
    terms_number: u64,
    /// The last batch and its answers.
    last: Vec<(Wish, Answer)>,
    /// How often each kind of answer was met.
    met: BTreeMap<&'static str, u32>,
}

impl Subject {
    async fn new(redis: &MultiplexedConnection, scenario: &Scenario) -> Self {
        let mut redis = redis.clone();
        let realm = format!("t{:016x}", rand::random::<u64>());
        let campaign = CampaignId::with_default_names(&realm, "tests", "script").unwrap();
        let keys = StockKeys::of(&campaign);
        let ledger = ledger(scenario);
        let (start_ms, end_ms) = window(scenario.when);
        let total = (ledger.highest + scenario.spare).max(1);
        let terms = Terms { total, limit: scenario.limit, start_ms, end_ms, suspended: scenario.suspended };
        let history = observe(&mut redis, &keys).await.unwrap().history;
        let filled = fill(&mut redis, &campaign, "a1", &history, EPOCH, &terms.numbered(1), &ledger).await.unwrap();
        assert_eq!(filled, Filled::Done);
        let (model, last, met) = (Model::new(terms, &ledger), Vec::new(), BTreeMap::new());
        Self { redis, keys, model, minted: 0, terms_number: 1, last, met }
    }

    fn wishes(&mut self, asked: &[(usize, Option<usize>)]) -> Vec<Wish> {
        let wish = |(user, key): &(usize, Option<usize>)| {
            let text = match key {
                Some(key) => KEYS[*key].to_owned(),
                None => {
                    self.minted += 1;
                    format!("auto-{}", self.minted)
                }
            };
            let user = UserId::new(USERS[*user]).unwrap();
            Wish { user, key: RequestKey::new(text).unwrap(), minted: key.is_none() }
        };
        asked.iter().map(wish).collect()
    }

    async fn ask(&mut self, wishes: Vec<Wish>) {
        let seen = self.model.contents.highest;
        let free = self.model.contents.free.clone();
        let reply = issue(&mut self.redis, &self.keys, EPOCH, seen, &wishes).await.unwrap();
        let Reply::Answered(batch) = reply else { panic!("{reply:?}") };
        assert!(batch.now_ms >= self.model.contents.last_ms, "time went back");
        assert!((batch.now_ms - now_ms()).abs() < 60_000, "not Redis' time");
        assert_eq!(batch, self.model.batch(&wishes, batch.now_ms), "wishes: {wishes:?}");
        for answer in &batch.answers {
            let what = match answer {
                Answer::Granted(grant) if free.contains(&grant.rank) => "granted again",
                Answer::Granted(_) => "granted",
                Answer::Repeated(_) => "repeated",
                Answer::UserLimit => "user limit",
                Answer::SoldOut => "sold out",
                Answer::NotStarted => "not started",
                Answer::Ended => "ended",
                Answer::Suspended => "suspended",
                Answer::Unreadable => panic!("{wishes:?}: {batch:?}"),
            };
            *self.met.entry(what).or_default() += 1;
        }
        self.last = wishes.into_iter().zip(batch.answers).collect();
    }

    async fn refused(&mut self, epoch: u64, seen: u64, expected: Refusal) {
        let wishes = self.wishes(&[(0, None), (1, Some(0))]);
        let reply = issue(&mut self.redis, &self.keys, epoch, seen, &wishes).await.unwrap();
        assert_eq!(reply, Reply::Refused(expected));
    }

    async fn run(&mut self, step: &Step) {
        match step {
            Step::Ask(asked) => {
                let wishes = self.wishes(asked);
                self.ask(wishes).await;
            }
            Step::Replay => {
                let before = self.last.clone();
                self.ask(before.iter().map(|(wish, _)| wish.clone()).collect()).await;
                for ((wish, first), (_, again)) in before.iter().zip(&self.last) {
                    if let Answer::Granted(first) | Answer::Repeated(first) = first {
                        let same =
                            matches!(again, Answer::Repeated(again) if again.rank == first.rank && again.n == first.n);
                        assert!(same, "{wish:?} got {first:?}, then {again:?}");
                    }
                }
            }
            Step::Change { more, when, suspended } => {
                let (start_ms, end_ms) = window(*when);
                let total = self.model.terms.total + more;
                let terms = Terms { total, start_ms, end_ms, suspended: *suspended, ..self.model.terms };
                self.terms_number += 1;
                for (number, outcome) in [
                    (self.terms_number, Configured::Done),
                    // Late, or sent once more: nothing changes.
                    (self.terms_number, Configured::Superseded),
                    (self.terms_number - 1, Configured::Superseded),
                ] {
                    let total = if outcome == Configured::Done { total } else { total + 1 };
                    let change = Terms { total, ..terms }.numbered(number);
                    assert_eq!(configure(&mut self.redis, &self.keys, EPOCH, &change).await.unwrap(), outcome);
                }
                self.model.terms = terms;
            }
            Step::OtherEpoch => self.refused(EPOCH + 1, 0, Refusal::OtherEpoch { current: EPOCH }).await,
            Step::Behind => {
                let meta: BTreeMap<String, String> = self.redis.hgetall(&self.keys.meta).await.unwrap();
                self.refused(EPOCH, self.model.contents.highest + 1, Refusal::Behind).await;
                // Closed on the spot, for callers that have seen less too.
                self.refused(EPOCH, 0, Refusal::Closed).await;
                let fields: Vec<_> = meta.into_iter().collect();
                let () = self.redis.hset_multiple(&self.keys.meta, &fields).await.unwrap();
            }
            Step::HistoryChanged => {
                let history: String = self.redis.hget(&self.keys.meta, "history").await.unwrap();
                let () = self.redis.hset(&self.keys.meta, "history", "other").await.unwrap();
                self.refused(EPOCH, 0, Refusal::HistoryChanged).await;
                let () = self.redis.hset(&self.keys.meta, "history", history).await.unwrap();
            }
        }
        let found = contents(&mut self.redis, &self.keys).await;
        assert_eq!(found, self.model.contents, "after {step:?}");
        // What must hold whatever the model says.
        let mut ranks: Vec<u64> = found.issued.values().copied().collect();
        ranks.sort_unstable();
        ranks.dedup();
        assert_eq!(ranks.len(), found.issued.len(), "a rank is held twice");
        assert!(found.highest <= self.model.terms.total, "oversold");
        assert_eq!(found.issued.len() + found.free.len(), usize::try_from(found.highest).unwrap(), "a rank is lost");
        assert!(found.counts.values().all(|count| *count <= u64::from(self.model.terms.limit)));
    }
}

fn redis() -> (tokio::runtime::Runtime, MultiplexedConnection) {
    let url = std::env::var("COUPON_REDIS").expect("COUPON_REDIS is not set: run the tests through `make test`");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let client = redis::Client::open(url).unwrap();
    let connection = runtime.block_on(client.get_multiplexed_async_connection_with_config(&config)).unwrap();
    (runtime, connection)
}

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
                campaign::stock::forget(&mut subject.redis, &subject.keys).await.unwrap();
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
        let wish = |i: usize| Wish {
            user: UserId::new(format!("user-{i}")).unwrap(),
            key: RequestKey::new("k".repeat(128)).unwrap(),
            minted: false,
        };
        let wishes: Vec<Wish> = (0..campaign::stock::MAX_BATCH).map(wish).collect();
        subject.ask(wishes.clone()).await;
        subject.ask(wishes).await;
        assert_eq!(contents(&mut subject.redis, &subject.keys).await, subject.model.contents);
        campaign::stock::forget(&mut subject.redis, &subject.keys).await.unwrap();
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
            let StockKeys { meta, issued, request, free, count } = subject.keys.clone();
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
            campaign::stock::forget(&mut subject.redis, &subject.keys).await.unwrap();
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
    let asks = |user: usize, key: usize| Wish {
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
            let StockKeys { issued, request, count, .. } = subject.keys.clone();
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
            campaign::stock::forget(&mut subject.redis, &subject.keys).await.unwrap();
        }
    });
}

#[test]
fn a_closed_campaign_grants_nothing() {
    let (runtime, connection) = redis();
    runtime.block_on(async {
        let mut redis = connection.clone();
        let realm = format!("t{:016x}", rand::random::<u64>());
        let keys = StockKeys::of(&CampaignId::with_default_names(&realm, "tests", "script").unwrap());
        let wish = Wish { user: UserId::new("a").unwrap(), key: RequestKey::new("k").unwrap(), minted: false };
        assert_eq!(issue(&mut redis, &keys, EPOCH, 0, &[wish]).await.unwrap(), Reply::Refused(Refusal::Closed));
        assert_eq!(observe(&mut redis, &keys).await.unwrap().issued, 0);
    });
}
