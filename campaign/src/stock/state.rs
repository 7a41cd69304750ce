//! Reads the state of a campaign in Redis and brings its terms up to date.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::error::StockError;
use super::issue::{Grant, Refusal, winner};
use super::keys::StockKeys;
use super::script::{CLEAR_UNREADABLE, CONFIGURE, CORRECT_TIME, GRANTS, OBSERVE, SUSPEND};
use crate::event::CouponIssued;
use crate::identity::{CampaignId, RequestKey, UserId, member, parse_member};

/// What the campaign's spec says about issuing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Coupons in all.
    pub total: u64,
    /// Coupons one user may hold.
    pub limit: u32,
    /// Start of the window, milliseconds since 1970, by Redis' clock.
    pub start_ms: i64,
    /// End of the window (exclusive), milliseconds since 1970, by Redis' clock.
    pub end_ms: i64,
    /// Whether issuing is paused.
    pub suspended: bool,
}

impl Terms {
    /// As the change of this number, which SQL has given.
    pub fn numbered(self, number: u64) -> NumberedTerms {
        NumberedTerms { number, terms: self }
    }
}

/// A change of terms, and its place in the order of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberedTerms {
    /// Its number.
    pub number: u64,
    /// The terms.
    pub terms: Terms,
}

impl NumberedTerms {
    pub(super) fn arguments(&self) -> [String; 6] {
        let Terms { total, limit, start_ms, end_ms, suspended } = self.terms;
        [
            total.to_string(),
            limit.to_string(),
            start_ms.to_string(),
            end_ms.to_string(),
            String::from(if suspended { "1" } else { "0" }),
            self.number.to_string(),
        ]
    }
}

/// A campaign that has a meta key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStock {
    /// Epoch of the ledger it was built from.
    pub epoch: u64,
    /// The Redis history it was built in.
    pub history: String,
    /// Terms in force.
    pub terms: Terms,
    /// Number of the change that brought them; suspending has none.
    pub number: u64,
    /// Highest rank ever given.
    pub highest: u64,
    /// What does not fit together in its keys, if anything does not (`lua/whole.lua`): it grants nothing until it is repaired.
    pub misfit: Option<String>,
}

/// What Redis holds for a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockState {
    /// Redis' clock, milliseconds since 1970.
    pub clock_ms: i64,
    /// The time that ranks are given by, milliseconds since 1970: Redis' clock, but never behind the latest grant.
    pub now_ms: i64,
    /// The history of this Redis, now.
    pub history: String,
    /// Number of winners.
    pub issued: u64,
    /// `None` when closed, or when what is there cannot be read.
    pub open: Option<OpenStock>,
}

impl StockState {
    /// Whether issuing under `epoch` can go on in this Redis as it is.
    pub fn serves(&self, epoch: u64) -> bool {
        let serves = |open: &OpenStock| open.epoch == epoch && open.history == self.history && open.misfit.is_none();
        self.open.as_ref().is_some_and(serves)
    }
}

/// Reads the state; writes nothing.
pub async fn observe(connection: &mut MultiplexedConnection, keys: &StockKeys) -> Result<StockState, StockError> {
    let reply: Vec<String> = OBSERVE.call(connection, &keys.all(), &[] as &[&str]).await?;
    parse_state(&reply).ok_or_else(|| OBSERVE.unexpected(reply))
}

/// Removes what no script can read, and answers the names of these keys. To be called behind a fence, before Redis is filled.
pub async fn clear_unreadable(
    connection: &mut MultiplexedConnection,
    keys: &StockKeys,
) -> Result<Vec<String>, StockError> {
    CLEAR_UNREADABLE.call(connection, &keys.all(), &[] as &[&str]).await
}

fn parse_state(reply: &[String]) -> Option<StockState> {
    let [clock_ms, history, issued, epoch, bound, total, limit, start_ms, end_ms, suspended, highest, rest @ ..] =
        reply
    else {
        return None;
    };
    let [number, last_ms, misfit] = rest else { return None };
    let clock_ms = clock_ms.parse().ok()?;
    let open = || {
        Some(OpenStock {
            epoch: epoch.parse().ok()?,
            history: bound.clone(),
            terms: Terms {
                total: total.parse().ok()?,
                limit: limit.parse().ok()?,
                start_ms: start_ms.parse().ok()?,
                end_ms: end_ms.parse().ok()?,
                suspended: suspended == "1",
            },
            number: number.parse().ok()?,
            highest: highest.parse().ok()?,
            misfit: Some(misfit.clone()).filter(|words| !words.is_empty()),
        })
    };
    Some(StockState {
        clock_ms,
        // As in issue.lua.
        now_ms: last_ms.parse().map_or(clock_ms, |last_ms: i64| last_ms.max(clock_ms)),
        history: history.clone(),
        issued: issued.parse().ok()?,
        open: open(),
    })
}

