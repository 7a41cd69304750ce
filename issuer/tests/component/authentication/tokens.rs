//! Tokens of all kinds, good and bad.

use std::collections::BTreeSet;

use coupon_testing::tokens::{KeyServer, Signer, base64url, claims, now, sign_hmac, unsigned};
use serde_json::json;

use super::super::fixture::eventually;
use super::{issue, look_up, start, tokens_at, told};

/// Wrong: who forges a token, or has one for another service, gets a coupon, or learns from the answer what is wrong with it, or that a user
/// is one.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_token_it_is_refused_with_one_answer() {
    let (key, rsa) = (Signer::p256("now"), Signer::rsa("rsa"));
    let server = KeyServer::start(&[&key, &rsa]).await;
    let (fixture, issuer) = start(&tokens_at(&server.url())).await;
    issuer.wait_ready().await;
    let users = &issuer.users;
    let won = users.send(issue(users, &json!({})).bearer_auth(key.token("anna"))).await.unwrap();
    assert_eq!((won.status, won.rank()), (200, 1), "{won:?}");

    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = claims("anna");
        claims[name] = value;
        key.sign(&claims)
    };
    let good = key.token("anna");
    let (message, signature) = good.rsplit_once('.').unwrap();
    let none = unsigned(&json!({ "alg": "none", "kid": "now" }), &claims("anna"));
    let public_pem = rsa.jwk()["n"].as_str().unwrap().to_owned();
    let bad = [
        String::new(),
        "anna".to_owned(),
        message.to_owned(),
        format!("{message}."),
        format!("{}.{}.{signature}", base64url(key.head().to_string()), base64url(claims("bert").to_string())),
        format!("{none}."),
        format!("{none}.{signature}"),
        sign_hmac("rsa", public_pem.as_bytes(), &claims("anna")),
        Signer::p256("now").token("anna"),
        Signer::p256("never").token("anna"),
        Signer::p256("x").unnamed().token("anna"),
        Signer::ed25519("now").token("anna"),
        changed("exp", (now() - 60).into()),
        changed("exp", serde_json::Value::Null),
        changed("nbf", (now() + 600).into()),
        changed("aud", "shop".into()),
        changed("iss", "https://evil.example".into()),
        changed("sub", "".into()),
        format!("{good}{}", "A".repeat(8 * 1024)),
    ];
    let mut answers = BTreeSet::new();
    for token in &bad {
        for user in ["anna", "bert"] {
            let asks = issue(users, &json!({ "userId": user })).bearer_auth(token);
            let looks = look_up(users, user).bearer_auth(token);
            for request in [asks, looks] {
                let reply = users.send(request).await.unwrap();
                assert_eq!((reply.status, reply.code()), (401, "INVALID_TOKEN"), "{token}: {reply:?}");
                answers.insert(told(&reply));
            }
        }
    }
    // Of both routes, as neither comes further.
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers.first().unwrap().contains(r#"www-authenticate: "Bearer error=\"invalid_token\"""#), "{answers:?}");
    assert_eq!(fixture.state().await.issued, 1);
    let metrics = issuer.metrics().await;
    for reason in
        ["malformed", "algorithm", "signature", "expired", "audience", "issuer", "user", "key_unknown", "too_long"]
    {
        let none = format!("coupon_issuer_unauthenticated_total{{reason=\"{reason}\"}} 0\n");
        assert!(!metrics.contains(&none), "{reason}: {metrics}");
    }
    for reason in ["missing", "no_keys"] {
        let none = format!("coupon_issuer_unauthenticated_total{{reason=\"{reason}\"}} 0\n");
        assert!(metrics.contains(&none), "it exists from the start: {reason}: {metrics}");
    }
}

