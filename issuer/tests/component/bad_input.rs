//! What cannot be understood is refused with a sentence that says what to change; nothing is granted.

use super::fixture::{Fixture, Users, terms};

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_request_is_told_what_to_change() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    let post = |body: Vec<u8>| users.http.post(users.issue_url()).header("content-type", "application/json").body(body);
    let user = |id: &str| serde_json::to_vec(&serde_json::json!({ "userId": id })).unwrap();
    let long_key = "k".repeat(129);
    let form = users.http.post(users.issue_url()).header("content-type", "application/x-www-form-urlencoded");
    let form = form.body("userId=anna");
    let latin = users.http.post(users.issue_url()).header("content-type", "application/json; charset=latin1");
    let latin = latin.body(user("anna"));
    let cases = [
        ("nothing", post(vec![]), 400, "not JSON"),
        ("half of it", post(b"{\"userId\":".to_vec()), 400, "not JSON"),
        ("garbage", post(vec![0xff, 0x00, 0x17]), 400, "not JSON"),
        ("deep nesting", post([b"{\"x\":".as_slice(), &b"[".repeat(10_000)].concat()), 400, "not JSON"),
        ("an array", post(b"[\"anna\"]".to_vec()), 422, "object"),
        ("no field", post(b"{}".to_vec()), 422, "userId"),
        ("a fraction", post(b"{\"userId\":7.0}".to_vec()), 422, "as text"),
        ("a number that doubles cannot hold", post(b"{\"userId\":9007199254740993}".to_vec()), 422, "9007199254740991"),
        ("a truth", post(b"{\"userId\":true}".to_vec()), 422, "text or a whole number"),
        ("spaces", post(user("  ")), 422, "white space"),
        ("an override of direction", post(user("anna\u{202e}")), 422, "U+202E"),
        ("a joiner of no width", post(user("an\u{200d}na")), 422, "U+200D"),
        ("a line separator", post(user("an\u{2028}na")), 422, "U+2028"),
        ("empty", post(user("")), 422, "1 to 128 bytes"),
        ("a control character", post(user("a\u{7}b")), 422, "control"),
        ("129 bytes", post(user(&"x".repeat(129))), 422, "129"),
        ("129 bytes of fewer characters", post(user(&"\u{20ac}".repeat(43))), 422, "it has 129"),
        ("17 KiB", post(user(&"x".repeat(17 * 1024))), 413, "16384 bytes"),
        ("1 MB", post(user(&"x".repeat(1 << 20))), 413, "16384 bytes"),
        ("no content type", users.http.post(users.issue_url()).body(user("anna")), 415, "Content-Type"),
        ("another charset", latin, 415, "UTF-8"),
        ("a coding", post(user("anna")).header("content-encoding", "gzip"), 415, "Content-Encoding"),
        ("a form", form, 415, "Content-Type"),
        ("an empty key", post(user("anna")).header("idempotency-key", ""), 422, "Idempotency-Key"),
        ("a long key", post(user("anna")).header("idempotency-key", &long_key), 422, "128 bytes"),
        ("two keys", post(user("anna")).header("idempotency-key", "a").header("idempotency-key", "b"), 400, "once"),
    ];
    for (what, request, status, hint) in cases {
        let told = users.send(request).await.unwrap_or_else(|e| panic!("{what}: no answer: {e:?}"));
        assert_eq!((told.status, told.code()), (status, "INVALID_REQUEST"), "{what}: {told:?}");
        assert_eq!(told.body["success"], false, "{what}");
        let error = told.body["error"].as_str().unwrap();
        assert!(error.contains(hint), "{what}: {error}");
    }
    assert_eq!(fixture.state().await.issued, 0);
    assert_eq!(users.ask("anna").await.rank(), 1, "and it goes on serving");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_methods_and_campaigns_are_told_so() {
    let fixture = Fixture::open(terms(10, 1)).await;
    let issuer = fixture.ready().await;
    let users = &issuer.users;
    let other = Users::new(users.base.clone(), "autumn").ask("anna").await;
    assert_eq!((other.status, other.code()), (404, "UNKNOWN_CAMPAIGN"));
    for (path, status, code) in [
        ("/api/coupons/autumn", 404, "UNKNOWN_CAMPAIGN"),
        ("/api/coupons/autumn/users/anna", 404, "UNKNOWN_CAMPAIGN"),
        ("/", 404, "NOT_FOUND"),
        ("/api/coupons/spring/issue/more", 404, "NOT_FOUND"),
        ("/api/coupons/spring/issue", 405, "METHOD_NOT_ALLOWED"),
        ("/api/coupons/%ff", 400, "INVALID_REQUEST"),
        ("/api/coupons/spring/users/a%00b", 422, "INVALID_REQUEST"),
        ("/api/coupons/spring/users/a%E2%80%AEb", 422, "INVALID_REQUEST"),
        ("/api/coupons/spring/users/%20", 422, "INVALID_REQUEST"),
    ] {
        let told = users.get(path).await;
        assert_eq!((told.status, told.code()), (status, code), "{path}: {told:?}");
        assert_eq!(told.header("cache-control"), Some("no-store"), "{path}: {told:?}");
    }
    let told = users.send(users.http.delete(format!("{}/api/coupons/spring", users.base))).await.unwrap();
    assert_eq!((told.status, told.code()), (405, "METHOD_NOT_ALLOWED"));
    assert_eq!(fixture.state().await.issued, 0);
}
