//! What a batch costs Redis, by how many coupons one user may hold.

use std::time::Duration;

use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_ledger::redis::rebuild::{Filled, Ledger, fill};
use coupon_ledger::redis::{Answer, IssueRequest, MAX_BATCH, RedisKeys, Reply, Terms, issue, observe};
use redis::aio::MultiplexedConnection;
use stack::services::Redis;

/// Batches of new users that are measured together.
const BATCHES: usize = 10;
/// Measurements of each limit, in turn with the others: the machine may be busy, so the best of them counts.
const ROUNDS: usize = 3;
const LIMITS: [u32; 4] = [1, 3, 30, 100];

struct Cost {
    /// Microseconds of Redis' time for one batch.
    batch: f64,
    /// Calls of `HMGET` in one batch.
    reads: f64,
}

async fn measure(redis: &mut MultiplexedConnection, limit: u32, round: usize) -> Cost {
    let campaign = CampaignId::with_default_names("cost", "tests", &format!("l{limit}-{round}")).unwrap();
    let keys = RedisKeys::of(&campaign);
    let terms = Terms { total: 1_000_000, limit, start_ms: 0, end_ms: i64::MAX / 4096, suspended: false };
    let ledger = Ledger { winners: Vec::new(), free: Vec::new(), highest: 0 };
    let history = observe(redis, &keys).await.unwrap().history;
    let filled = fill(redis, &campaign, "a1", &history, 1, &terms.numbered(1), &ledger).await.unwrap();
    assert_eq!(filled, Filled::Done);
    let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(redis).await.unwrap();
    for batch in 0..BATCHES {
        let request = |place: usize| IssueRequest {
            user: UserId::new(format!("user-{}", batch * MAX_BATCH + place)).unwrap(),
            key: RequestKey::new(format!("{place:032x}")).unwrap(),
            minted: false,
        };
        let requests: Vec<IssueRequest> = (0..MAX_BATCH).map(request).collect();
        let Reply::Answered(answered) = issue(redis, &keys, 1, 0, &requests).await.unwrap() else { panic!("answered") };
        assert!(answered.answers.iter().all(|answer| matches!(answer, Answer::Granted(_))));
    }
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(redis).await.unwrap();
    let of = |command: &str, what: &str| -> f64 {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:"))).unwrap();
        let value = line.split(',').find_map(|pair| pair.strip_prefix(&format!("{what}="))).unwrap();
        value.parse().unwrap()
    };
    let batches = f64::from(u32::try_from(BATCHES).unwrap());
    let cost = Cost { batch: of("evalsha", "usec") / batches, reads: of("hmget", "calls") / batches };
    coupon_ledger::redis::forget(redis, &keys).await.unwrap();
    cost
}

/// Wrong: a high limit makes each batch dear, and all campaigns of that Redis wait, though hardly anybody holds anything.
#[test]
fn a_high_limit_costs_nothing_for_users_who_hold_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = Redis::start().unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let client = redis::Client::open(server.url()).unwrap();
    runtime.block_on(async {
        let mut redis = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let mut best = [f64::MAX; LIMITS.len()];
        for round in 0..ROUNDS {
            for (place, limit) in LIMITS.into_iter().enumerate() {
                let cost = measure(&mut redis, limit, round).await;
                best[place] = best[place].min(cost.batch);
                // Terms, counts where there may be more than one coupon, requests: however high the limit is.
                let reads = if limit == 1 { 2.0 } else { 3.0 };
                assert!((cost.reads - reads).abs() < f64::EPSILON, "limit {limit}: {} reads a batch", cost.reads);
            }
        }
        for (limit, cost) in LIMITS.iter().zip(best) {
            println!("perUserLimit {limit}: {cost:.0} us of Redis' time for a batch of {MAX_BATCH} new users");
        }
    });
}