/// Wrong: two tokens of which another part of the way reads the other one; or a request without one is of anybody.
#[tokio::test(flavor = "multi_thread")]
async fn without_one_bearer_token_nobody_asks() {
    let key = Signer::p256("now");
    let server = KeyServer::start(&[&key]).await;
    let (fixture, issuer) = start(&tokens_at(&server.url())).await;
    issuer.wait_ready().await;
    let users = &issuer.users;
    let (anna, bert) = (key.token("anna"), key.token("bert"));
    let missing = users.send(issue(users, &json!({ "userId": "anna" }))).await.unwrap();
    assert_eq!((missing.status, missing.code()), (401, "UNAUTHENTICATED"), "{missing:?}");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let twice = issue(users, &json!({})).bearer_auth(&anna).bearer_auth(&bert);
    let basic = issue(users, &json!({})).basic_auth("anna", Some("x"));
    let in_url = users.http.post(format!("{}?access_token={anna}", users.issue_url())).json(&json!({}));
    for (request, code) in [(twice, "INVALID_TOKEN"), (basic, "INVALID_TOKEN"), (in_url, "UNAUTHENTICATED")] {
        let reply = users.send(request).await.unwrap();
        assert_eq!((reply.status, reply.code()), (401, code), "{reply:?}");
    }
    // Before the body: what it says is no matter.
    let reply = users.send(users.http.post(users.issue_url()).body("no JSON")).await.unwrap();
    assert_eq!((reply.status, reply.code()), (401, "UNAUTHENTICATED"), "{reply:?}");
    let empty = users.http.post(users.issue_url()).header("content-type", "application/json").bearer_auth(&anna);
    let reply = users.send(empty).await.unwrap();
    assert_eq!((reply.status, reply.code()), (400, "INVALID_REQUEST"), "{reply:?}");
    assert!(reply.body["error"].as_str().unwrap().contains("send a JSON object, {} is enough"), "{reply:?}");
    assert_eq!(fixture.state().await.issued, 0);
    // What is of no user is for everybody.
    let campaign = users.get("/api/coupons/spring").await;
    assert_eq!((campaign.status, &campaign.body["open"]), (200, &true.into()), "{campaign:?}");
    let document = users.get("/openapi.json").await;
    assert!(document.body["paths"]["/api/coupons/{id}/issue"]["post"]["responses"]["401"].is_object());
}

/// Wrong: with a token of one's own one sees, or takes, what is another's.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_has_is_for_that_user() {
    let key = Signer::ed25519("now");
    let server = KeyServer::start(&[&key]).await;
    let (fixture, issuer) = start(&tokens_at(&server.url())).await;
    issuer.wait_ready().await;
    let users = &issuer.users;
    let of = |user: &str| key.token(user);
    let ask = async |token: &str, body, key: &str| {
        users.send(issue(users, &body).bearer_auth(token).header("idempotency-key", key)).await.unwrap()
    };
    let anna = ask(&of("anna"), json!({}), "annas-key").await;
    assert_eq!((anna.status, anna.rank()), (200, 1), "{anna:?}");
    // The same wish, whether or not it names her again.
    assert_eq!(ask(&of("anna"), json!({ "userId": "anna" }), "annas-key").await.rank(), 1);

    let as_anna = ask(&of("bert"), json!({ "userId": "anna" }), "annas-key").await;
    let as_nobody = ask(&of("bert"), json!({ "userId": "nobody" }), "annas-key").await;
    assert_eq!((as_anna.status, as_anna.code()), (403, "USER_MISMATCH"), "{as_anna:?}");
    assert_eq!(told(&as_anna), told(&as_nobody), "who holds a coupon is not told from who does not");
    let bert = ask(&of("bert"), json!({}), "annas-key").await;
    assert_eq!((bert.status, bert.rank()), (200, 2), "her key is his own in his hand: {bert:?}");

    let mut answers = BTreeSet::new();
    for other in ["anna", "nobody", "ann%61", "Bert"] {
        let reply = users.send(look_up(users, other).bearer_auth(of("bert"))).await.unwrap();
        assert_eq!((reply.status, reply.code()), (403, "USER_MISMATCH"), "{other}: {reply:?}");
        answers.insert(told(&reply));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    for (user, rank) in [("anna", 1), ("bert", 2)] {
        let held = users.send(look_up(users, user).bearer_auth(of(user))).await.unwrap();
        assert_eq!((held.status, &held.body["coupons"][0]["rank"]), (200, &rank.into()), "{held:?}");
    }
    let rows =
        eventually("both are durable", async || Some(fixture.durable().await).filter(|all| all.len() == 2)).await;
    let by_rank: Vec<(u64, String)> = rows.iter().map(|(rank, event)| (*rank, event.user_id.to_string())).collect();
    assert_eq!(by_rank, [(1, "anna".to_owned()), (2, "bert".to_owned())]);
}
