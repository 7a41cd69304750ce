//! The Kafka side: a winner is durable once the topic has acknowledged it.
//!
//! - [`admin`]: topics, offsets and groups;
//! - [`producer`]: how winners are written;
//! - [`tail`]: reading a range of a topic without joining a group.

pub mod admin;
pub mod producer;
pub mod tail;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::ClientConfig;
use rdkafka::message::{Headers, Message};

use crate::settings::Kafka;
use crate::table::Position;

/// Header of a dead letter: the partition in which its record first lay, in decimal.
pub const ORIGINAL_PARTITION: &str = "original_partition";
/// Header of a dead letter: the offset at which its record first lay, in decimal.
pub const ORIGINAL_OFFSET: &str = "original_offset";

/// Where a dead letter's record first lay in the campaign's topic; `None` when its headers do not say.
pub fn origin(message: &impl Message) -> Option<Position> {
    let headers = message.headers()?;
    // rdkafka panics on a header whose name is not UTF-8; a stranger's record must not stop a repair.
    let read = || {
        let number = |name: &str| -> Option<i64> {
            let value = headers.iter().filter(|header| header.key == name).last()?.value?;
            std::str::from_utf8(value).ok()?.parse().ok()
        };
        let partition = i32::try_from(number(ORIGINAL_PARTITION)?).ok()?;
        Some(Position { partition, offset: number(ORIGINAL_OFFSET)? })
    };
    catch_unwind(AssertUnwindSafe(read)).ok().flatten()
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
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

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
