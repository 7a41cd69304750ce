//! What users can look up.

use coupon_ledger::database::{self, StoreMode};
use coupon_testing::proxy::Proxy;

use super::fixture::{Fixture, eventually, terms};

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_says_what_and_when() {
    let mut fixture = Fixture::open(terms(2, 1)).await;
    let issuer = fixture.ready().await;
    let view = issuer.users.get("/api/coupons/spring").await.body;
    assert_eq!((view["state"].as_str(), view["open"].as_bool()), (Some("OPEN"), Some(true)), "{view}");
    assert_eq!((view["totalQuantity"].as_u64(), view["perUserLimit"].as_u64()), (Some(2), Some(1)));
    let time = |value: &serde_json::Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time(&view["window"]["start"]).as_millisecond(), fixture.terms.start_ms);
    assert!(time(&view["window"]["start"]) < time(&view["now"]) && time(&view["now"]) < time(&view["window"]["end"]));
    for user in ["anna", "bert"] {
        assert_eq!(issuer.users.ask(user).await.status, 200);
    }
    let becomes = async |state: &str| {
        eventually(state, async || {
            let view = issuer.users.get("/api/coupons/spring").await.body;
            (view["state"] == state).then_some(view)
        })
        .await
    };
    assert_eq!(becomes("SOLD_OUT").await["issuedCount"], 2);
    fixture.configure(coupon_ledger::redis::Terms { suspended: true, ..fixture.terms }).await;
    assert_eq!(becomes("SUSPENDED").await["open"], false);
    coupon_ledger::redis::close(&mut fixture.redis.clone(), &fixture.keys).await.unwrap();
    assert!(becomes("CLOSED").await["totalQuantity"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_how_far_each_coupon_has_come() {
    let fixture = Fixture::open(terms(10, 2)).await;
    let (mut connections, address) = (fixture.workload.clone(), fixture.workload.database.clone());
    let proxy = Proxy::to(format!("{}:{}", address.host, address.port)).await;
    connections.database.host = proxy.address.ip().to_string();
    connections.database.port = proxy.address.port();
    let issuer = fixture.start(&connections, &[]).await;
    issuer.wait_ready().await;
    let look = async || issuer.users.get("/api/coupons/spring/users/anna").await.body;
    assert_eq!(look().await["coupons"], serde_json::json!([]));
    issuer.users.ask_with("anna", "a").await;
    issuer.users.ask_with("anna", "b").await;
    let first = fixture.durable().await.into_values().find(|winner| winner.n == 1).unwrap();
    database::store(&fixture.pool, fixture.row, StoreMode::Direct(&[first])).await.unwrap();
    let known = async || Some(look().await).filter(|seen| seen["storedKnown"] == true);
    let seen = eventually("the database answers in time", known).await;
    // Where Kafka is slow the second one is a row as well.
    let rows = database::read_rows(&fixture.pool, &fixture.campaign, fixture.row, 0, 10).await.unwrap();
    let second = if rows.len() == 2 { "stored" } else { "accepted" };
    assert_eq!(
        seen["coupons"],
        serde_json::json!([{"rank": 1, "n": 1, "state": "stored"}, {"rank": 2, "n": 2, "state": second}])
    );

    // Without the database the answer still comes, and says what it does not know.
    proxy.cut();
    let seen = look().await;
    assert_eq!(seen["storedKnown"], false);
    assert_eq!(
        seen["coupons"],
        serde_json::json!([{"rank": 1, "n": 1, "state": "accepted"}, {"rank": 2, "n": 2, "state": "accepted"}])
    );
    assert_eq!(issuer.users.ask_with("bert", "c").await.rank(), 3, "issuing needs no database");
    proxy.mend();
    eventually("the database is asked again", async || (look().await["storedKnown"] == true).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_is_served() {
    let fixture = Fixture::closed(terms(1, 1)).await;
    let issuer = fixture.start(&fixture.workload, &[]).await;
    let told = issuer.users.get("/openapi.json").await;
    let copy: serde_json::Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    assert!(told.body == copy, "not the document that is checked in");
}
