//! Brings topics to what was decided.

use coupon_kafka_admin::{AdminError, Creation, TopicState};
use coupon_ledger::database::{self, CampaignRow};
use futures::future::join_all;

use crate::error::ReconcileError;
use crate::events;
use crate::kafka::topics::{self, TopicStep};
use crate::reconcile::observe::Observation;
use crate::reconcile::reconcile_context::ReconcileContext;

/// Carries out one step about the topics.
pub(super) async fn apply(
    pass: &ReconcileContext<'_>,
    row: &CampaignRow,
    step: &TopicStep,
    seen: &Observation,
) -> Result<(), ReconcileError> {
    let (kafka, wanted) = (&pass.systems.kafka, &pass.class.spec.kafka);
    let sql = &pass.systems.sql;
    let cluster_id = seen.kafka.as_ref().map(|kafka| kafka.topic.cluster_id.clone()).unwrap_or_default();
    match step {
        TopicStep::Announce => database::announce_topic(sql, row.id, &cluster_id).await?,
        TopicStep::Create(specs) if !wanted.create_topics => return Err(topics::awaited(wanted, specs)),
        TopicStep::Create(specs) => {
            let created = join_all(specs.iter().map(|spec| pass.systems.topics.create(spec))).await;
            for (spec, created) in specs.iter().zip(created) {
                let new = created.map_err(|error| topics::not_made(error, wanted, specs))? == Creation::Created;
                if !new {
                    tracing::info!(topic = spec.name, "topic was created meanwhile");
                } else if spec.name == pass.id.topic()
                    && let Some(topic_id) = created_id(pass, &spec.name).await?
                {
                    database::set_topic(sql, row.id, &topic_id, &cluster_id).await?;
                }
                if new {
                    warn_of_recreation(pass, &spec.name).await;
                }
            }
        }
        TopicStep::Record(topic_id) => database::set_topic(sql, row.id, topic_id, &cluster_id).await?,
        TopicStep::Grow { topic, partitions } => match kafka.grow_partitions(topic, *partitions).await {
            // Brokers that have not heard of it yet showed the old number.
            Err(AdminError::InvalidPartitions { .. }) => tracing::info!(topic, "topic was grown meanwhile"),
            other => other?,
        },
        TopicStep::Configure { topic, set } => {
            kafka.set_config_incremental(topic, set, &[] as &[&str]).await?;
            let set: Vec<String> = set.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let text =
                format!("settings of topic {topic} were not as object and class say, and are set: {}", set.join(" "));
            events::note(pass.context, pass.campaign, "TopicConfigured", &text).await;
        }
    }
    Ok(())
}

/// A topic that was there, and that somebody has deleted: what it held is gone, and nothing else shows it once it is there again.
async fn warn_of_recreation(pass: &ReconcileContext<'_>, name: &str) {
    let Some(before) = pass.campaign.status.as_ref().and_then(|status| status.topic.as_ref()) else { return };
    let lost = match name {
        _ if name == before.name => {
            "records that other programs have not read are lost to them; winners that were no rows yet are published again, as far as Redis \
             has them"
        }
        _ if name == before.dead_letter_topic => {
            "why its records were no rows is not known any more; winners among them are published again from Redis"
        }
        _ => return,
    };
    let text = format!("topic {name} was deleted by somebody and is made anew: {lost}");
    events::warn(pass.context, pass.campaign, "TopicRecreated", &text).await;
}

/// The id of a topic that was created just now. `None` while the cluster does not show it yet: the next pass records it.
async fn created_id(pass: &ReconcileContext<'_>, name: &str) -> Result<Option<String>, AdminError> {
    let mut found = pass.systems.kafka.describe_topics(&[name]).await?;
    Ok(match found.remove(name) {
        Some(Ok(TopicState::Present(topic))) => Some(topic.topic_id),
        _ => None,
    })
}
