//! Headers of records, whoever wrote them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use coupon_core::event::{CouponIssued, DecodeError, HeaderRef, RawHeader};
use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use rdkafka::message::{Header, Headers, Message};

/// Header of a dead letter: the partition in which its record first lay, in decimal.
pub const ORIGINAL_PARTITION: &str = "original_partition";
/// Header of a dead letter: the offset at which its record first lay, in decimal.
pub const ORIGINAL_OFFSET: &str = "original_offset";

/// A copy of all headers. `None` when a name is not UTF-8: rdkafka panics on it, and a stranger's record must stop nobody.
pub fn raw_headers(headers: &impl Headers) -> Option<Vec<RawHeader>> {
    let copied = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    catch_unwind(AssertUnwindSafe(|| headers.iter().map(copied).collect())).ok()
}

/// All headers, without a copy. `None` as in [`raw_headers`].
fn header_refs(headers: &impl Headers) -> Option<Vec<HeaderRef<'_>>> {
    catch_unwind(AssertUnwindSafe(|| headers.iter().map(|header| (header.key, header.value)).collect())).ok()
}

/// Bytes of all headers, without a copy. `None` as in [`raw_headers`].
pub fn header_bytes(headers: &impl Headers) -> Option<usize> {
    let bytes = |header: Header<'_, &[u8]>| header.key.len() + header.value.map_or(0, <[u8]>::len);
    catch_unwind(AssertUnwindSafe(|| headers.iter().map(bytes).sum())).ok()
}

/// Where a dead letter's record first lay in the campaign's topic; `None` when its headers do not say.
pub fn origin(message: &impl Message) -> Option<Position> {
    let headers = raw_headers(message.headers()?)?;
    let number = |wanted: &str| -> Option<i64> {
        let (_, value) = headers.iter().rev().find(|(name, _)| name == wanted)?;
        std::str::from_utf8(value.as_deref()?).ok()?.parse().ok()
    };
    let partition = i32::try_from(number(ORIGINAL_PARTITION)?).ok()?;
    Some(Position { partition, offset: number(ORIGINAL_OFFSET)? })
}

/// The winner of `campaign` that a record is ([`CouponIssued::of_record`]).
///
/// # Errors
/// It is none, or one that this program cannot read.
pub fn decode_record(campaign: &CampaignId, record: &impl Message) -> Result<CouponIssued, DecodeError> {
    let headers = record.headers().and_then(header_refs).unwrap_or_default();
    CouponIssued::of_record(campaign, &headers, record.payload())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::Timestamp;
    use rdkafka::message::{OwnedHeaders, OwnedMessage};

    #[test]
    fn a_dead_letter_says_where_its_record_lay() {
        let letter = |headers: &[(&str, &str)]| {
            let all = headers
                .iter()
                .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
            OwnedMessage::new(None, None, "t.DLT".to_owned(), Timestamp::NotAvailable, 0, 9, Some(all))
        };
        for (headers, expected) in [
            (&[("original_partition", "2"), ("original_offset", "70")][..], Some((2, 70))),
            (&[("original_partition", "2")], None),
            (&[("original_partition", "two"), ("original_offset", "70")], None),
            (&[], None),
        ] {
            let found = origin(&letter(headers)).map(|at| (at.partition, at.offset));
            assert_eq!(found, expected, "{headers:?}");
        }
    }
}

/// `make fuzz` finds properties of what comes from outside by the name of this module.
#[cfg(test)]
mod decoders {
    use coupon_testing::mangled::mangled;
    use proptest::prelude::*;
    use rdkafka::Timestamp;
    use rdkafka::message::{OwnedHeaders, OwnedMessage};

    use super::*;

    proptest! {
        /// Wrong: bytes of a stranger are taken for another place, or stop whoever reads them.
        #[test]
        fn the_headers_of_a_dead_letter(partition in mangled(vec![b"3".to_vec()]), offset in mangled(vec![b"4711".to_vec()])) {
            let headers = OwnedHeaders::new()
                .insert(Header { key: ORIGINAL_PARTITION, value: Some(&partition) })
                .insert(Header { key: ORIGINAL_OFFSET, value: Some(&offset) });
            let message = OwnedMessage::new(None, None, "t".into(), Timestamp::NotAvailable, 0, 0, Some(headers));
            if let Some(found) = origin(&message) {
                let read = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<i64>().unwrap();
                prop_assert_eq!((i64::from(found.partition), found.offset), (read(&partition), read(&offset)));
            }
        }
    }
}
