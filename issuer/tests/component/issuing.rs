//! Who gets a coupon, and who does not.

use std::collections::{BTreeMap, BTreeSet};

use coupon_core::identity::UserId;
use coupon_core::minted;
use coupon_ledger::database::{self, RowOutcome, StoreMode};
use coupon_ledger::redis::Terms;
use coupon_testing::proxy::Proxy;
use futures::future::join_all;
use stack::services::Redis;

use super::fixture::{Fixture, Reply, eventually, now_ms, terms};

/// Would fail if a rank were given twice or not at all, or a winner told who is not in the log.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_hundred_of_120_get_one_each() {
    let fixture = Fixture::open(terms(100, 1)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    let told = join_all((0..120).map(|i| async move { (i, users.ask(&format!("user-{i}")).await) })).await;

    let mut winners = BTreeMap::new();
    for (i, told) in &told {
        match (told.status, told.code()) {
            (200, _) => {
                assert_eq!(told.body["success"], true);
                assert!(winners.insert(told.rank(), format!("user-{i}")).is_none(), "rank {} twice", told.rank());
            }
            (400, "SOLD_OUT") => assert_eq!(told.body["success"], false),
            _ => panic!("{told:?}"),
        }
    }
    assert_eq!(winners.keys().copied().collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    assert_eq!(fixture.ranks().await, winners, "Redis holds whom the users were told");
    let durable = fixture.durable().await;
    assert!(durable.values().all(|event| event.epoch == fixture.epoch && event.n == 1));
    let durable: BTreeMap<u64, String> = durable.into_iter().map(|(rank, e)| (rank, e.user_id.to_string())).collect();
    assert_eq!(durable, winners, "Kafka, or where it is slow the database, holds whom the users were told");

    // Winners who ask again get their rank, losers do not get one.
    for (i, first) in told.iter().step_by(7) {
        let again = users.ask(&format!("user-{i}")).await;
        assert_eq!((again.status, &again.body["rank"]), (first.status, &first.body["rank"]), "user-{i}");
        assert_eq!(again.code(), first.code());
    }
    let metrics = issuer.metrics().await;
    for line in ["coupon_issuer_requests_total{code=\"ISSUED\"} 100", "coupon_issuer_kafka_ack_seconds_count"] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(!metrics.contains("user-"), "user ids must not be in metrics");
}

/// Would fail if a repeated answer were not as durable as the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_answer_is_written_again() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let issuer = fixture.ready().await;
    let (first, second) = (issuer.users.ask("anna").await, issuer.users.ask("anna").await);
    assert_eq!((first.rank(), second.rank()), (1, 1));
    let records = fixture.records().await;
    // Where Kafka needs more than a second, as on a starved machine, winners are stored past it, each time anew.
    let metrics = issuer.metrics().await;
    let directly = metrics.lines().find_map(|line| line.strip_prefix("coupon_issuer_stored_directly_total "));
    let directly: usize = directly.unwrap().parse().unwrap();
    // And who is a row by then needs nothing more.
    assert!(records.len() >= 2 || directly >= 1, "{} records, {directly} stored directly", records.len());
    for pair in records.windows(2) {
        assert!(pair[0].same_grant(&pair[1]));
        assert_eq!(pair[0].request_key, pair[1].request_key, "the repetition has the key of the request that won");
    }
}

