//! What Kafka is asked about a campaign: who consumes it.

use std::time::{Duration, Instant};

use coupon_ledger::kafka::client_config;
use operator::scaling::reading::Membership;
use rdkafka::consumer::{Consumer, StreamConsumer};

use crate::common::stage::Stage;

/// How long a group may take to form.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn members_that_hold_partitions_are_seen_where_they_are_asked_for() {
    let stage = Stage::new().await;
    let kafka = &stage.systems.kafka_reader;
    let members = async || kafka.view(&stage.campaign, true).await.unwrap().view.group;
    assert_eq!(members().await, Some(Membership { stable: false, holders: 0 }), "no group yet");
    let group = stage.campaign.group();
    let join = || {
        let settings = [("group.id", group.as_str()), ("enable.auto.commit", "false")];
        let consumer: StreamConsumer =
            client_config(&stage.systems.settings.operator.kafka, "test", &settings).create().unwrap();
        consumer.subscribe(&[&stage.campaign.topic()]).unwrap();
        consumer
    };
    // The topic has one partition, so the second one joins for nothing.
    let consumers = [join(), join()];
    let deadline = Instant::now() + PATIENCE;
    let seen = async {
        while members().await != Some(Membership { stable: true, holders: 1 }) {
            assert!(Instant::now() < deadline, "{:?}", members().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(kafka.view(&stage.campaign, false).await.unwrap().view.group, None, "nobody asked");
        let before = stage.systems.kafka_requests();
        let (one, other) = tokio::join!(members(), kafka.view(&stage.campaign, false));
        // The other member may be joining just now, so what is read is not said here, only that it is the same.
        assert!(one.is_some());
        assert_eq!(other.unwrap().view.group, one, "one reading for both");
        assert_eq!(stage.systems.kafka_requests() - before, 7);
    };
    tokio::select! {
        () = seen => {}
        record = consumers[0].recv() => panic!("{record:?}"),
        record = consumers[1].recv() => panic!("{record:?}"),
    }
}
