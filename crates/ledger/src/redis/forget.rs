//! Puts what a user holds in Redis under pseudonyms.

use std::collections::BTreeSet;

use coupon_core::identity::UserId;
use redis::aio::MultiplexedConnection;

use super::error::RedisError;
use super::keys::RedisKeys;
use super::script::FORGET;

/// The n-th places of ranks that are only kept begin here: far above every limit, so that they take no place of their users'.
const KEPT_N: u32 = 1_000_000;

/// The n under which a rank is kept that its user gave up: it is nobody's n-th coupon.
pub fn kept_n(rank: u64) -> u32 {
    u32::try_from(rank).unwrap_or(u32::MAX).saturating_add(KEPT_N)
}

/// A coupon as Redis names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The user's n-th coupon.
    pub n: u32,
    /// Place in the order of winners.
    pub rank: u64,
}

/// What the user holds: up to the limit in force, and of `further` n.
pub async fn places_of(
    connection: &mut MultiplexedConnection,
    keys: &RedisKeys,
    user: &UserId,
    further: &BTreeSet<u32>,
) -> Result<Vec<Place>, RedisError> {
    rename(connection, keys, user, further, &[]).await
}

/// Puts these coupons of the user's under pseudonyms, those that are still held as they are given. Answers what the user holds after it.
pub async fn rename(
    connection: &mut MultiplexedConnection,
    keys: &RedisKeys,
    user: &UserId,
    further: &BTreeSet<u32>,
    coupons: &[(Place, &UserId)],
) -> Result<Vec<Place>, RedisError> {
    let mut arguments = vec![user.as_str().to_owned(), further.len().to_string()];
    arguments.extend(further.iter().map(u32::to_string));
    for (Place { n, rank }, pseudonym) in coupons {
        arguments.extend([n.to_string(), rank.to_string(), pseudonym.as_str().to_owned()]);
    }
    let flat: Vec<String> =
        FORGET.call(connection, &[&keys.meta, &keys.issued, &keys.count, &keys.request], &arguments).await?;
    let place = |pair: &[String]| Some(Place { n: pair.first()?.parse().ok()?, rank: pair.get(1)?.parse().ok()? });
    flat.chunks(2).map(place).collect::<Option<Vec<_>>>().ok_or_else(|| FORGET.unexpected(flat))
}
