//! What people have given up stays so, wherever it lies.

use std::collections::BTreeMap;

use coupon_core::event::{CouponIssued, EVENT_TYPE, HEADER_CAMPAIGN, HEADER_EVENT_TYPE, HEADER_VERSION};
use coupon_kafka_admin::TopicState;
use coupon_ledger::database;
use rdkafka::message::{Header, OwnedHeaders};

use crate::replay::{dead_letters, redis_holds, results};
use crate::stage::Stage;

/// Writes a record that only a newer program can read.
pub(crate) async fn publish_of_a_later_version(stage: &Stage, user: &str) {
    let campaign = stage.campaign.to_string();
    let headers = [(HEADER_VERSION, "2"), (HEADER_EVENT_TYPE, EVENT_TYPE), (HEADER_CAMPAIGN, campaign.as_str())]
        .iter()
        .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
    stage.publish_raw(0, Some(user.as_bytes()), Some(b"of a later day"), Some(headers), 1).await;
}

/// As the operator does, which knows the topic.
async fn register_topic(stage: &Stage) {
    let topic = stage.campaign.topic();
    let found = stage.admin.describe_topics(&[&topic]).await.unwrap().remove(&topic).unwrap().unwrap();
    let TopicState::Present(described) = found else { panic!("no topic") };
    database::set_topic(&stage.pool, stage.row, &described.topic_id, "cluster-1").await.unwrap();
}

/// Wrong: a group that has lost its offsets makes a dead letter once more of what people gave up, and the next repair stops at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_given_up_is_no_dead_letter_again() {
    let stage = Stage::new(1).await;
    register_topic(&stage).await;
    stage.publish_to(0, &stage.winner(1)).await;
    publish_of_a_later_version(&stage, "user-2").await;
    stage.publish_to(0, &stage.winner(3)).await;
    publish_of_a_later_version(&stage, "user-4").await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    assert_eq!(stage.dead_letters().await.len(), 2);
    let (code, done) = dead_letters(&stage, &stage.connections, "replay --trim --discard 0:0 --rank 77").await;
    assert_eq!((code, results(&done), done["trimmed"].as_u64()), (0, vec!["Discarded"], Some(1)));

    let (group, topic) = (stage.campaign.group(), stage.campaign.topic());
    stage.admin.commit_offsets(&group, &topic, &BTreeMap::from([(0, 0)])).await.unwrap();
    let consumer = stage.start();
    stage.all_committed().await;
    let counts = ["duplicate", "discarded", "unreadable"].map(|outcome| consumer.metrics.records(outcome));
    assert_eq!(counts, [2, 1, 1]);
    consumer.stop().await;
    assert_eq!(stage.dead_letters().await.len(), 2, "the one that nobody gave up is there twice");
}

/// Wrong: a letter is discarded, stays where it is, and nobody hears why; or it has to be discarded again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_removed_yet_is_settled_and_the_answer_says_what_keeps_it() {
    let stage = Stage::new(1).await;
    stage.publish_raw(0, None, Some(b"no event"), None, 1).await;
    publish_of_a_later_version(&stage, "user-2").await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    let run = async |arguments: &str| dead_letters(&stage, &stage.connections, arguments).await;

    let (code, done) = run("replay --dry-run --discard 0:1 --rank 77").await;
    assert_eq!((code, results(&done)), (0, vec!["Discarded"]));
    let (_, judged) = run("replay").await;
    assert_eq!(results(&judged), ["UnreadableRecord", "NewerRecord"], "a dry run settles nothing");
    let (code, done) = run("replay --trim --discard 0:1 --rank 77").await;
    assert_eq!((code, results(&done), done["trimmed"].as_u64()), (0, vec!["Discarded"], Some(0)));
    let [kept] = done["notTrimmed"].as_array().unwrap().as_slice() else { panic!("{done}") };
    assert_eq!(
        (kept["partition"].as_i64(), kept["letters"].as_u64(), kept["behindOffset"].as_i64(), kept["reason"].as_str()),
        (Some(0), Some(1), Some(0), Some("UnreadableRecord"))
    );
    assert!(kept["text"].as_str().unwrap().contains("discarded counts for nothing all the same"), "{kept}");

    let (_, judged) = run("replay").await;
    assert_eq!(results(&judged), ["UnreadableRecord", "AlreadyDiscarded"]);
    let (code, done) = run("replay --discard 0:0").await;
    assert_eq!((code, results(&done)), (0, vec!["Discarded", "AlreadyDiscarded"]));
    assert!(done["trimmed"].is_null(), "who may not remove anything may give up all the same");
    let (code, done) = run("replay --trim").await;
    assert_eq!((code, done["trimmed"].as_u64(), done["notTrimmed"].as_array().map(Vec::len)), (0, Some(2), Some(0)));
}

/// Wrong: a rank that nobody was granted is taken from everybody for good, as Redis could not be asked at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_discarded_while_redis_cannot_tell_whose_the_rank_is() {
    let stage = Stage::new(1).await;
    let foreign = CouponIssued { rank: 500, epoch: 0, ..stage.winner(1) };
    database::store(&stage.pool, stage.row, database::StoreMode::Direct(&[foreign])).await.unwrap();
    stage.publish_to(0, &stage.winner(1)).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    let ranks = async || database::discarded_ranks(&stage.pool, stage.row, 0, 10).await.unwrap();
    for more in ["--dry-run", ""] {
        let (code, done) =
            dead_letters(&stage, &stage.connections, &format!("replay --trim --discard 0:0 {more}")).await;
        assert_eq!((code, results(&done)), (3, vec!["NotDiscarded"]), "{more}");
        let text = done["letters"][0]["result"]["text"].as_str().unwrap();
        assert!(text.contains("only Redis can tell") && text.contains("try again once it is repaired"), "{text}");
        assert_eq!((ranks().await, stage.dead_letters().await.len()), (vec![], 1));
    }
    let others = CouponIssued { user_id: stage.winner(9).user_id, ..stage.winner(1) };
    redis_holds(&stage, 1, &[others]).await;
    let (code, done) = dead_letters(&stage, &stage.connections, "replay --trim --discard 0:0").await;
    assert_eq!((code, results(&done)), (0, vec!["Discarded"]));
    assert_eq!((ranks().await, stage.dead_letters().await.len()), (vec![], 0));
}
