//! The Kafka side: a winner is durable once the topic has acknowledged it.
//!
//! - [`admin`]: topics, offsets and groups;
//! - [`probe`]: one record written and read back, to know whether a login may;
//! - [`producer`]: how winners are written;
//! - [`tail`]: reading a range of a topic without joining a group.

pub mod admin;
pub mod probe;
pub mod producer;
pub mod tail;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, Headers, Message};

use crate::settings::Kafka;
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

/// Whether this is what Kafka says to a user that lacks a right.
pub fn lacks_a_right(code: Code) -> bool {
    matches!(code, Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed)
}

/// Whether these words tell of such a right: librdkafka has a sentence for each, and processes pass it on.
pub fn says_missing_right(words: &str) -> bool {
    words.contains("authorization failed")
}

/// A client configuration with what every client of these brokers needs, and `overrides` on top.
pub fn client_config(settings: &Kafka, client_id: &str, overrides: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in settings.properties() {
        config.set(key, value);
    }
    config
        .set("client.id", client_id)
        // A producer that asks for a missing topic must not make one: only the operator does, and knows that it did.
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        .set("socket.timeout.ms", "10000")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("topic.metadata.refresh.interval.ms", "10000");
    for (key, value) in overrides {
        config.set(*key, *value);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::Timestamp;
    use rdkafka::message::{OwnedHeaders, OwnedMessage};

    #[test]
    fn a_missing_right_is_known_by_its_words() {
        for (code, expected) in [
            (Code::TopicAuthorizationFailed, true),
            (Code::GroupAuthorizationFailed, true),
            (Code::ClusterAuthorizationFailed, true),
            (Code::SaslAuthenticationFailed, false),
            (Code::MessageTimedOut, false),
        ] {
            assert_eq!((lacks_a_right(code), says_missing_right(&code.to_string())), (expected, expected), "{code}");
        }
    }

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