/// The outcome of [`configure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configured {
    /// The terms are in force.
    Done,
    /// Nothing was written: the total would fall below a rank that was given.
    BelowHighest {
        /// Highest rank given.
        highest: u64,
    },
    /// Nothing was written: a newer change is in force.
    Superseded,
    /// Nothing was written: this Redis does not serve the epoch.
    Refused(Refusal),
}

/// Brings the terms of an open campaign up to date.
pub async fn configure(
    connection: &mut MultiplexedConnection,
    keys: &StockKeys,
    epoch: u64,
    terms: &NumberedTerms,
) -> Result<Configured, StockError> {
    let mut arguments = vec![epoch.to_string()];
    arguments.extend(terms.arguments());
    let (status, highest): (String, u64) = CONFIGURE.call(connection, &[&keys.meta], &arguments).await?;
    match status.as_str() {
        "OK" => Ok(Configured::Done),
        "BELOW" => Ok(Configured::BelowHighest { highest }),
        "OLD" => Ok(Configured::Superseded),
        "CLOSED" => Ok(Configured::Refused(Refusal::Closed)),
        "HISTORY" => Ok(Configured::Refused(Refusal::HistoryChanged)),
        "EPOCH" => Ok(Configured::Refused(Refusal::OtherEpoch { current: 0 })),
        _ => Err(CONFIGURE.unexpected(status)),
    }
}

/// Stops issuing, in whatever order with other changes. Also right for a campaign that is closed.
pub async fn suspend(connection: &mut MultiplexedConnection, keys: &StockKeys) -> Result<(), StockError> {
    let status: String = SUSPEND.call(connection, &[&keys.meta], &[] as &[&str]).await?;
    match status.as_str() {
        "OK" | "CLOSED" => Ok(()),
        _ => Err(SUSPEND.unexpected(status)),
    }
}

/// Sets the time of the latest grant to Redis' clock where it is ahead of it. Also right for a campaign that is closed.
pub async fn correct_time(connection: &mut MultiplexedConnection, keys: &StockKeys) -> Result<(), StockError> {
    let status: String = CORRECT_TIME.call(connection, &[&keys.meta], &[] as &[&str]).await?;
    match status.as_str() {
        "OK" | "CLOSED" => Ok(()),
        _ => Err(CORRECT_TIME.unexpected(status)),
    }
}

/// Closes the campaign: no rank is given until it is rebuilt. Winners stay.
pub async fn close(connection: &mut MultiplexedConnection, keys: &StockKeys) -> Result<(), StockError> {
    Ok(connection.del(&keys.meta).await?)
}

/// Deletes every key of the campaign.
pub async fn forget(connection: &mut MultiplexedConnection, keys: &StockKeys) -> Result<(), StockError> {
    Ok(connection.unlink(keys.all().as_slice()).await?)
}

/// One coupon that Redis knows a user to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who.
    pub user: UserId,
    /// Place in the order of winners.
    pub rank: u64,
    /// The user's n-th coupon.
    pub n: u32,
    /// When it was granted, milliseconds since 1970, and by which request; `None` when Redis lost that record.
    pub granted: Option<(i64, RequestKey)>,
}

impl Held {
    /// When it was granted, milliseconds since 1970, and the request that won it. Where Redis lost that record the rank
    /// still stands: a made-up key takes its place, so that a repetition is seen as another request.
    pub fn granted_or_recovered(&self) -> (i64, RequestKey) {
        self.granted.clone().unwrap_or_else(|| (0, RequestKey::recovered(self.rank)))
    }

    /// The event that makes it durable, under `epoch`: the one that the same call found in force.
    pub fn event(&self, campaign: &CampaignId, epoch: u64, issued_count: u64) -> CouponIssued {
        let (granted_ms, key) = self.granted_or_recovered();
        let grant = Grant { rank: self.rank, n: self.n, issued_count, granted_ms, key };
        winner(campaign, epoch, &self.user, &grant)
    }
}

/// What Redis says of some ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grants {
    /// This Redis serves.
    Found {
        /// The epoch in force when the ranks were read.
        epoch: u64,
        /// Number of winners.
        issued: u64,
        /// One per rank that was asked for, in order; `None` when nobody holds it.
        held: Vec<Option<Held>>,
    },
    /// This Redis does not serve the campaign.
    Refused(Refusal),
}

