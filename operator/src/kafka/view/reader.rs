//! Collects requests to read campaigns' topics, and asks Kafka once for all of them.
//!
//! Passes over the campaigns of a class come at the same moments (see `reconcile`), so 20 campaigns cost five requests and two
//! per consumer group, not 160.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use coupon_core::identity::CampaignId;
use coupon_kafka_admin::{AdminError, Batch, KafkaAdmin, TopicState};
use futures::StreamExt;
use futures::stream;

use super::silence::Silence;
use super::{Committed, KafkaAnswers, KafkaSnapshot, partition_count, partitions};
use crate::kafka::coalescer::Coalescer;

/// Requests for groups' offsets at the same time: librdkafka takes one group in each.
const GROUPS_AT_ONCE: usize = 16;

/// How long a pass waits for a Kafka that did not answer the last time. Much more than what an answer takes, and little enough that the rest
/// of the pass, such as a raised quantity, does not wait for an outage.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is wanted of a campaign.
struct ViewRequest {
    campaign: CampaignId,
    /// The members of its group as well: only where there are pods, since it is a request for each group.
    members: bool,
}

/// Reads the logs of campaigns, many at once.
pub struct KafkaReader {
    requests: Coalescer<ViewRequest, Result<KafkaSnapshot, AdminError>>,
    silence: Arc<Silence>,
}

impl KafkaReader {
    /// Begins to read from these brokers. Call it within a runtime.
    pub fn start(kafka: KafkaAdmin) -> Self {
        let silence = Arc::<Silence>::default();
        let noting = Arc::clone(&silence);
        let requests = Coalescer::start(move |requests| view_all(kafka.clone(), requests, Arc::clone(&noting)));
        Self { requests, silence }
    }

    /// What Kafka says of a campaign now; of its group's `members` only if they are asked for. While Kafka does not answer, only the first
    /// caller waits for as long as a request may take: a request goes on all the time, and the others hear after 2 s what the last one met.
    ///
    /// # Errors
    /// [`AdminError`]: nothing could be asked, or the campaign's topics could not be described.
    pub async fn view(&self, campaign: &CampaignId, members: bool) -> Result<KafkaSnapshot, AdminError> {
        let answer = self.requests.request(ViewRequest { campaign: campaign.clone(), members });
        let answer = match self.silence.since_the_last_answer() {
            None => answer.await,
            Some(error) => tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Some(Err(error))),
        };
        answer.unwrap_or(Err(AdminError::TaskEnded { task: "the task that reads offsets" }))
    }
}

async fn view_all(
    kafka: KafkaAdmin,
    requests: Vec<ViewRequest>,
    silence: Arc<Silence>,
) -> Vec<Result<KafkaSnapshot, AdminError>> {
    let distinct: BTreeSet<&CampaignId> = requests.iter().map(|request| &request.campaign).collect();
    let with_members: Vec<String> =
        requests.iter().filter(|request| request.members).map(|request| request.campaign.group()).collect();
    let answers = read(&kafka, &distinct, &with_members).await;
    silence.note(answers.as_ref().err());
    let view = |request: &ViewRequest| match &answers {
        Ok(answers) => answers.of(&request.campaign),
        Err(error) => Err(error.clone()),
    };
    requests.iter().map(view).collect()
}

async fn read(
    kafka: &KafkaAdmin,
    campaigns: &BTreeSet<&CampaignId>,
    with_members: &[String],
) -> Result<KafkaAnswers, AdminError> {
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
    let mut offsets = Vec::new();
    for campaign in campaigns {
        let (group, name) = (campaign.group(), campaign.topic());
        let count = topics.get(&name).and_then(|state| state.as_ref().ok()).map_or(0, partition_count);
        offsets.push(committed(kafka, group, name, count));
    }
    let (configs, starts, ends, committed, groups) = tokio::join!(
        kafka.topic_configs(&named),
        kafka.start_offsets(&all),
        kafka.end_offsets(&all),
        stream::iter(offsets).buffer_unordered(GROUPS_AT_ONCE).collect(),
        kafka.describe_groups(with_members)
    );
    let (configs, starts, ends) = (configs?, starts?, ends?);
    // Without members there is less to scale by, and everything else goes on.
    let groups = groups.unwrap_or_else(|error| {
        tracing::warn!(%error, "the members of consumer groups could not be read");
        Batch::new()
    });
    Ok(KafkaAnswers { cluster, topics, configs, starts, ends, committed, groups })
}

/// What a group has committed of a topic; with the topic's name.
async fn committed(kafka: &KafkaAdmin, group: String, topic: String, partitions: i32) -> (String, Committed) {
    let committed = match partitions {
        0 => Ok(BTreeMap::new()),
        count => kafka.committed_offsets(&group, &topic, count).await,
    };
    (topic, committed)
}
