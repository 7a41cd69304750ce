//! Who asks too often, and those beside.

use std::collections::BTreeMap;

use futures::future::join_all;
use reqwest::RequestBuilder;
use serde_json::json;

use super::fixture::{Fixture, Issuer, Reply, Users, eventually, terms};

/// A sale of 1,000 coupons, one for each user, and an issuer of it with these limits.
async fn start(limits: &str, more: &[&str]) -> (Fixture, Issuer) {
    let fixture = Fixture::open(terms(1_000, 1)).await;
    let issuer = fixture.start(&fixture.workload, &[&["--rate-limits", limits], more].concat()).await;
    issuer.wait_ready().await;
    (fixture, issuer)
}

fn issue(users: &Users, user: &str) -> RequestBuilder {
    users.http.post(users.issue_url()).json(&json!({ "userId": user }))
}

fn countdown(users: &Users) -> RequestBuilder {
    users.http.get(format!("{}/api/coupons/spring", users.base))
}

async fn send(users: &Users, request: RequestBuilder) -> Reply {
    users.send(request).await.unwrap()
}

/// As `policy` says it, a request comes back in an hour.
fn assert_rate_limited(reply: &Reply, policy: &str) {
    assert_eq!((reply.status, reply.code()), (429, "RATE_LIMITED"), "{reply:?}");
    assert!(reply.body["error"].as_str().unwrap().contains("nothing was issued"), "{reply:?}");
    let name = policy.split(';').next().unwrap();
    assert_eq!(reply.header("ratelimit-policy"), Some(policy), "{reply:?}");
    assert!(reply.header("ratelimit").unwrap().starts_with(&format!("{name};r=0;t=3")), "{reply:?}");
    let seconds: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=5_500).contains(&seconds), "{reply:?}");
}

