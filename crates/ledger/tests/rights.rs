//! What logins at Redis may do: exactly the documented rights are enough for everything, each of them is needed, and one that is taken
//! away in the middle of a sale harms nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use coupon_core::connections::{Login, Redis as Settings, RedisServer};
use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_ledger::redis::probe::{self, Role};
use coupon_ledger::redis::{
    self, Answer, Configured, Executed, Grants, IssueRequest, RedisError, RedisKeys, Refusal, Removed, Reply, Terms,
    clear_unreadable, close, configure, connect, correct_time, forget, grants, held_by, issue, observe, read_winners,
    suspend,
};
use redis::rebuild::{Filled, Ledger, LedgerWinner, Rebound, fill, rebind};
use stack::secured::rights::{self, Who};
use stack::services::Redis;

const TOTAL: u64 = 6;
const TERMS: Terms = Terms { total: TOTAL, limit: 2, start_ms: 0, end_ms: i64::MAX / 4096, suspended: false };
const PODS: &str = "coupon-pods";
const OPERATOR: &str = "coupon-operator";

async fn connected(server: &Redis, user: &str) -> MultiplexedConnection {
    let settings = Settings {
        server: RedisServer::Address(server.address().to_string()),
        login: Login { username: user.to_owned(), password: "PASSWORD".to_owned() },
        tls: false,
        database: 0,
        ca_pem: None,
    };
    connect::connect(&settings, Duration::from_secs(5)).await.unwrap()
}

/// A Redis with the two users as README makes them.
struct Scene {
    server: Redis,
    admin: MultiplexedConnection,
    pods: MultiplexedConnection,
    operator: MultiplexedConnection,
}

impl Scene {
    async fn new() -> Self {
        let server = Redis::start().unwrap();
        let client = ::redis::Client::open(server.url()).unwrap();
        let mut admin = client.get_multiplexed_async_connection().await.unwrap();
        for (user, who) in [(PODS, Who::Pods), (OPERATOR, Who::Operator)] {
            let rights = rights::redis(who).unwrap();
            run(&mut admin, &format!("ACL SETUSER {user} on >PASSWORD {rights}")).await;
        }
        let (pods, operator) = (connected(&server, PODS).await, connected(&server, OPERATOR).await);
        Self { server, admin, pods, operator }
    }
}

async fn run(connection: &mut MultiplexedConnection, line: &str) {
    let mut words = line.split(' ');
    let mut command = ::redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async::<::redis::Value>(connection).await.unwrap_or_else(|error| panic!("{line}: {error}"));
}

fn winner(rank: u64, user: &str) -> LedgerWinner {
    let (user, key) = (UserId::new(user).unwrap(), RequestKey::new("k").unwrap());
    LedgerWinner { rank, n: 1, user, granted_ms: 1, key }
}

fn request(user: &str, key: &str) -> IssueRequest {
    IssueRequest { user: UserId::new(user).unwrap(), key: RequestKey::new(key).unwrap(), minted: false }
}

/// Epoch 1 with two winners, and rank 2 to hand out again.
async fn opened(operator: &mut MultiplexedConnection, name: &str) -> (CampaignId, RedisKeys) {
    let campaign = CampaignId::with_default_names("rights", "tests", name).unwrap();
    let keys = RedisKeys::of(&campaign);
    let ledger = Ledger { winners: vec![winner(1, "a"), winner(3, "b")], free: vec![2], highest: 3 };
    let history = observe(operator, &keys).await.unwrap().history;
    let filled = fill(operator, &campaign, "a1", &history, 1, &TERMS.numbered(1), &ledger).await.unwrap();
    assert_eq!(filled, Filled::Done);
    (campaign, keys)
}

