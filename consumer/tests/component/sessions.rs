//! Brokers with their own bounds for sessions.

use coupon_kafka_admin::KafkaAdmin;
use coupon_ledger::kafka::client_config;
use coupon_runtime::telemetry::Probes;

use crate::stage::{Stage, eventually};

/// Wrong: consumers never join, say so in a word that nobody understands, and winners stay in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_brokers_refuse_is_followed_by_one_that_they_take() {
    for bounds in ["group.max.session.timeout.ms=8000", "group.min.session.timeout.ms=20000"] {
        let starting = tokio::task::spawn_blocking(move || stack::services::Kafka::start_with(bounds));
        let broker = starting.await.unwrap().unwrap();
        let mut stage = Stage::new(1).await;
        stage.connections.kafka.bootstrap_servers = vec![broker.url()];
        stage.admin = KafkaAdmin::new(&client_config(&stage.connections.kafka, "test", &[])).unwrap();
        stage.create_topic(&stage.campaign.topic()).await;
        stage.create_topic(&stage.campaign.dead_letter_topic()).await;
        stage.publish((1..=5).map(|rank| stage.winner(rank))).await;
        let consumer = stage.start();
        eventually("it says what is refused", async || {
            consumer.status.ready().is_err_and(|said| said.contains("refuse a session of 10 s"))
        })
        .await;
        eventually("the records are stored", async || stage.stored().await == 5).await;
        assert_eq!(consumer.status.ready(), Ok(()), "{bounds}");
        stage.all_committed().await;
        consumer.stop().await;
        drop(broker);
    }
}
