//! People are forgotten, and stay so.

use std::time::Duration;

use coupon_core::event::CouponIssued;
use coupon_core::identity::{RequestKey, UserId};
use coupon_ledger::database;
use coupon_ledger::redis::{Answer, IssueRequest, RedisKeys, Reply, connect, issue, read_winners};
use rdkafka::message::Message;
use serde_json::Value;

use crate::discarded::publish_of_a_later_version;
use crate::replay::{Refusal, dead_letters, program, redis_holds, results};
use crate::stage::Stage;

async fn forget(stage: &Stage, arguments: &str) -> (i32, Value) {
    let (code, written) = program(stage, &stage.connections, &format!("forget --user anna {arguments}")).await;
    (code, written["campaigns"][0].clone())
}

fn annas(stage: &Stage, rank: u64, n: u32) -> CouponIssued {
    let (user_id, request_key) = (UserId::new("anna").unwrap(), RequestKey::new("anna-order-4711").unwrap());
    CouponIssued { user_id, request_key, n, ..stage.winner(rank) }
}

/// Rank, user, n and request key.
type Coupon = (u64, String, u32, String);

/// Of each row, and of each winner in Redis.
async fn everywhere(stage: &Stage) -> [Vec<Coupon>; 2] {
    let rows = database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 100).await.unwrap();
    let rows = rows.into_iter().map(|row| (row.rank, row.user_id.to_string(), row.n, row.request_key.to_string()));
    let mut redis = connect::connect(&stage.connections.redis, Duration::from_secs(10)).await.unwrap();
    let held = read_winners(&mut redis, &RedisKeys::of(&stage.campaign), 0, 100).await.unwrap();
    let held = held.into_iter().map(|held| {
        let key = held.granted_or_recovered().1;
        (held.rank, held.user.to_string(), held.n, key.to_string())
    });
    [rows.collect(), held.collect()]
}

/// What anna is given when she asks now.
async fn asks_again(stage: &Stage) -> Answer {
    let mut redis = connect::connect(&stage.connections.redis, Duration::from_secs(10)).await.unwrap();
    let (user, key) = (UserId::new("anna").unwrap(), RequestKey::new("anna-order-4712").unwrap());
    let request = IssueRequest { user, key, minted: false };
    let reply = issue(&mut redis, &RedisKeys::of(&stage.campaign), 1, 0, &[request]).await.unwrap();
    let Reply::Answered(mut batch) = reply else { panic!("{reply:?}") };
    batch.answers.remove(0)
}

/// Wrong: a person is still named somewhere, comes back with an old record, or loses the coupon with the name.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_person_is_named_nowhere_and_does_not_come_back() {
    let stage = Stage::new(1).await;
    let refusal = Refusal::of(&stage, "anna").await;
    let (row, letter) = (annas(&stage, 2, 1), annas(&stage, 4, 2));
    for winner in [&stage.winner(1), &row, &stage.winner(3), &letter] {
        stage.publish_to(0, winner).await;
    }
    let consumer = stage.start();
    stage.all_committed().await;
    refusal.lift().await;
    stage.publish_to(0, &row).await;
    stage.all_committed().await;
    redis_holds(&stage, 1, &[stage.winner(1), row.clone(), stage.winner(3), letter.clone()]).await;
    let before = everywhere(&stage).await;
    assert_eq!((before[0].len(), before[1].len(), stage.dead_letters().await.len()), (3, 4, 2));

    let (code, open) = forget(&stage, "").await;
    assert_eq!((code, open["trouble"]["name"].as_str()), (3, Some("StillOpen")));
    assert_eq!(forget(&stage, "--dry-run").await, (3, open), "a look says what the run would");
    let (code, nobody) = program(&stage, &stage.connections, "forget --user nobody").await;
    assert_eq!((code, &nobody["campaigns"][0]["trouble"]), (0, &Value::Null), "nobody is held up who is not there");
    let (code, tried) = forget(&stage, "--dry-run --while-open").await;
    assert_eq!((code, tried["coupons"].as_u64(), tried["deadLetters"].as_u64()), (0, Some(2), Some(2)));
    assert_eq!(everywhere(&stage).await, before, "neither wrote anything");

    let (code, done) = forget(&stage, "--while-open").await;
    assert_eq!((code, done["coupons"].as_u64(), done["deadLetters"].as_u64()), (0, Some(2), Some(2)), "{done}");
    let [pseudonym] = done["pseudonyms"].as_array().unwrap().as_slice() else { panic!("{done}") };
    let pseudonym = pseudonym.as_str().unwrap().to_owned();
    let renamed = |all: &[Coupon]| -> Vec<Coupon> {
        let rename = |one: &Coupon| match one.1 == "anna" {
            true => (one.0, pseudonym.clone(), one.2, pseudonym.clone()),
            false => one.clone(),
        };
        all.iter().map(rename).collect()
    };
    let after = [renamed(&before[0]), renamed(&before[1])];
    assert_eq!(everywhere(&stage).await, after, "rank and n stay");
    for letter in stage.dead_letters().await {
        let all = [letter.key(), letter.payload()].map(|part| String::from_utf8_lossy(part.unwrap()).into_owned());
        assert!(all.iter().all(|text| text.contains(&pseudonym) && !text.contains("anna")), "{all:?}");
    }
    let listed = dead_letters(&stage, &stage.connections, "list").await.1;
    assert_eq!(listed["letters"].as_array().map(Vec::len), Some(2), "they were removed where they were");

    // Records of before are read again.
    stage.publish_to(0, &row).await;
    stage.all_committed().await;
    let (code, replayed) = dead_letters(&stage, &stage.connections, "replay").await;
    let mut found = results(&replayed);
    found.sort_unstable();
    assert_eq!((code, found), (0, vec!["AlreadyStored", "Stored"]));
    stage.publish_to(0, &letter).await;
    stage.all_committed().await;
    assert_eq!(everywhere(&stage).await, [after[1].clone(), after[1].clone()]);
    assert_eq!(stage.dead_letters().await.len(), 2, "no letter more");
    let (code, nothing) = forget(&stage, "--while-open").await;
    assert_eq!((code, nothing["coupons"].as_u64(), nothing["deadLetters"].as_u64()), (0, Some(0), Some(0)));

    // Who comes back is somebody new, for the next forgetting too.
    let Answer::Granted(grant) = asks_again(&stage).await else { panic!("nothing was granted") };
    assert_eq!((grant.rank, grant.n), (5, 1));
    let (code, done) = forget(&stage, "--while-open").await;
    assert_eq!((code, done["coupons"].as_u64()), (0, Some(1)));
    assert_ne!(done["pseudonyms"][0], pseudonym.as_str());
    assert!(
        everywhere(&stage)
            .await
            .iter()
            .flatten()
            .all(|(_, user, _, key)| !user.contains("anna") && !key.contains("anna"))
    );
    consumer.stop().await;
}

