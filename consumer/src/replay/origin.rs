//! Where the record of a letter still lies in the campaign's topic, proved: headers of a letter are what somebody wrote.

use coupon_core::event::{DecodeError, RawHeader};
use coupon_core::identity::CampaignId;
use coupon_core::position::{Position, RecordPlace};
use coupon_kafka_admin::TopicState;
use coupon_ledger::kafka::tail::{self, Range, TailError};
use coupon_ledger::kafka::{decode_record, raw_headers};
use coupon_sink::dead_letter::TRUNCATED;
use rdkafka::message::{Message, OwnedMessage};

use super::dead_letters::DeadLetter;
use super::{ReplayError, ReplayService};

/// The place of the record that this letter, of a later version, was made from. `None`: it is not there (any more), or what lies there is
/// another record.
pub(super) async fn find(service: &ReplayService, letter: &DeadLetter) -> Result<Option<RecordPlace>, ReplayError> {
    let Some(at) = letter.origin else { return Ok(None) };
    let topic = service.campaign.topic();
    let mut found = service.admin.describe_topics(&[&topic]).await?;
    let TopicState::Present(described) = found.remove(&topic).unwrap_or(Ok(TopicState::Absent))? else {
        return Ok(None);
    };
    if described.partitions.iter().all(|partition| partition.id != at.partition)
        || !is_there(service, &topic, at).await?
    {
        return Ok(None);
    }
    let (kafka, range) = (service.connections.kafka.clone(), Range::from([(at.partition, (at.offset, at.offset + 1))]));
    let reading = tokio::task::spawn_blocking(move || {
        let mut record = None;
        tail::read::<TailError>(&kafka, &topic, &range, |message| {
            record = Some(message.detach());
            Ok(())
        })
        .map(|()| record)
    });
    let record = reading.await??;
    let is_it = record.is_some_and(|record| is_copy(&service.campaign, &letter.message, &record));
    Ok(is_it.then_some(RecordPlace { topic_id: described.topic_id, at }))
}

/// Whether the topic still has that offset. What is not there would be waited for.
async fn is_there(service: &ReplayService, topic: &str, at: Position) -> Result<bool, ReplayError> {
    let wanted = [(topic, at.partition)];
    let (starts, ends) = tokio::try_join!(service.admin.start_offsets(&wanted), service.admin.end_offsets(&wanted))?;
    let (start, end) = (starts.into_values().next().transpose()?, ends.into_values().next().transpose()?);
    Ok(start.zip(end).is_some_and(|(start, end)| (start..end).contains(&at.offset)))
}

/// Whether the letter is a copy of this record, and of a later version both: of what can be read here nothing may be given up by
/// somebody's headers.
fn is_copy(campaign: &CampaignId, letter: &OwnedMessage, record: &OwnedMessage) -> bool {
    let is_newer = matches!(decode_record(campaign, record), Err(DecodeError::Newer(_)));
    let headers = letter.headers().and_then(raw_headers).unwrap_or_default();
    let says = |wanted: &str, text: &str| {
        let said = |(name, value): &RawHeader| name == wanted && value.as_deref() == Some(text.as_bytes());
        headers.iter().any(said)
    };
    // What was too large for its topic came without its value, and says how large that was.
    let cut = letter.payload().is_none()
        && says(TRUNCATED[0], "value")
        && says(TRUNCATED[1], &record.payload().map_or(0, <[u8]>::len).to_string());
    is_newer && letter.key() == record.key() && (cut || letter.payload() == record.payload())
}

#[cfg(test)]
mod tests {
    use coupon_core::event::{EVENT_TYPE, HEADER_CAMPAIGN, HEADER_EVENT_TYPE, HEADER_VERSION};
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders};

    use super::*;

    /// Wrong: a stranger's letter with made-up headers, once it is discarded, takes somebody's record with it.
    #[test]
    fn only_the_record_that_a_letter_was_made_of_is_given_up_with_it() {
        let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
        let name = campaign.to_string();
        let message = |version: &str, key: &str, value: Option<&str>, more: &[(&str, &str)]| {
            let own = [(HEADER_VERSION, version), (HEADER_EVENT_TYPE, EVENT_TYPE), (HEADER_CAMPAIGN, name.as_str())];
            let headers = own
                .iter()
                .chain(more)
                .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
            let (value, key) = (value.map(|text| text.as_bytes().to_vec()), Some(key.as_bytes().to_vec()));
            OwnedMessage::new(value, key, "t".into(), Timestamp::NotAvailable, 0, 7, Some(headers))
        };
        let record = message("2", "anna", Some("later"), &[]);
        let cut = |size| message("2", "anna", None, &[("truncated", "value"), ("original_value_size", size)]);
        for (what, letter, record, expected) in [
            ("its own", message("2", "anna", Some("later"), &[("exception", "x")]), &record, true),
            ("another's", message("2", "anna", Some("other"), &[]), &record, false),
            ("another key", message("2", "bert", Some("later"), &[]), &record, false),
            ("a winner", message("2", "anna", Some("later"), &[]), &message("1", "anna", Some("later"), &[]), false),
            ("cut", cut("5"), &record, true),
            ("cut, and of another size", cut("6"), &record, false),
            ("without a value, and not cut", message("2", "anna", None, &[]), &record, false),
        ] {
            assert_eq!(is_copy(&campaign, &letter, record), expected, "{what}");
        }
    }
}
