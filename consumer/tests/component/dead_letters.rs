//! Records that cannot be rows.

use std::collections::BTreeMap;

use consumer::Patience;
use coupon_core::event::CouponIssued;
use coupon_core::position::{Position, RecordPlace};
use coupon_ledger::database;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};

use crate::stage::{Running, Stage, eventually};

pub(crate) type RawHeader = (String, Option<Vec<u8>>);

pub(crate) fn headers(message: &OwnedMessage) -> Vec<RawHeader> {
    let all = message.headers().expect("a dead letter has headers");
    all.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}

pub(crate) fn header(message: &OwnedMessage, name: &str) -> String {
    let found = headers(message).into_iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("no header {name}"));
    String::from_utf8(found.1.unwrap()).unwrap()
}

/// Wrong: what is needed to find, judge and replay a dead letter is not in it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_record_keeps_every_byte_and_says_where_it_lay() {
    let stage = Stage::new(3).await;
    let original = OwnedHeaders::new()
        .insert(Header { key: "traceparent", value: Some("00-1-2-03") })
        .insert(Header { key: "bytes", value: Some(&[0u8, 255, 10][..]) })
        .insert(Header { key: "nothing", value: None::<&str> })
        .insert(Header { key: "empty", value: Some("") });
    stage.publish_to(2, &stage.winner(1)).await;
    let value = [b'{', 0xff, 0x00, b'}'];
    let offset = stage.publish_raw(2, Some(&[0x00, 0xfe]), Some(&value), Some(original), 1_767_261_600_125).await;
    // Neither key nor value nor headers.
    stage.publish_raw(1, None, None, None, 7).await;
    let consumer = stage.start();
    stage.all_committed().await;
    assert_eq!((stage.stored().await, consumer.metrics.records("unreadable")), (1, 2));
    assert_eq!(consumer.metrics.dead_letters("UnreadableRecord"), 2);
    consumer.stop().await;

    let letters = stage.dead_letters().await;
    let [empty, letter] = letters.as_slice() else { panic!("{} dead letters", letters.len()) };
    assert_eq!((letter.partition(), letter.key(), letter.payload()), (2, Some(&[0x00, 0xfe][..]), Some(&value[..])));
    let (topic, group) = (stage.campaign.topic(), stage.campaign.group());
    let all = headers(letter);
    let message = header(letter, "kafka_dlt-exception-message");
    assert!(message.starts_with("the record's value is not a CouponIssued event"), "{message}");
    let expected: Vec<(&str, Option<Vec<u8>>)> = vec![
        ("traceparent", Some(b"00-1-2-03".to_vec())),
        ("bytes", Some(vec![0, 255, 10])),
        ("nothing", None),
        ("empty", Some(Vec::new())),
        ("kafka_dlt-original-topic", Some(topic.clone().into_bytes())),
        ("kafka_dlt-original-partition", Some(vec![0, 0, 0, 2])),
        ("kafka_dlt-original-offset", Some(offset.to_be_bytes().to_vec())),
        ("kafka_dlt-original-timestamp", Some(1_767_261_600_125_i64.to_be_bytes().to_vec())),
        ("kafka_dlt-original-timestamp-type", Some(b"CreateTime".to_vec())),
        ("kafka_dlt-original-consumer-group", Some(group.into_bytes())),
        ("original_topic", Some(topic.into_bytes())),
        ("original_partition", Some(b"2".to_vec())),
        ("original_offset", Some(offset.to_string().into_bytes())),
        ("kafka_dlt-exception-fqcn", Some(b"coupon.consumer.UnreadableRecord".to_vec())),
        ("kafka_dlt-exception-message", Some(message.clone().into_bytes())),
        ("exception", Some(format!("UnreadableRecord: {message}").into_bytes())),
        ("retry_count", Some(b"0".to_vec())),
    ];
    let expected: Vec<RawHeader> = expected.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    assert_eq!(all, expected);
    assert_eq!((empty.partition(), empty.key(), empty.payload()), (1, None, None));
    assert_eq!(headers(empty).len(), 13);
}

/// Wrong: a second winner replaces the first, or goes away without a trace.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_and_a_rank_above_the_total_are_dead_letters_and_the_first_row_stands() {
    let stage = Stage::new(1).await;
    stage.limit_to(10).await;
    let first = stage.winner(5);
    let mut same_rank = stage.winner(5);
    same_rank.user_id = coupon_core::identity::UserId::new("somebody-else").unwrap();
    let mut same_place = stage.winner(6);
    same_place.user_id = first.user_id.clone();
    for winner in [&first, &same_rank, &same_place, &stage.winner(11), &stage.winner(10)] {
        stage.publish_to(0, winner).await;
    }
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    let rows = database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 100).await.unwrap();
    let held: Vec<_> = rows.iter().map(|row| (row.rank, row.user_id.as_str())).collect();
    assert_eq!(held, [(5, "user-5"), (10, "user-10")]);
    let reasons: Vec<_> = stage
        .dead_letters()
        .await
        .iter()
        .map(|letter| (header(letter, "original_offset"), header(letter, "kafka_dlt-exception-fqcn")))
        .collect();
    let expected = [
        ("1", "coupon.consumer.RankConflict"),
        ("2", "coupon.consumer.RankConflict"),
        ("3", "coupon.consumer.RankAboveTotal"),
    ];
    assert_eq!(reasons, expected.map(|(offset, reason)| (offset.to_owned(), reason.to_owned())));
}

