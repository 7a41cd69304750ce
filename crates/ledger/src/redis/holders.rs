//! Who holds which ranks in Redis.

use coupon_core::event::CouponIssued;
use coupon_core::identity::{CampaignId, RequestKey, UserId, member, parse_member};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::error::RedisError;
use super::issue::{Grant, Refusal, winner};
use super::keys::RedisKeys;
use super::script::GRANTS;

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
    keys: &RedisKeys,
    ranks: &[u64],
) -> Result<Grants, RedisError> {
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
    keys: &RedisKeys,
    user: &UserId,
) -> Result<Option<Vec<Held>>, RedisError> {
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
    keys: &RedisKeys,
    coupons: &[CouponIssued],
) -> Result<Vec<Option<u64>>, RedisError> {
    if coupons.is_empty() {
        return Ok(Vec::new());
    }
    let members: Vec<String> = coupons.iter().map(|coupon| member(coupon.n, &coupon.user_id)).collect();
    Ok(redis::cmd("ZMSCORE").arg(&keys.issued).arg(&members).query_async(connection).await?)
}

/// Winners with ranks from `from` on, lowest first, at most `count` of them.
pub async fn read_winners(
    connection: &mut MultiplexedConnection,
    keys: &RedisKeys,
    from: u64,
    count: usize,
) -> Result<Vec<Held>, RedisError> {
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

/// Who holds the ranks above `above`, lowest first, at most `count` of them: what an issuer's login may read.
pub async fn read_holders(
    connection: &mut MultiplexedConnection,
    keys: &RedisKeys,
    above: u64,
    count: usize,
) -> Result<Vec<(u64, UserId)>, RedisError> {
    let found: Vec<(String, u64)> = redis::cmd("ZRANGEBYSCORE")
        .arg(&keys.issued)
        .arg(format!("({above}"))
        .arg("+inf")
        .arg("WITHSCORES")
        .arg("LIMIT")
        .arg(0)
        .arg(count)
        .query_async(connection)
        .await?;
    Ok(found.iter().filter_map(|(member, rank)| Some((*rank, parse_member(member)?.1))).collect())
}
