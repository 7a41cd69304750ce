//! What becomes of a deleted campaign's topic: what is left in it is stored, and records that it lacks are written.

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_kafka_admin::TopicState;
use coupon_ledger::database::{self, TopicClaim};
use coupon_ledger::kafka::tail::Range;
use coupon_sink::drain::{self, Drained, Source};

use crate::class::pools::Systems;
use crate::error::ReconcileError;
use crate::kafka::view::Offsets;
use crate::ledger::count::QUESTION;
use crate::ledger::epoch;
use crate::ledger::repair::direct;
use crate::reconcile::reconcile_context::ReconcileContext;

/// How long storing the rest of the log may take in one pass; the next one goes on.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);

/// Stores what is left in the log, with the consumer's own code, and commits how far that went.
pub(super) async fn drain_log(pass: &ReconcileContext<'_>) -> Result<String, ReconcileError> {
    let topic = pass.id.topic();
    let partitions = epoch::partitions(pass.systems, &topic).await?;
    if partitions == 0 || !topic_is_ours(pass).await? {
        return Ok("there was no topic of ours to drain".to_owned());
    }
    let kafka = &pass.systems.kafka;
    let committed = kafka.committed_offsets(&pass.id.group(), &topic, partitions).await?;
    let ends = epoch::ends(pass.systems, &topic, partitions).await?;
    let range = unread(pass, committed, ends).await?;
    if range.values().all(|(from, to)| from >= to) {
        return Ok("the log was drained".to_owned());
    }
    let source = Source {
        kafka: &pass.systems.settings.operator.kafka,
        pool: &pass.systems.sql,
        campaign: pass.id,
        range: &range,
    };
    let progress = |so_far: &Drained| tracing::info!(campaign = %pass.id, ?so_far, "draining the log");
    let drained = match drain::drain(source, DRAIN_DEADLINE, progress).await {
        Ok(drained) => drained,
        Err(error) => {
            // What was done is done: the next pass goes on from there instead of beginning again.
            if let Some(partly) = error.drained() {
                kafka.commit_offsets(&pass.id.group(), &topic, &partly.next).await?;
            }
            return Err(error.into());
        }
    };
    kafka.commit_offsets(&pass.id.group(), &topic, &drained.next).await?;
    Ok(format!("{} winners that were left in the log are stored", drained.stored))
}

/// Writes the records of winners that were stored past Kafka: the topic stays, and its later readers look for them there. False:
/// there are more than fit into a pass.
pub(super) async fn complete_topic(pass: &ReconcileContext<'_>) -> Result<bool, ReconcileError> {
    let Systems { sql, .. } = pass.systems;
    let Some(row) = database::within(QUESTION, database::find(sql, pass.id)).await? else { return Ok(true) };
    let unpublished = async || database::within(QUESTION, database::has_unpublished(sql, row.id)).await;
    if !unpublished().await? || !topic_is_ours(pass).await? {
        return Ok(true);
    }
    let published = direct::publish_stored_directly(pass.systems, pass.id, &row, pass.campaign.spec.key_by).await?;
    // Where none is taken, waiting for it holds up nobody's deletion.
    Ok(published == 0 || !unpublished().await?)
}

/// The part of the log that is not stored: from where the group is, or from what is on record as stored.
async fn unread(
    pass: &ReconcileContext<'_>,
    committed: BTreeMap<i32, Option<i64>>,
    ends: BTreeMap<i32, i64>,
) -> Result<Range, ReconcileError> {
    let topic = pass.id.topic();
    let wanted: Vec<(&str, i32)> = ends.keys().map(|partition| (topic.as_str(), *partition)).collect();
    let mut starts = BTreeMap::new();
    for ((_, partition), start) in pass.systems.kafka.start_offsets(&wanted).await? {
        starts.insert(partition, start?);
    }
    let row = database::within(QUESTION, database::find(&pass.systems.sql, pass.id)).await?;
    let drained = match row.and_then(|row| Some((row.id, row.topic_id?))) {
        Some((row, topic_id)) => {
            database::within(QUESTION, database::drained(&pass.systems.sql, row, &topic_id)).await?
        }
        None => BTreeMap::new(),
    };
    Ok(Offsets { starts, ends, committed, drained }.unread())
}

/// Whether the topic of our name is the one that we created, which only SQL knows.
pub(super) async fn topic_is_ours(pass: &ReconcileContext<'_>) -> Result<bool, ReconcileError> {
    let row = database::within(QUESTION, database::find(&pass.systems.sql, pass.id)).await?;
    let Some(TopicClaim::Owned(recorded)) = row.map(|row| row.topic_claim()) else { return Ok(false) };
    let name = pass.id.topic();
    let mut found = pass.systems.kafka.describe_topics(&[&name]).await?;
    Ok(match found.remove(&name).unwrap_or(Ok(TopicState::Absent))? {
        TopicState::Present(topic) => topic.topic_id == recorded,
        // Gone already: there is nothing to spare.
        TopicState::Absent => true,
    })
}