/// Wrong: a machine that asks for one user all the time takes the place of those who ask once.
#[tokio::test(flavor = "multi_thread")]
async fn one_user_hammers_and_another_is_served() {
    let (fixture, issuer) = start(r#"{"perUser":{"requests":1,"perSeconds":3600,"burst":3}}"#, &[]).await;
    let users = &issuer.users;
    let told = join_all((0..20).map(|_| users.ask("anna"))).await;
    let (served, refused): (Vec<_>, Vec<_>) = told.iter().partition(|told| told.status == 200);
    assert_eq!((served.len(), refused.len()), (3, 17), "{told:?}");
    assert!(served.iter().all(|told| told.rank() == 1));
    refused.iter().for_each(|told| assert_rate_limited(told, "\"user\";q=3;w=10800"));
    assert_eq!(users.ask("bert").await.rank(), 2);
    // Looking up counts as well, and everybody may look at the campaign.
    assert_rate_limited(&users.get("/api/coupons/spring/users/anna").await, "\"user\";q=3;w=10800");
    assert_eq!(users.get("/api/coupons/spring/users/bert").await.body["coupons"][0]["rank"], 2);
    assert_eq!(users.get("/api/coupons/spring").await.status, 200);
    let problem = send(users, issue(users, "anna").header("accept", "application/problem+json")).await;
    assert_eq!(problem.body["type"], "urn:coupon-operator:problem:rate-limited");
    assert_rate_limited(&problem, "\"user\";q=3;w=10800");

    assert_eq!(fixture.state().await.issued, 2);
    let metrics = issuer.metrics().await;
    for line in [
        "coupon_issuer_requests_total{code=\"RATE_LIMITED\"} 18",
        "coupon_issuer_rate_limited_total{limit=\"user\"} 19",
        "coupon_issuer_answered_total 4",
        "coupon_issuer_issue_seconds_count 4",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(!metrics.contains("limit=\"address\""), "what is not limited is not there");
}

/// Wrong: who asks too often loses a rank, or gets one that nobody else was to have.
#[tokio::test(flavor = "multi_thread")]
async fn limits_change_nothing_about_who_has_which_rank() {
    let (fixture, issuer) = start(r#"{"perUser":{"requests":1,"perSeconds":3600,"burst":2}}"#, &[]).await;
    let users = &issuer.users;
    let asks = (0..200).map(|n| {
        let user = format!("user-{}", n % 40);
        async move { (users.ask_with(&user, "wish").await, user) }
    });
    let mut ranks = BTreeMap::new();
    let mut refused = 0;
    for (told, user) in join_all(asks).await {
        match told.status {
            200 => assert_eq!(*ranks.entry(user.clone()).or_insert(told.rank()), told.rank(), "{user} has one rank"),
            _ => {
                assert_rate_limited(&told, "\"user\";q=2;w=7200");
                refused += 1;
            }
        }
    }
    assert_eq!((ranks.len(), refused), (40, 120));
    let by_rank: BTreeMap<u64, String> = ranks.into_iter().map(|(user, rank)| (rank, user)).collect();
    assert_eq!(by_rank.keys().copied().collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    assert_eq!(fixture.ranks().await, by_rank, "Redis holds whom the users were told");
}

/// Wrong: one client of the gateway uses up what all others behind it may ask.
#[tokio::test(flavor = "multi_thread")]
async fn one_address_behind_a_trusted_proxy_limits_nobody_else_behind_it() {
    let limits = r#"{"perAddress":{"requests":1,"perSeconds":3600,"burst":2},"trustedProxies":["127.0.0.0/8"]}"#;
    let (fixture, issuer) = start(limits, &[]).await;
    let users = &issuer.users;
    let ask = async |user: &str, passed: &str| send(users, issue(users, user).header("x-forwarded-for", passed)).await;
    let policy = "\"address\";q=2;w=7200";
    assert_eq!(ask("anna", "203.0.113.1").await.rank(), 1);
    assert_eq!(ask("bert", "203.0.113.1, 127.0.0.2").await.rank(), 2);
    assert_rate_limited(&ask("carl", "203.0.113.1").await, policy);
    assert_rate_limited(&ask("carl", "198.51.100.1, 203.0.113.1").await, policy);
    assert_eq!(ask("carl", "203.0.113.2").await.rank(), 3, "another address");
    // Of IPv6 one network has one bucket.
    assert_eq!(ask("dora", "2001:db8::1").await.rank(), 4);
    assert_eq!(ask("emil", "2001:db8::2").await.rank(), 5);
    assert_rate_limited(&ask("fred", "2001:db8::3").await, policy);
    // What says nothing of an address counts for the proxy: two of them, whatever they say.
    assert_eq!(ask("fred", "unknown").await.rank(), 6);
    assert_eq!(ask("gina", "").await.rank(), 7);
    assert_rate_limited(&ask("hugo", "203.0.113.3, nobody").await, policy);
    assert_rate_limited(&users.ask("hugo").await, policy);
    assert_eq!(fixture.state().await.issued, 7);
}

/// Wrong: who writes a header of proxies has as many addresses as it likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_address_helps_nobody_and_forged_users_are_not_even_looked_at() {
    let limits = r#"{"perAddress":{"requests":1,"perSeconds":3600,"burst":4},"trustedProxies":["10.0.0.0/8"]}"#;
    let (fixture, issuer) = start(limits, &["--authentication", r#"{"header":{"name":"x-user-id"}}"#]).await;
    let users = &issuer.users;
    let policy = "\"address\";q=4;w=14400";
    for n in 0..4 {
        let forged = issue(users, "anna").header("x-forwarded-for", format!("203.0.113.{n}"));
        assert_eq!(send(users, forged).await.status, 401, "nobody said who asks");
    }
    for n in 4..10 {
        let forged = issue(users, "anna").header("x-forwarded-for", format!("203.0.113.{n}, 10.0.0.1"));
        assert_rate_limited(&send(users, forged.header("forwarded", format!("for=203.0.113.{n}"))).await, policy);
    }
    // All that the port serves; and nothing that others do.
    assert_rate_limited(&send(users, countdown(users)).await, policy);
    assert_rate_limited(&users.get("/api/coupons/spring/users/anna").await, policy);
    assert_rate_limited(&users.get("/openapi.json").await, policy);
    assert_eq!(issuer.readiness().await.0, 200);
    assert!(issuer.pressure().await["epoch"].is_u64());
    assert!(issuer.metrics().await.contains("coupon_issuer_rate_limited_total{limit=\"address\"} 9"));
    assert_eq!(fixture.state().await.issued, 0);
}

/// Wrong: a machine that found the way past the gateway is served, or a secret that is replaced cuts off everybody.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_past_the_gateway_is_refused_and_its_secret_may_change() {
    let folder = std::env::temp_dir().join(format!("coupon-gateway-{:016x}", rand::random::<u64>()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("values");
    let (old, new) = ("0123456789abcdef", "fedcba9876543210");
    std::fs::write(&path, old).unwrap();
    let values = json!({"file": {"path": path.to_str().unwrap()}});
    let limits = json!({"requiredHeader": {"name": "x-gateway", "values": values}}).to_string();
    let (fixture, issuer) = start(&limits, &[]).await;
    let users = &issuer.users;
    let through = |request: RequestBuilder, value: &str| request.header("x-gateway", value);
    assert_eq!(send(users, through(issue(users, "anna"), old)).await.rank(), 1);
    assert_eq!(send(users, through(countdown(users), old)).await.status, 200);
    let past = [
        issue(users, "bert"),
        countdown(users),
        users.http.get(format!("{}/api/coupons/spring/users/anna", users.base)),
        through(issue(users, "bert"), "sesame"),
        through(through(issue(users, "bert"), old), old),
    ];
    for request in past {
        let told = send(users, request).await;
        assert_eq!(
            (told.status, told.code(), told.header("retry-after")),
            (403, "GATEWAY_PROOF_REQUIRED", None),
            "{told:?}"
        );
    }
    assert_eq!(send(users, through(issue(users, "bert"), new)).await.status, 403);
    std::fs::write(&path, format!("{old}\n{new}\n")).unwrap();
    let won = eventually("the new value is taken", async || {
        let told = send(users, through(issue(users, "bert"), new)).await;
        (told.status == 200).then_some(told)
    });
    assert_eq!(won.await.rank(), 2);
    assert_eq!(send(users, through(issue(users, "carl"), old)).await.rank(), 3, "and so is the old one");
    assert_eq!(fixture.state().await.issued, 3);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Wrong: a Redis that is shared gets more than it was meant to, or those who are refused have more pods made.
#[tokio::test(flavor = "multi_thread")]
async fn all_together_pass_on_no_more_to_redis_than_they_may() {
    let (fixture, issuer) = start(r#"{"perPod":{"requests":1,"perSeconds":3600,"burst":5}}"#, &[]).await;
    let users = &issuer.users;
    let told = join_all((0..12).map(|n| async move { users.ask(&format!("user-{n}")).await })).await;
    let (served, refused): (Vec<_>, Vec<_>) = told.iter().partition(|told| told.status == 200);
    assert_eq!((served.len(), refused.len()), (5, 7), "{told:?}");
    for told in refused {
        assert_eq!((told.status, told.code(), told.header("ratelimit")), (503, "OVERLOADED", None), "{told:?}");
        assert!(told.header("retry-after").unwrap().parse::<u32>().unwrap() > 3_500, "{told:?}");
        assert!(told.body["error"].as_str().unwrap().contains("nothing was issued"), "{told:?}");
    }
    assert_eq!(users.get("/api/coupons/spring/users/user-1").await.status, 503, "that asks Redis, too");
    assert_eq!(users.get("/api/coupons/spring").await.status, 200);
    assert_eq!((fixture.state().await.issued, issuer.pressure().await["rejected"].as_u64()), (5, Some(0)));
}
