//! Asks Redis for ranks, a batch at a time.

use std::borrow::Borrow;

use coupon_core::event::CouponIssued;
use coupon_core::identity::{CampaignId, RequestKey, UserId};
use redis::aio::MultiplexedConnection;

use super::error::RedisError;
use super::keys::RedisKeys;
use super::script::ISSUE;

/// Most requests in one call. Beyond some hundreds a longer batch costs more than it saves and holds Redis for too long.
pub const MAX_BATCH: usize = 256;

/// One user's request for one coupon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueRequest {
    /// Who asks.
    pub user: UserId,
    /// Two requests of one user with the same key are the same request, sent again.
    pub key: RequestKey,
    /// The key is ours, not the client's: with a limit of one coupon per user, the user is the key.
    pub minted: bool,
}

/// A rank that a user holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Place in the order of winners, from 1.
    pub rank: u64,
    /// The user's n-th coupon, from 1.
    pub n: u32,
    /// Coupons issued at that moment, this one included.
    pub issued_count: u64,
    /// When it was granted, milliseconds since 1970 by Redis' clock.
    pub granted_ms: i64,
    /// The request that won it.
    pub key: RequestKey,
}

/// What Redis answers to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A new rank.
    Granted(Grant),
    /// The rank that the same request got before.
    Repeated(Grant),
    /// The user holds as many as one may.
    UserLimit,
    /// All coupons are issued.
    SoldOut,
    /// The window is not open yet.
    NotStarted,
    /// The window is over.
    Ended,
    /// The campaign is suspended.
    Suspended,
    /// What Redis said of this request cannot be read: the user may hold a coupon. The others of the batch are not touched by it.
    Unreadable,
}

/// Redis answered a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Redis' clock, milliseconds since 1970.
    pub now_ms: i64,
    /// Coupons in all.
    pub total: u64,
    /// Coupons one user may hold.
    pub limit: u32,
    /// Coupons issued so far.
    pub issued: u64,
    /// Highest rank ever given.
    pub highest: u64,
    /// Start of the window, milliseconds since 1970.
    pub start_ms: i64,
    /// End of the window, milliseconds since 1970.
    pub end_ms: i64,
    /// Whether nobody is given anything for now.
    pub suspended: bool,
    /// One answer per request, in order.
    pub answers: Vec<Answer>,
}

/// Redis did nothing, because this caller must not be served from this Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The campaign has no meta key. Absent is closed, never full.
    Closed,
    /// Another epoch is in force.
    OtherEpoch {
        /// The epoch that Redis holds.
        current: u64,
    },
    /// This is not the Redis history that the ledger was built in: grants may be missing.
    HistoryChanged,
    /// Ranks that the caller has seen are missing here.
    Behind,
    /// Its keys do not fit together (`lua/whole.lua`). It was closed on the spot.
    Damaged,
}

/// The outcome of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Each request was answered.
    Answered(Batch),
    /// Nothing was done.
    Refused(Refusal),
}

/// Asks for at most [`MAX_BATCH`] ranks under `epoch`. `seen` is the highest rank that the caller has ever seen.
/// Sending the same requests again grants nothing twice, so a call whose outcome is unknown may be repeated as it was.
pub async fn issue(
    connection: &mut MultiplexedConnection,
    keys: &RedisKeys,
    epoch: u64,
    seen: u64,
    requests: &[impl Borrow<IssueRequest>],
) -> Result<Reply, RedisError> {
    let mut arguments: Vec<&str> = Vec::with_capacity(2 + 3 * requests.len());
    let (epoch, seen) = (epoch.to_string(), seen.to_string());
    arguments.extend([epoch.as_str(), seen.as_str()]);
    for request in requests.iter().map(Borrow::borrow) {
        arguments.extend([request.user.as_str(), request.key.as_str(), if request.minted { "1" } else { "0" }]);
    }
    let (header, flat): (Vec<redis::Value>, Vec<redis::Value>) =
        ISSUE.call(connection, &keys.all(), &arguments).await?;
    parse(&header, &flat, requests).ok_or_else(|| ISSUE.unexpected((header, flat.len())))
}

