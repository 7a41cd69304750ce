//! A user's dead letters. A topic takes no changes: the letters up to the user's last one are written again, the user's own under
//! pseudonyms, and then removed where they were.
//!
//! A run that breaks off in between leaves some letters twice, which changes nothing: a letter says who holds a rank.

use std::collections::BTreeMap;

use coupon_core::event::{CouponIssued, DecodeError};
use coupon_core::format::Newer;
use coupon_core::identity::UserId;
use coupon_core::position::Position;
use coupon_kafka_admin::AdminError;
use coupon_ledger::database::{self, CampaignRowId};
use coupon_ledger::kafka::{client_config, decode_record, raw_headers, tail};
use coupon_sink::dead_letter::{FAILURE, TRUNCATED};
use coupon_sink::rows::within_deadline;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::replay::dead_letters::{self, DeadLetter};
use crate::replay::progress::Progress;
use crate::replay::{CLIENT_ID, ReplayError, ReplayService};

/// The letters of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UserDeadLetters {
    /// How many there are.
    pub count: u64,
    /// Their ranks, each with its n.
    pub ranks: BTreeMap<u64, u32>,
    /// Partition -> its first offset, and the one behind the user's last letter.
    span: BTreeMap<i32, (i64, i64)>,
    /// Those that were written by a newer program: nobody here knows how to write them again without the user.
    newer: BTreeMap<Position, Newer>,
}

/// The letters of each of a user's ids.
pub(super) type ById = BTreeMap<UserId, UserDeadLetters>;

/// Whose letter it is, by its winner, or by its key where no winner can be read.
fn is_of(user: &UserId, winner: Option<&CouponIssued>, key: Option<&[u8]>) -> bool {
    match winner {
        Some(winner) => winner.user_id == *user,
        None => key == Some(user.as_str().as_bytes()),
    }
}

/// Looks through all letters for these users, once; answers for each of them.
pub(super) async fn find(service: &ReplayService, users: &[UserId]) -> Result<ById, ReplayError> {
    let mut found: ById = users.iter().map(|user| (user.clone(), UserDeadLetters::default())).collect();
    let span = match service.dead_topic().await {
        // A campaign that was deleted with its topics has none.
        Err(ReplayError::Kafka(AdminError::UnknownTopic { .. })) => return Ok(found),
        topic => topic?.span,
    };
    let (kafka, campaign) = (service.connections.kafka.clone(), service.campaign.clone());
    let reading = tokio::task::spawn_blocking(move || {
        tail::read::<tail::TailError>(&kafka, &campaign.dead_letter_topic(), &span, |message| {
            let read = decode_record(&campaign, message);
            let newer = read.as_ref().err().and_then(DecodeError::newer);
            let winner = read.ok();
            let at = Position { partition: message.partition(), offset: message.offset() };
            for (user, mine) in &mut found {
                if is_of(user, winner.as_ref(), message.key()) {
                    mine.count += 1;
                    mine.newer.extend(newer.clone().map(|newer| (at, newer)));
                    mine.ranks.extend(winner.as_ref().map(|winner| (winner.rank, winner.n)));
                    let start = span.get(&at.partition).map_or(0, |(start, _)| *start);
                    mine.span.insert(at.partition, (start, at.offset + 1));
                }
            }
            Ok(())
        })?;
        Ok::<_, tail::TailError>(found)
    });
    Ok(reading.await??)
}

