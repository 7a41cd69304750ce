//! What clients, gateways and browsers may rely on around a request: ids, shapes of failures, methods, pages of other origins.

use std::collections::BTreeSet;

use reqwest::Method;

use super::fixture::{Fixture, Users, terms};

const PROBLEM: &str = "application/problem+json";

/// Wrong: a client that reads problems cannot read one of them, or a client that never heard of problems gets one.
#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_told_as_a_problem_to_who_asks_for_it_with_its_request_id() {
    let fixture = Fixture::open(terms(1, 1)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    assert_eq!(users.ask_with("anna", "first").await.rank(), 1);
    let post = || users.http.post(users.issue_url());
    let body = |user: &str| serde_json::json!({ "userId": user });
    let get = |path: &str| users.http.get(format!("{}{path}", users.base));
    type Ask<'a> = Box<dyn Fn() -> reqwest::RequestBuilder + 'a>;
    let cases: Vec<(u16, &str, Ask<'_>)> = vec![
        (400, "SOLD_OUT", Box::new(|| post().json(&body("bert")))),
        (400, "ALREADY_ISSUED", Box::new(|| post().json(&body("anna")).header("idempotency-key", "second"))),
        (400, "INVALID_REQUEST", Box::new(|| post().header("content-type", "application/json").body("{"))),
        (415, "INVALID_REQUEST", Box::new(|| post().body("{}"))),
        (422, "INVALID_REQUEST", Box::new(|| post().json(&body("")))),
        // Refused by the HTTP layer.
        (413, "INVALID_REQUEST", Box::new(|| post().json(&body(&"x".repeat(17_000))))),
        (415, "INVALID_REQUEST", Box::new(|| post().json(&body("bert")).header("content-encoding", "br"))),
        (404, "NOT_FOUND", Box::new(|| get("/nowhere"))),
        (404, "UNKNOWN_CAMPAIGN", Box::new(|| get("/api/coupons/autumn"))),
        (405, "METHOD_NOT_ALLOWED", Box::new(|| get("/api/coupons/spring/issue"))),
    ];
    for (status, code, ask) in cases {
        let plain = users.send(ask().header("x-request-id", "order-7")).await.unwrap();
        assert_eq!((plain.status, plain.code()), (status, code), "{plain:?}");
        assert_eq!(plain.header("content-type"), Some("application/json"), "{plain:?}");
        assert!(plain.body.get("type").is_none() && plain.header("x-request-id") == Some("order-7"), "{plain:?}");

        let asked = ask().header("x-request-id", "order-8").header("accept", format!("{PROBLEM}, */*;q=0.5"));
        let told = users.send(asked).await.unwrap();
        assert_eq!((told.status, told.header("content-type")), (status, Some(PROBLEM)), "{told:?}");
        assert_eq!(told.header("x-request-id"), Some("order-8"), "{told:?}");
        let kind = format!("urn:coupon-operator:problem:{}", code.to_lowercase().replace('_', "-"));
        assert_eq!(
            (told.body["type"].as_str(), told.body["status"].as_u64()),
            (Some(kind.as_str()), Some(status.into()))
        );
        assert!(told.body["title"].is_string() && told.body["detail"] == told.body["error"], "{told:?}");
        for (name, value) in plain.body.as_object().unwrap() {
            assert_eq!(&told.body[name], value, "{name}: {told:?}");
        }
    }
    let success = post().json(&body("anna")).header("idempotency-key", "first").header("accept", PROBLEM);
    let success = users.send(success).await.unwrap();
    assert_eq!(
        (success.status, success.header("content-type")),
        (200, Some("application/json")),
        "no failure, no problem"
    );
}

