//! Topics and groups that are called as the class says.

use coupon_core::names::{KafkaNames, Templates};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::process::Process;
use crate::replay::{dead_letters, program, redis_holds};
use crate::stage::Stage;

/// Wrong: a pod, or a command that people run in it, goes by the usual names: it stores nothing, or finds no letters and says that all is
/// well.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_and_its_commands_go_by_the_names_that_their_settings_say() {
    let names = Templates {
        topic: "acme.{realm}.{namespace}.{couponId}.v1".to_owned(),
        dead_letter_topic: "{topic}.dlq".to_owned(),
        consumer_group: "acme.readers.{realm}_{namespace}_{couponId}".to_owned(),
    };
    let stage = Stage::named(KafkaNames::new(names).unwrap()).await;
    let id = stage.campaign.coupon_id();
    assert_eq!(stage.campaign.dead_letter_topic(), format!("acme.test.consumer.{id}.v1.dlq"));
    assert_eq!(stage.campaign.group(), format!("acme.readers.test_consumer_{id}"));
    let winners: Vec<_> = (1..=3).map(|rank| stage.winner(rank)).collect();
    stage.publish(winners.clone()).await;
    stage.publish_raw(0, Some(b"user-2"), Some(b"no winner"), None, 7).await;

    let process = Process::start(&stage);
    process.all_committed(&stage).await;
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().await.code(), Some(0));
    assert_eq!((stage.stored().await, stage.dead_letters().await.len()), (3, 1));

    let (code, listed) = dead_letters(&stage, &stage.connections, "list").await;
    assert_eq!((code, listed["letters"].as_array().map(Vec::len)), (0, Some(1)), "{listed}");
    redis_holds(&stage, 1, &winners).await;
    let (code, written) = program(&stage, &stage.connections, "forget --user user-2 --while-open").await;
    let forgotten = &written["campaigns"][0];
    assert_eq!((code, &forgotten["coupons"], &forgotten["deadLetters"]), (0, &json!(1), &json!(1)), "{written}");
    let [letter] = &stage.dead_letters().await[..] else { panic!("one letter, written anew") };
    assert_ne!(rdkafka::Message::key(letter), Some(&b"user-2"[..]));
}
