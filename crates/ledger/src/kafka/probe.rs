//! One record written and read back with a login, as issuers write and consumers read: Kafka tells whether a user may do so only where it
//! is done.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coupon_core::connections::Kafka;
use coupon_kafka_admin::AdminError;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::{producer, reading};

/// Why a record was not written and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TripError {
    /// The user lacks a right.
    NotAuthorized {
        /// Kafka's name of what it may not do.
        operation: &'static str,
        /// To what.
        resource: String,
        /// The broker's words.
        cause: String,
    },
    /// Nobody refused, and it was not done in time. A record may be written all the same.
    Late {
        /// Kafka's name of what took so long.
        operation: &'static str,
        /// With what.
        resource: String,
        /// How long it had.
        deadline: Duration,
        /// What the client said last.
        cause: String,
    },
    /// Anything else.
    Failed(AdminError),
}

/// Writes and reads with one login. It keeps its producer from trip to trip, as each one leaves a trace at the broker for a day; after a
/// failure the next trip has a new one, which believes nothing of old.
pub struct RoundTrip {
    settings: Kafka,
    client_id: String,
    producer: Mutex<Option<Apart<FutureProducer>>>,
    trips: AtomicU64,
}

/// A client that goes on a thread of its own: it waits for its threads when it goes, which no thread of the runtime may.
struct Apart<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Drop for Apart<T> {
    fn drop(&mut self) {
        let inner = self.0.take();
        // Without a thread the closure, and what it holds, goes here.
        drop(std::thread::Builder::new().name("kafka-probe".into()).spawn(move || drop(inner)));
    }
}

impl RoundTrip {
    /// Nothing is connected to before the first trip.
    pub fn new(settings: &Kafka, client_id: &str) -> Self {
        let (settings, client_id) = (settings.clone(), client_id.to_owned());
        Self { settings, client_id, producer: Mutex::new(None), trips: AtomicU64::new(0) }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Apart<FutureProducer>>> {
        // A client is whole whatever panicked beside it.
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a record to partition 0 of the topic, acknowledged by all in-sync replicas, and reads it back. Call it within a runtime.
    ///
    /// # Errors
    /// What of it failed, within `deadline`.
    pub async fn make(&self, topic: &str, deadline: Duration) -> Result<(), TripError> {
        let until = Instant::now() + deadline;
        let number = self.trips.fetch_add(1, Ordering::Relaxed);
        let value = format!("{} {} {number}", self.client_id, std::process::id());
        let kept = self.kept().take();
        let producer = match kept {
            Some(producer) => producer,
            None => Apart(Some(self.new_producer(topic, deadline)?)),
        };
        let Some(client) = &producer.0 else { return Err(unmade(topic, &KafkaError::Canceled)) };
        // Whoever is late loses its producer too: its record may come when nobody waits for it any more.
        let offset = write(client, topic, &value, deadline).await?.offset;
        let reading = Reading { topic: topic.to_owned(), offset, value, until, deadline };
        let config = self.settings.clone();
        let client_id = self.client_id.clone();
        // Ends by itself at its deadline, whether anybody still waits or not.
        let read = tokio::task::spawn_blocking(move || reading.read(&config, &client_id)).await;
        read.unwrap_or_else(|_| Err(unmade(topic, &KafkaError::Canceled)))?;
        *self.kept() = Some(producer);
        Ok(())
    }

    fn new_producer(&self, topic: &str, deadline: Duration) -> Result<FutureProducer, TripError> {
        // The rest is for reading.
        let delivery = deadline.saturating_mul(2) / 3;
        let created = producer::config(&self.settings, &self.client_id, delivery).create();
        created.map_err(|error| unmade(topic, &error))
    }
}

fn unmade(topic: &str, error: &KafkaError) -> TripError {
    failed(topic, error.rdkafka_error_code().unwrap_or(Code::Fail), error.to_string())
}

fn failed(topic: &str, code: Code, message: String) -> TripError {
    TripError::Failed(AdminError::Other { resource: format!("topic {topic}"), code, message })
}

async fn write(producer: &FutureProducer, topic: &str, value: &str, deadline: Duration) -> Result<Delivery, TripError> {
    let record = FutureRecord::<str, str>::to(topic).partition(0).payload(value);
    // Not `send`, which would wait for room in the queue.
    let sent = producer.send_result(record).map_err(|(error, _)| error);
    let error = match sent {
        Err(error) => error,
        Ok(delivery) => match tokio::time::timeout(deadline, delivery).await {
            Ok(Ok(Ok(delivery))) => return Ok(delivery),
            Ok(Ok(Err((error, _)))) => error,
            Ok(Err(_)) => KafkaError::Canceled,
            Err(_) => KafkaError::MessageProduction(Code::MessageTimedOut),
        },
    };
    // A client that can never write again says why in another place.
    let (code, cause) = match producer.client().fatal_error() {
        Some(fatal) => fatal,
        None => {
            let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
            (code, code.to_string())
        }
    };
    Err(unwritten(topic, code, cause, deadline))
}

/// Sorts a failed write.
fn unwritten(topic: &str, code: Code, cause: String, deadline: Duration) -> TripError {
    let resource = format!("topic {topic}");
    match code {
        Code::TopicAuthorizationFailed => TripError::NotAuthorized { operation: "Write", resource, cause },
        // Who may write to no topic gets no producer id. Brokers before 2.8 want a right of its own for one.
        Code::ClusterAuthorizationFailed => TripError::NotAuthorized {
            operation: "Write (before Kafka 2.8 IdempotentWrite on the cluster)",
            resource,
            cause,
        },
        Code::MessageTimedOut | Code::OperationTimedOut => {
            TripError::Late { operation: "Write", resource, deadline, cause }
        }
        code => failed(topic, code, cause),
    }
}

/// What is to be read back.
struct Reading {
    topic: String,
    offset: i64,
    value: String,
    until: Instant,
    deadline: Duration,
}

impl Reading {
    /// Blocks, at most until its deadline. The client is of this reading only: what an old one met would be told again.
    fn read(self, settings: &Kafka, client_id: &str) -> Result<(), TripError> {
        // Where it ends is nothing to wait for here: the record may still come.
        let created = reading::reader(settings, client_id, &self.topic, &[("enable.partition.eof", "false")]);
        let consumer = created.map_err(|error| unmade(&self.topic, &error))?;
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(&self.topic, 0, Offset::Offset(self.offset))
            .and_then(|()| consumer.assign(&list));
        assigned.map_err(|error| unmade(&self.topic, &error))?;
        let mut said = "nothing arrived".to_owned();
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (operation, resource) = ("Read", format!("topic {}", self.topic));
                return Err(TripError::Late { operation, resource, deadline: self.deadline, cause: said });
            }
            match consumer.poll(left) {
                // Others may write there as well: the looks of another class of the same realm.
                Some(Ok(message)) if message.payload() == Some(self.value.as_bytes()) => return Ok(()),
                Some(Ok(_)) | None => {}
                Some(Err(error)) => {
                    let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                    if let Some(refused) = refused(&self.topic, &reading::group(&self.topic), code) {
                        return Err(refused);
                    }
                    said = code.to_string();
                }
            }
        }
    }
}

