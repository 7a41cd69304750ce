//! Redis is lost, and with it something that Redis would have brought back.

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_core::event::{EVENT_TYPE, HEADER_CAMPAIGN, HEADER_EVENT_TYPE, HEADER_VERSION};
use coupon_core::position::Position;
use coupon_ledger::database::{StoreMode, store};
use coupon_ledger::kafka::client_config;
use coupon_ledger::redis::{RedisKeys, observe};
use operator::ledger::epoch::fill::from_event;
use operator::ledger::epoch::{self, EpochError, Once, Opened, Remembered};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::repair::{in_redis, lose, publish};
use crate::common::no_pods::no_issuers;
use crate::common::stage::{Stage, terms};

pub(crate) async fn open(stage: &Stage, once: Once) -> Result<Opened, EpochError> {
    let known = Remembered { epoch: 0, once };
    epoch::open(&stage.systems, &no_issuers(), &stage.campaign, &stage.row().await, &terms(100), known, || {}).await
}

/// Writes a record that only a newer program can read.
pub(crate) async fn of_a_later_version(stage: &Stage, topic: &str, more: &[(&str, &str)]) -> Position {
    let kafka = &stage.systems.settings.operator.kafka;
    let producer: FutureProducer = client_config(kafka, "test", &[("acks", "all")]).create().unwrap();
    let campaign = stage.campaign.to_string();
    let own = [(HEADER_VERSION, "2"), (HEADER_EVENT_TYPE, EVENT_TYPE), (HEADER_CAMPAIGN, campaign.as_str())];
    let headers = own
        .iter()
        .chain(more)
        .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
    let record = FutureRecord::<[u8], [u8]>::to(topic).payload(b"of a later day").headers(headers);
    let at = producer.send(record, Duration::from_secs(20)).await.unwrap();
    Position { partition: at.partition, offset: at.offset }
}

/// A ledger of five winners whose records were all committed, of which the database has these.
async fn committed(rows: &[u64]) -> Stage {
    let stage = Stage::new().await;
    publish(&stage, &[1, 2, 3, 4, 5].map(|rank| stage.winner(rank, 1))).await;
    all_is_passed(&stage, rows).await;
    stage
}

/// The group has committed all that is there, and the database has these rows.
pub(crate) async fn all_is_passed(stage: &Stage, rows: &[u64]) {
    let epoch = stage.row().await.epoch;
    let rows: Vec<_> = rows.iter().map(|rank| stage.winner(*rank, epoch)).collect();
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    let (group, topic) = (stage.campaign.group(), stage.campaign.topic());
    let ends = stage.span(&topic).await.into_iter().map(|(partition, (_, end))| (partition, end)).collect();
    stage.systems.kafka.commit_offsets(&group, &topic, &ends).await.unwrap();
}

/// Wrong: rows that a backup did not have, or that were never stored because somebody moved the group's offsets, are nobody's once
/// Redis is lost too, and their ranks are given to others.
#[tokio::test]
async fn committed_records_are_read_again_when_winners_are_missing() {
    for once in [Once { stored: 5, ..Once::default() }, Once { stored: 2, issued: 5, given_up: 0, given: 5 }] {
        let stage = committed(&[1, 4]).await;
        let opened = open(&stage, once).await.unwrap();
        assert_eq!((opened.winners, opened.free), (5, 0), "{once:?}");
        let winners: Vec<_> = [1, 2, 3, 4, 5].map(|rank| from_event(stage.winner(rank, 1))).to_vec();
        assert_eq!(in_redis(&stage).await.winners, winners, "{once:?}");
    }
}

