//! What is to be done about a campaign's topics. Pure.

use coupon_core::identity::CampaignId;
use coupon_kafka_admin::TopicState;
use coupon_ledger::database::TopicClaim;
use kube::ResourceExt;

use super::claimed::{Claimed, LEDGER_MOVED};
use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, CouponCampaign};
use crate::kafka::topics::{self, TopicConflict, TopicStep};
use crate::kafka::view::KafkaView;

/// What is to be done about a campaign's topics.
#[derive(Default)]
pub(super) struct TopicPlan {
    /// What an epoch waits for.
    pub steps: Vec<TopicStep>,
    /// Settings. They come last and hold nothing up: suspending a sale must not wait for a policy of the brokers.
    pub settings: Vec<TopicStep>,
    /// The topics are there, and as an epoch needs them.
    pub are_ready: bool,
    /// A topic is somebody else's, or another cluster's: nothing is to be done to this campaign.
    pub hands_off: bool,
    /// Why.
    pub refusals: Vec<Report>,
}

/// Compares the topics with what they should be.
pub(super) fn plan(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    id: &CampaignId,
    claimed: Option<&Claimed<'_>>,
    kafka: Option<&KafkaView>,
) -> TopicPlan {
    let steps = match steps(campaign, class, id, claimed, kafka) {
        Ok(Some(steps)) => steps,
        Ok(None) => return TopicPlan::default(),
        Err(conflict) => return TopicPlan { hands_off: true, refusals: refusals(&conflict), ..TopicPlan::default() },
    };
    let (settings, steps): (Vec<_>, Vec<_>) =
        steps.into_iter().partition(|step| matches!(step, TopicStep::Configure { .. }));
    TopicPlan { are_ready: steps.is_empty(), steps, settings, ..TopicPlan::default() }
}

/// `None` while database or Kafka could not be read, or a partition has no leader yet.
fn steps(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    id: &CampaignId,
    claimed: Option<&Claimed<'_>>,
    kafka: Option<&KafkaView>,
) -> Result<Option<Vec<TopicStep>>, TopicConflict> {
    let (claim, recorded) = match claimed {
        None | Some(Claimed::Moved) => return Ok(None),
        Some(Claimed::Unregistered) => (TopicClaim::None, None),
        Some(Claimed::By(row)) => (row.topic_claim(), row.kafka_cluster_id.as_deref()),
    };
    let Some(kafka) = kafka else { return Ok(None) };
    let adopt = campaign.annotations().get(topics::ADOPT_ANNOTATION).map(|id| id.trim());
    let steps = topics::plan(id, &class.spec.kafka, campaign.spec.partitions, &claim, recorded, &kafka.topic, adopt)?;
    let leaders = [&kafka.topic.events, &kafka.topic.dead_letters]
        .into_iter()
        .all(|state| matches!(state, TopicState::Present(topic) if topic.has_leaders()));
    Ok(if steps.is_empty() && !leaders { None } else { Some(steps) })
}

fn refusals(conflict: &TopicConflict) -> Vec<Report> {
    use ConditionType as C;
    let (reason, text) = (conflict.reason(), conflict.to_string());
    let mut all = vec![Report::yes(C::Stalled, reason, text.clone()), Report::no(C::TopicReady, reason, text.clone())];
    if reason != LEDGER_MOVED {
        all.push(Report::yes(C::ResourceConflict, reason, text));
    }
    all
}
