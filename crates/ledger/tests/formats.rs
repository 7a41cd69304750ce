//! Keys that a newer program has written are left alone by every script.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_ledger::redis::rebuild::{Filled, Ledger, LedgerWinner, fill, rebind};
use coupon_ledger::redis::{
    Executed, IssueRequest, Place, RedisError, RedisKeys, Reply, Terms, clear_unreadable, configure, correct_time,
    grants, issue, observe, places_of, remove, rename,
};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use stack::services::Redis;

use self::common::connected;

const TERMS: Terms = Terms { total: 10, limit: 1, start_ms: 0, end_ms: i64::MAX / 4096, suspended: false };

fn is_newer<T: std::fmt::Debug>(what: &str, result: Result<T, RedisError>) {
    let error = result.expect_err(what);
    assert_eq!((error.code(), error.executed()), (Some("NEWER"), Executed::No), "{what}: {error}");
    assert!(error.to_string().contains("are of version 2, and this program knows versions up to 1"), "{what}: {error}");
}

/// All that Redis holds, as it would be dumped.
async fn contents(redis: &mut MultiplexedConnection) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<String> = redis.keys("*").await.unwrap();
    names.sort();
    let mut all = Vec::new();
    for name in names {
        let bytes = redis::cmd("DUMP").arg(&name).query_async(redis).await.unwrap();
        all.push((name, bytes));
    }
    all
}

/// Wrong: an older program grants from, fills or corrects what it does not understand; or does not go on once it is as it was.
#[tokio::test]
async fn keys_of_a_newer_version_are_touched_by_no_script() {
    let server = Redis::start().unwrap();
    let mut redis = connected(&server).await;
    let campaign = CampaignId::with_default_names("test", "formats", "spring").unwrap();
    let keys = RedisKeys::of(&campaign);
    let user = UserId::new("anna").unwrap();
    let winner = LedgerWinner { rank: 1, n: 1, user: user.clone(), granted_ms: 1, key: RequestKey::new("k").unwrap() };
    let ledger = Ledger { winners: vec![winner], free: Vec::new(), highest: 1 };
    let history = observe(&mut redis, &keys).await.unwrap().history;
    let filled = fill(&mut redis, &campaign, "a", &history, 1, &TERMS.numbered(1), &ledger).await.unwrap();
    assert_eq!(filled, Filled::Done);
    let format: u32 = redis.hget(&keys.meta, "format").await.unwrap();
    assert_eq!(format, coupon_core::format::REDIS_KEYS, "who writes keys says in which version");
    let open = observe(&mut redis, &keys).await.unwrap().open.unwrap();

    let () = redis.hset(&keys.meta, "format", 2).await.unwrap();
    let before = contents(&mut redis).await;
    let request =
        || IssueRequest { user: UserId::new("bert").unwrap(), key: RequestKey::new("k").unwrap(), minted: false };
    is_newer("issue", issue(&mut redis, &keys, 1, 0, &[request()]).await);
    is_newer("observe", observe(&mut redis, &keys).await);
    is_newer("configure", configure(&mut redis, &keys, 1, &TERMS.numbered(2)).await);
    is_newer("correct_time", correct_time(&mut redis, &keys).await);
    is_newer("grants", grants(&mut redis, &keys, &[1]).await);
    is_newer("clear_unreadable", clear_unreadable(&mut redis, &keys).await);
    is_newer("rebind", rebind(&mut redis, &campaign, &history, &open, 2, &TERMS.numbered(2), 1).await);
    let (place, pseudonym) = (Place { n: 1, rank: 1 }, UserId::new("forgotten-1").unwrap());
    is_newer("remove", remove(&mut redis, &keys, &history, &open, 1).await);
    is_newer("places_of", places_of(&mut redis, &keys, &user, &BTreeSet::new()).await);
    is_newer("rename", rename(&mut redis, &keys, &user, &BTreeSet::new(), &[(place, &pseudonym)]).await);
    assert_eq!(contents(&mut redis).await, before, "nothing was written");
    let filling = fill(&mut redis, &campaign, "b", &history, 2, &TERMS.numbered(2), &ledger).await;
    let newer = filling.expect_err("fill").to_string();
    assert!(newer.contains("are of version 2"), "{newer}");
    let kept: u32 = redis.hget(&keys.meta, "format").await.unwrap();
    assert_eq!(kept, 2, "what is there was not replaced");

    // Also what bears no version is of the first.
    for format in [Some("1"), None] {
        let () = match format {
            Some(format) => redis.hset(&keys.meta, "format", format).await.unwrap(),
            None => redis.hdel(&keys.meta, "format").await.unwrap(),
        };
        assert!(
            matches!(issue(&mut redis, &keys, 1, 0, &[request()]).await.unwrap(), Reply::Answered(_)),
            "{format:?}"
        );
    }
}
