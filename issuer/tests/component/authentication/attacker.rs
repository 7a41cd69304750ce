//! One who has a coupon, and would know what others have, or take it: by the time of an answer, and past the gateway.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coupon_core::connections::RedisServer;
use coupon_testing::proxy::{Proxy, Trouble, Victims};
use coupon_testing::tokens::{KeyServer, Signer, claims, now, unsigned};
use reqwest::RequestBuilder;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::fixture::{Fixture, eventually, terms};
use super::{issue, look_up, start, tokens_at};

/// How much longer Redis and the database take, each way. Nothing else takes so long, also on a busy machine.
const SLOW: Duration = Duration::from_millis(150);
/// Times that each way is tried.
const TRIES: usize = 15;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Wrong: a refusal takes longer if the user who is meant has a coupon, as somebody looked that up first.
#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_takes_the_time_of_a_look_up() {
    let key = Signer::p256("now");
    let server = KeyServer::start(&[&key]).await;
    let fixture = Fixture::open(terms(1_000, 1)).await;
    let mut connections = fixture.workload.clone();
    let RedisServer::Address(address) = &connections.redis.server else { panic!("one Redis") };
    let redis = Proxy::to(address.clone()).await;
    let database = Proxy::to(format!("{}:{}", connections.database.host, connections.database.port)).await;
    connections.redis.server = RedisServer::Address(redis.address.to_string());
    (connections.database.host, connections.database.port) =
        (database.address.ip().to_string(), database.address.port());
    let issuer = fixture.start(&connections, &["--authentication", &tokens_at(&server.url())]).await;
    issuer.wait_ready().await;
    let users = &issuer.users;
    for user in ["anna", "mallory"] {
        let own =
            issue(users, &json!({})).bearer_auth(key.token(user)).header("idempotency-key", format!("{user}s-key"));
        assert_eq!(users.send(own).await.unwrap().status, 200);
    }
    for slow in [&redis, &database] {
        slow.begin(Victims::All, Trouble::Delay(SLOW));
    }

    let own = key.token("mallory");
    let expired = |user: &str| {
        let mut claims = claims(user);
        claims["exp"] = (now() - 3_600).into();
        key.sign(&claims)
    };
    let none = |user: &str| format!("{}.", unsigned(&json!({ "alg": "none", "kid": "now" }), &claims(user)));
    type Way<'a> = (&'a str, u16, Box<dyn Fn(&str) -> RequestBuilder + 'a>);
    let ways: Vec<Way<'_>> = vec![
        ("another's holdings", 403, Box::new(|user| look_up(users, user).bearer_auth(&own))),
        ("another in the body", 403, Box::new(|user| issue(users, &json!({ "userId": user })).bearer_auth(&own))),
        ("no token", 401, Box::new(|user| issue(users, &json!({ "userId": user })))),
        ("no token, holdings", 401, Box::new(|user| look_up(users, user))),
        ("expired", 401, Box::new(|user| look_up(users, user).bearer_auth(expired(user)))),
        ("no algorithm", 401, Box::new(|user| look_up(users, user).bearer_auth(none(user)))),
        ("a header of no gateway", 401, Box::new(|user| look_up(users, user).header("x-user-id", user))),
    ];
    for (way, status, request) in &ways {
        let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        for _ in 0..TRIES {
            for user in ["anna", "nobody"] {
                let begun = Instant::now();
                let reply = users.send(request(user)).await.unwrap();
                assert_eq!(reply.status, *status, "{way}, {user}: {reply:?}");
                times.entry(user).or_default().push(begun.elapsed());
            }
        }
        for (user, times) in times {
            let took = median(times);
            assert!(took < SLOW / 2, "{way}, {user}: {took:?}, and a look-up takes {SLOW:?} at least");
        }
    }
    // What is looked up takes that long: else the above would say nothing.
    let begun = Instant::now();
    assert_eq!(users.send(look_up(users, "mallory").bearer_auth(&own)).await.unwrap().status, 200);
    assert!(begun.elapsed() >= SLOW, "{:?}", begun.elapsed());
    // Who has a coupon, and asks with a key: whose key that is, is not to be told from the answer's time either.
    let mut times: BTreeMap<bool, Vec<Duration>> = BTreeMap::new();
    for number in 0..TRIES {
        for (is_annas, name) in [(true, "annas-key".to_owned()), (false, format!("nobodys-key-{number}"))] {
            let begun = Instant::now();
            let asked = issue(users, &json!({})).bearer_auth(&own).header("idempotency-key", &name);
            let reply = users.send(asked).await.unwrap();
            assert_eq!((reply.status, reply.code()), (400, "ALREADY_ISSUED"), "{name}: {reply:?}");
            times.entry(is_annas).or_default().push(begun.elapsed());
        }
    }
    let (annas, nobodys) = (median(times.remove(&true).unwrap()), median(times.remove(&false).unwrap()));
    assert!(annas.abs_diff(nobodys) < SLOW / 2, "her key: {annas:?}, nobody's: {nobodys:?}");
    assert_eq!(fixture.state().await.issued, 2);
}

