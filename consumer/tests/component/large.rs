//! Records that are nearly as large as their topic allows.

use rand::RngExt;
use rdkafka::message::{Header, Message, OwnedHeaders, OwnedMessage};

use crate::dead_letters::{header, headers};
use crate::stage::Stage;

/// The largest value that still fits into the topic with nothing but its key.
const JUST_FITS: usize = 1_048_400;

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rand::rng().fill(noise.as_mut_slice());
    noise
}

/// What becomes of strangers' records in partition 0, with a winner behind each: it must be stored.
async fn dead_lettered(settings: &[(&str, &str)], records: &[(Vec<u8>, Option<OwnedHeaders>)]) -> Vec<OwnedMessage> {
    let stage = Stage::without_dead_letter_topic(1).await;
    stage.create_topic_with(&stage.campaign.dead_letter_topic(), settings).await;
    for ((value, headers), rank) in records.iter().zip(1..) {
        stage.publish_large(0, value, headers.clone()).await;
        stage.publish_to(0, &stage.winner(rank)).await;
    }
    let consumer = stage.start();
    stage.all_committed().await;
    assert_eq!(stage.stored().await, records.len() as u64, "nothing waits behind them");
    assert_eq!(consumer.status.trouble(), None);
    consumer.stop().await;
    stage.dead_letters().await
}

/// Wrong: a record that just fitted, or fitted because it was compressed, holds its partition for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_topic_with_room_for_headers_takes_every_record_whole() {
    let (zeros, noise) = (vec![0; 3 << 20], noise(JUST_FITS));
    // As the operator makes it.
    let letters =
        dead_lettered(&[("max.message.bytes", "1114124")], &[(zeros.clone(), None), (noise.clone(), None)]).await;
    let [first, second] = letters.as_slice() else { panic!("{} dead letters", letters.len()) };
    assert!(first.payload() == Some(&zeros) && second.payload() == Some(&noise), "every byte is there");
    assert!(letters.iter().all(|letter| headers(letter).iter().all(|(name, _)| name != "truncated")));
}

/// Wrong: a stranger's record of nothing but headers holds its partition, or loses some of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_thousands_of_headers_is_dead_lettered_with_all_of_them() {
    const HEADERS: usize = 20_000;
    let many = (0..HEADERS).fold(OwnedHeaders::new(), |all, _| all.insert(Header { key: "h", value: Some("") }));
    let letters = dead_lettered(&[("max.message.bytes", "1114124")], &[(Vec::new(), Some(many))]).await;
    let own = headers(&letters[0]).iter().filter(|(name, _)| name == "h").count();
    assert_eq!((letters.len(), own), (1, HEADERS));
}

/// Wrong: one of them is too large for a topic that somebody else set up, and all behind it wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_dead_letter_topic_does_not_take_whole_is_cut_and_says_so() {
    let trace = OwnedHeaders::new().insert(Header { key: "trace", value: Some(&noise(500_000)) });
    let records = [(noise(JUST_FITS), None), (noise(1_000), Some(trace.clone())), (noise(500_000), Some(trace))];
    let letters = dead_lettered(&[("max.message.bytes", "4000")], &records).await;
    let [value, rest, both] = letters.as_slice() else { panic!("{} dead letters", letters.len()) };
    for (letter, truncated, size, offset) in
        [(value, "value", JUST_FITS, "0"), (rest, "key,headers", 1_000, "2"), (both, "value,key,headers", 500_000, "4")]
    {
        assert_eq!(header(letter, "truncated"), truncated);
        assert_eq!(header(letter, "original_value_size"), size.to_string());
        assert_eq!(header(letter, "original_offset"), offset);
        assert_eq!(header(letter, "kafka_dlt-exception-fqcn"), "coupon.consumer.UnreadableRecord");
    }
    assert_eq!((value.payload(), value.key()), (None, Some(&b"stranger"[..])));
    assert_eq!((rest.payload(), rest.key()), (Some(records[1].0.as_slice()), None));
    assert_eq!((both.payload(), both.key()), (None, None));
}