/// Who holds these ranks, and the epoch in force, in one call. At most [`MAX_BATCH`](super::MAX_BATCH) ranks.
pub async fn grants(
    connection: &mut MultiplexedConnection,
    keys: &StockKeys,
    ranks: &[u64],
) -> Result<Grants, StockError> {
    let (header, flat): (Vec<String>, Vec<String>) =
        GRANTS.call(connection, &[&keys.meta, &keys.issued, &keys.request], ranks).await?;
    parse_grants(&header, &flat, ranks).ok_or_else(|| GRANTS.unexpected((header, flat.len())))
}

fn parse_grants(header: &[String], flat: &[String], ranks: &[u64]) -> Option<Grants> {
    match header.first()?.as_str() {
        "CLOSED" => return Some(Grants::Refused(Refusal::Closed)),
        "HISTORY" => return Some(Grants::Refused(Refusal::HistoryChanged)),
        "OK" if flat.len() == 2 * ranks.len() => {}
        _ => return None,
    }
    let held = flat.chunks_exact(2).zip(ranks).map(|(pair, rank)| {
        let (n, user) = parse_member(&pair[0])?;
        Some(Held { user, rank: *rank, n, granted: parse_request(&pair[1]) })
    });
    Some(Grants::Found {
        epoch: header.get(1)?.parse().ok()?,
        issued: header.get(2)?.parse().ok()?,
        held: held.collect(),
    })
}

fn parse_request(text: &str) -> Option<(i64, RequestKey)> {
    let (ms, key) = text.split_once(':')?;
    Some((ms.parse().ok()?, RequestKey::new(key).ok()?))
}

/// The coupons of one user, lowest n first. `None` when the campaign is closed.
pub async fn held_by(
    connection: &mut MultiplexedConnection,
    keys: &StockKeys,
    user: &UserId,
) -> Result<Option<Vec<Held>>, StockError> {
    let limit: Option<u32> = connection.hget(&keys.meta, "limit").await?;
    let Some(limit) = limit else { return Ok(None) };
    let members: Vec<String> = (1..=limit).map(|n| member(n, user)).collect();
    let (ranks, requests): (Vec<Option<u64>>, Vec<Option<String>>) = redis::pipe()
        .cmd("ZMSCORE")
        .arg(&keys.issued)
        .arg(&members)
        .cmd("HMGET")
        .arg(&keys.request)
        .arg(&members)
        .query_async(connection)
        .await?;
    let held = (1..=limit).zip(ranks.into_iter().zip(requests)).filter_map(|(n, (rank, request))| {
        Some(Held { user: user.clone(), rank: rank?, n, granted: request.as_deref().and_then(parse_request) })
    });
    Ok(Some(held.collect()))
}

/// The rank at which Redis has the holder of each of these coupons; `None`: at none.
pub async fn ranks_of(
    connection: &mut MultiplexedConnection,
    keys: &StockKeys,
    coupons: &[CouponIssued],
) -> Result<Vec<Option<u64>>, StockError> {
    if coupons.is_empty() {
        return Ok(Vec::new());
    }
    let members: Vec<String> = coupons.iter().map(|coupon| member(coupon.n, &coupon.user_id)).collect();
    Ok(redis::cmd("ZMSCORE").arg(&keys.issued).arg(&members).query_async(connection).await?)
}

/// Winners with ranks from `from` on, lowest first, at most `count` of them.
pub async fn read_winners(
    connection: &mut MultiplexedConnection,
    keys: &StockKeys,
    from: u64,
    count: usize,
) -> Result<Vec<Held>, StockError> {
    let found: Vec<(String, u64)> = redis::cmd("ZRANGE")
        .arg(&keys.issued)
        .arg(from)
        .arg("+inf")
        .arg("BYSCORE")
        .arg("LIMIT")
        .arg(0)
        .arg(count)
        .arg("WITHSCORES")
        .query_async(connection)
        .await?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let members: Vec<&str> = found.iter().map(|(member, _)| member.as_str()).collect();
    let requests: Vec<Option<String>> =
        redis::cmd("HMGET").arg(&keys.request).arg(&members).query_async(connection).await?;
    let winners = found.iter().zip(requests).filter_map(|((member, rank), request)| {
        let (n, user) = parse_member(member)?;
        Some(Held { user, rank: *rank, n, granted: request.as_deref().and_then(parse_request) })
    });
    Ok(winners.collect())
}