/// Wrong: a run that broke off after the database is never finished, or gives one coupon two pseudonyms.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_broke_off_is_finished_by_the_next_one() {
    let stage = Stage::new(1).await;
    let row = annas(&stage, 1, 1);
    redis_holds(&stage, 1, std::slice::from_ref(&row)).await;
    let direct = CouponIssued { epoch: 0, ..row.clone() };
    database::store(&stage.pool, stage.row, database::StoreMode::Direct(&[direct])).await.unwrap();
    let pseudonym = database::new_pseudonym();
    database::forget(&stage.pool, stage.row, &row.user_id, &[1].into(), &pseudonym).await.unwrap();
    let [rows, held] = everywhere(&stage).await;
    assert_eq!((rows[0].1.as_str(), held[0].1.as_str()), (pseudonym.as_str(), "anna"));

    let (code, done) = forget(&stage, "--while-open").await;
    assert_eq!((code, done["pseudonyms"][0].as_str()), (0, Some(pseudonym.as_str())));
    let [rows, held] = everywhere(&stage).await;
    assert_eq!(rows, held);
}

/// Wrong: letters that cannot be removed are copied again and again, or nobody hears that they still name the person.
#[tokio::test(flavor = "multi_thread")]
async fn letters_that_cannot_be_removed_are_told_and_not_copied() {
    let stage = Stage::without_dead_letter_topic(1).await;
    let topic = stage.campaign.dead_letter_topic();
    // Kafka deletes no records of such a topic, whoever asks.
    stage.create_topic_with(&topic, &[("cleanup.policy", "compact")]).await;
    let refusal = Refusal::of(&stage, "anna").await;
    let letter = annas(&stage, 1, 1);
    stage.publish([letter.clone()]).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    refusal.lift().await;
    redis_holds(&stage, 1, &[letter]).await;
    let (code, done) = forget(&stage, "--while-open").await;
    assert_eq!(
        (code, done["coupons"].as_u64(), done["trouble"]["name"].as_str()),
        (3, Some(1), Some("DeadLettersStay"))
    );
    assert!(done["trouble"]["text"].as_str().unwrap().contains(&topic), "{done}");
    assert_eq!(stage.dead_letters().await.len(), 1);
    // What is left of the name is no winner of its own: replayed, it is a row under the pseudonym.
    let consumer = stage.start();
    let (code, replayed) = dead_letters(&stage, &stage.connections, "replay").await;
    assert_eq!((code, results(&replayed)), (0, vec!["Stored"]));
    assert_eq!(everywhere(&stage).await[0][0].1, done["pseudonyms"][0].as_str().unwrap());
    consumer.stop().await;
}

/// Wrong: what people gave up comes back with the letters of somebody who is forgotten, at a place where nobody gave it up; or it keeps
/// them from being forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_not_written_again() {
    let stage = Stage::new(1).await;
    let refusal = Refusal::of(&stage, "anna").await;
    for user in ["bert", "anna"] {
        publish_of_a_later_version(&stage, user).await;
    }
    stage.publish_to(0, &annas(&stage, 1, 1)).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    refusal.lift().await;
    redis_holds(&stage, 1, &[annas(&stage, 1, 1)]).await;
    assert_eq!(stage.dead_letters().await.len(), 3);
    let (code, held_up) = forget(&stage, "--while-open").await;
    assert_eq!((code, held_up["trouble"]["name"].as_str()), (3, Some("DeadLettersStay")));
    let (code, _) = dead_letters(&stage, &stage.connections, "replay --discard 0:0 --discard 0:1 --rank 77").await;
    assert_eq!(code, 0);
    let (code, done) = forget(&stage, "--while-open").await;
    assert_eq!((code, done["deadLetters"].as_u64()), (0, Some(2)), "{done}");
    let [letter] = &stage.dead_letters().await[..] else { panic!("one letter, which is anna's no more") };
    assert_ne!(letter.key(), Some(&b"anna"[..]));
}
