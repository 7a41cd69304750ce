//! `campaign::log::admin` against a Kafka that nobody has used yet, and one that comes back.

use std::time::{Duration, Instant};

use campaign::log::admin::KafkaAdmin;
use rdkafka::ClientConfig;
use stack::services::Kafka;

/// On a fresh cluster no broker coordinates the group yet. librdkafka used to crash the process there; it must answer, at
/// first with an error that is worth trying again, then with "nothing committed".
#[tokio::test]
async fn the_first_question_about_a_group_does_not_crash() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap().unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.url());
    let admin = KafkaAdmin::new(&config).unwrap();
    let begin = Instant::now();
    loop {
        match admin.committed_offsets("nobody", "nothing", 1).await {
            Ok(committed) => {
                assert_eq!(committed.get(&0), Some(&None));
                return;
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                assert!(begin.elapsed() < Duration::from_secs(60), "{error}");
            }
        }
    }
}
