//! Reads the state of a campaign in Redis and brings its terms up to date.

use coupon_core::event::MAX_NUMBER;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::error::RedisError;
use super::issue::Refusal;
use super::keys::RedisKeys;
use super::script::{CLEAR_UNREADABLE, CONFIGURE, CORRECT_TIME, OBSERVE, SUSPEND};

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
pub struct OpenInRedis {
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
pub struct RedisState {
    /// Redis' clock, milliseconds since 1970.
    pub clock_ms: i64,
    /// The time that ranks are given by, milliseconds since 1970: Redis' clock, but never behind the latest grant.
    pub now_ms: i64,
    /// The history of this Redis, now.
    pub history: String,
    /// Number of winners.
    pub issued: u64,
    /// `None` when closed, or when what is there cannot be read.
    pub open: Option<OpenInRedis>,
}

impl RedisState {
    /// Whether issuing under `epoch` can go on in this Redis as it is.
    pub fn serves(&self, epoch: u64) -> bool {
        let serves = |open: &OpenInRedis| open.epoch == epoch && open.history == self.history && open.misfit.is_none();
        self.open.as_ref().is_some_and(serves)
    }
}

/// Reads the state; writes nothing.
pub async fn observe(connection: &mut MultiplexedConnection, keys: &RedisKeys) -> Result<RedisState, RedisError> {
    let reply: Vec<String> = OBSERVE.call(connection, &keys.all(), &[] as &[&str]).await?;
    parse_state(&reply).ok_or_else(|| OBSERVE.unexpected(reply))
}

/// Removes what no script can read, and answers the names of these keys. To be called behind a fence, before Redis is filled.
pub async fn clear_unreadable(
    connection: &mut MultiplexedConnection,
    keys: &RedisKeys,
) -> Result<Vec<String>, RedisError> {
    CLEAR_UNREADABLE.call(connection, &keys.all(), &[] as &[&str]).await
}

/// Scripts compare numbers as doubles, so a change must have one that is far below what those can tell apart.
fn beyond_counting(number: u64) -> Option<String> {
    (number > MAX_NUMBER / 2).then(|| format!("the terms have number {number}, which no change can exceed"))
}

fn parse_state(reply: &[String]) -> Option<RedisState> {
    let [clock_ms, history, issued, epoch, bound, total, limit, start_ms, end_ms, suspended, highest, rest @ ..] =
        reply
    else {
        return None;
    };
    let [number, last_ms, misfit] = rest else { return None };
    let clock_ms = clock_ms.parse().ok()?;
    let open = || {
        let number: u64 = number.parse().ok()?;
        let misfit = Some(misfit.clone()).filter(|words| !words.is_empty());
        Some(OpenInRedis {
            epoch: epoch.parse().ok()?,
            history: bound.clone(),
            terms: Terms {
                total: total.parse().ok()?,
                limit: limit.parse().ok()?,
                start_ms: start_ms.parse().ok()?,
                end_ms: end_ms.parse().ok()?,
                suspended: suspended == "1",
            },
            number,
            highest: highest.parse().ok()?,
            misfit: misfit.or_else(|| beyond_counting(number)),
        })
    };
    Some(RedisState {
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
    keys: &RedisKeys,
    epoch: u64,
    terms: &NumberedTerms,
) -> Result<Configured, RedisError> {
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
pub async fn suspend(connection: &mut MultiplexedConnection, keys: &RedisKeys) -> Result<(), RedisError> {
    let status: String = SUSPEND.call(connection, &[&keys.meta], &[] as &[&str]).await?;
    match status.as_str() {
        "OK" | "CLOSED" => Ok(()),
        _ => Err(SUSPEND.unexpected(status)),
    }
}

/// Sets the time of the latest grant to Redis' clock where it is ahead of it. Also right for a campaign that is closed.
pub async fn correct_time(connection: &mut MultiplexedConnection, keys: &RedisKeys) -> Result<(), RedisError> {
    let status: String = CORRECT_TIME.call(connection, &[&keys.meta], &[] as &[&str]).await?;
    match status.as_str() {
        "OK" | "CLOSED" => Ok(()),
        _ => Err(CORRECT_TIME.unexpected(status)),
    }
}

/// Closes the campaign: no rank is given until it is rebuilt. Winners stay.
pub async fn close(connection: &mut MultiplexedConnection, keys: &RedisKeys) -> Result<(), RedisError> {
    Ok(connection.del(&keys.meta).await?)
}

/// Deletes every key of the campaign.
pub async fn forget(connection: &mut MultiplexedConnection, keys: &RedisKeys) -> Result<(), RedisError> {
    Ok(connection.unlink(keys.all().as_slice()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: terms that somebody wrote with such a number stay for good, as Redis takes no change of a lower one.
    #[test]
    fn terms_of_a_number_that_no_change_can_exceed_are_damage() {
        for (number, fits) in [
            (1, true),
            (1_000_000_000_000, true),
            (MAX_NUMBER / 2, true),
            (MAX_NUMBER / 2 + 1, false),
            (u64::MAX, false),
        ] {
            let number = number.to_string();
            let reply = ["5", "h", "0", "3", "h", "10", "1", "1", "9", "0", "0", &number, "0", ""];
            let state = parse_state(&reply.map(str::to_owned)).unwrap();
            assert_eq!(
                (state.serves(3), state.open.is_some_and(|open| open.misfit.is_none())),
                (fits, fits),
                "{number}"
            );
        }
    }
}
