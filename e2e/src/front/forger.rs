//! Those who ask as somebody else, with tokens that they have made up, or with good ones of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use coupon_testing::tokens::{Signer, now, sign_hmac, unsigned};
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use strum::IntoEnumIterator;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::crowd::Person;
use super::provider::Provider;
use crate::issuer_client::IssuerClient;

/// Forged requests a second.
const RATE: u32 = 40;
/// What differs between two answers that say the same.
const CHANGING: [&str; 7] =
    ["connection", "date", "retry-after", "x-request-id", "x-envoy-upstream-service-time", "keep-alive", "server"];

/// A way to ask as somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::EnumIter)]
#[strum(serialize_all = "kebab-case")]
pub enum Forgery {
    /// No token at all, the victim's id in the body.
    NoToken,
    /// No token, and a header that a gateway might have set.
    GatewaysHeader,
    /// The token in the URL, where logs have it.
    TokenInUrl,
    /// `alg: none`, without a signature.
    AlgorithmNone,
    /// Signed with the public key as if it were a shared secret.
    PublicKeyAsSecret,
    /// For another service.
    OtherAudience,
    /// Of another provider.
    OtherIssuer,
    /// An hour old.
    Expired,
    /// By a key that nobody has published.
    UnknownKey,
    /// By another key of the same name.
    SameName,
    /// A good token, changed to say another user.
    ChangedUser,
    /// A good token of one's own, and the victim's id in the body.
    OthersBody,
    /// A good token of one's own, and a header that names the victim.
    OthersHeader,
    /// A good token of one's own, and the victim's holdings.
    OthersHoldings,
    /// A good token of one's own, and the victim's key: it is no key to the victim's coupon.
    OthersKey,
}

impl Forgery {
    /// Status and code of the refusal.
    pub fn refusal(self) -> (u16, &'static str) {
        match self {
            Self::NoToken | Self::GatewaysHeader | Self::TokenInUrl => (401, "UNAUTHENTICATED"),
            Self::OthersBody | Self::OthersHeader | Self::OthersHoldings => (403, "USER_MISMATCH"),
            // The one who asks holds one already.
            Self::OthersKey => (400, "ALREADY_ISSUED"),
            _ => (401, "INVALID_TOKEN"),
        }
    }

