//! The record of one issued coupon: JSON in the value, the user id as key, a few headers for readers that do not parse the value.

use serde::{Deserialize, Serialize};

use crate::format::{self, Newer};
use crate::identity::{CampaignId, RequestKey, UserId};
use crate::later;
use crate::shown::shown;

/// `event-type` header of every record.
pub const EVENT_TYPE: &str = "CouponIssued";
/// Header that names the kind of event.
pub const HEADER_EVENT_TYPE: &str = "event-type";
/// Header that carries the campaign's identity.
pub const HEADER_CAMPAIGN: &str = "campaign";
/// Header that carries the epoch under which the coupon was granted, in decimal.
pub const HEADER_EPOCH: &str = "epoch";
/// Header that carries the version of the record's format ([`format::EVENT`]), in decimal; without it, it is the first.
pub const HEADER_VERSION: &str = "event-version";
/// Longest record value, in bytes. Far above what the bounds of [`crate::identity`] allow.
pub const MAX_VALUE: usize = 16 * 1024;
/// Longest words of a stranger's that an error repeats, in characters.
const MAX_WORDS: usize = 200;

/// Greatest rank, count and epoch: Redis' scripts count in doubles, which hold every integer up to here. No ledger has more.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// A database that was restored may have forgotten epochs that Redis or the topic remembers. So many ahead of it are believed; one beyond them
/// is no ledger's: what somebody else wrote must not raise epochs for ever.
///
/// What this bounds: one repair, or one taking over, raises the epoch by this and one or two more at most, whatever strangers have written, as the
/// repair measures from what the database said before it began. A repair takes seconds, and those that help nobody become rare, so to
/// reach [`MAX_NUMBER`] in such steps takes some hundred thousand years.
pub const EPOCHS_AHEAD: u64 = 1_000;

/// Whether `number`, an epoch or the number of a change of terms that something else remembers, may be one that the database has forgotten, which
/// says `known`. This is the one place that decides it, for repairs, consumers and whoever takes a ledger over: what one of them believes and
/// another does not would be a winner with a rank that is given again.
pub fn is_believable(number: u64, known: u64) -> bool {
    number <= known.saturating_add(EPOCHS_AHEAD)
}

/// Name and value of a record's header.
pub type RawHeader = (String, Option<Vec<u8>>);
/// The same where somebody else keeps them.
pub type HeaderRef<'a> = (&'a str, Option<&'a [u8]>);

/// One winner: user `user_id` holds rank `rank` as their `n`-th coupon.
///
/// ```
/// use coupon_core::event::CouponIssued;
/// use coupon_core::identity::{CampaignId, RequestKey, UserId};
///
/// let campaign = CampaignId::with_default_names("prod", "shop", "spring")?;
/// let event = CouponIssued {
///     coupon_id: "spring".to_owned(),
///     user_id: UserId::new("anna")?,
///     rank: 7,
///     issued_count: 7,
///     occurred_at: jiff::Timestamp::UNIX_EPOCH,
///     n: 1,
///     epoch: 1,
///     request_key: RequestKey::new("order-4711")?,
/// };
/// let record = event.encode();
/// assert_eq!(CouponIssued::decode(&campaign, Some(&record))?, event);
/// assert!(CouponIssued::decode(&campaign, Some(b"{}")).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CouponIssued {
    /// The campaign's coupon id.
    pub coupon_id: String,
    /// Who got the coupon.
    pub user_id: UserId,
    /// Place in the order of winners, from 1.
    pub rank: u64,
    /// How many coupons were issued when this one was, itself included.
    pub issued_count: u64,
    /// When the rank was given, by Redis' clock, RFC 3339 with milliseconds.
    pub occurred_at: jiff::Timestamp,
    /// The user's n-th coupon of this campaign, from 1.
    pub n: u32,
    /// Epoch of the ledger under which the rank was given.
    pub epoch: u64,
    /// The request that won it.
    pub request_key: RequestKey,
}