/// Wrong: a winner above the total asks again and again, and each answer is one letter more, after a restart of the consumer, too. Wrong, too: a
/// letter that people have given up, or that is gone, stands for what comes later, and nobody finds it any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_has_one_letter_however_often_its_winner_asks_again() {
    let stage = Stage::new(2).await;
    stage.limit_to(10).await;
    let granted = [stage.winner(11), stage.winner(12)];
    let told = |rank: usize, count: u64| CouponIssued { issued_count: count, ..granted[rank - 11].clone() };
    let letters = async || {
        let found = stage.dead_letters().await;
        found.iter().map(|letter| (letter.partition(), header(letter, "original_offset"))).collect::<Vec<_>>()
    };
    let at = |partition: i32, offset: &str| (partition, offset.to_owned());
    for count in 11..=15 {
        stage.publish_to(0, &told(11, count)).await;
    }
    stage.publish_to(0, &told(12, 15)).await;
    let consumer = stage.start();
    stage.all_committed().await;
    assert_eq!(consumer.metrics.dead_letters("RankAboveTotal"), 2);
    consumer.stop().await;
    assert_eq!(letters().await, [at(0, "0"), at(0, "5")]);

    let consumer = stage.start();
    stage.publish_to(0, &told(11, 15)).await;
    stage.publish_to(0, &CouponIssued { epoch: 2, ..told(12, 15) }).await;
    stage.publish_to(1, &told(12, 15)).await;
    stage.all_committed().await;
    let others = [at(0, "0"), at(0, "5"), at(0, "7"), at(1, "0")];
    assert_eq!(letters().await, others, "an older epoch's, or another partition's, may count for less");

    let first = RecordPlace { topic_id: "dead".to_owned(), at: Position { partition: 0, offset: 0 } };
    database::discard_record(&stage.pool, stage.row, &first, "AboveTotal").await.unwrap();
    let dead = stage.campaign.dead_letter_topic();
    stage.admin.delete_records(&dead, &BTreeMap::from([(1, 1)])).await.unwrap()[&1].clone().unwrap();
    let again = [stage.publish_to(0, &told(11, 15)).await, stage.publish_to(1, &told(12, 15)).await];
    stage.all_committed().await;
    assert_eq!(again, [8, 1]);
    let all = [at(0, "0"), at(0, "5"), at(0, "7"), at(0, "8"), at(1, "1")];
    assert_eq!(letters().await, all);
    consumer.stop().await;
    let consumer = stage.start();
    stage.publish_to(0, &told(11, 15)).await;
    stage.all_committed().await;
    assert_eq!(letters().await, all, "the one that was written since stands for it");
    consumer.stop().await;
}

/// Wrong: a campaign's row that a backup put back to before a raise makes dead letters of told winners.
#[tokio::test(flavor = "multi_thread")]
async fn a_rank_above_the_total_waits_for_the_total_to_be_put_right() {
    let stage = Stage::new(1).await;
    stage.limit_to(10).await;
    for rank in [10, 11, 12, 9] {
        stage.publish_to(0, &stage.winner(rank)).await;
    }
    let consumer = stage.start_watched(stage.connections.clone(), Patience::default());
    eventually("what is below the total is stored, and it says what it waits for", async || {
        let trouble = consumer.status.trouble().unwrap_or_default();
        stage.stored().await == 2 && trouble.contains("above the campaign's total of 10")
    })
    .await;
    stage.limit_to(12).await;
    stage.all_committed().await;
    eventually("it waits no more", async || consumer.status.trouble().is_none()).await;
    stage.publish_to(0, &stage.winner(1)).await;
    stage.all_committed().await;
    consumer.stop().await;
    assert_eq!((stage.stored().await, stage.dead_letters().await.len()), (5, 0));
}