/// Wrong: a winner who asks again after the sale wakes a consumer, for a row that is there. Wrong, too: who is none, or of whom the database says
/// nothing, is told a rank that nothing holds by then.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_a_row_already_is_told_without_another_record() {
    let mut fixture = Fixture::open(terms(10, 1)).await;
    let database = &fixture.workload.database;
    let proxy = Proxy::to(format!("{}:{}", database.host, database.port)).await;
    let mut connections = fixture.workload.clone();
    (connections.database.host, connections.database.port) = (proxy.address.ip().to_string(), proxy.address.port());
    let issuer = fixture.start(&connections, &[]).await;
    issuer.wait_ready().await;
    assert_eq!((issuer.users.ask("anna").await.rank(), issuer.users.ask("bert").await.rank()), (1, 2));
    let annas = fixture.durable().await[&1].clone();
    let stored = database::store(&fixture.pool, fixture.row, StoreMode::Direct(&[annas])).await.unwrap();
    assert_eq!(stored.outcomes, [RowOutcome::Stored]);

    let hour = 3_600_000;
    let over = Terms { start_ms: now_ms() - 2 * hour, end_ms: now_ms() - hour, ..fixture.terms };
    fixture.configure(over).await;
    // Where Kafka needs more than a second, winners become rows past it.
    let written = async || {
        let directly = issuer.metrics().await;
        let directly = directly.lines().find_map(|line| line.strip_prefix("coupon_issuer_stored_directly_total "));
        fixture.records().await.len() + directly.unwrap().parse::<usize>().unwrap()
    };
    let before = written().await;
    for _ in 0..3 {
        assert_eq!(issuer.users.ask("anna").await.rank(), 1);
    }
    assert_eq!(written().await, before, "her row is there");
    assert_eq!(issuer.users.ask("bert").await.rank(), 2);
    assert!(written().await > before, "his is not");
    let before = fixture.records().await.len();
    // On a connection that has sent them before, the words of a statement are not sent again.
    proxy.block("issue_rank IN");
    let other = fixture.start(&connections, &[]).await;
    other.wait_ready().await;
    assert_eq!(other.users.ask("anna").await.rank(), 1);
    // A Kafka that needs more than a second has her row written once more.
    let past = other.metrics().await.contains("coupon_issuer_stored_directly_total 1");
    assert!(fixture.records().await.len() > before || past, "the database does not say so");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_wins_once_and_three_keys_win_three() {
    let fixture = Fixture::open(terms(100, 3)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    let told = join_all((0..30).map(|i| async move { users.ask_with("anna", &format!("k{}", i % 3)).await })).await;
    let mut by_key: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    for (i, told) in told.iter().enumerate() {
        assert_eq!(told.status, 200, "{told:?}");
        assert_eq!(told.header("idempotency-key"), Some(format!("k{}", i % 3).as_str()));
        by_key.entry(i % 3).or_default().insert(told.rank());
    }
    assert!(by_key.values().all(|ranks| ranks.len() == 1), "one key, one rank: {by_key:?}");
    assert_eq!(by_key.values().flatten().collect::<BTreeSet<_>>().len(), 3, "three keys, three ranks: {by_key:?}");
    let fourth = users.ask_with("anna", "k3").await;
    assert_eq!((fourth.status, fourth.code()), (400, "ALREADY_ISSUED"));
    assert_eq!(users.ask_with("bert", "k0").await.rank(), 4, "a key belongs to its user");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_each_wish_is_new_up_to_the_limit() {
    let fixture = Fixture::open(terms(100, 3)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    let told = join_all((0..8).map(|_| async move { users.ask("anna").await })).await;
    let ranks: BTreeSet<u64> = told.iter().filter(|told| told.status == 200).map(|told| told.rank()).collect();
    assert_eq!(ranks, BTreeSet::from([1, 2, 3]));
    assert_eq!(told.iter().filter(|told| told.code() == "ALREADY_ISSUED").count(), 5);
    // A client that sends the key that was made for it repeats its request.
    let winner = told.iter().find(|told| told.status == 200).unwrap();
    let again = users.ask_with("anna", winner.header("idempotency-key").unwrap()).await;
    assert_eq!(again.rank(), winner.rank());
}

/// Would fail if a stranger who asks for a user's coupon learned the key that won it, if somebody who was told to ask again with
/// a key of ours did not hear the rank, or if a key that a client chose passed for one of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_told_to_who_sent_it_and_a_minted_one_stands_for_its_user() {
    const ALREADY: Option<u64> = None;
    let fixture = Fixture::open(terms(100, 1)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    let minted = |user: &str| minted::mint(&UserId::new(user).unwrap()).to_string();
    let looks_minted = format!("auto-{:032x}", 7);

    assert_eq!(users.ask_with("anna", "order-4711").await.rank(), 1);
    let bert = users.ask("bert").await;
    assert_eq!(bert.rank(), 2);
    let berts = bert.header("idempotency-key").unwrap().to_owned();
    let (for_anna, for_bert) = (minted("anna"), minted("bert"));
    for (what, user, key, rank, named) in [
        ("nobody's key", "anna", None, Some(1), None),
        ("the key that won", "anna", Some("order-4711"), Some(1), Some("order-4711")),
        ("another order", "anna", Some("order-4712"), ALREADY, None),
        ("a minted key that won nothing", "anna", Some(for_anna.as_str()), Some(1), None),
        ("somebody else's minted key", "anna", Some(for_bert.as_str()), ALREADY, None),
        ("a key that looks minted", "anna", Some(looks_minted.as_str()), ALREADY, None),
        ("nobody's key, won without one", "bert", None, Some(2), None),
        ("the minted key that won", "bert", Some(berts.as_str()), Some(2), Some(berts.as_str())),
        ("another minted key", "bert", Some(for_bert.as_str()), Some(2), None),
        ("somebody else's minted key", "bert", Some(for_anna.as_str()), ALREADY, None),
        ("an order", "bert", Some("order-4711"), ALREADY, None),
    ] {
        let told = users.try_ask(user, key).await.unwrap();
        assert_eq!(told.body["rank"].as_u64(), rank, "{user}, {what}: {told:?}");
        assert_eq!(told.code(), if rank.is_some() { "" } else { "ALREADY_ISSUED" }, "{user}, {what}");
        assert_eq!(told.header("idempotency-key"), named, "{user}, {what}");
        assert_eq!(told.header("cache-control"), Some("no-store"));
    }
    assert_eq!(fixture.state().await.issued, 2);

    // Where users may hold more, each key is a request of its own, also a key that we made.
    let fixture = Fixture::open(terms(100, 2)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    for (what, key, rank, named) in [
        ("an order", Some("order-4711"), Some(1), Some("order-4711")),
        ("a minted key", Some(for_anna.as_str()), Some(2), Some(for_anna.as_str())),
        ("the order again", Some("order-4711"), Some(1), Some("order-4711")),
        ("the minted key again", Some(for_anna.as_str()), Some(2), Some(for_anna.as_str())),
        ("no key", None, ALREADY, None),
    ] {
        let told = users.try_ask("anna", key).await.unwrap();
        assert_eq!((told.body["rank"].as_u64(), told.header("idempotency-key")), (rank, named), "{what}: {told:?}");
    }
}

/// Would fail if one person were two users, by how a keyboard composes letters or how a client writes numbers.
#[tokio::test(flavor = "multi_thread")]
async fn one_person_is_one_user_however_the_id_is_written() {
    let fixture = Fixture::open(terms(100, 1)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    assert_eq!((users.ask("ren\u{e9}").await.rank(), users.ask("rene\u{301}").await.rank()), (1, 1));
    let post =
        |body: &'static str| users.http.post(users.issue_url()).header("content-type", "application/json").body(body);
    for body in ["{\"userId\":42}", "{\"userId\":\"42\"}"] {
        assert_eq!(users.send(post(body)).await.unwrap().rank(), 2, "{body}");
    }
    for path in ["ren%C3%A9", "rene%CC%81"] {
        let told = users.get(&format!("/api/coupons/spring/users/{path}")).await;
        assert_eq!(
            (told.body["userId"].as_str(), told.body["coupons"][0]["rank"].as_u64()),
            (Some("ren\u{e9}"), Some(1))
        );
        assert_eq!(told.header("cache-control"), Some("no-store"));
    }
    assert_eq!(fixture.ranks().await, BTreeMap::from([(1, "ren\u{e9}".to_owned()), (2, "42".to_owned())]));
}

/// By Redis' clock: a window is a fact of Redis, not of the process.
#[tokio::test(flavor = "multi_thread")]
async fn outside_the_window_and_suspended_nothing_is_issued() {
    let mut fixture = Fixture::open(terms(2, 1)).await;
    let issuer = fixture.ready().await;
    let hour = 3_600_000;
    let open = fixture.terms;
    for (terms, code) in [
        (Terms { start_ms: now_ms() + hour, end_ms: now_ms() + 2 * hour, ..open }, "NOT_STARTED"),
        (Terms { start_ms: now_ms() - 2 * hour, end_ms: now_ms() - hour, ..open }, "ENDED"),
        (Terms { suspended: true, ..open }, "SUSPENDED"),
    ] {
        fixture.configure(terms).await;
        let told = issuer.users.ask("anna").await;
        assert_eq!((told.status, told.code()), (400, code), "{told:?}");
    }
    fixture.configure(open).await;
    assert_eq!(issuer.users.ask("anna").await.rank(), 1);
    fixture.configure(Terms { suspended: true, ..open }).await;
    assert_eq!(issuer.users.ask("anna").await.rank(), 1, "who has one may hear of it at any time");
    fixture.configure(open).await;
    assert_eq!(issuer.users.ask("bert").await.rank(), 2);
    let told = issuer.users.ask("carl").await;
    assert_eq!((told.status, told.code(), told.header("retry-after")), (400, "SOLD_OUT", None));
    fixture.configure(Terms { total: 3, ..open }).await;
    // A loser is answered without Redis for 25 ms at most.
    let told = eventually("a raised total is in force", async || {
        let told = issuer.users.ask("carl").await;
        (told.code() != "SOLD_OUT").then_some(told)
    })
    .await;
    assert_eq!(told.rank(), 3);
}

/// Would fail if a process took what is not its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told_to_come_back() {
    let fixture = Fixture::open(terms(1_000, 1)).await;
    let issuer = fixture.start(&fixture.workload, &["--queue", "1"]).await;
    issuer.wait_ready().await;
    let users = &issuer.users;
    let told = join_all((0..300).map(|i| async move { users.ask(&format!("user-{i}")).await })).await;
    let (mut issued, mut refused) = (0u64, 0u64);
    for told in &told {
        match (told.status, told.code()) {
            (200, _) => issued += 1,
            (503, "OVERLOADED") => {
                refused += 1;
                let seconds: u32 = told.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=3).contains(&seconds));
            }
            _ => panic!("{told:?}"),
        }
    }
    assert!(refused > 0, "a queue of one must have been full at some time");
    assert_eq!(fixture.state().await.issued, issued, "who was refused holds nothing");
    let pressure = issuer.pressure().await;
    assert_eq!((pressure["rejected"].as_u64(), pressure["queueCapacity"].as_u64()), (Some(refused), Some(1)));
    assert_eq!(pressure["answered"].as_u64(), Some(issued), "to send people away is not what an issuer can do");
}

/// Wrong: all connections wait in the queue, and whoever comes then finds none on which to hear that too many are asking.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_left_to_those_who_are_refused() {
    let redis = Redis::start().unwrap();
    let fixture = Fixture::open_on(&redis, terms(1_000, 1)).await;
    // So little memory that there are as few connections as ever: 256.
    let issuer = fixture.start(&fixture.workload, &["--memory-limit", "1"]).await;
    issuer.wait_ready().await;
    redis.pause().unwrap();
    let users = &issuer.users;
    let others = async {
        eventually("a batch is with Redis", async || {
            issuer.metrics().await.contains("coupon_issuer_batch_size_count 1").then_some(())
        })
        .await;
        join_all((1..250).map(|i| async move { users.ask(&format!("user-{i}")).await })).await
    };
    let (first, others) = tokio::join!(users.ask("user-0"), others);
    redis.resume().unwrap();
    assert_eq!(first.code(), "REDIS_UNAVAILABLE", "{first:?}");
    let refused = others.iter().filter(|told| told.code() == "OVERLOADED").count();
    assert!(refused > 0, "250 asked, and 192 may wait: {:?}", others.iter().map(Reply::code).collect::<Vec<_>>());
    assert_eq!(issuer.pressure().await["queueCapacity"].as_u64(), Some(192));
}