/// Why a record is no winner of this campaign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No value, or one too large to be ours.
    #[error("the record's value has {0} bytes; 1 to {MAX_VALUE} were expected")]
    Size(usize),
    /// Written by a newer program: what it says is not known here. It may well be a winner.
    #[error(transparent)]
    Newer(#[from] Newer),
    /// The header is no number.
    #[error("the record's header {HEADER_VERSION} is no version: `{0}`")]
    Version(String),
    /// An event of another type.
    #[error("the record's header {HEADER_EVENT_TYPE} is `{0}`, not {EVENT_TYPE}")]
    OtherEvent(String),
    /// Not the JSON of an event.
    #[error("the record's value is not a CouponIssued event: {0}")]
    Json(String),
    /// An event of another campaign.
    #[error("the record belongs to `{found}`, not to `{expected}`")]
    OtherCampaign {
        /// The campaign, or the coupon id, in the record.
        found: String,
        /// Those of this campaign.
        expected: String,
    },
    /// Header and value speak of different epochs.
    #[error("the record's header {HEADER_EPOCH} is `{said}`, and its value is of epoch {epoch}")]
    OtherEpoch {
        /// The header.
        said: String,
        /// The epoch in the value.
        epoch: u64,
    },
    /// Rank, n or epoch is 0.
    #[error("rank, n and epoch of a record start at 1")]
    Zero,
    /// Rank, count or epoch is more than any ledger has.
    #[error("the record counts to {0}; no rank, count or epoch is above {MAX_NUMBER}")]
    TooLarge(u64),
}

impl DecodeError {
    /// Who could read it, if a newer program can.
    pub fn newer(&self) -> Option<Newer> {
        match self {
            Self::Newer(newer) => Some(newer.clone()),
            _ => None,
        }
    }
}

