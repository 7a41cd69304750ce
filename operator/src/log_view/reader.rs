//! Gathers wishes to see campaigns' logs, and asks Kafka once for all of them.
//!
//! Passes over the campaigns of a class come at the same moments (see `reconcile`), so 20 campaigns cost five requests and one
//! per consumer group, not 140. One reading is under way at a time: what is wished for meanwhile becomes the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use campaign::identity::CampaignId;
use campaign::log::admin::{AdminError, KafkaAdmin, TopicState};
use futures::StreamExt;
use futures::stream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Answers, Committed, Sighted, partition_count, partitions};

/// How long others may join a reading.
const LINGER: Duration = Duration::from_millis(20);
/// Campaigns in one reading.
const MOST: usize = 200;
/// Wishes that may wait; whoever comes then waits for room.
const QUEUE: usize = 1_024;
/// Requests for groups' offsets at the same time: librdkafka takes one group in each.
const GROUPS_AT_ONCE: usize = 16;

struct Wish {
    campaign: CampaignId,
    answer: oneshot::Sender<Result<Sighted, AdminError>>,
}

/// Reads the logs of campaigns, many at once. Its task ends with it.
pub struct LogReader {
    wishes: mpsc::Sender<Wish>,
    task: JoinHandle<()>,
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LogReader {
    /// Begins to read from these brokers.
    pub fn start(kafka: KafkaAdmin) -> Self {
        let (wishes, waiting) = mpsc::channel(QUEUE);
        Self { wishes, task: tokio::spawn(serve(kafka, waiting)) }
    }

    /// What Kafka says of a campaign now.
    ///
    /// # Errors
    /// [`AdminError`]: nothing could be asked, or the campaign's topics could not be described.
    pub async fn view(&self, campaign: &CampaignId) -> Result<Sighted, AdminError> {
        let gone = || AdminError::InvalidClient { cause: "the reader of offsets has ended".to_owned() };
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Wish { campaign: campaign.clone(), answer }).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn serve(kafka: KafkaAdmin, mut waiting: mpsc::Receiver<Wish>) {
    let mut wishes = Vec::new();
    while waiting.recv_many(&mut wishes, MOST).await > 0 {
        tokio::time::sleep(LINGER).await;
        while wishes.len() < MOST
            && let Ok(wish) = waiting.try_recv()
        {
            wishes.push(wish);
        }
        let mut campaigns: Vec<&CampaignId> = wishes.iter().map(|wish| &wish.campaign).collect();
        campaigns.sort_unstable();
        campaigns.dedup();
        let answers = read(&kafka, &campaigns).await;
        for Wish { campaign, answer } in wishes.drain(..) {
            let found = match &answers {
                Ok(answers) => answers.of(&campaign),
                Err(error) => Err(error.clone()),
            };
            // A pass that was given up wants no answer any more.
            drop(answer.send(found));
        }
    }
}

async fn read(kafka: &KafkaAdmin, campaigns: &[&CampaignId]) -> Result<Answers, AdminError> {
    let names: Vec<String> =
        campaigns.iter().flat_map(|campaign| [campaign.topic(), campaign.dead_letter_topic()]).collect();
    let (cluster, topics) = tokio::join!(kafka.describe_cluster(), kafka.describe_topics(&names));
    let (cluster, topics) = (cluster?, topics?);
    let present: Vec<(&String, &TopicState)> = topics
        .iter()
        .filter_map(|(name, state)| Some((name, state.as_ref().ok()?)))
        .filter(|(_, state)| partition_count(state) > 0)
        .collect();
    let all: Vec<(String, i32)> = present.iter().flat_map(|(name, state)| partitions(name, state)).collect();
    let named: Vec<&String> = present.iter().map(|(name, _)| *name).collect();
    let mut groups = Vec::new();
    for campaign in campaigns {
        let (group, name) = (campaign.group(), campaign.topic());
        let count = topics.get(&name).and_then(|state| state.as_ref().ok()).map_or(0, partition_count);
        groups.push(committed(kafka, group, name, count));
    }
    let (configs, starts, ends, committed) = tokio::join!(
        kafka.topic_configs(&named),
        kafka.start_offsets(&all),
        kafka.end_offsets(&all),
        stream::iter(groups).buffer_unordered(GROUPS_AT_ONCE).collect()
    );
    let (configs, starts, ends) = (configs?, starts?, ends?);
    Ok(Answers { cluster, topics, configs, starts, ends, committed })
}

/// What a group has committed of a topic; with the topic's name.
async fn committed(kafka: &KafkaAdmin, group: String, topic: String, partitions: i32) -> (String, Committed) {
    let committed = match partitions {
        0 => Ok(BTreeMap::new()),
        count => kafka.committed_offsets(&group, &topic, count).await,
    };
    (topic, committed)
}