/// Wrong: one record that somebody forged keeps the winners of all partitions from their rows for two minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_rank_above_the_total_holds_up_its_partition_only_and_says_where_it_is() {
    let stage = Stage::new(2).await;
    stage.limit_to(10).await;
    stage.publish_to(0, &stage.winner(1)).await;
    stage.publish_to(0, &stage.winner(300)).await;
    let consumer = stage.start_watched(stage.connections.clone(), Patience::default());
    eventually("it says what it waits for", async || {
        consumer.status.trouble().is_some_and(|trouble| trouble.contains("partition 0, offset 1 has rank 300"))
    })
    .await;
    for rank in 2..=9 {
        stage.publish_to(1, &stage.winner(rank)).await;
    }
    eventually("the other partition goes on", async || stage.committed().await.get(&1) == Some(&8)).await;
    assert_eq!(stage.committed().await.get(&0), Some(&1), "and the record stays where it is");
    stage.limit_to(300).await;
    stage.all_committed().await;
    eventually("it waits no more", async || consumer.status.trouble().is_none()).await;
    consumer.stop().await;
    assert_eq!((stage.stored().await, stage.dead_letters().await.len()), (10, 0));
}

/// Wrong: a dead letter that could not be written is lost, or stops partitions that have nothing to do with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_dead_letter_topic_stops_its_partition_and_loses_nothing() {
    let stage = Stage::without_dead_letter_topic(2).await;
    stage.publish_raw(0, None, Some(b"no event"), None, 1).await;
    let consumer = stage.start();
    eventually("it complains", async || {
        consumer.status.trouble().is_some_and(|trouble| trouble.contains("dead letters of partitions [0]"))
    })
    .await;
    stage.publish_to(0, &stage.winner(1)).await;
    for rank in 2..=20 {
        stage.publish_to(1, &stage.winner(rank)).await;
    }
    eventually("the other partition goes on", async || stage.committed().await.get(&1) == Some(&19)).await;
    assert_eq!(stage.committed().await.get(&0), Some(&0));
    stage.create_topic(&stage.campaign.dead_letter_topic()).await;
    stage.all_committed().await;
    assert_eq!(stage.stored().await, 20);
    consumer.stop().await;
    assert_eq!(stage.dead_letters().await.len(), 1);
}

/// Makes the database refuse rows: those of users named `refused-...`, and all of campaigns whose cluster is `refusing`.
pub(crate) async fn let_the_database_refuse(stage: &Stage) {
    let trigger = "CREATE TRIGGER IF NOT EXISTS test_refusal BEFORE INSERT ON issued_coupon FOR EACH ROW \
        IF NEW.user_id LIKE 'refused-%' \
           OR (SELECT kafka_cluster_id FROM campaign WHERE id = NEW.campaign_id) = 'refusing' \
        THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused by the test'; END IF";
    sqlx::raw_sql(trigger).execute(&stage.pool).await.unwrap();
}

/// Wrong: one bad row takes its whole batch into the dead letter topic, or blocks it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_found_in_their_batch() {
    let stage = Stage::new(1).await;
    let_the_database_refuse(&stage).await;
    let winners = (1..=90).map(|rank| {
        let mut winner = stage.winner(rank);
        if rank == 17 || rank == 90 {
            winner.user_id = coupon_core::identity::UserId::new(format!("refused-{rank}")).unwrap();
        }
        winner
    });
    stage.publish(winners).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    assert_eq!(stage.stored().await, 88);
    let letters = stage.dead_letters().await;
    let mut keys: Vec<_> = letters.iter().map(|letter| letter.key().unwrap().to_vec()).collect();
    keys.sort();
    assert_eq!(keys, [b"refused-17".to_vec(), b"refused-90".to_vec()]);
    for letter in &letters {
        assert_eq!(header(letter, "retry_count"), "5");
        assert!(header(letter, "exception").contains("refused by the test"));
    }
}

async fn refuse_all(stage: &Stage, refuse: bool) {
    let cluster = if refuse { "refusing" } else { "" };
    database::set_topic(&stage.pool, stage.row, "", cluster).await.unwrap();
}

/// Wrong: a database that refuses everything empties the topic into the dead letters.
#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_stops_dead_lettering_and_closes_when_a_row_is_taken() {
    let stage = Stage::new(1).await;
    let_the_database_refuse(&stage).await;
    refuse_all(&stage, true).await;
    stage.publish((1..=30).map(|rank| stage.winner(rank))).await;
    let consumer: Running = stage.start();
    eventually("the breaker trips", async || {
        consumer.status.trouble().is_some_and(|trouble| trouble.contains("row after row"))
    })
    .await;
    assert_eq!(consumer.metrics.records("rejected"), 20);
    refuse_all(&stage, false).await;
    stage.all_committed().await;
    assert_eq!(consumer.status.trouble(), None);
    consumer.stop().await;
    assert_eq!((stage.stored().await, stage.dead_letters().await.len()), (10, 20));
    assert_eq!(stage.ends(&stage.campaign.topic()).await, BTreeMap::from([(0, 30)]));
}