/// Whether this answer to a reader is about a right.
fn refused(topic: &str, group: &str, code: Code) -> Option<TripError> {
    let cause = code.to_string();
    match code {
        Code::TopicAuthorizationFailed => {
            Some(TripError::NotAuthorized { operation: "Read", resource: format!("topic {topic}"), cause })
        }
        Code::GroupAuthorizationFailed => {
            Some(TripError::NotAuthorized { operation: "Read", resource: format!("consumer group {group}"), cause })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: somebody who is slow, or is held back by a quota, is said to lack a right.
    #[test]
    fn who_is_late_is_not_called_forbidden() {
        let sorted = |code| unwritten("t", code, "said the broker".to_owned(), Duration::from_secs(3));
        for code in [Code::TopicAuthorizationFailed, Code::ClusterAuthorizationFailed] {
            let TripError::NotAuthorized { operation, resource, .. } = sorted(code) else { panic!("{code:?}") };
            assert!(operation.starts_with("Write") && resource == "topic t", "{operation} {resource}");
        }
        assert!(matches!(sorted(Code::MessageTimedOut), TripError::Late { operation: "Write", .. }));
        assert!(matches!(sorted(Code::NotEnoughReplicas), TripError::Failed(error) if error.is_settling()));
        assert_eq!(refused("t", "g", Code::BrokerTransportFailure), None);
    }

    /// Wrong: a write that cannot be done keeps a look for ever, or a thread of each minute's look stays behind.
    #[tokio::test]
    async fn a_trip_ends_in_time_where_nobody_answers() {
        let settings = Kafka {
            bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
            protocol: coupon_core::connections::KafkaProtocol::Plaintext,
            mechanism: None,
            login: coupon_core::connections::Login::default(),
            ca_pem: None,
        };
        let trip = RoundTrip::new(&settings, "test");
        let deadline = Duration::from_millis(600);
        let ended = tokio::time::timeout(Duration::from_secs(20), trip.make("t", deadline)).await.unwrap();
        assert!(matches!(ended, Err(TripError::Late { operation: "Write", .. })), "{ended:?}");
        assert!(trip.kept().is_none(), "its producer is given up");
    }
}