/// Puts the user's letters under these pseudonyms. What people have given up is not written again: at another place it would count anew.
/// The inner error says in words why letters were left as they are.
pub(super) async fn rewrite(
    service: &ReplayService,
    row: CampaignRowId,
    user: &UserId,
    mine: &UserDeadLetters,
    pseudonyms: &BTreeMap<u64, UserId>,
) -> Result<Result<(), String>, ReplayError> {
    let topic_id = service.dead_topic().await?.id;
    let discarded = within_deadline(database::discarded_records(&service.pool, row, &topic_id)).await?;
    if let Some((_, newer)) = mine.newer.iter().find(|(at, _)| !discarded.contains(at)) {
        return Ok(Err(newer.to_string()));
    }
    let firsts = mine.span.iter().map(|(partition, (start, _))| (*partition, *start)).collect();
    // Removes nothing, and tells whether anything may be removed, before letters are there twice.
    if let Err(why) = remove(service, &firsts).await {
        return Ok(Err(why));
    }
    let producer = producer(service).map_err(ReplayError::Producer)?;
    let mut range = mine.span.clone();
    while range.values().any(|(from, to)| from < to) {
        let part = dead_letters::read_range(service, range.clone(), Progress::hidden()).await?;
        for letter in part.all.iter().filter(|letter| !discarded.contains(&letter.position)) {
            if let Err(error) = write(service, &producer, letter, user, pseudonyms).await {
                return Ok(Err(error.to_string()));
            }
        }
        for (partition, next) in part.next {
            range.entry(partition).and_modify(|(from, _)| *from = next);
        }
    }
    let ends = mine.span.iter().map(|(partition, (_, end))| (*partition, *end)).collect();
    Ok(remove(service, &ends).await)
}

async fn remove(service: &ReplayService, before: &BTreeMap<i32, i64>) -> Result<(), String> {
    let topic = service.campaign.dead_letter_topic();
    let answers = service.admin.delete_records(&topic, before).await.map_err(|error| error.to_string())?;
    answers.into_values().find_map(Result::err).map_or(Ok(()), |error| Err(error.to_string()))
}

fn producer(service: &ReplayService) -> Result<FutureProducer, KafkaError> {
    let overrides = [
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("linger.ms", "0"),
        // As the first writer of dead letters: the topic's own bound decides, and it is for the batch.
        ("batch.num.messages", "1"),
        ("message.max.bytes", "134217728"),
        ("compression.type", "lz4"),
        ("delivery.timeout.ms", "15000"),
        ("request.timeout.ms", "5000"),
    ];
    client_config(&service.connections.kafka, CLIENT_ID, &overrides).create()
}

async fn write(
    service: &ReplayService,
    producer: &FutureProducer,
    letter: &DeadLetter,
    user: &UserId,
    pseudonyms: &BTreeMap<u64, UserId>,
) -> Result<(), KafkaError> {
    let copy = Copy::of(letter, user, pseudonyms);
    let topic = service.campaign.dead_letter_topic();
    let mut record = FutureRecord::<[u8], [u8]>::to(&topic).partition(letter.position.partition).headers(copy.headers);
    record.key = copy.key.as_deref();
    record.payload = copy.value.as_deref();
    record.timestamp = letter.written_ms;
    let delivery = producer.send_result(record).map_err(|(error, _)| error)?;
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(KafkaError::Canceled),
    }
}

/// What is written instead of a letter.
struct Copy {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: OwnedHeaders,
}

impl Copy {
    fn of(letter: &DeadLetter, user: &UserId, pseudonyms: &BTreeMap<u64, UserId>) -> Self {
        let (key, value) = (letter.message.key(), letter.message.payload());
        let headers = letter.message.headers().and_then(raw_headers).unwrap_or_default();
        let kept = |headers: &[(String, Option<Vec<u8>>)]| {
            let add = |all: OwnedHeaders, (key, value): &(String, Option<Vec<u8>>)| {
                all.insert(Header { key, value: value.as_ref() })
            };
            headers.iter().fold(OwnedHeaders::new(), add)
        };
        let winner = letter.event.as_ref().ok();
        if !is_of(user, winner, key) {
            return Self { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), headers: kept(&headers) };
        }
        let Some((winner, pseudonym)) = winner.and_then(|winner| Some((winner, pseudonyms.get(&winner.rank)?))) else {
            // Nobody can read it, so nobody knows what it says of the user.
            let headers = kept(&headers).insert(Header { key: TRUNCATED[0], value: Some("value,key") });
            return Self { key: None, value: None, headers };
        };
        let told: Vec<_> = headers.into_iter().map(|header| without(header, user, pseudonym)).collect();
        let event = CouponIssued {
            user_id: pseudonym.clone(),
            request_key: database::key_of_pseudonym(pseudonym),
            ..winner.clone()
        };
        // A campaign may have all its records under one key.
        let own = key == Some(user.as_str().as_bytes());
        let key = if own { Some(pseudonym.as_str().as_bytes().to_vec()) } else { key.map(<[u8]>::to_vec) };
        Self { key, value: Some(event.encode()), headers: kept(&told) }
    }
}

