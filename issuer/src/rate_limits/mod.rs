//! How often may be asked: of each user, of each address, and of all together, and whether a request came through the gateway at all.
//!
//! [`bucket`], [`address`] and [`table`] decide, from what they are given and the time alone.

mod address;
mod bucket;
mod refusal;
mod required_header;
mod table;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue};
use coupon_core::contract::{Network, Rate, RateLimits};
use coupon_core::identity::UserId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use self::address::Counted;
use self::bucket::{Bucket, Filling, Nanos, Wait};
pub(crate) use self::refusal::{Quota, Refusal};
use self::required_header::Required;
use self::table::Table;
use crate::metrics::{LimitLabel, Metrics};

/// How often buckets are counted, and the values of a required header are read again.
const EVERY: Duration = Duration::from_secs(5);

/// Knows who has asked how often. There is none where nothing is limited.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    began: Instant,
    required: Option<(Required, Counter)>,
    trusted: Vec<Network>,
    addresses: Option<Keyed>,
    users: Option<Keyed>,
    all: Option<Together>,
}

/// Those who have a bucket each.
#[derive(Debug)]
struct Keyed {
    /// As the policy is called.
    name: &'static str,
    table: Table,
    policy: HeaderValue,
    refused: Counter,
    in_use: Gauge,
}

/// One bucket for all.
#[derive(Debug)]
struct Together {
    filling: Filling,
    bucket: Mutex<Bucket>,
    refused: Counter,
}

impl RateLimiter {
    /// None where nothing is limited.
    ///
    /// # Errors
    /// What a header must say cannot be read.
    pub(crate) fn new(limits: &RateLimits, metrics: &Metrics) -> anyhow::Result<Option<Arc<Self>>> {
        if limits.is_empty() {
            return Ok(None);
        }
        let refused = |limit| metrics.rate_limited.get_or_create_owned(&LimitLabel { limit });
        let required = limits.required_header.as_ref().map(Required::new).transpose()?;
        let all = limits.per_pod.map(|rate| Together {
            filling: Filling::new(rate),
            bucket: Mutex::default(),
            refused: refused("pod"),
        });
        Ok(Some(Arc::new(Self {
            began: Instant::now(),
            required: required.map(|required| (required, refused("header"))),
            trusted: limits.trusted_proxies.clone(),
            addresses: limits.per_address.map(|rate| Keyed::new("address", rate, metrics)).transpose()?,
            users: limits.per_user.map(|rate| Keyed::new("user", rate, metrics)).transpose()?,
            all,
        })))
    }

    /// Whether a request is looked at, by its head and by who holds its connection.
    pub(crate) fn admit(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Refusal> {
        // First: who comes past the gateway takes nothing from those who share its address and do not.
        if let Some((required, refused)) = &self.required
            && !required.is_in(headers)
        {
            refused.inc();
            return Err(Refusal::Header);
        }
        let Some(addresses) = &self.addresses else { return Ok(()) };
        let address = address::of_request(peer, headers, &self.trusted);
        addresses.table.take(Counted::of(address), self.now()).map_err(|wait| Refusal::Address(addresses.quota(wait)))
    }

    /// Whether this user may ask once more.
    pub(crate) fn admit_user(&self, user: &UserId) -> Result<(), Refusal> {
        let Some(users) = &self.users else { return Ok(()) };
        users.table.take(user.as_str(), self.now()).map_err(|wait| Refusal::User(users.quota(wait)))
    }

    /// Whether one more request is passed on to Redis.
    pub(crate) fn admit_to_redis(&self) -> Result<(), Refusal> {
        let Some(all) = &self.all else { return Ok(()) };
        let now = self.now();
        let mut bucket = all.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(&all.filling, now).map_err(|wait| {
            all.refused.inc();
            Refusal::Pod(wait.retry_after(rand::random()))
        })
    }

    /// Keeps what is counted and what was read up to date. Never ends.
    pub(crate) async fn keep(self: Arc<Self>) {
        loop {
            for keyed in [&self.users, &self.addresses].into_iter().flatten() {
                keyed.in_use.set(i64::try_from(keyed.table.in_use(self.now())).unwrap_or(i64::MAX));
            }
            if let Some((required, _)) = &self.required {
                required.refresh().await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn now(&self) -> Nanos {
        Nanos::try_from(self.began.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }
}

impl Keyed {
    fn new(name: &'static str, rate: Rate, metrics: &Metrics) -> anyhow::Result<Self> {
        let label = LimitLabel { limit: name };
        let table = Table::new(rate, metrics.rate_limit_evictions.get_or_create_owned(&label));
        let (burst, seconds) = table.filling().quota();
        Ok(Self {
            name,
            table,
            policy: HeaderValue::try_from(format!("\"{name}\";q={burst};w={seconds}"))?,
            refused: metrics.rate_limited.get_or_create_owned(&label),
            in_use: metrics.rate_limit_buckets.get_or_create_owned(&label),
        })
    }

    /// As draft-ietf-httpapi-ratelimit-headers-11 has it.
    fn quota(&self, wait: Wait) -> Quota {
        self.refused.inc();
        let limit = format!("\"{}\";r=0;t={}", self.name, wait.soonest_seconds());
        // Of letters and digits.
        let limit = HeaderValue::try_from(limit).unwrap_or(HeaderValue::from_static(""));
        Quota { retry_after: wait.retry_after(rand::random()), policy: self.policy.clone(), limit }
    }
}

#[cfg(test)]
mod tests;