/// All that is answered to these bytes, until the connection ends or says nothing more for a while.
async fn answers(base: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    let mut patience = Duration::from_secs(10);
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(patience, stream.read(&mut buffer)).await {
        heard.extend_from_slice(&buffer[..count]);
        patience = Duration::from_millis(300);
    }
    String::from_utf8(heard).unwrap()
}

/// Wrong: what a client has hidden in a request, and a gateway has passed on as it came, names another user to the issuer.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_passes_on_as_it_came_makes_nobody_another_user() {
    let (fixture, issuer) = start(r#"{"header":{"name":"x-user-id"}}"#).await;
    issuer.wait_ready().await;
    let users = &issuer.users;
    let own = users.send(issue(users, &json!({})).header("x-user-id", "anna")).await.unwrap();
    assert_eq!(own.rank(), 1);
    // The gateway's own line is there in each, and names mallory.
    let head = |lines: &str| {
        format!("GET /api/coupons/spring/users/anna HTTP/1.1\r\nHost: shop\r\nX-User-Id: mallory\r\n{lines}\r\n")
    };
    let wish = |lines: &str, body: &str| {
        format!(
            "POST /api/coupons/spring/issue HTTP/1.1\r\nHost: shop\r\nX-User-Id: mallory\r\n\
             Content-Type: application/json\r\n{lines}\r\n{body}"
        )
    };
    let hidden = "GET /api/coupons/spring/users/anna HTTP/1.1\r\nHost: shop\r\nX-User-Id: anna\r\n\r\n";
    let chunks = format!("2\r\n{{}}\r\n0\r\n\r\n{hidden}");
    let both = format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", chunks.len());
    let lengths = format!("Content-Length: 2\r\nContent-Length: {}\r\n", 2 + hidden.len());
    let cases = [
        ("the header again", head("X-User-Id: anna\r\n"), "401"),
        ("in odd case", head("x-USER-id: anna\r\n"), "401"),
        ("with _", head("X_User_Id: anna\r\n"), "401"),
        ("with a space before the colon", head("X-User-Id : anna\r\n"), "400"),
        ("behind a line feed", head("X-A: b\nX-User-Id: anna\n"), "401"),
        ("behind a carriage return", head("X-A: b\rX-User-Id: anna\r\n"), "400"),
        ("behind a zero byte", head("X-A: b\0\r\nX-User-Id: anna\r\n"), "400"),
        ("in a folded line", head("X-A: b\r\n X-User-Id: anna\r\n"), "400"),
        ("of this connection", head("Connection: x-user-id\r\n"), "403"),
        ("in a trailer", wish("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nX-User-Id: anna\r\n\r\n"), "200"),
        ("behind chunks", wish(&both, &chunks), "200"),
        ("behind the shorter of two lengths", wish(&lengths, &format!("{{}}{hidden}")), "400"),
        ("behind a length with a sign", wish("Content-Length: +2\r\n", &format!("{{}}{hidden}")), "400"),
        (
            "behind a chunk that ends early",
            wish("Transfer-Encoding: chunked\r\n", &format!("2\n{{}}\n0\n\n{hidden}")),
            "400",
        ),
    ];
    for (case, bytes, status) in &cases {
        let heard = answers(&users.base, bytes).await;
        let all: Vec<&str> = heard.split("HTTP/1.1 ").skip(1).collect();
        assert_eq!(all.len(), 1, "{case}: {heard}");
        assert!(all[0].starts_with(status), "{case}: {heard}");
        assert!(!heard.contains(r#""userId":"anna""#), "{case}: {heard}");
    }
    // Of those that were let in, all were mallory's, and one wish is another than the other where one may have two.
    let held = eventually("what mallory has", async || {
        let reply = users.send(look_up(users, "mallory").header("x-user-id", "mallory")).await.unwrap();
        (reply.status == 200).then_some(reply)
    });
    assert_eq!(held.await.body["coupons"].as_array().unwrap().len(), 2);
    assert_eq!(fixture.state().await.issued, 3);
    assert!(fixture.ranks().await.into_values().all(|user| user == "anna" || user == "mallory"));
}
