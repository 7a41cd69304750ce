//! A Redis that answers, and refuses.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use stack::services::Redis;

use super::fixture::{Fixture, Reply, Users, eventually, terms};

async fn run(connection: &mut MultiplexedConnection, line: &str) -> redis::Value {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        // A word with a blank in it.
        command.arg(word.replace('~', " "));
    }
    command.query_async(connection).await.unwrap_or_else(|error| panic!("{line}: {error}"))
}

async fn admin(server: &Redis) -> MultiplexedConnection {
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// How often somebody connected to this Redis.
async fn connections(admin: &mut MultiplexedConnection) -> u64 {
    let stats: String = redis::cmd("INFO").arg("stats").query_async(admin).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
    line.trim().parse().unwrap()
}

/// Asks some times in a row; a busy machine is slow now and then, so the fastest counts.
async fn asked(users: &Users, name: &str) -> (Vec<Reply>, Duration) {
    let (mut told, mut fastest) = (Vec::new(), Duration::MAX);
    for each in 0..3 {
        let begin = Instant::now();
        told.push(users.ask(&format!("{name}-{each}")).await);
        fastest = fastest.min(begin.elapsed());
    }
    (told, fastest)
}

/// Would fail if who is refused waited for the deadline, heard that Redis is not reachable or that there may be a coupon, or if the
/// connection were made anew again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_refuses_is_told_at_once_and_keeps_its_connection() {
    let server = Redis::start().unwrap();
    let fixture = Fixture::open_on(&server, terms(1_000, 1)).await;
    let issuer = fixture.ready().await;
    assert_eq!(issuer.users.ask("first").await.rank(), 1);
    let mut admin = admin(&server).await;
    // A snapshot cannot take the place of a folder.
    std::fs::create_dir(server.data().join("dump.rdb")).unwrap();
    let pods = &fixture.workload.redis.login.username;
    for (name, break_it, mend_it, says) in [
        ("memory", vec!["CONFIG SET maxmemory 1".to_owned()], "CONFIG SET maxmemory 0".to_owned(), "OOM"),
        (
            "replicas",
            vec!["CONFIG SET min-replicas-to-write 1".to_owned()],
            "CONFIG SET min-replicas-to-write 0".to_owned(),
            "NOREPLICAS",
        ),
        ("right", vec![format!("ACL SETUSER {pods} -evalsha")], format!("ACL SETUSER {pods} +evalsha"), "NOPERM"),
        (
            "snapshot",
            ["CONFIG SET save 3600~1000000", "BGSAVE"].map(str::to_owned).into(),
            "CONFIG SET stop-writes-on-bgsave-error no".to_owned(),
            "MISCONF",
        ),
    ] {
        for line in break_it {
            run(&mut admin, &line).await;
        }
        eventually(name, async || (issuer.users.ask(name).await.status == 503).then_some(())).await;
        let before = connections(&mut admin).await;
        let (told, fastest) = asked(&issuer.users, name).await;
        for told in told {
            assert_eq!((told.status, told.code()), (503, "REDIS_UNAVAILABLE"), "{name}: {told:?}");
            let error = told.body["error"].as_str().unwrap();
            assert!(error.contains("nothing was issued") && !error.contains("reachable"), "{name}: {error}");
            assert_eq!(told.header("idempotency-key"), None, "{name}: there is nothing to repeat");
        }
        assert!(fastest < Duration::from_millis(500), "{name}: {fastest:?}");
        eventually("the operator hears Redis' words", async || {
            issuer.users.ask(name).await;
            // The client writes some of Redis' codes in its own way, such as NoPerm.
            let failing = issuer.pressure().await["failing"].as_str().map(str::to_ascii_uppercase);
            failing.filter(|words| words.contains(says)).map(drop)
        })
        .await;
        assert_eq!(connections(&mut admin).await, before, "{name}: nobody connects anew");
        run(&mut admin, &mend_it).await;
        eventually(name, async || (issuer.users.ask(name).await.status == 200).then_some(())).await;
    }
    let ranks = fixture.ranks().await;
    assert_eq!(ranks.keys().copied().collect::<Vec<_>>(), (1..=ranks.len() as u64).collect::<Vec<_>>());
}

/// Would fail if an answer that nobody knows stopped an issuer for good, or if who may hold a coupon heard that nothing was issued.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_knows_is_asked_about_some_times_and_harms_nobody_later() {
    let server = Redis::start().unwrap();
    let fixture = Fixture::open_on(&server, terms(1_000, 1)).await;
    let issuer = fixture.ready().await;
    assert_eq!(issuer.users.ask("first").await.rank(), 1);
    let mut admin = admin(&server).await;
    let pods = &fixture.workload.redis.login.username;
    run(&mut admin, &format!("ACL SETUSER {pods} -time")).await;
    let before = connections(&mut admin).await;
    run(&mut admin, "CONFIG RESETSTAT").await;
    let told = issuer.users.ask("second").await;
    assert_eq!((told.status, told.code()), (503, "REDIS_UNAVAILABLE"), "{told:?}");
    assert!(told.body["error"].as_str().unwrap().contains("you may hold a coupon"), "{told:?}");
    let key = told.header("idempotency-key").unwrap().to_owned();
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut admin).await.unwrap();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    let calls: u64 = calls.split(',').next().unwrap().parse().unwrap();
    assert!((2..=20).contains(&calls), "asked some times: {calls}");
    assert!(connections(&mut admin).await <= before, "on the same connection");
    run(&mut admin, &format!("ACL SETUSER {pods} +time")).await;
    let again = eventually("it goes on by itself", async || {
        let again = issuer.users.ask_with("second", &key).await;
        (again.status == 200).then_some(again)
    })
    .await;
    assert_eq!(again.rank(), 2, "the same request");
    assert_eq!(fixture.state().await.issued, 2);
}
