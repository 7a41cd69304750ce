//! Users who ask issuers for coupons, all at once, and what they were answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt};
use serde::Deserialize;

/// What one user was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Who asked.
    pub user: String,
    /// HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The answer's code; `ISSUED` for a success, the failure's text when there was no answer.
    pub code: String,
    /// The rank, of a success.
    pub rank: Option<u64>,
    /// How long it took.
    pub took: Duration,
}

impl Response {
    /// Whether the answer was "issued".
    pub fn issued(&self) -> bool {
        self.status == 200
    }
}

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    rank: Option<u64>,
    #[serde(default)]
    code: Option<String>,
}

/// Asks the issuers of one campaign.
#[derive(Debug, Clone)]
pub struct IssuerClient {
    http: reqwest::Client,
    base: String,
    coupon_id: String,
}

impl IssuerClient {
    /// `base` is `http://host:port`.
    pub fn new(base: &str, coupon_id: &str) -> Result<Self> {
        Self::with_patience(base, coupon_id, Duration::from_secs(15))
    }

    /// The same; a request without an answer is given up after `patience`.
    pub fn with_patience(base: &str, coupon_id: &str, patience: Duration) -> Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(patience)
            .connect_timeout(Duration::from_secs(5))
            .build()
            .context("no HTTP client")?;
        Ok(Self { http, base: base.to_owned(), coupon_id: coupon_id.to_owned() })
    }

    /// URL below `/api/coupons/{id}`.
    pub fn url(&self, rest: &str) -> String {
        format!("{}/api/coupons/{}{rest}", self.base, self.coupon_id)
    }

    /// The HTTP client, for requests of other kinds.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// One user asks once.
    pub async fn ask(&self, user: &str, key: Option<&str>) -> Response {
        let begin = Instant::now();
        let mut request = self.http.post(self.url("/issue")).json(&serde_json::json!({"userId": user}));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answered = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>((status, response.json::<Body>().await?))
        };
        let (status, code, rank) = match answered.await {
            Ok((200, body)) => (200, "ISSUED".to_owned(), body.rank),
            Ok((status, body)) => (status, body.code.unwrap_or_default(), None),
            Err(error) => (0, format!("{error:?}"), None),
        };
        Response { user: user.to_owned(), status, code, rank, took: begin.elapsed() }
    }

    /// One user asks until the answer is not "try again", at most for `patience`.
    pub async fn insist(&self, user: &str, key: Option<&str>, patience: Duration) -> Response {
        let begin = Instant::now();
        loop {
            let heard = self.ask(user, key).await;
            if !matches!(heard.status, 0 | 502..=504) || begin.elapsed() >= patience {
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Everybody asks at once.
    pub async fn rush(&self, users: &[String]) -> Vec<Response> {
        stream::iter(users.iter().map(|user| self.ask(user, None))).buffer_unordered(users.len().max(1)).collect().await
    }
}

/// `count` users with names of their own.
pub fn users(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{prefix}-{number:05}")).collect()
}

/// How many were answered with this code.
pub fn count_code(all: &[Response], code: &str) -> usize {
    all.iter().filter(|each| each.code == code).count()
}

/// Ranks of those who heard "issued", ascending.
pub fn ranks(all: &[Response]) -> Vec<u64> {
    let mut ranks: Vec<u64> = all.iter().filter_map(|each| each.rank).collect();
    ranks.sort_unstable();
    ranks
}

/// The time within which 99 of 100 were answered, in milliseconds (nearest rank).
pub fn p99_ms(all: &[Response]) -> u128 {
    let mut times: Vec<u128> = all.iter().map(|each| each.took.as_millis()).collect();
    times.sort_unstable();
    let index = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(index).copied().unwrap_or(0)
}
