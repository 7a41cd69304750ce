//! A gateway's header.

use serde_json::json;

use super::{issue, look_up, start, told};

/// Wrong: a client that comes through the gateway adds a header of its own, and is whom it says.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_says_who_asks_and_nobody_else_does() {
    let (fixture, issuer) = start(r#"{"header":{"name":"x-user-id"}}"#).await;
    issuer.wait_ready().await;
    let users = &issuer.users;
    let won = users.send(issue(users, &json!({})).header("X-User-Id", "anna")).await.unwrap();
    assert_eq!((won.status, won.rank()), (200, 1), "{won:?}");
    let again = issue(users, &json!({ "userId": "bert" })).header("x-user-id", "bert");
    assert_eq!(users.send(again).await.unwrap().rank(), 2);

    let refused: [&[(&str, &str)]; 6] = [
        &[],
        &[("x-user-id", "anna"), ("x-user-id", "bert")],
        &[("x-user-id", "anna"), ("x_user_id", "bert")],
        &[("x_user_id", "anna")],
        &[("x-user-id", "anna,bert")],
        &[("authorization", "Bearer a.b.c")],
    ];
    for headers in refused {
        let add = |request: reqwest::RequestBuilder| {
            headers.iter().fold(request, |all, (name, value)| all.header(*name, *value))
        };
        for request in [issue(users, &json!({ "userId": "anna" })), look_up(users, "anna")] {
            let reply = users.send(add(request)).await.unwrap();
            assert_eq!((reply.status, reply.code()), (401, "UNAUTHENTICATED"), "{headers:?}: {reply:?}");
            assert_eq!(reply.header("www-authenticate"), Some("Gateway"), "{headers:?}");
        }
    }
    let as_other = issue(users, &json!({ "userId": "anna" })).header("x-user-id", "bert");
    let other = users.send(as_other).await.unwrap();
    assert_eq!((other.status, other.code()), (403, "USER_MISMATCH"), "{other:?}");
    let (anna, nobody) = tokio::join!(
        users.send(look_up(users, "anna").header("x-user-id", "bert")),
        users.send(look_up(users, "nobody").header("x-user-id", "bert"))
    );
    assert_eq!(told(&anna.unwrap()), told(&nobody.unwrap()));
    let own = users.send(look_up(users, "bert").header("x-user-id", "bert")).await.unwrap();
    assert_eq!((own.status, &own.body["coupons"][0]["rank"]), (200, &2.into()), "{own:?}");
    assert_eq!(fixture.state().await.issued, 2);

    // A page of another origin could send this without asking, with the cookie that the gateway knows its user by.
    let simple = users.http.post(users.issue_url()).header("x-user-id", "carl").body("{}");
    assert_eq!(users.send(simple).await.unwrap().status, 415);
}