/// Wrong: a framework that adds a slash, or looks before it asks, is told that there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_frameworks_do_on_their_own_works() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    let slashed = users.http.post(format!("{}/", users.issue_url())).json(&serde_json::json!({ "userId": "anna" }));
    assert_eq!(users.send(slashed).await.unwrap().rank(), 1);
    let reads = ["/api/coupons/spring", "/api/coupons/spring/users/anna", "/openapi.json"];
    let slashed = reads.map(|path| format!("{path}/"));
    for path in reads.iter().copied().chain(slashed.iter().map(String::as_str)) {
        let told = users.get(path).await;
        assert_eq!(told.status, 200, "{path}: {told:?}");
        let ask = |method| users.http.request(method, format!("{}{path}", users.base)).send();
        let head = ask(Method::HEAD).await.unwrap();
        assert_eq!(
            (head.status(), &head.headers()["content-type"]),
            (told.status.try_into().unwrap(), &told.headers["content-type"])
        );
        assert_eq!(head.bytes().await.unwrap().len(), 0, "{path}");
        let options = ask(Method::OPTIONS).await.unwrap();
        assert_eq!(options.status().as_u16(), 204, "{path}");
        assert_eq!(options.headers()["allow"], "GET, HEAD, OPTIONS", "{path}");
        let refused = users.send(users.http.put(format!("{}{path}", users.base))).await.unwrap();
        let allowed: BTreeSet<&str> = refused.header("allow").unwrap().split(',').map(str::trim).collect();
        assert_eq!((refused.status, allowed), (405, BTreeSet::from(["GET", "HEAD", "OPTIONS"])), "{path}");
    }
    for path in [users.issue_url(), format!("{}/", users.issue_url())] {
        let options = users.http.request(Method::OPTIONS, &path).send().await.unwrap();
        assert_eq!(options.status().as_u16(), 204, "{path}");
        assert_eq!(options.headers()["allow"], "OPTIONS, POST", "{path}");
        let refused = users.send(users.http.get(&path)).await.unwrap();
        let allowed: BTreeSet<&str> = refused.header("allow").unwrap().split(',').map(str::trim).collect();
        assert_eq!((refused.status, allowed), (405, BTreeSet::from(["OPTIONS", "POST"])), "{path}");
    }
    for nothing in ["/nowhere", "/api/coupons/spring/issue/more", "/api/coupons/spring//"] {
        let options = users.http.request(Method::OPTIONS, format!("{}{nothing}", users.base)).send().await.unwrap();
        assert_eq!(options.status().as_u16(), 404, "{nothing}");
    }
    assert_eq!(fixture.state().await.issued, 1);
}

/// Wrong: a page of the shop cannot ask, cannot read why it was refused, or a page of anybody's can.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_known_origin_may_ask_and_read_every_answer() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let issuer =
        fixture.start(&fixture.workload, &["--cors-origin", "https://shop.example,http://localhost:8000"]).await;
    issuer.wait_ready().await;
    let users = &issuer.users;
    let ask = |origin: &str, user: &str| {
        let body = serde_json::json!({ "userId": user });
        users.send(users.http.post(users.issue_url()).header("origin", origin).json(&body))
    };
    let told = ask("https://shop.example", "anna").await.unwrap();
    assert_eq!((told.rank(), told.header("access-control-allow-origin")), (1, Some("https://shop.example")));
    assert_eq!(told.header("vary"), Some("origin"));
    let exposed = told.header("access-control-expose-headers").unwrap();
    for name in
        ["idempotency-key", "coupon-key-minted", "retry-after", "www-authenticate", "x-request-id", "traceparent"]
    {
        assert!(exposed.split(", ").any(|each| each == name), "{exposed}");
    }
    let refused = ask("http://localhost:8000", "").await.unwrap();
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (422, Some("http://localhost:8000")));
    let stranger = ask("https://evil.example", "bert").await.unwrap();
    assert_eq!((stranger.header("access-control-allow-origin"), stranger.header("vary")), (None, Some("origin")));

    let preflight = |origin: &'static str| {
        let asked = users.http.request(Method::OPTIONS, users.issue_url()).header("origin", origin);
        asked
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,idempotency-key")
            .send()
    };
    let told = preflight("https://shop.example").await.unwrap();
    assert_eq!(told.status().as_u16(), 204);
    let fields = told.headers();
    assert_eq!(fields["access-control-allow-origin"], "https://shop.example");
    assert_eq!(fields["access-control-allow-methods"], "GET, HEAD, POST");
    let sent = "authorization, content-type, idempotency-key, x-request-id, traceparent";
    assert_eq!(fields["access-control-allow-headers"], sent);
    assert_eq!(fields["access-control-max-age"], "600");
    assert!(!fields.contains_key("access-control-allow-credentials"));
    let told = preflight("https://evil.example").await.unwrap();
    assert!(!told.headers().contains_key("access-control-allow-methods"), "{told:?}");

    let closed = fixture.ready().await;
    let told =
        closed.users.send(closed.users.http.post(closed.users.issue_url()).header("origin", "https://shop.example"));
    let told = told.await.unwrap();
    assert_eq!((told.header("access-control-allow-origin"), told.header("vary")), (None, None), "without the setting");
}

/// Wrong: a client that may win twice with one wish, as it sends no key, is never told.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_key_where_each_request_is_a_wish_is_warned() {
    for (limit, warned) in [(1, None), (2, Some("true"))] {
        let fixture = Fixture::open(terms(100, limit)).await;
        let issuer = fixture.ready().await;
        let users: &Users = &issuer.users;
        let told = users.ask("anna").await;
        assert_eq!((told.rank(), told.header("coupon-key-minted")), (1, warned), "{limit}: {told:?}");
        let minted = told.header("idempotency-key").unwrap();
        assert_eq!(users.ask_with("anna", minted).await.header("coupon-key-minted"), None, "who sends a key has one");
        assert_eq!(users.ask_with("bert", "mine").await.header("coupon-key-minted"), None);
    }
}