/// Wrong: a right that README does not list is needed after all, by a repair, when it is too late.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_for_everything() {
    let Scene { server, mut pods, mut operator, .. } = Scene::new().await;
    for (role, connection) in [(Role::Issuer, &mut pods), (Role::Operator, &mut operator)] {
        let probed = probe::probe(connection, "rights", role).await.unwrap();
        assert_eq!((probed.now_ms.is_some(), probed.failed), (true, Vec::new()), "{role:?}");
        probe::info(connection).await.unwrap();
        probe::clock(connection).await.unwrap();
    }
    let (campaign, keys) = opened(&mut operator, "life").await;
    // Pods: ask, look, and what a replay reads.
    let Reply::Answered(batch) = issue(&mut pods, &keys, 1, 3, &[request("c", "k"), request("a", "k")]).await.unwrap()
    else {
        panic!("answered")
    };
    assert!(matches!(&batch.answers[..], [Answer::Granted(_), Answer::Repeated(_)]), "{batch:?}");
    assert!(observe(&mut pods, &keys).await.unwrap().serves(1));
    assert_eq!(held_by(&mut pods, &keys, &UserId::new("c").unwrap()).await.unwrap().unwrap().len(), 1);
    assert!(matches!(grants(&mut pods, &keys, &[1, 2]).await.unwrap(), Grants::Found { issued: 3, .. }));
    let behind = issue(&mut pods, &keys, 1, 99, &[request("d", "k")]).await.unwrap();
    assert_eq!(behind, Reply::Refused(Refusal::Behind), "and closes on the spot");
    forget(&mut operator, &keys).await.unwrap();

    // The operator: the whole life of a campaign.
    opened(&mut operator, "life").await;
    suspend(&mut operator, &keys).await.unwrap();
    assert_eq!(configure(&mut operator, &keys, 1, &TERMS.numbered(2)).await.unwrap(), Configured::Done);
    correct_time(&mut operator, &keys).await.unwrap();
    assert_eq!(read_winners(&mut operator, &keys, 0, 10).await.unwrap().len(), 2);
    let state = observe(&mut operator, &keys).await.unwrap();
    let before = state.open.unwrap();
    let bound = rebind(&mut operator, &campaign, &state.history, &before, 2, &TERMS.numbered(3), 2).await.unwrap();
    assert_eq!(bound, Rebound::Done);
    close(&mut operator, &keys).await.unwrap();
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    run(&mut admin, &format!("DEL {}", keys.request)).await;
    run(&mut admin, &format!("SET {} x", keys.request)).await;
    assert_eq!(clear_unreadable(&mut operator, &keys).await.unwrap(), std::slice::from_ref(&keys.request));
    opened(&mut operator, "life").await;
    assert!(redis::bytes(&mut operator, &keys).await.unwrap() > 200);
    let state = observe(&mut operator, &keys).await.unwrap();
    let before = state.open.unwrap();
    assert_eq!(redis::remove(&mut operator, &keys, &state.history, &before, 2).await.unwrap(), Removed::Done);
    assert_eq!(redis::bytes(&mut operator, &keys).await.unwrap(), 0);
    // An attempt that is given up removes its keys.
    let attempt = redis::rebuild::Attempt::begin(&operator, &campaign, "a2", &state.history).await.unwrap();
    drop(attempt);
    forget(&mut operator, &keys).await.unwrap();
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let left: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(&mut admin).await.unwrap();
        if left.is_empty() {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "left behind: {left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Wrong: README asks for a right that nobody needs, or one is missing and the look at the class does not name it.
#[tokio::test(flavor = "multi_thread")]
async fn each_documented_right_is_needed_and_is_named_where_it_is_missing() {
    let mut scene = Scene::new().await;
    for (user, role, who) in [(PODS, Role::Issuer, Who::Pods), (OPERATOR, Role::Operator, Who::Operator)] {
        let documented = rights::redis(who).unwrap();
        let rights: Vec<&str> = documented.split(' ').filter_map(|right| right.strip_prefix('+')).collect();
        assert!(rights.len() >= 18, "{rights:?}");
        for right in rights {
            run(&mut scene.admin, &format!("ACL SETUSER {user} -{right}")).await;
            run(&mut scene.admin, "SCRIPT FLUSH").await;
            let connection = if role == Role::Issuer { &mut scene.pods } else { &mut scene.operator };
            // A metric needs it and no sale does: where it is missing, the metric is, and nothing else is said.
            if right == "memory|usage" {
                let keys = RedisKeys::of(&CampaignId::with_default_names("rights", "tests", "size").unwrap());
                assert!(redis::bytes(connection, &keys).await.unwrap_err().is_missing_right());
                assert_eq!(probe::probe(connection, "rights", role).await.unwrap().failed, []);
                run(&mut scene.admin, &format!("ACL SETUSER {user} +{right}")).await;
                continue;
            }
            let named = match probe::probe(connection, "rights", role).await {
                Ok(probed) => probed.failed.iter().map(|(command, _)| command.to_ascii_lowercase()).collect(),
                // Without it no script runs at all.
                Err(error) if error.is_missing_right() => vec![error.to_string()],
                Err(error) => panic!("{user} without {right}: {error}"),
            };
            assert!(named.iter().any(|named| named.contains(right)), "{user} without {right}: {named:?}");
            run(&mut scene.admin, &format!("ACL SETUSER {user} +{right}")).await;
            let connection = if role == Role::Issuer { &mut scene.pods } else { &mut scene.operator };
            assert_eq!(probe::probe(connection, "rights", role).await.unwrap().failed, [], "{user} with {right}");
        }
    }
}

/// What is found after a batch met an error.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// Nothing was written: it goes on when the right is back.
    Untouched,
    /// A batch was broken off between two writes: closed until it is repaired.
    Closed,
    /// This right is not needed to give ranks.
    Answered,
}