fn number(value: &redis::Value) -> Option<i64> {
    match value {
        redis::Value::Int(n) => Some(*n),
        redis::Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

fn natural(value: &redis::Value) -> Option<u64> {
    number(value).and_then(|n| u64::try_from(n).ok())
}

fn parse(header: &[redis::Value], flat: &[redis::Value], requests: &[impl Borrow<IssueRequest>]) -> Option<Reply> {
    let redis::Value::BulkString(status) = header.first()? else { return None };
    match status.as_slice() {
        b"CLOSED" => return Some(Reply::Refused(Refusal::Closed)),
        b"HISTORY" => return Some(Reply::Refused(Refusal::HistoryChanged)),
        b"BEHIND" => return Some(Reply::Refused(Refusal::Behind)),
        b"DAMAGED" => return Some(Reply::Refused(Refusal::Damaged)),
        b"EPOCH" => return Some(Reply::Refused(Refusal::OtherEpoch { current: natural(header.get(2)?)? })),
        b"OK" => {}
        _ => return None,
    }
    let now_ms = number(header.get(1)?)?;
    let (plain, others) = requests.split_at_checked(usize::try_from(natural(header.get(10)?)?).ok()?)?;
    if flat.len() != 6 * others.len() {
        return None;
    }
    let (rank, issued) = (natural(header.get(11)?)?, natural(header.get(12)?)?);
    let mut answers = Vec::with_capacity(requests.len());
    for (place, request) in (1..).zip(plain) {
        answers.push(Answer::Granted(Grant {
            rank: rank.checked_add(place)?,
            n: 1,
            issued_count: issued.checked_add(place)?,
            granted_ms: now_ms,
            key: request.borrow().key.clone(),
        }));
    }
    let others = flat.chunks_exact(6).zip(others);
    answers.extend(others.map(|(entry, request)| answer(entry, request.borrow()).unwrap_or(Answer::Unreadable)));
    Some(Reply::Answered(Batch {
        now_ms,
        total: natural(header.get(3)?)?,
        limit: u32::try_from(number(header.get(4)?)?).ok()?,
        issued: natural(header.get(5)?)?,
        highest: natural(header.get(6)?)?,
        start_ms: number(header.get(7)?)?,
        end_ms: number(header.get(8)?)?,
        suspended: number(header.get(9)?)? != 0,
        answers,
    }))
}

fn answer(entry: &[redis::Value], request: &IssueRequest) -> Option<Answer> {
    let grant = || {
        let redis::Value::BulkString(key) = &entry[5] else { return None };
        // Only a key that is not the request's own is sent back.
        let key = match key.as_slice() {
            [] => request.key.clone(),
            other => RequestKey::new(String::from_utf8(other.to_vec()).ok()?).ok()?,
        };
        Some(Grant {
            rank: natural(&entry[1]).filter(|rank| *rank > 0)?,
            n: u32::try_from(number(&entry[2])?).ok().filter(|n| *n > 0)?,
            issued_count: natural(&entry[3])?,
            granted_ms: number(&entry[4])?,
            key,
        })
    };
    Some(match number(&entry[0])? {
        1 => Answer::Granted(grant()?),
        2 => Answer::Repeated(grant()?),
        3 => Answer::UserLimit,
        4 => Answer::SoldOut,
        5 => Answer::NotStarted,
        6 => Answer::Ended,
        7 => Answer::Suspended,
        _ => return None,
    })
}

/// The event of a grant: what goes to Kafka, and from there to SQL.
pub fn winner(campaign: &CampaignId, epoch: u64, user: &UserId, grant: &Grant) -> CouponIssued {
    CouponIssued {
        coupon_id: campaign.coupon_id().to_owned(),
        user_id: user.clone(),
        rank: grant.rank,
        issued_count: grant.issued_count,
        occurred_at: jiff::Timestamp::from_millisecond(grant.granted_ms).unwrap_or_default(),
        n: grant.n,
        epoch,
        request_key: grant.key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Value;

    fn requests(count: usize) -> Vec<IssueRequest> {
        let request =
            IssueRequest { user: UserId::new("u").unwrap(), key: RequestKey::new("mine").unwrap(), minted: false };
        vec![request; count]
    }

    fn entry(code: i64, rank: i64, n: i64, key: &str) -> Vec<Value> {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        vec![Value::Int(code), Value::Int(rank), Value::Int(n), Value::Int(1), text("1000"), text(key)]
    }

    #[test]
    fn a_key_that_is_not_sent_back_is_the_request_s_own() {
        let key = |sent: &str| match answer(&entry(2, 1, 1, sent), &requests(1)[0]) {
            Some(Answer::Repeated(grant)) => grant.key.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!((key("").as_str(), key("k").as_str()), ("mine", "k"));
    }

    /// Wrong: one record that makes no sense stops the process, and 255 bystanders hear that they may hold a coupon.
    #[test]
    fn an_answer_that_cannot_be_read_is_one_wish_only() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let mut header = vec![text("OK")];
        header.extend([1_000, 3, 10, 1, 1, 1, 0, 9_000, 0, 0, 0, 0].map(Value::Int));
        let unreadable = [
            ("without a rank", entry(2, 0, 1, "k")),
            ("without a place", entry(1, 1, 0, "k")),
            ("of an unknown code", entry(9, 1, 1, "k")),
            ("with a key that is none", entry(2, 1, 1, "\n")),
            ("without anything", vec![Value::Nil; 6]),
        ];
        for (what, bad) in unreadable {
            let flat = [entry(1, 1, 1, "k"), bad, entry(4, 0, 0, "")].concat();
            let Some(Reply::Answered(batch)) = parse(&header, &flat, &requests(3)) else { panic!("{what}") };
            assert!(matches!(batch.answers[0], Answer::Granted(_)), "{what}");
            assert_eq!(batch.answers[1..], [Answer::Unreadable, Answer::SoldOut], "{what}");
        }
        assert_eq!(parse(&header, &entry(1, 1, 1, "k"), &requests(2)), None, "answers are missing: whose is unknown");
    }

    /// Wrong: who comes behind those that need no words gets the answer of another.
    #[test]
    fn grants_in_a_row_need_no_words_of_their_own() {
        let header = |plain: i64| {
            let numbers = [1_000, 3, 10, 1, 9, 9, 0, 9_000, 0, plain, 6, 4].map(Value::Int);
            [vec![Value::BulkString(b"OK".to_vec())], numbers.to_vec()].concat()
        };
        let Some(Reply::Answered(batch)) = parse(&header(2), &entry(4, 0, 0, ""), &requests(3)) else { panic!("OK") };
        let grant = |rank, issued_count| {
            let key = RequestKey::new("mine").unwrap();
            Answer::Granted(Grant { rank, n: 1, issued_count, granted_ms: 1_000, key })
        };
        assert_eq!(batch.answers, [grant(7, 5), grant(8, 6), Answer::SoldOut]);
        for (plain, others) in [(3, entry(4, 0, 0, "")), (1, entry(4, 0, 0, "")), (4, Vec::new()), (-1, Vec::new())] {
            assert_eq!(
                parse(&header(plain), &others, &requests(3)),
                None,
                "{plain}: whose answers these are is unknown"
            );
        }
    }
}
