//! Removes what the deletion policy says.

use coupon_kafka_admin::{AdminError, Deletion};
use coupon_ledger::redis::{self, RedisKeys};

use super::topic::topic_is_ours;
use crate::error::ReconcileError;
use crate::ledger::epoch;
use crate::reconcile::reconcile_context::ReconcileContext;

/// Removes what the policy says: Redis keys, group, topic; the dead-letter topic only when it is empty. Rows always stay.
pub(super) async fn remove(pass: &ReconcileContext<'_>) -> Result<String, ReconcileError> {
    let keys = RedisKeys::of(pass.id);
    pass.systems.with_redis(async |redis| redis::forget(redis, &keys).await).await?;
    let kafka = &pass.systems.kafka;
    kafka.delete_group(&pass.id.group()).await?;
    if !topic_is_ours(pass).await? {
        return Ok("Redis keys are removed; the topic is not ours and stays".to_owned());
    }
    let topic = delete(pass, &pass.id.topic()).await?;
    let dlt = pass.id.dead_letter_topic();
    let partitions = epoch::partitions(pass.systems, &dlt).await?;
    // Records that a replay has removed leave the ends where they were.
    let ends = epoch::ends(pass.systems, &dlt, partitions).await?;
    let wanted: Vec<(&str, i32)> = ends.keys().map(|partition| (dlt.as_str(), *partition)).collect();
    let mut empty = true;
    for ((_, partition), start) in kafka.start_offsets(&wanted).await? {
        empty &= ends.get(&partition) == Some(&start?);
    }
    let kept = if empty {
        delete(pass, &dlt).await?;
        "its dead-letter topic too"
    } else {
        "its dead-letter topic holds records and stays"
    };
    Ok(match topic {
        Removed::Yes => format!("Redis keys are removed, the topic is removed, {kept}; rows stay"),
        Removed::WasGone => format!("Redis keys are removed, the topic was gone, {kept}; rows stay"),
        Removed::Forbidden => {
            "Redis keys are removed; the topics stay, as their brokers let nobody delete topics (delete.topic.enable); rows stay".to_owned()
        }
    })
}

/// What became of a topic that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removed {
    Yes,
    WasGone,
    /// The brokers delete no topics at all: waiting for it would be waiting for ever.
    Forbidden,
}

async fn delete(pass: &ReconcileContext<'_>, topic: &str) -> Result<Removed, AdminError> {
    match pass.systems.kafka.delete_topic(topic).await {
        Ok(Deletion::Deleted) => Ok(Removed::Yes),
        Ok(_) => Ok(Removed::WasGone),
        Err(error) if error.forbids_deletion() => Ok(Removed::Forbidden),
        Err(error) => Err(error),
    }
}
