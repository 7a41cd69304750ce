use rdkafka::message::Headers;

use super::*;

fn message(headers: Option<OwnedHeaders>, offset: i64) -> OwnedMessage {
    let (timestamp, topic) = (Timestamp::LogAppendTime(258), "t".to_owned());
    OwnedMessage::new(Some(b"v".to_vec()), None, topic, timestamp, 1, offset, headers)
}

fn read(headers: &OwnedHeaders) -> Vec<(String, Option<Vec<u8>>)> {
    headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}

fn values<'a>(all: &'a [(String, Option<Vec<u8>>)], name: &str) -> Vec<&'a [u8]> {
    all.iter().filter(|(key, _)| key == name).filter_map(|(_, value)| value.as_deref()).collect()
}

#[test]
fn numbers_are_big_endian_as_spring_writes_them() {
    let all = read(&headers(&message(None, 513), "g", &DeadLetterReason::Conflict, 0, Cut::default()));
    assert_eq!(values(&all, "kafka_dlt-original-partition"), [[0, 0, 0, 1]]);
    assert_eq!(values(&all, "kafka_dlt-original-offset"), [[0, 0, 0, 0, 0, 0, 2, 1]]);
    assert_eq!(values(&all, "kafka_dlt-original-timestamp"), [[0, 0, 0, 0, 0, 0, 1, 2]]);
    assert_eq!(values(&all, "kafka_dlt-original-timestamp-type"), [b"LogAppendTime"]);
    assert_eq!(all.len(), ORIGIN.len() + FAILURE.len());
}

/// Wrong: after a replay that failed again nobody finds the record that started it.
#[test]
fn a_second_trip_keeps_the_first_origin_and_says_what_went_wrong_last() {
    let own = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some("a") })
        .insert(Header { key: "trace", value: None::<&str> });
    let first = headers(&message(Some(own), 7), "g", &DeadLetterReason::Rejected("first".into()), 5, Cut::default());
    let second = read(&headers(
        &message(Some(first.clone()), 99),
        "g2",
        &DeadLetterReason::AboveTotal { total: 3 },
        0,
        Cut::default(),
    ));
    let first = read(&first);
    assert_eq!(second[..2], first[..2], "the record's own headers stay, in order, null and all");
    for name in ORIGIN {
        assert_eq!(values(&second, name), values(&first, name), "{name}");
    }
    assert_eq!(values(&second, "exception"), [b"RankAboveTotal: the rank is above the campaign's total of 3"]);
    assert_eq!(values(&second, "retry_count"), [b"0"]);
    assert_eq!(second.len(), first.len());
}

/// Wrong: a winner's value is thrown away because of a stranger's headers, or a letter is cut without an end.
#[test]
fn the_larger_part_is_cut_first_and_then_the_rest() {
    let record = |value: usize, header: usize| {
        let headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some(&vec![b'x'; header]) });
        let (timestamp, key) = (Timestamp::NotAvailable, Some(b"key".to_vec()));
        OwnedMessage::new(Some(vec![b'v'; value]), key, "t".to_owned(), timestamp, 1, 7, Some(headers))
    };
    let cuts = |message: &OwnedMessage| -> Vec<&str> {
        std::iter::successors(Cut::default().further(message), |cut| cut.further(message))
            .filter_map(Cut::name)
            .collect()
    };
    assert_eq!(cuts(&record(5_000, 10)), ["value", "value,key,headers"]);
    assert_eq!(cuts(&record(10, 5_000)), ["key,headers", "value,key,headers"]);

    let cut = Cut { value: true, rest: true };
    let all = read(&headers(&record(5_000, 10), "g", &DeadLetterReason::Conflict, 0, cut));
    assert_eq!(values(&all, "truncated"), [b"value,key,headers"]);
    assert_eq!(values(&all, "original_value_size"), [b"5000"]);
    assert_eq!(values(&all, ORIGINAL_OFFSET), [b"7"]);
    assert!(values(&all, "trace").is_empty());

    let long = OwnedHeaders::new().insert(Header { key: ORIGINAL_OFFSET, value: Some(&vec![b'7'; MAX_KEPT + 1]) });
    let all = read(&headers(&message(Some(long), 7), "g", &DeadLetterReason::Conflict, 0, cut));
    assert_eq!(values(&all, ORIGINAL_OFFSET), [b"7"], "a letter always says where its record lay");
}