    /// The request of `forger`, who has a coupon, as `victim`, who has another one.
    fn request(self, to: &IssuerClient, provider: &Provider, forger: &Person, victim: &Person) -> RequestBuilder {
        let (http, signer) = (to.http(), provider.signer());
        let own = provider.token(&forger.name);
        let claims = Provider::claims(&victim.name);
        let issue = |body: &Value, key: &str| http.post(to.url("/issue")).header("Idempotency-Key", key).json(body);
        let as_victim = |token: &str| issue(&json!({}), &victim.key).bearer_auth(token);
        let saying = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            as_victim(&signer.sign(&claims))
        };
        let named = json!({"userId": victim.name});
        match self {
            Self::NoToken => issue(&named, &victim.key),
            Self::GatewaysHeader => issue(&named, &victim.key).header("X-User-Id", &victim.name),
            Self::TokenInUrl => http.post(to.url(&format!("/issue?access_token={own}"))).json(&json!({})),
            Self::AlgorithmNone => {
                let head = json!({"typ": "JWT", "alg": "none", "kid": signer.head()["kid"].clone()});
                as_victim(&format!("{}.", unsigned(&head, &claims)))
            }
            Self::PublicKeyAsSecret => {
                let (head, jwk) = (signer.head(), signer.jwk());
                as_victim(&sign_hmac(head["kid"].as_str().unwrap_or_default(), jwk.to_string().as_bytes(), &claims))
            }
            Self::OtherAudience => saying("aud", json!("shop")),
            Self::OtherIssuer => saying("iss", json!("https://evil.example")),
            Self::Expired => saying("exp", json!(now() - 3_600)),
            Self::UnknownKey => as_victim(&Signer::p256("never-published").sign(&claims)),
            Self::SameName => as_victim(&Signer::p256(signer.head()["kid"].as_str().unwrap_or_default()).sign(&claims)),
            Self::ChangedUser => {
                let signature = own.rsplit('.').next().unwrap_or_default();
                as_victim(&format!("{}.{signature}", unsigned(&signer.head(), &claims)))
            }
            Self::OthersBody => issue(&named, &forger.key).bearer_auth(own),
            Self::OthersHeader => issue(&named, &forger.key).bearer_auth(own).header("X-User-Id", &victim.name),
            Self::OthersHoldings => http.get(to.url(&format!("/users/{}", victim.name))).bearer_auth(own),
            Self::OthersKey => issue(&json!({}), &victim.key).bearer_auth(own),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Forged {
    /// Refused as they should be, by kind.
    pub refused: BTreeMap<Forgery, u64>,
    /// Answers that were something else, in words.
    pub wrong: Vec<String>,
    /// Different answers with one code, apart from times and ids.
    answers: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Forged {
    /// How many were refused.
    pub fn count(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Codes of which two answers can be told apart: by header, body, or its length.
    pub fn told_apart(&self) -> Vec<String> {
        let apart = self.answers.iter().filter(|(_, answers)| answers.len() > 1);
        apart.map(|(code, answers)| format!("{code} in {} shapes: {answers:?}", answers.len())).collect()
    }

    /// Kinds of which none was refused.
    pub fn missing(&self) -> Vec<Forgery> {
        Forgery::iter().filter(|kind| !self.refused.contains_key(kind)).collect()
    }

    async fn hear(&mut self, kind: Forgery, answered: reqwest::Result<Response>) {
        let (status, headers, text) = match answered {
            Ok(response) => {
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                match response.text().await {
                    Ok(text) => (status, headers, text),
                    Err(error) => return self.wrong.push(format!("{kind}: {error:?}")),
                }
            }
            Err(error) => return self.wrong.push(format!("{kind}: {error:?}")),
        };
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let (expected, code) = kind.refusal();
        if (status, body["code"].as_str()) != (expected, Some(code)) || text.contains("rank") {
            return self.wrong.push(format!("{kind}: {status} {text}"));
        }
        *self.refused.entry(kind).or_default() += 1;
        // A refusal of this one is an answer to who asked, with the key that it was asked with.
        if kind != Forgery::OthersKey {
            self.answers.entry(code).or_default().insert(format!("{} {text}", steady(&headers)));
        }
    }
}

/// The headers that say something of the request.
fn steady(headers: &HeaderMap) -> String {
    let all = headers.iter().filter(|(name, _)| !CHANGING.contains(&name.as_str()));
    all.map(|(name, value)| format!("{name}: {value:?};")).collect()
}

/// Asks in every way in turn until `stop`, each as the first of two winners against the other.
pub async fn forge(
    to: &IssuerClient,
    provider: &Arc<Provider>,
    winners: impl Fn() -> Vec<Person>,
    stop: &CancellationToken,
) -> Forged {
    let mut forged = Forged::default();
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for kind in Forgery::iter().cycle() {
        ticks.tick().await;
        if stop.is_cancelled() {
            break;
        }
        // Before there are two there is nobody to be taken for.
        if let [victim, forger] = winners().as_slice() {
            let answered = kind.request(to, provider, forger, victim).send().await;
            forged.hear(kind, answered).await;
        }
    }
    forged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_one_code_must_be_one_answer() {
        let mut forged = Forged::default();
        let mut add = |code: &'static str, text: &str| {
            forged.answers.entry(code).or_default().insert(text.to_owned());
        };
        add("INVALID_TOKEN", "a");
        add("USER_MISMATCH", "b");
        add("INVALID_TOKEN", "a");
        assert_eq!(forged.told_apart(), Vec::<String>::new());
        forged.answers.entry("INVALID_TOKEN").or_default().insert("c".to_owned());
        assert_eq!(forged.told_apart().len(), 1);
        assert_eq!(forged.missing().len(), Forgery::iter().count());
    }
}
