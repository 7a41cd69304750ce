//! A campaign in Redis beside its model: each step is done to both, and they must agree.

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_ledger::redis::rebuild::{Filled, fill};
use coupon_ledger::redis::{
    Answer, Configured, IssueRequest, RedisKeys, Refusal, Reply, Terms, configure, issue, observe,
};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::model::{Contents, Model};
use super::scenario::{KEYS, Scenario, Step, USERS, ledger, now_ms, window};

pub(crate) const EPOCH: u64 = 3;

pub(crate) async fn contents(redis: &mut MultiplexedConnection, keys: &RedisKeys) -> Contents {
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

pub(crate) struct Subject {
    pub(crate) redis: MultiplexedConnection,
    pub(crate) keys: RedisKeys,
    pub(crate) model: Model,
    pub(crate) minted: u32,
    /// Number of the terms in force.
    terms_number: u64,
    /// The last batch and its answers.
    last: Vec<(IssueRequest, Answer)>,
    /// How often each kind of answer was met.
    pub(crate) met: BTreeMap<&'static str, u32>,
}

impl Subject {
    pub(crate) async fn new(redis: &MultiplexedConnection, scenario: &Scenario) -> Self {
        let mut redis = redis.clone();
        let realm = format!("t{:016x}", rand::random::<u64>());
        let campaign = CampaignId::with_default_names(&realm, "tests", "script").unwrap();
        let keys = RedisKeys::of(&campaign);
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

    fn requests(&mut self, asked: &[(usize, Option<usize>)]) -> Vec<IssueRequest> {
        let request = |(user, key): &(usize, Option<usize>)| {
            let text = match key {
                Some(key) => KEYS[*key].to_owned(),
                None => {
                    self.minted += 1;
                    format!("auto-{}", self.minted)
                }
            };
            let user = UserId::new(USERS[*user]).unwrap();
            IssueRequest { user, key: RequestKey::new(text).unwrap(), minted: key.is_none() }
        };
        asked.iter().map(request).collect()
    }

    pub(crate) async fn ask(&mut self, requests: Vec<IssueRequest>) {
        let seen = self.model.contents.highest;
        let free = self.model.contents.free.clone();
        let reply = issue(&mut self.redis, &self.keys, EPOCH, seen, &requests).await.unwrap();
        let Reply::Answered(batch) = reply else { panic!("{reply:?}") };
        assert!(batch.now_ms >= self.model.contents.last_ms, "time went back");
        assert!((batch.now_ms - now_ms()).abs() < 60_000, "not Redis' time");
        assert_eq!(batch, self.model.batch(&requests, batch.now_ms), "requests: {requests:?}");
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
                Answer::Unreadable => panic!("{requests:?}: {batch:?}"),
            };
            *self.met.entry(what).or_default() += 1;
        }
        self.last = requests.into_iter().zip(batch.answers).collect();
    }

    pub(crate) async fn refused(&mut self, epoch: u64, seen: u64, expected: Refusal) {
        let requests = self.requests(&[(0, None), (1, Some(0))]);
        let reply = issue(&mut self.redis, &self.keys, epoch, seen, &requests).await.unwrap();
        assert_eq!(reply, Reply::Refused(expected));
    }

    pub(crate) async fn run(&mut self, step: &Step) {
        match step {
            Step::Ask(asked) => {
                let requests = self.requests(asked);
                self.ask(requests).await;
            }
            Step::Replay => {
                let before = self.last.clone();
                self.ask(before.iter().map(|(request, _)| request.clone()).collect()).await;
                for ((request, first), (_, again)) in before.iter().zip(&self.last) {
                    if let Answer::Granted(first) | Answer::Repeated(first) = first {
                        let same =
                            matches!(again, Answer::Repeated(again) if again.rank == first.rank && again.n == first.n);
                        assert!(same, "{request:?} got {first:?}, then {again:?}");
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

pub(crate) fn redis() -> (tokio::runtime::Runtime, MultiplexedConnection) {
    let url = std::env::var("COUPON_REDIS").expect("COUPON_REDIS is not set: run the tests through `make test`");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let client = redis::Client::open(url).unwrap();
    let connection = runtime.block_on(client.get_multiplexed_async_connection_with_config(&config)).unwrap();
    (runtime, connection)
}