impl CouponIssued {
    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = Vec::new();
        self.encode_into(&mut value);
        value
    }

    /// The record's value, instead of what is in `value`.
    pub fn encode_into(&self, value: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(flatten)]
            event: &'a CouponIssued,
            later: &'static str,
        }
        value.clear();
        let written = match later::field() {
            None => serde_json::to_writer(&mut *value, self),
            Some(later) => serde_json::to_writer(&mut *value, &Written { event: self, later }),
        };
        // Plain data: strings, integers and a timestamp always serialise.
        if written.is_err() {
            value.clear();
        }
    }

    /// Reads a record of `campaign`: what its headers say of it, and then its value as [`Self::decode`] does. Headers may be missing; but
    /// a record that names itself a winner of this campaign, of a later version, is one: its value is not looked at.
    pub fn of_record(
        campaign: &CampaignId,
        headers: &[HeaderRef<'_>],
        value: Option<&[u8]>,
    ) -> Result<Self, DecodeError> {
        let said = |wanted: &str| {
            let (_, value) = headers.iter().rev().find(|(name, _)| *name == wanted)?;
            Some(String::from_utf8_lossy(value.unwrap_or_default()))
        };
        let (kind, owner) = (said(HEADER_EVENT_TYPE), said(HEADER_CAMPAIGN));
        if let Some(kind) = kind.as_ref().filter(|kind| **kind != EVENT_TYPE) {
            return Err(DecodeError::OtherEvent(shown(kind, MAX_WORDS)));
        }
        if let Some(found) = owner.as_ref().filter(|owner| !campaign.is_written(owner)) {
            return Err(DecodeError::OtherCampaign { found: shown(found, MAX_WORDS), expected: campaign.to_string() });
        }
        if let Some(version) = said(HEADER_VERSION) {
            let version = version.parse().map_err(|_| DecodeError::Version(shown(&version, 20)))?;
            if kind.is_some() && owner.is_some() {
                format::check("the record", version, format::EVENT)?;
            }
        }
        let event = Self::decode(campaign, value)?;
        match said(HEADER_EPOCH).filter(|said| said.parse() != Ok(event.epoch)) {
            Some(said) => Err(DecodeError::OtherEpoch { said: shown(&said, 20), epoch: event.epoch }),
            None => Ok(event),
        }
    }

    /// Reads a record's value and checks that it is a winner of `campaign`.
    pub fn decode(campaign: &CampaignId, value: Option<&[u8]>) -> Result<Self, DecodeError> {
        let value = value.unwrap_or_default();
        if value.is_empty() || value.len() > MAX_VALUE {
            return Err(DecodeError::Size(value.len()));
        }
        let event: Self =
            serde_json::from_slice(value).map_err(|e| DecodeError::Json(shown(&e.to_string(), MAX_WORDS)))?;
        if event.coupon_id != campaign.coupon_id() {
            return Err(DecodeError::OtherCampaign {
                found: shown(&event.coupon_id, MAX_WORDS),
                expected: campaign.coupon_id().to_owned(),
            });
        }
        if event.rank == 0 || event.n == 0 || event.epoch == 0 {
            return Err(DecodeError::Zero);
        }
        if event.rank.max(event.epoch).max(event.issued_count) > MAX_NUMBER {
            return Err(DecodeError::TooLarge(event.rank.max(event.epoch).max(event.issued_count)));
        }
        Ok(event)
    }

    /// Whether two records grant the same thing. Epoch, key and time may differ between a first record and its repetition.
    pub fn same_grant(&self, other: &Self) -> bool {
        self.coupon_id == other.coupon_id
            && self.rank == other.rank
            && self.user_id == other.user_id
            && self.n == other.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign() -> CampaignId {
        CampaignId::with_default_names("prod", "shop", "spring").unwrap()
    }

    fn event() -> CouponIssued {
        CouponIssued {
            coupon_id: "spring".into(),
            user_id: UserId::new("anna").unwrap(),
            rank: 7,
            issued_count: 7,
            occurred_at: "2026-01-01T09:00:00.125Z".parse().unwrap(),
            n: 1,
            epoch: 3,
            request_key: RequestKey::new("k1").unwrap(),
        }
    }

    #[test]
    fn the_wire_format_is_fixed() {
        let text = String::from_utf8(event().encode()).unwrap();
        assert_eq!(
            text,
            r#"{"couponId":"spring","userId":"anna","rank":7,"issuedCount":7,"occurredAt":"2026-01-01T09:00:00.125Z","n":1,"epoch":3,"requestKey":"k1"}"#
        );
        assert_eq!(CouponIssued::decode(&campaign(), Some(text.as_bytes())).unwrap(), event());
    }

    #[test]
    fn what_is_no_winner_of_ours_is_refused() {
        let decode = |text: &str| CouponIssued::decode(&campaign(), Some(text.as_bytes())).unwrap_err();
        assert_eq!(CouponIssued::decode(&campaign(), None), Err(DecodeError::Size(0)));
        assert!(matches!(decode("hello"), DecodeError::Json(_)));
        let text = String::from_utf8(event().encode()).unwrap();
        assert!(matches!(decode(&text.replace("spring", "autumn")), DecodeError::OtherCampaign { .. }));
        let strange =
            [text.replace("spring", &"\\n".repeat(5_000)), format!("{{\"{}\": 1, \"rank\": true}}", "x".repeat(9_000))];
        for error in strange.map(|text| decode(&text).to_string()) {
            assert!(error.len() < 400 && !error.contains('\n'), "{error}");
        }
        assert_eq!(decode(&text.replace("\"rank\":7", "\"rank\":0")), DecodeError::Zero);
        for (field, one) in [("rank", "\"rank\":7"), ("epoch", "\"epoch\":3"), ("issuedCount", "\"issuedCount\":7")] {
            let with = |number: u64| text.replace(one, &format!("\"{field}\":{number}"));
            assert_eq!(decode(&with(u64::MAX)), DecodeError::TooLarge(u64::MAX), "{field}");
            assert_eq!(decode(&with(MAX_NUMBER + 1)), DecodeError::TooLarge(MAX_NUMBER + 1), "{field}");
            assert!(CouponIssued::decode(&campaign(), Some(with(MAX_NUMBER).as_bytes())).is_ok(), "{field}");
        }
        assert!(matches!(decode(&text.replace("anna", "")), DecodeError::Json(_)), "an empty user id is no user");
        assert_eq!(decode(&"x".repeat(MAX_VALUE + 1)), DecodeError::Size(MAX_VALUE + 1));
    }

    /// Wrong: what a newer program wrote is taken for something else, what an older one wrote for nothing, or what says of itself that it
    /// is another campaign's or another event for a winner.
    #[test]
    fn a_records_headers_decide_whether_its_value_is_read() {
        const OURS: [(&str, Option<&str>); 2] =
            [("event-type", Some("CouponIssued")), ("campaign", Some("prod/shop/spring"))];
        let read = |headers: &[(&str, Option<&str>)], value: &[u8]| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.map(str::as_bytes))).collect();
            CouponIssued::of_record(&campaign(), &headers, Some(value))
        };
        let version = |text| ("event-version", Some(text));
        let newer = || DecodeError::Newer(Newer { what: "the record", found: 2, known: format::EVENT });
        let other =
            |found: &str| DecodeError::OtherCampaign { found: found.into(), expected: "prod/shop/spring".into() };
        let value = event().encode();
        for (headers, expected) in [
            (vec![], Ok(event())),
            (OURS.to_vec(), Ok(event())),
            ([&OURS[..], &[version("1")]].concat(), Ok(event())),
            ([&OURS[..], &[version("2")]].concat(), Err(newer())),
            ([&OURS[..], &[version("1"), version("2")]].concat(), Err(newer())),
            (vec![version("2")], Ok(event())),
            (vec![version("two")], Err(DecodeError::Version("two".into()))),
            (vec![version("-1")], Err(DecodeError::Version("-1".into()))),
            (vec![version("99999999999999999999x")], Err(DecodeError::Version("99999999999999999999".into()))),
            (vec![("epoch", Some("3"))], Ok(event())),
            (vec![("epoch", Some("7")), ("epoch", Some("3"))], Ok(event())),
            (vec![("epoch", Some("7"))], Err(DecodeError::OtherEpoch { said: "7".into(), epoch: 3 })),
            (vec![("epoch", Some("three"))], Err(DecodeError::OtherEpoch { said: "three".into(), epoch: 3 })),
            (vec![("epoch", None)], Err(DecodeError::OtherEpoch { said: String::new(), epoch: 3 })),
            (vec![("event-version", None)], Err(DecodeError::Version(String::new()))),
            (vec![("event-type", Some("CouponRevoked"))], Err(DecodeError::OtherEvent("CouponRevoked".into()))),
            (vec![("campaign", Some("prod/others/spring"))], Err(other("prod/others/spring"))),
            (vec![("campaign", Some("prod/others/spring")), version("2")], Err(other("prod/others/spring"))),
        ] {
            assert_eq!(read(&headers, &value), expected, "{headers:?}");
        }
        // What bears a version and does not say whose it is may be anything, and is judged by its value.
        assert!(matches!(read(&[version("2")], b"hello"), Err(DecodeError::Json(_))));
        assert_eq!(read(&[OURS[0], OURS[1], version("2")], b"of a later day"), Err(newer()));
    }

    #[test]
    fn a_newer_field_does_not_break_an_older_reader() {
        let text = String::from_utf8(event().encode()).unwrap().replace("\"n\":1", "\"n\":1,\"metadata\":null");
        assert_eq!(CouponIssued::decode(&campaign(), Some(text.as_bytes())).unwrap(), event());
    }
}
