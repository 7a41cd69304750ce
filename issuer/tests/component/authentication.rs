//! Users who are authenticated, by tokens or by a gateway's header, and everybody else.

mod attacker;
mod header;
mod keys;
mod tokens;

use coupon_testing::tokens::{AUDIENCE, ISSUER};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::fixture::{Fixture, Issuer, Reply, Users, terms};

/// The setting of tokens whose keys are there.
fn tokens_with(keys: &Value) -> String {
    let settings = json!({
        "issuer": ISSUER, "audiences": [AUDIENCE], "claim": "sub", "algorithms": ["RS256", "ES256", "EdDSA"],
        "leewaySeconds": 30, "keys": keys,
    });
    json!({ "jwt": settings }).to_string()
}

fn tokens_at(url: &str) -> String {
    tokens_with(&json!({ "url": { "url": url } }))
}

/// A sale of 1,000 coupons, of which a user may have two, and an issuer of it that authenticates users like this; not waited for.
async fn start(setting: &str) -> (Fixture, Issuer) {
    let fixture = Fixture::open(terms(1_000, 2)).await;
    let issuer = fixture.start(&fixture.workload, &["--authentication", setting]).await;
    (fixture, issuer)
}

fn issue(users: &Users, body: &Value) -> RequestBuilder {
    users.http.post(users.issue_url()).json(body)
}

fn look_up(users: &Users, user: &str) -> RequestBuilder {
    users.http.get(format!("{}/api/coupons/spring/users/{user}", users.base))
}

/// All of an answer by which two can be told apart.
fn told(reply: &Reply) -> String {
    let headers =
        reply.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "connection" | "date" | "retry-after"));
    let headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    format!("{} {} {}", reply.status, headers.join(", "), reply.body)
}
