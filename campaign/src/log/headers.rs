//! Headers of records, whoever wrote them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{Header, Headers, Message};

use crate::table::Position;

/// Header of a dead letter: the partition in which its record first lay, in decimal.
pub const ORIGINAL_PARTITION: &str = "original_partition";
/// Header of a dead letter: the offset at which its record first lay, in decimal.
pub const ORIGINAL_OFFSET: &str = "original_offset";

/// Name and value of a header.
pub type RawHeader = (String, Option<Vec<u8>>);

/// A copy of all headers. `None` when a name is not UTF-8: rdkafka panics on it, and a stranger's record must stop nobody.
pub fn raw_headers(headers: &impl Headers) -> Option<Vec<RawHeader>> {
    let copied = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    catch_unwind(AssertUnwindSafe(|| headers.iter().map(copied).collect())).ok()
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
