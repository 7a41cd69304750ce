//! A Kafka client of its own that says what waits, so that "no records" can be told from "blind". It reads no records but to prove
//! that there are some, and joins no group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use coupon_core::connections::Kafka;
use coupon_core::identity::CampaignId;
use coupon_kafka_admin::{AdminError, GroupState, KafkaAdmin, TopicState};
use coupon_ledger::kafka::{client_config, reading};

use crate::standstill::{Evidence, GroupView, Log, Question};

/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a fresh client may take to read one record.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// How long its end may take.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// What a fresh client finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record.
    Record,
    /// No record: the offsets up to the end hold none that may be read.
    Nothing,
    /// It cannot read either.
    Unknown(String),
}

/// The witness.
#[derive(Debug)]
pub(crate) struct Witness {
    admin: KafkaAdmin,
    kafka: Kafka,
    client_id: String,
    topic: String,
    group: String,
}

impl Witness {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// [`AdminError::InvalidClient`] for settings that librdkafka refuses.
    pub(crate) fn new(kafka: &Kafka, campaign: &CampaignId, client_id: &str) -> Result<Self, AdminError> {
        let topic = campaign.topic();
        let config = client_config(kafka, client_id, &[("group.id", &reading::group(&topic))]);
        let admin = KafkaAdmin::new(&config)?.within(DEADLINE);
        let (kafka, client_id, group) = (kafka.clone(), client_id.to_owned(), campaign.group());
        Ok(Self { admin, kafka, client_id, topic, group })
    }

    /// Answers as much of a question as Kafka does.
    ///
    /// # Errors
    /// What kept the rest from being answered.
    pub(crate) async fn answer(&self, question: &Question) -> (Evidence, Result<(), AdminError>) {
        match question {
            Question::Nothing => (Evidence::default(), Ok(())),
            Question::Partitions { quiet, positions } => {
                let mut logs = BTreeMap::new();
                let result = self.logs(quiet, *positions, &mut logs).await;
                (Evidence { logs, group: None }, result)
            }
            Question::Group => match self.group().await {
                Ok(Some(group)) => {
                    let mut logs = BTreeMap::new();
                    let result = self.logs(&group.nobodys, true, &mut logs).await;
                    (Evidence { logs, group: Some(group) }, result)
                }
                Ok(None) => (Evidence::default(), Ok(())),
                Err(error) => (Evidence::default(), Err(error)),
            },
        }
    }

    /// Where these partitions end; where they begin and where the group is in them only if `positions` are wanted.
    async fn logs(
        &self,
        wanted: &BTreeSet<i32>,
        positions: bool,
        logs: &mut BTreeMap<i32, Log>,
    ) -> Result<(), AdminError> {
        let Some(last) = wanted.last() else { return Ok(()) };
        let named: Vec<(&str, i32)> = wanted.iter().map(|id| (self.topic.as_str(), *id)).collect();
        let (starts, committed) = match positions {
            true => {
                let (starts, committed) = tokio::join!(
                    self.admin.start_offsets(&named),
                    self.admin.committed_offsets(&self.group, &self.topic, last + 1)
                );
                (starts?, committed?)
            }
            false => Default::default(),
        };
        // Last: what was committed, or removed, was there before.
        let ends = self.admin.end_offsets(&named).await?;
        let mut result = Ok(());
        for ((topic, id), end) in ends {
            let start = match starts.get(&(topic, id)).cloned() {
                None => Ok(0),
                Some(start) => start,
            };
            match (start, end) {
                (Ok(start), Ok(end)) => {
                    let committed = committed.get(&id).copied().flatten();
                    logs.insert(id, Log { start, end, committed });
                }
                (Err(error), _) | (_, Err(error)) => result = Err(error),
            }
        }
        result
    }

    /// Who is in the group. `None`: there is no topic whose partitions could be shared out.
    async fn group(&self) -> Result<Option<GroupView>, AdminError> {
        let (topics, groups) = ([self.topic.as_str()], [self.group.as_str()]);
        let (topics, groups) = tokio::join!(self.admin.describe_topics(&topics), self.admin.describe_groups(&groups));
        // What was asked for is in the answers, failed or not.
        let (topic, group) = (topics?.remove(&self.topic), groups?.remove(&self.group));
        let (Some(topic), Some(group)) = (topic.transpose()?, group.transpose()?) else { return Ok(None) };
        let TopicState::Present(topic) = topic else { return Ok(None) };
        let all_held = group.members.iter().flat_map(|member| &member.assignment);
        let held: BTreeSet<i32> = all_held.filter(|(name, _)| *name == self.topic).map(|(_, id)| *id).collect();
        let nobodys = topic.partitions.iter().map(|partition| partition.id).filter(|id| !held.contains(id)).collect();
        let is_empty = matches!(group.state, GroupState::Absent | GroupState::Empty);
        Ok(Some(GroupView { is_empty, nobodys }))
    }

    /// Lets a fresh client read the first record of a partition from this offset on: what it can, the reader could, too.
    pub(crate) async fn read(&self, partition: i32, from: i64) -> Found {
        let (kafka, client_id, topic) = (self.kafka.clone(), self.client_id.clone(), self.topic.clone());
        let reading = tokio::task::spawn_blocking(move || read(&kafka, &client_id, &topic, partition, from));
        match tokio::time::timeout(READ_DEADLINE + END_DEADLINE, reading).await {
            Ok(Ok(Ok(found))) => found,
            Ok(Ok(Err(error))) => Found::Unknown(error.to_string()),
            Ok(Err(error)) => Found::Unknown(error.to_string()),
            Err(_) => Found::Unknown("the fresh client does not end".to_owned()),
        }
    }
}

/// Blocks.
fn read(kafka: &Kafka, client_id: &str, topic: &str, partition: i32, from: i64) -> Result<Found, KafkaError> {
    let consumer = reading::reader(kafka, client_id, topic, &[("queued.max.messages.kbytes", "1024")])?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(from))?;
    consumer.assign(&list)?;
    let deadline = Instant::now() + READ_DEADLINE;
    let mut trouble = "no answer in time".to_owned();
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(_)) => return Ok(Found::Record),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Found::Nothing),
            Some(Err(error)) => trouble = error.to_string(),
            None => {}
        }
    }
    Ok(Found::Unknown(trouble))
}
