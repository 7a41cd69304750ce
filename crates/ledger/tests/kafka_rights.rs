//! Rights in Kafka that go while a sale runs: whoever meets that is told so by the client that it has had all along, and by its own error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use coupon_core::contract::KeyBy;
use coupon_core::event::CouponIssued;
use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_kafka_admin::{KafkaAdmin, lacks_a_right};
use coupon_ledger::kafka::AppendError;
use coupon_ledger::kafka::client_config;
use coupon_ledger::kafka::producer::WinnerProducer;
use coupon_testing::secured_kafka::SecuredKafka;
use rdkafka::consumer::{BaseConsumer, Consumer};
use stack::secured::brokers::Acl;
use stack::secured::rights;

/// Brokers take ACLs in a moment after they are written.
const SOON: Duration = Duration::from_secs(30);
const PODS: (&str, &str) = ("coupon-pods", "pods-word");

fn winner(campaign: &CampaignId, rank: u64) -> CouponIssued {
    CouponIssued {
        coupon_id: campaign.coupon_id().to_owned(),
        user_id: UserId::new(format!("user-{rank}")).unwrap(),
        rank,
        issued_count: rank,
        occurred_at: jiff::Timestamp::now(),
        n: 1,
        epoch: 1,
        request_key: RequestKey::new("k").unwrap(),
    }
}

async fn write(producer: &WinnerProducer, campaign: &CampaignId, rank: u64) -> Result<(), AppendError> {
    producer.append_all(&[winner(campaign, rank)]).one(0).await
}

/// Wrong: a right that goes in the middle of a sale looks like an outage, which passes by itself.
#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_lost_in_a_sale_are_told_by_who_meets_them() {
    let logins = [("coupon-operator", "operator-word"), PODS];
    let mut broker = SecuredKafka::start(logins).await;
    let documented = rights::kafka("prod", logins[0].0, PODS.0).unwrap();
    broker.add(&documented);
    let of_pods = |kind: &str, operation: &str| -> Acl {
        let wanted = |acl: &&Acl| acl.user == PODS.0 && acl.kind == kind && acl.operation == operation;
        documented.iter().find(wanted).unwrap().clone()
    };
    let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
    let admin = KafkaAdmin::new(&client_config(&broker.admin(), "test", &[])).unwrap();
    let topic = coupon_kafka_admin::TopicSpec {
        name: campaign.topic(),
        partitions: 1,
        replication_factor: 1,
        config: Default::default(),
    };
    admin.create_topic(&topic).await.unwrap();
    let settings = broker.settings(PODS);
    let producer = WinnerProducer::new(&settings, &campaign, KeyBy::User, "test").unwrap();
    let until = |begun: Instant| begun.elapsed() < SOON;

    let mut rank = 0;
    let mut next = || {
        rank += 1;
        rank
    };
    let begun = Instant::now();
    while let Err(error) = write(&producer, &campaign, next()).await {
        assert!(until(begun), "{error}");
    }
    let writing = of_pods("topic", "Write");
    broker.acls.remove(&writing).unwrap();
    let begun = Instant::now();
    let said = loop {
        assert!(until(begun), "nobody says that the right to write is missing");
        if let Err(error) = write(&producer, &campaign, next()).await {
            println!("after {:?}: {error}", begun.elapsed());
            if let Some(said) = error.missing_right() {
                break said;
            }
        }
    };
    assert!(said.contains("authorization failed") && coupon_kafka_admin::says_missing_right(&said), "{said}");
    broker.acls.add(&writing).unwrap();
    let begun = Instant::now();
    while let Err(error) = write(&producer, &campaign, next()).await {
        assert!(until(begun), "the right is back, and the producer does not write: {error}");
    }

    let group = campaign.group();
    let options = [("group.id", group.as_str()), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")];
    let reader: BaseConsumer = client_config(&settings, "test", &options).create().unwrap();
    reader.subscribe(&[&campaign.topic()]).unwrap();
    // Blocks for moments only.
    let refused = tokio::task::block_in_place(|| {
        let begun = Instant::now();
        while !matches!(reader.poll(Duration::from_millis(100)), Some(Ok(_))) {
            assert!(until(begun), "nothing was read");
        }
        broker.acls.remove(&of_pods("topic", "Read")).unwrap();
        let begun = Instant::now();
        loop {
            assert!(until(begun), "nobody says that the right to read is missing");
            if let Some(Err(error)) = reader.poll(Duration::from_millis(100)) {
                println!("after {:?}: {error}", begun.elapsed());
                if let Some(code) = error.rdkafka_error_code().filter(|code| lacks_a_right(*code)) {
                    break code;
                }
            }
        }
    });
    assert!(coupon_kafka_admin::says_missing_right(&refused.to_string()), "{refused}");
}