/// Wrong: ranks of winners that are known to be missing are sold to others, and then all seems well.
#[tokio::test]
async fn nothing_is_opened_with_fewer_winners_than_were_stored_once() {
    let stage = committed(&[1, 4]).await;
    let end = stage.span(&stage.campaign.topic()).await[&0].1;
    let gone = BTreeMap::from([(0, end)]);
    stage.systems.kafka.delete_records(&stage.campaign.topic(), &gone).await.unwrap();
    let once = Once { stored: 5, issued: 5, given_up: 0, given: 5 };
    for given_up in [0, 2] {
        let once = Once { given_up, ..once };
        let refused = open(&stage, once).await;
        assert!(matches!(refused, Err(EpochError::WinnersLost { found: 2, once: 5 })), "{refused:?}");
        assert_eq!(stage.row().await.open_epoch, None);
        lose(&stage).await;
    }
    let opened = open(&stage, Once { given_up: 3, ..once }).await.unwrap();
    assert_eq!((opened.winners, opened.free), (2, 2), "they are given up, and their ranks are free");
    lose(&stage).await;
    // A newer backup brings them back.
    let rows = [2, 3, 5].map(|rank| stage.winner(rank, opened.epoch));
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    let opened = open(&stage, once).await.unwrap();
    assert_eq!((opened.winners, opened.free), (5, 0));
}

/// Wrong: after a way back to an older version, ranks of winners whose records it cannot read are sold to others.
#[tokio::test]
async fn nothing_is_opened_over_a_record_that_only_a_newer_program_can_read() {
    for dead in [false, true] {
        let stage = Stage::new().await;
        let topic = if dead { stage.campaign.dead_letter_topic() } else { stage.campaign.topic() };
        publish(&stage, &[stage.winner(1, 1)]).await;
        let at = of_a_later_version(&stage, &topic, &[]).await;
        let refused = open(&stage, Once::default()).await.unwrap_err();
        assert!(matches!(refused, EpochError::NewerRecord { .. }), "{refused:?}");
        let words = format!("{topic}, partition {}, offset {}: the record is of version 2", at.partition, at.offset);
        assert!(refused.to_string().starts_with(&words), "{refused}");
        assert_eq!(stage.row().await.open_epoch, None);
    }
}

/// What nobody has heard of may be missing: a sale does not stand still for it.
#[tokio::test]
async fn ranks_that_were_given_and_never_written_are_given_again() {
    let stage = committed(&[1, 2, 4, 5]).await;
    let opened = open(&stage, Once { stored: 4, issued: 9, given_up: 0, given: 9 }).await.unwrap();
    assert_eq!((opened.winners, opened.free), (5, 0), "what the log has, and no more");
}

/// Wrong: a key that a stray command made unreadable holds a sale up for good, as nobody dares to look behind it.
#[tokio::test]
async fn keys_that_nobody_can_read_are_filled_anew() {
    let keys = |stage: &Stage| RedisKeys::of(&stage.campaign);
    for (what, commands) in [
        ("a number that is none", vec!["HSET meta highest abc"]),
        ("another number", vec!["HSET meta last_ms abc"]),
        ("meta of another type", vec!["DEL meta", "RPUSH meta x"]),
        ("winners of another type", vec!["DEL issued", "SET issued x"]),
        (
            "all of another type",
            vec!["DEL issued request count free meta", "SET request x", "SET issued x", "SET free x", "SET count x"],
        ),
    ] {
        let stage = committed(&[1, 2, 3, 4, 5]).await;
        open(&stage, Once::default()).await.unwrap();
        let mut redis = stage.systems.redis().await.unwrap();
        for command in commands {
            let mut words = command.split(' ');
            let mut sent = redis::cmd(words.next().unwrap());
            for word in words {
                let RedisKeys { meta, issued, count, request, free } = keys(&stage);
                sent.arg(match word {
                    "meta" => meta,
                    "issued" => issued,
                    "count" => count,
                    "request" => request,
                    "free" => free,
                    other => other.to_owned(),
                });
            }
            sent.query_async::<redis::Value>(&mut redis).await.unwrap();
        }
        observe(&mut redis, &keys(&stage)).await.unwrap();
        let opened = open(&stage, Once::default()).await.unwrap();
        assert_eq!((opened.winners, opened.free), (5, 0), "{what}");
        let winners: Vec<_> = [1, 2, 3, 4, 5].map(|rank| from_event(stage.winner(rank, 1))).to_vec();
        assert_eq!(in_redis(&stage).await.winners, winners, "{what}");
    }
}
