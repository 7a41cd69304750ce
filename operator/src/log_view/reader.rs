//! Gathers wishes to see campaigns' logs, and asks Kafka once for all of them.
//!
//! Passes over the campaigns of a class come at the same moments (see `reconcile`), so 20 campaigns cost five requests and two
//! per consumer group, not 160.

use std::collections::{BTreeMap, BTreeSet};

use campaign::identity::CampaignId;
use campaign::log::admin::{AdminError, Batch, KafkaAdmin, TopicState};
use futures::StreamExt;
use futures::stream;

use super::{Answers, Committed, Sighted, partition_count, partitions};
use crate::gather::Gather;

/// Requests for groups' offsets at the same time: librdkafka takes one group in each.
const GROUPS_AT_ONCE: usize = 16;

/// What is wanted of a campaign.
struct Wish {
    campaign: CampaignId,
    /// The members of its group as well: only where there are pods, since it is a request for each group.
    members: bool,
}

/// Reads the logs of campaigns, many at once.
pub struct LogReader(Gather<Wish, Result<Sighted, AdminError>>);

impl LogReader {
    /// Begins to read from these brokers. Call it within a runtime.
    pub fn start(kafka: KafkaAdmin) -> Self {
        Self(Gather::start(move |wishes| view_all(kafka.clone(), wishes)))
    }

    /// What Kafka says of a campaign now; of its group's `members` only if they are asked for.
    ///
    /// # Errors
    /// [`AdminError`]: nothing could be asked, or the campaign's topics could not be described.
    pub async fn view(&self, campaign: &CampaignId, members: bool) -> Result<Sighted, AdminError> {
        let ended = || Err(AdminError::InvalidClient { cause: "the reader of offsets has ended".to_owned() });
        self.0.ask(Wish { campaign: campaign.clone(), members }).await.unwrap_or_else(ended)
    }
}

async fn view_all(kafka: KafkaAdmin, wishes: Vec<Wish>) -> Vec<Result<Sighted, AdminError>> {
    let distinct: BTreeSet<&CampaignId> = wishes.iter().map(|wish| &wish.campaign).collect();
    let with_members: Vec<String> =
        wishes.iter().filter(|wish| wish.members).map(|wish| wish.campaign.group()).collect();
    let answers = read(&kafka, &distinct, &with_members).await;
    let view = |wish: &Wish| match &answers {
        Ok(answers) => answers.of(&wish.campaign),
        Err(error) => Err(error.clone()),
    };
    wishes.iter().map(view).collect()
}

async fn read(
    kafka: &KafkaAdmin,
    campaigns: &BTreeSet<&CampaignId>,
    with_members: &[String],
) -> Result<Answers, AdminError> {
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
    Ok(Answers { cluster, topics, configs, starts, ends, committed, groups })
}

/// What a group has committed of a topic; with the topic's name.
async fn committed(kafka: &KafkaAdmin, group: String, topic: String, partitions: i32) -> (String, Committed) {
    let committed = match partitions {
        0 => Ok(BTreeMap::new()),
        count => kafka.committed_offsets(&group, &topic, count).await,
    };
    (topic, committed)
}