/// What went wrong may have been told with the user's id: a database names the values that it refuses.
fn without((name, value): (String, Option<Vec<u8>>), user: &UserId, pseudonym: &UserId) -> (String, Option<Vec<u8>>) {
    let text = value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
    match text.filter(|_| FAILURE.contains(&name.as_str())) {
        Some(text) => {
            let text = text.replace(user.as_str(), pseudonym.as_str());
            (name, Some(text.into_bytes()))
        }
        None => (name, value),
    }
}

#[cfg(test)]
mod tests {
    use coupon_core::identity::{CampaignId, RequestKey};
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn letter(user: &str, key: &str, value: Option<Vec<u8>>) -> DeadLetter {
        let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
        let event = CouponIssued {
            coupon_id: "spring".into(),
            user_id: UserId::new(user).unwrap(),
            rank: 7,
            issued_count: 7,
            occurred_at: jiff::Timestamp::UNIX_EPOCH,
            n: 1,
            epoch: 2,
            request_key: RequestKey::new("order-4711").unwrap(),
        };
        let headers = OwnedHeaders::new()
            .insert(Header { key: "trace", value: Some("t") })
            .insert(Header { key: "exception", value: Some("RowRejected: Duplicate entry '5-anna-1'") });
        let value = Some(value.unwrap_or_else(|| event.encode()));
        let key = Some(key.as_bytes().to_vec());
        DeadLetter::of(
            &campaign,
            OwnedMessage::new(value, key, "t".into(), Timestamp::NotAvailable, 0, 3, Some(headers)),
        )
    }

    /// Wrong: a letter goes on naming who was forgotten, or somebody else's letter is changed.
    #[test]
    fn a_letter_is_written_again_without_the_user_and_others_as_they_are() {
        let (anna, pseudonym) = (UserId::new("anna").unwrap(), UserId::new("forgotten-1").unwrap());
        let pseudonyms = BTreeMap::from([(7, pseudonym.clone())]);
        let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
        let copy = |letter: &DeadLetter| Copy::of(letter, &anna, &pseudonyms);
        let told = |copy: &Copy| raw_headers(&copy.headers).unwrap();
        let text = |text: &str| Some(text.as_bytes().to_vec());

        let own = copy(&letter("anna", "anna", None));
        let event = CouponIssued::decode(&campaign, own.value.as_deref()).unwrap();
        assert_eq!((event.user_id, event.request_key.as_str()), (pseudonym.clone(), "forgotten-1"));
        assert_eq!((event.rank, event.n, event.epoch), (7, 1, 2));
        assert_eq!(own.key, text("forgotten-1"));
        assert_eq!(told(&own)[1].1, text("RowRejected: Duplicate entry '5-forgotten-1-1'"));
        assert_eq!(copy(&letter("anna", "spring", None)).key, text("spring"), "all under one key");

        let unreadable = copy(&letter("anna", "anna", text("{\"userId\":\"anna\"")));
        assert_eq!((unreadable.key.clone(), unreadable.value.clone()), (None, None));
        assert!(told(&unreadable).contains(&("truncated".to_owned(), text("value,key"))));

        let other = letter("bert", "bert", None);
        let same = copy(&other);
        assert_eq!((same.key.as_deref(), same.value.as_deref()), (other.message.key(), other.message.payload()));
        assert_eq!(told(&same), raw_headers(other.message.headers().unwrap()).unwrap());
    }
}
