//! Makes topics, those of many campaigns at once.

use std::collections::BTreeMap;

use coupon_kafka_admin::{AdminError, Batch, Creation, KafkaAdmin, TopicSpec};

use crate::kafka::coalescer::Coalescer;

/// Makes topics. It has a connection of its own: a broker that is creating topics answers nothing else on the same one, and
/// reading offsets must not wait for that.
pub struct TopicMaker {
    kafka: KafkaAdmin,
    requests_to_create: Coalescer<TopicSpec, Result<Creation, AdminError>>,
}

impl TopicMaker {
    /// Starts the task. `kafka`: a client that nobody else uses. Call it within a runtime.
    pub fn start(kafka: KafkaAdmin) -> Self {
        let own = kafka.clone();
        Self { kafka, requests_to_create: Coalescer::start(move |wanted| create(own.clone(), wanted)) }
    }

    /// How many requests were made of the brokers.
    pub fn requests(&self) -> u64 {
        self.kafka.requests()
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// As [`KafkaAdmin::create_topic`] says.
    pub async fn create(&self, spec: &TopicSpec) -> Result<Creation, AdminError> {
        self.requests_to_create.request(spec.clone()).await.unwrap_or_else(|| Err(ended()))
    }
}

fn ended() -> AdminError {
    AdminError::TaskEnded { task: "the task that creates topics" }
}

async fn create(kafka: KafkaAdmin, wanted: Vec<TopicSpec>) -> Vec<Result<Creation, AdminError>> {
    // Kafka refuses a request that names a topic twice.
    let distinct: BTreeMap<&str, &TopicSpec> = wanted.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let distinct: Vec<TopicSpec> = distinct.into_values().cloned().collect();
    let created: Result<Batch<String, Creation>, AdminError> = kafka.create_topics(&distinct).await;
    let answer = |spec: &TopicSpec| match &created {
        Ok(created) => created.get(&spec.name).cloned().unwrap_or_else(|| Err(ended())),
        Err(error) => Err(error.clone()),
    };
    wanted.iter().map(answer).collect()
}
