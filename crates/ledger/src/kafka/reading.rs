//! Clients that read some of a topic without joining a group.

use coupon_core::connections::Kafka;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::client_config;

/// Such a client.
pub type Reader = BaseConsumer<Reading>;

/// What is made of what a reader's client says beside records.
#[derive(Debug, Clone, Copy)]
pub struct Reading;

impl ClientContext for Reading {
    fn error(&self, error: KafkaError, reason: &str) {
        // The client says the end of a partition as it says errors. It is what whoever reads to the end waits for.
        if error != KafkaError::Global(RDKafkaErrorCode::PartitionEOF) {
            tracing::error!("librdkafka: {error}: {reason}");
        }
    }
}

impl ConsumerContext for Reading {}

/// The group that readers of a topic name. It is never joined, and nothing is committed to it; librdkafka wants one to hand out positions.
/// It begins like the topic, so that one ACL on the prefix covers both.
pub fn group(topic: &str) -> String {
    format!("{topic}.reader")
}

/// A reader of this topic, with `overrides` on top of what all have in common. It says where a partition ends.
///
/// # Errors
/// librdkafka refuses the settings, or has no threads left.
pub fn reader(settings: &Kafka, client_id: &str, topic: &str, overrides: &[(&str, &str)]) -> KafkaResult<Reader> {
    let group = group(topic);
    let common = [
        ("group.id", group.as_str()),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "earliest"),
        ("enable.partition.eof", "true"),
        ("fetch.wait.max.ms", "50"),
        // Nobody writes transactions here; one left open by a stranger must not hide what lies behind it.
        ("isolation.level", "read_uncommitted"),
    ];
    client_config(settings, client_id, &[&common, overrides].concat()).create_with_context(Reading)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use rdkafka::consumer::Consumer;
    use rdkafka::mocking::MockCluster;
    use rdkafka::{Offset, TopicPartitionList};

    use super::*;
    use coupon_core::connections::{KafkaProtocol, Login};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged meanwhile, and what came of it.
    fn logged<T>(work: impl FnOnce() -> T) -> (T, String) {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let done = tracing::subscriber::with_default(subscriber, work);
        (done, String::from_utf8(lines.0.lock().unwrap().clone()).unwrap())
    }

    /// Wrong: whoever reads a log to its end leaves an error in the log of the program.
    #[test]
    fn the_end_of_a_partition_is_no_error() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let kafka = Kafka {
            bootstrap_servers: vec![cluster.bootstrap_servers()],
            protocol: KafkaProtocol::Plaintext,
            mechanism: None,
            login: Login::default(),
            ca_pem: None,
        };
        let (end, lines) = logged(|| {
            let reader = reader(&kafka, "test", "t", &[]).unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition_offset("t", 0, Offset::Offset(0)).unwrap();
            reader.assign(&list).unwrap();
            let deadline = Instant::now() + Duration::from_secs(30);
            while Instant::now() < deadline {
                if let Some(Err(KafkaError::PartitionEOF(partition))) = reader.poll(Duration::from_millis(100)) {
                    return Some(partition);
                }
            }
            None
        });
        assert_eq!((end, lines.as_str()), (Some(0), ""));
    }

    #[test]
    fn other_errors_are_told() {
        let error = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        let ((), lines) = logged(|| Reading.error(error, "1/1 brokers are down"));
        assert!(lines.contains("1/1 brokers are down"), "{lines}");
    }
}
