//! What a full batch of wishes costs Redis.

use coupon_core::identity::RequestKey;
use coupon_ledger::redis::{Answer, IssueRequest, MAX_BATCH, RedisKeys, Reply, issue};
use redis::aio::MultiplexedConnection;
use smoke::bounds::Measured;
use smoke::counting::Counting;

use super::servers::{Servers, commands, open_redis, user};

/// Batches that are measured.
const BATCHES: usize = 40;

/// Requests of users who ask for the first time.
fn batch(number: usize) -> Vec<IssueRequest> {
    let request = |place: usize| {
        let number = (number * MAX_BATCH + place) as u64;
        IssueRequest { user: user(number), key: RequestKey::new(format!("auto-{number:032}")).unwrap(), minted: true }
    };
    (0..MAX_BATCH).map(request).collect()
}

async fn grant(redis: &mut MultiplexedConnection, keys: &RedisKeys, requests: &[IssueRequest]) {
    let Reply::Answered(batch) = issue(redis, keys, 1, 0, requests).await.unwrap() else { panic!("not answered") };
    assert!(batch.answers.iter().all(|answer| matches!(answer, Answer::Granted(_))));
}

/// Bytes of all keys of the campaign.
async fn bytes(redis: &mut MultiplexedConnection, keys: &RedisKeys) -> f64 {
    let mut all = 0;
    for key in [&keys.meta, &keys.issued, &keys.count, &keys.request, &keys.free] {
        let usage: Option<u64> =
            redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0).query_async(redis).await.unwrap();
        all += usage.unwrap_or(0);
    }
    all as f64
}

pub(crate) async fn measure(servers: &Servers) -> Vec<Measured> {
    let (campaign, mut redis) = (servers.campaign("wishes"), servers.redis().await);
    let (keys, wishes) = (RedisKeys::of(&campaign), (BATCHES * MAX_BATCH) as f64);
    open_redis(&mut redis, &campaign, 1_000_000).await;
    // The first loads the script.
    grant(&mut redis, &keys, &batch(0)).await;
    let batches: Vec<_> = (1..=BATCHES).map(batch).collect();
    let () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut redis).await.unwrap();
    let counting = Counting::begin();
    for batch in &batches {
        grant(&mut redis, &keys, batch).await;
    }
    let allocated = counting.allocations();
    let calls: f64 =
        commands(&mut redis).await.iter().filter(|(name, _)| !name.starts_with("config")).map(|(_, n)| n).sum();
    let bytes = bytes(&mut redis, &keys).await;
    vec![
        Measured { name: "redis_commands_per_1000_grants", value: calls * 1_000.0 / wishes },
        Measured { name: "redis_bytes_per_winner", value: bytes / (wishes + MAX_BATCH as f64) },
        Measured { name: "allocations_per_wish_to_redis", value: allocated / wishes },
    ]
}
