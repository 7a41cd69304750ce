//! A record of a later version that people have given up, whoever reads it again.

use coupon_core::position::{Position, RecordPlace};
use coupon_kafka_admin::TopicState;
use coupon_ledger::database::{self};
use coupon_ledger::kafka::{ORIGINAL_OFFSET, ORIGINAL_PARTITION};
use operator::ledger::epoch::{EpochError, Once};

use super::discarded::told;
use super::lost::{all_is_passed, of_a_later_version, open};
use super::repair::{lose, publish};
use crate::common::stage::Stage;

const ALL: Once = Once { stored: 5, issued: 5, given_up: 0, given: 5 };

async fn discard(stage: &Stage, topic_id: &str, at: Position) {
    let place = RecordPlace { topic_id: topic_id.to_owned(), at };
    for _ in 0..2 {
        database::discard_record(&stage.systems.sql, stage.row, &place, "NewerRecord").await.unwrap();
    }
}

async fn topic_id(stage: &Stage) -> String {
    let topic = stage.campaign.topic();
    let found = stage.systems.kafka.describe_topics(&[&topic]).await.unwrap().remove(&topic).unwrap().unwrap();
    let TopicState::Present(described) = found else { panic!("no topic") };
    described.topic_id
}

/// Where the record lies that stops a repair, and in which topic.
async fn stopped_by(stage: &Stage) -> (String, Position) {
    let refused = open(stage, ALL).await.unwrap_err();
    let EpochError::NewerRecord { topic, at, .. } = refused else { panic!("{refused}") };
    (topic, at)
}

/// Wrong: a record that people gave up closes the campaign again at a repair that reads the whole topic, and then nothing is left that
/// they could give up; or it is given up in vain, as it lies behind another letter.
#[tokio::test]
async fn what_was_given_up_stops_no_repair_even_where_it_cannot_be_removed() {
    let stage = Stage::new().await;
    let (topic, dead) = (stage.campaign.topic(), stage.campaign.dead_letter_topic());
    publish(&stage, &[1, 2].map(|rank| stage.winner(rank, 1))).await;
    let at = of_a_later_version(&stage, &topic, &[]).await;
    publish(&stage, &[3, 4, 5].map(|rank| stage.winner(rank, 1))).await;
    all_is_passed(&stage, &[1, 4]).await;
    // A letter that is no row keeps those behind it.
    stage.dead_letter(&stage.winner(5, 1), 5).await;
    let offset = at.offset.to_string();
    let letter =
        of_a_later_version(&stage, &dead, &[(ORIGINAL_PARTITION, "0"), (ORIGINAL_OFFSET, offset.as_str())]).await;
    assert_eq!(stopped_by(&stage).await, (dead.clone(), letter));

    let (well, said) = told(&stage, "--wait 0 --trim --discard 0:1 --rank 77").await;
    assert!(well, "{said}");
    let words = "0 removed from the topic, 1 not\npartition 0: 1 letters that are rows or discarded stay in the topic, as offset 0 lies before";
    assert!(said.contains(words) && said.contains("(Unknown)"), "{said}");
    let opened = open(&stage, ALL).await.unwrap();
    assert_eq!((opened.winners, opened.free), (5, 0), "rows, the letter, and all that the topic has");

    // It is settled for those who come later, and goes with the letter before it.
    let (well, said) = told(&stage, "--wait 0 --dry-run --offset 1 --partition 0").await;
    assert!(well && said.contains("AlreadyDiscarded"), "{said}");
    all_is_passed(&stage, &[5]).await;
    let (well, said) = told(&stage, "--wait 0 --trim").await;
    assert!(well && said.contains("2 removed from the topic"), "{said}");
    lose(&stage).await;
    assert_eq!(open(&stage, ALL).await.unwrap().winners, 5);
}

/// Wrong: what lies at the same place of a topic that was made anew is thrown away with it.
#[tokio::test]
async fn a_place_is_given_up_in_one_topic_only() {
    let stage = Stage::new().await;
    let at = of_a_later_version(&stage, &stage.campaign.topic(), &[]).await;
    discard(&stage, "the-topic-before", at).await;
    assert_eq!(stopped_by(&stage).await, (stage.campaign.topic(), at));
    let id = topic_id(&stage).await;
    database::set_topic(&stage.systems.sql, stage.row, &id, "cluster-1").await.unwrap();
    assert!(!database::is_discarded(&stage.systems.sql, stage.row, at).await.unwrap());
    discard(&stage, &id, at).await;
    assert!(database::is_discarded(&stage.systems.sql, stage.row, at).await.unwrap());
    open(&stage, Once::default()).await.unwrap();
}

/// Wrong: headers that a stranger made up take a winner's record with the stranger's letter.
#[tokio::test]
async fn a_letter_takes_no_record_with_it_that_it_was_not_made_of() {
    let stage = Stage::new().await;
    publish(&stage, &[stage.winner(1, 1)]).await;
    let origin = [(ORIGINAL_PARTITION, "0"), (ORIGINAL_OFFSET, "0")];
    of_a_later_version(&stage, &stage.campaign.dead_letter_topic(), &origin).await;
    let (well, said) = told(&stage, "--wait 0 --discard 0:0").await;
    assert!(well, "{said}");
    assert_eq!(open(&stage, Once::default()).await.unwrap().winners, 1);
}

/// Wrong: with each repair all of the topic is read, and met what stops it, as a grant that was given up is taken for a winner who is missing.
#[tokio::test]
async fn a_grant_that_was_given_up_makes_nobody_read_the_whole_topic() {
    let stage = Stage::new().await;
    publish(&stage, &[1, 2, 3, 4].map(|rank| stage.winner(rank, 1))).await;
    of_a_later_version(&stage, &stage.campaign.topic(), &[]).await;
    all_is_passed(&stage, &[1, 2, 3, 4]).await;
    database::discard(&stage.systems.sql, stage.row, &stage.winner(5, 1), "a test").await.unwrap();
    let opened = open(&stage, Once { stored: 4, ..ALL }).await.unwrap();
    assert_eq!((opened.winners, opened.free), (5, 0));
}