/// Wrong: an error between two writes gives a user two ranks, loses a rank, or leaves a campaign, or a process, that nobody gets
/// anything from. One right after the other is taken away in the middle of a batch, and given back.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_at_any_command_gives_nobody_two_ranks_and_loses_none() {
    let mut scene = Scene::new().await;
    for (command, expected) in [
        ("evalsha", Left::Untouched),
        ("info", Left::Untouched),
        ("time", Left::Untouched),
        ("hmget", Left::Untouched),
        ("zcard", Left::Untouched),
        ("hlen", Left::Untouched),
        ("llen", Left::Untouched),
        ("lrange", Left::Untouched),
        ("zscore", Left::Untouched),
        // The first write is one, so nothing is written.
        ("hset", Left::Untouched),
        ("ltrim", Left::Closed),
        ("zadd", Left::Closed),
        ("zadd -del", Left::Closed),
        ("del", Left::Answered),
        ("zrangebyscore", Left::Answered),
    ] {
        let name = command.replace(" -", "-");
        let (campaign, keys) = opened(&mut scene.operator, &name).await;
        // A new user takes the free rank and another one a new rank; one is there already.
        let batch = [request("c", "k"), request("d", "k"), request("a", "k"), request("c", "l")];
        let mut told: BTreeMap<(String, u32), u64> = BTreeMap::new();
        let mut hear = |reply: &Reply| {
            let Reply::Answered(answered) = reply else { return false };
            for (request, answer) in batch.iter().zip(&answered.answers) {
                let (Answer::Granted(grant) | Answer::Repeated(grant)) = answer else { panic!("{answer:?}") };
                let before = told.insert((request.user.to_string(), grant.n), grant.rank);
                assert!(before.is_none_or(|rank| rank == grant.rank), "{command}: {request:?} has two ranks");
            }
            true
        };
        run(&mut scene.admin, &format!("ACL SETUSER {PODS} -{command}")).await;
        // As an issuer does it: the same batch again.
        let mut met = Vec::new();
        for _ in 0..2 {
            match issue(&mut scene.pods, &keys, 1, 3, &batch).await {
                Ok(reply) => {
                    hear(&reply);
                }
                Err(error) => {
                    assert_ne!(error.executed(), Executed::Fatal, "{command}: {error}");
                    met.push(error);
                }
            }
        }
        assert_eq!(met.is_empty(), expected == Left::Answered, "{command}: {met:?}");
        assert!(met.iter().all(RedisError::is_missing_right), "{command}: {met:?}");
        let state = observe(&mut scene.operator, &keys).await.unwrap();
        let is_whole = state.serves(1);
        assert_eq!(is_whole, expected != Left::Closed, "{command}: {state:?}");
        if expected == Left::Untouched {
            assert_eq!((state.issued, state.open.as_ref().unwrap().highest), (2, 3), "{command}");
        }
        run(&mut scene.admin, &format!("ACL SETUSER {PODS} +{}", command.replace('-', "+"))).await;

        let mut epoch = 1;
        if !is_whole {
            let reply = issue(&mut scene.pods, &keys, epoch, 3, &batch).await.unwrap();
            let refused = matches!(reply, Reply::Refused(Refusal::Damaged | Refusal::Closed));
            assert!(refused, "{command}: nobody is given anything before the repair: {reply:?}");
            epoch = 2;
            repair(&mut scene.operator, &campaign, &keys, epoch).await;
        }
        // The same requests, as users are told to repeat them, and then everybody who comes.
        assert!(hear(&issue(&mut scene.pods, &keys, epoch, 3, &batch).await.unwrap()), "{command}");
        let rest = [request("e", "k"), request("f", "k"), request("g", "k")];
        let Reply::Answered(answered) = issue(&mut scene.pods, &keys, epoch, 3, &rest).await.unwrap() else {
            panic!("{command}")
        };
        assert_eq!(answered.answers[1..], [Answer::SoldOut, Answer::SoldOut], "{command}: not more than {TOTAL}");
        let held = read_winners(&mut scene.operator, &keys, 0, 100).await.unwrap();
        let ranks: BTreeSet<u64> = held.iter().map(|held| held.rank).collect();
        assert_eq!((held.len() as u64, ranks), (TOTAL, (1..=TOTAL).collect()), "{command}: exactly {TOTAL}");
        for ((user, n), rank) in &told {
            let kept = held.iter().any(|held| (held.user.as_str(), held.n, held.rank) == (user, *n, *rank));
            assert!(kept, "{command}: {user} was told {rank}: {held:?}");
        }
        assert!(observe(&mut scene.operator, &keys).await.unwrap().serves(epoch), "{command}");
    }
}

/// As the operator does it: what Redis still holds is kept, and everything else is free.
async fn repair(operator: &mut MultiplexedConnection, campaign: &CampaignId, keys: &RedisKeys, epoch: u64) {
    let history = observe(operator, keys).await.unwrap().history;
    let held = read_winners(operator, keys, 0, 100).await.unwrap();
    let winners: Vec<LedgerWinner> = held
        .into_iter()
        .map(|held| {
            let (granted_ms, key) = held.granted.expect("a winner is whole or is none");
            LedgerWinner { rank: held.rank, n: held.n, user: held.user, granted_ms, key }
        })
        .collect();
    let highest = winners.iter().map(|winner| winner.rank).max().unwrap_or(0);
    let free = (1..highest).filter(|rank| winners.iter().all(|winner| winner.rank != *rank)).collect();
    let ledger = Ledger { winners, free, highest };
    let filled = fill(operator, campaign, "repair", &history, epoch, &TERMS.numbered(epoch), &ledger).await.unwrap();
    assert_eq!(filled, Filled::Done);
}
