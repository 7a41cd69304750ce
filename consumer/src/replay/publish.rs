//! Puts letters back into the campaign's topic.

use futures::future::join_all;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use coupon_core::connections::Kafka;
use coupon_core::event::{CouponIssued, HEADER_EPOCH, HEADER_VERSION};
use coupon_core::format;
use coupon_core::identity::CampaignId;
use coupon_ledger::kafka::{client_config, raw_headers};
use coupon_sink::dead_letter::FAILURE;

use super::CLIENT_ID;
use super::dead_letters::DeadLetter;
use super::decide::Verdict;
use super::outcome::ReplayOutcome;

/// Writes winners into the campaign's topic once more.
pub(super) struct Publisher {
    producer: FutureProducer,
    topic: String,
}

impl Publisher {
    /// Connects in the background.
    ///
    /// # Errors
    /// [`KafkaError`] for settings that librdkafka refuses.
    pub(super) fn new(kafka: &Kafka, campaign: &CampaignId) -> Result<Self, KafkaError> {
        let overrides = [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "5"),
            // As the issuer's producer: the same key goes to the same partition.
            ("partitioner", "murmur2_random"),
            // Every wait for an acknowledgement ends with this.
            ("delivery.timeout.ms", "15000"),
            ("request.timeout.ms", "5000"),
        ];
        Ok(Self { producer: client_config(kafka, CLIENT_ID, &overrides).create()?, topic: campaign.topic() })
    }

    /// Publishes those that should be and waits until Kafka has acknowledged them all, or has not in time.
    pub(super) async fn publish(&self, letters: &[&DeadLetter], decided: Vec<ReplayOutcome>) -> Vec<ReplayOutcome> {
        let sent = letters.iter().zip(decided).map(|(letter, outcome)| async move {
            match (&letter.event, outcome) {
                (Ok(event), ReplayOutcome::Decided(Verdict::Replay { epoch })) => {
                    match self.send(letter, event, epoch).await {
                        Ok(()) => ReplayOutcome::Published,
                        Err(error) => ReplayOutcome::NotPublished(error.to_string()),
                    }
                }
                (_, outcome) => outcome,
            }
        });
        join_all(sent).await
    }

    async fn send(&self, letter: &DeadLetter, event: &CouponIssued, epoch: u64) -> Result<(), KafkaError> {
        let value = CouponIssued { epoch, ..event.clone() }.encode();
        // Stamped with the present time: with the grant's, retention could remove the record before it is read.
        let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic).headers(headers(letter, epoch)).payload(&value);
        // Where the user was forgotten since, `event` is under the pseudonym, and the letter is not.
        let named = letter.message.payload().and_then(|value| serde_json::from_slice::<CouponIssued>(value).ok());
        let is_user = named.is_some_and(|named| letter.message.key() == Some(named.user_id.as_str().as_bytes()));
        record.key = if is_user { Some(event.user_id.as_str().as_bytes()) } else { letter.message.key() };
        let delivery = self.producer.send_result(record).map_err(|(error, _)| error)?;
        match delivery.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(error),
            Err(_) => Err(KafkaError::Canceled),
        }
    }
}

/// The record's own headers and where it first lay, which a second dead letter keeps; without what went wrong, and with
/// the new epoch.
fn headers(letter: &DeadLetter, epoch: u64) -> OwnedHeaders {
    let (epoch, version) = (epoch.to_string(), format::EVENT.to_string());
    let known = letter.message.headers().and_then(raw_headers).unwrap_or_default();
    let anew = |key: &str| FAILURE.contains(&key) || key == HEADER_EPOCH || key == HEADER_VERSION;
    let kept = known.iter().filter(|(key, _)| !anew(key));
    let all = kept.fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: value.as_ref() }));
    all.insert(Header { key: HEADER_EPOCH, value: Some(&epoch) })
        .insert(Header { key: HEADER_VERSION, value: Some(&version) })
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    #[test]
    fn a_replayed_record_keeps_its_headers_and_origin_but_not_its_failure_and_epoch() {
        let before = OwnedHeaders::new()
            .insert(Header { key: "traceparent", value: Some("00-1") })
            .insert(Header { key: "nothing", value: None::<&str> })
            .insert(Header { key: "epoch", value: Some("1") })
            .insert(Header { key: "event-version", value: Some("1") })
            .insert(Header { key: "original_offset", value: Some("7") })
            .insert(Header { key: "exception", value: Some("RowRejected: no") })
            .insert(Header { key: "retry_count", value: Some("5") });
        let message = OwnedMessage::new(None, None, "t".into(), Timestamp::NotAvailable, 0, 0, Some(before));
        let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
        let after = raw_headers(&headers(&DeadLetter::of(&campaign, message), 3)).unwrap();
        let value = |text: &str| Some(text.as_bytes().to_vec());
        let expected = [
            ("traceparent", value("00-1")),
            ("nothing", None),
            ("original_offset", value("7")),
            ("epoch", value("3")),
            ("event-version", value("1")),
        ];
        assert_eq!(after, expected.map(|(key, value)| (key.to_owned(), value)));
    }
}
