//! Lets go of a campaign that is being deleted: closes issuing, stores what is left in the log, then keeps or removes what
//! the deletion policy says. Done in this process: foreground deletion removes the pods first.

use std::collections::BTreeMap;
use std::time::Duration;

use campaign::log::admin::{AdminError, Deletion, TopicState};
use campaign::log::tail::Range;
use campaign::stock::{self, StockKeys};
use campaign::table::{self, CampaignRow};
use consumer::drain::{self, Drained, Source};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::admission::identified;
use super::handover::{Elsewhere, fence_other, is_this_objects, step_down};
pub(super) use super::pods_left::pods_left;
use super::report::{Leaving, status_while_leaving};
use super::{FINALIZER, Pass, apply, campaigns, publish, resolve};
pub use crate::api::annotations::RELEASE_ANNOTATION;
use crate::api::conditions;
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, DeletionPolicy, Phase};
use crate::children::apply::MANAGER;
use crate::class;
use crate::connections::Systems;
use crate::context::Context;
use crate::epoch::{self, EpochError, fence};
use crate::error::ReconcileError;
use crate::events;
use crate::ledger_count::QUESTION;
use crate::log_view::Offsets;
use crate::metrics::CampaignLabels;
use crate::repair::direct;
use crate::repair::settle::{Settled, settle};

/// How long storing the rest of the log may take in one pass; the next one goes on.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);
/// Pods that have not ended after this are said to be waited for: longer than they take to drain.
const PODS_END: SignedDuration = SignedDuration::from_secs(40);
/// While pods end.
const AGAIN: Duration = Duration::from_millis(500);

/// Does what is left to do before the object may go, and lets it go.
pub async fn release(campaign: &CouponCampaign, context: &Context, uid: &str) -> Result<Action, ReconcileError> {
    if !campaign.finalizers().iter().any(|each| each == FINALIZER) {
        return Ok(Action::await_change());
    }
    if campaign.annotations().get(RELEASE_ANNOTATION).is_some_and(|value| value == "true") {
        let text = "released by annotation: topic, Redis keys and rows were left as they are";
        return let_go(campaign, context, uid, text).await;
    }
    let namespace = campaign.namespace().unwrap_or_default();
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    let terminating =
        namespaces.get_opt(&namespace).await?.is_none_or(|found| found.metadata.deletion_timestamp.is_some());
    // A campaign that never had an epoch has no ledger to close.
    let never_prepared = campaign.status.as_ref().is_none_or(|status| status.epoch.is_none());
    if never_prepared && class::alone(campaign, &context.campaigns.state()).is_err() {
        return let_go(campaign, context, uid, "released: the ledger of this couponId is an older campaign's").await;
    }
    // Once: what it waits for, if it does, is said as it is found.
    if campaign.status.as_ref().is_none_or(|status| status.phase != Some(Phase::Draining) || !is_deleting(status)) {
        show(campaign, context, uid, &Leaving::Going).await?;
    }
    let found = resolve(campaign, context).await.and_then(|(class, systems)| {
        let id = identified(campaign, &class, &systems)?;
        Ok((class, systems, id))
    });
    let (class, systems, id) = match found {
        Ok(found) => found,
        Err(_) if terminating || never_prepared => {
            let text = "released without a usable class: whatever the ledger holds was left as it is";
            return let_go(campaign, context, uid, text).await;
        }
        Err(error) => return Err(error),
    };
    let cluster = context.cluster()?;
    let known_as = cluster.name();
    let pass = Pass { context, campaign, uid, class: &class, id: &id, cluster: &cluster, known_as, systems: &systems };
    if terminating {
        // The namespace must not hang because of us. One try to close; the log keeps what is not stored.
        let text = match tokio::time::timeout(Duration::from_secs(5), close(&pass)).await {
            Ok(Ok(Closed::Elsewhere(row))) if is_this_objects(&row, campaign) => {
                "the namespace is going; the ledger bears another name of this cluster and was left as it is"
            }
            Ok(Ok(Closed::Elsewhere(_))) => {
                "the namespace is going; the ledger belongs to another cluster and was left as it is"
            }
            Ok(Ok(_)) => "the namespace is going: issuing is closed; topic, Redis keys and rows were left as they are",
            _ => {
                "the namespace is going and issuing could not be closed in time; topic, Redis keys and rows were left as they are"
            }
        };
        return let_go(campaign, context, uid, text).await;
    }
    let row = match close(&pass).await? {
        Closed::Yes(row) => row,
        Closed::NoLedger => return let_go(campaign, context, uid, "there was no ledger of this object").await,
        Closed::Elsewhere(row) => {
            // It may have been here before. Then the new owner waits for its issuers.
            if step_down(&pass, &row).await? > 0 {
                return Ok(Action::requeue(AGAIN));
            }
            let whose = match is_this_objects(&row, campaign) {
                true => "bears another name of this cluster",
                false => "belongs to another cluster",
            };
            let owner = row.custody.owner.unwrap_or_default();
            let text = format!("the ledger {whose} ({owner}) and was left as it is");
            return let_go(campaign, context, uid, &text).await;
        }
    };
    let left = pods_left(&pass).await?;
    if left > 0 {
        let since = campaign.metadata.deletion_timestamp.as_ref().map(|time| Timestamp::now().duration_since(time.0));
        if since.is_some_and(|since| since > PODS_END) {
            show(campaign, context, uid, &Leaving::Pods(left)).await?;
        }
        return Ok(Action::requeue(AGAIN));
    }
    let mut left = drain_log(&pass).await?;
    let mut known = context.memory.get(uid).known;
    let Settled { stored, in_the_way } = settle(&systems, &id, &mut known).await?;
    if stored > 0 {
        left = format!("{left}; {stored} winners that only Redis held are stored");
    }
    if in_the_way > 0 {
        left = format!("{left}; {in_the_way} winners that Redis holds are not, as other rows stand in their places");
    }
    // Held meanwhile: what is removed must not be that of a cluster which takes the ledger over in this moment.
    let held = table::within(QUESTION, table::hold(&systems.sql, row.id, cluster.in_row(&row))).await?;
    let held = held.ok_or(EpochError::Superseded)?;
    let text = match campaign.spec.deletion_policy {
        DeletionPolicy::Retain => {
            if !complete_topic(&pass).await? {
                return Ok(Action::requeue(AGAIN));
            }
            format!("{left}; topic, Redis keys and rows stay")
        }
        DeletionPolicy::Delete => format!("{left}; {}", remove(&pass).await?),
    };
    // From here on it is anybody's: pods of ours are gone, and nothing is under way.
    table::within(QUESTION, held.let_go()).await?;
    let_go(campaign, context, uid, &text).await
}

/// Says in status that the campaign is on its way out, and what it waits for.
async fn show(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    waits_for: &Leaving<'_>,
) -> Result<(), kube::Error> {
    let closed = context.memory.get(uid).closed;
    let status = status_while_leaving(campaign, waits_for, closed, Timestamp::now());
    publish::status(campaign, context, uid, status, false).await
}

/// Whether this status is one of a campaign that is being deleted.
fn is_deleting(status: &CouponCampaignStatus) -> bool {
    let ready = conditions::find(&status.conditions, ConditionType::Ready);
    ready.is_some_and(|ready| ready.message.starts_with("the campaign is being deleted"))
}

async fn let_go(campaign: &CouponCampaign, context: &Context, uid: &str, text: &str) -> Result<Action, ReconcileError> {
    tracing::info!(namespace = campaign.namespace(), campaign = campaign.name_any(), "{text}");
    events::note(context, campaign, "Released", text).await;
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Json::<()>(without_finalizer(campaign)?);
    match campaigns(campaign, context).patch(&campaign.name_any(), &parameters, &patch).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        other => other.map(drop)?,
    }
    context.memory.forget(uid);
    let namespace = campaign.namespace().unwrap_or_default();
    context.metrics.forget(&CampaignLabels { namespace, campaign: campaign.name_any() });
    Ok(Action::await_change())
}

/// Whether issuing is closed.
enum Closed {
    /// Yes, of the ledger with this row.
    Yes(Box<CampaignRow>),
    /// There is no ledger of this object.
    NoLedger,
    /// It is another cluster's.
    Elsewhere(Box<CampaignRow>),
}

/// Closes issuing: in SQL for pods that start, in each pod by its fence, in Redis by removing the meta key.
async fn close(pass: &Pass<'_>) -> Result<Closed, ReconcileError> {
    let sql = &pass.systems.sql;
    pass.systems.migrate().await?;
    let Some(row) = table::within(QUESTION, table::find(sql, pass.id)).await? else {
        // What Redis and Kafka hold of its winners is then all there is: no row may be missed in silence.
        return if pass.is_new_to_ledger() { Ok(Closed::NoLedger) } else { Err(ReconcileError::LedgerMoved) };
    };
    if Elsewhere::of(&row, pass.cluster).is_some() {
        return Ok(Closed::Elsewhere(Box::new(row)));
    }
    // One that was refused for its terms has no part in it.
    if pass.is_new_to_ledger() && row.object_uid.as_deref().is_some_and(|owner| owner != pass.uid) {
        return Ok(Closed::NoLedger);
    }
    let row = owned(pass, row).await?;
    fence_other(pass, &row).await?;
    let keys = StockKeys::of(pass.id);
    let stock = pass.systems.with_redis(async |redis| stock::observe(redis, &keys).await).await?;
    // Also if nothing is open: a repair that was begun before, and is still under way somewhere, must not open its epoch now.
    let begun = pass.context.memory.get(pass.uid).closed;
    if !begun || row.open_epoch.is_some() || stock.open.is_some() {
        let known = stock.open.as_ref().map_or(0, |open| open.epoch);
        // Not if the ledger has come to another cluster meanwhile.
        let closing = table::within(QUESTION, table::begin_epoch(sql, &row, known)).await?;
        let epoch = closing.ok_or(EpochError::Superseded)?.epoch;
        fence(&apply::issuers(pass.context, pass.campaign, pass.uid).await?, epoch).await?;
        // Where the keys were removed, what they held is on record.
        if row.keys_removed_ms.is_none() {
            table::within(QUESTION, table::set_issued_count(sql, row.id, stock.issued)).await?;
        }
        pass.systems.with_redis(async |redis| stock::close(redis, &keys).await).await?;
        pass.context.memory.update(pass.uid, |memory| memory.closed = true);
    }
    Ok(Closed::Yes(Box::new(row)))
}

/// The row as one of this cluster: what an older version has left, or another cluster has let go of, is claimed first.
async fn owned(pass: &Pass<'_>, row: CampaignRow) -> Result<CampaignRow, ReconcileError> {
    if row.custody.owner.is_some() {
        return Ok(row);
    }
    let (sql, heir) = (&pass.systems.sql, pass.heir(&row));
    table::within(QUESTION, table::claim(sql, &row, heir, false)).await?;
    let found = table::within(QUESTION, table::find(sql, pass.id)).await?;
    let ours = found.filter(|row| row.custody.owner.as_deref().is_some_and(|owner| pass.cluster.is(owner)));
    Ok(ours.ok_or(EpochError::Superseded)?)
}

/// Takes our finalizer from the list, if that is the one that was seen. Our own write of the status, some moments before, is no reason to
/// do all of it again.
fn without_finalizer(campaign: &CouponCampaign) -> Result<json_patch::Patch, ReconcileError> {
    let others: Vec<&String> = campaign.finalizers().iter().filter(|each| *each != FINALIZER).collect();
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": campaign.uid()},
        {"op": "test", "path": "/metadata/finalizers", "value": campaign.finalizers()},
        {"op": "replace", "path": "/metadata/finalizers", "value": others},
    ]);
    Ok(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?)
}

/// Stores what is left in the log, with the consumer's own code, and commits how far that went.
async fn drain_log(pass: &Pass<'_>) -> Result<String, ReconcileError> {
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

/// Writes the records of winners that were stored past Kafka: the topic stays, and whoever reads it later looks for them there. False:
/// there are more than fit into a pass.
async fn complete_topic(pass: &Pass<'_>) -> Result<bool, ReconcileError> {
    let Systems { sql, .. } = pass.systems;
    let Some(row) = table::within(QUESTION, table::find(sql, pass.id)).await? else { return Ok(true) };
    let unpublished = async || table::within(QUESTION, table::has_unpublished(sql, row.id)).await;
    if !unpublished().await? || !topic_is_ours(pass).await? {
        return Ok(true);
    }
    let published =
        direct::publish_stored_directly(pass.systems, pass.id, &row, pass.campaign.spec.key_by.into()).await?;
    // Where none is taken, waiting for it holds up nobody's deletion.
    Ok(published == 0 || !unpublished().await?)
}

/// The part of the log that is not stored: from where the group is, or from what is on record as stored.
async fn unread(
    pass: &Pass<'_>,
    committed: BTreeMap<i32, Option<i64>>,
    ends: BTreeMap<i32, i64>,
) -> Result<Range, ReconcileError> {
    let topic = pass.id.topic();
    let wanted: Vec<(&str, i32)> = ends.keys().map(|partition| (topic.as_str(), *partition)).collect();
    let mut starts = BTreeMap::new();
    for ((_, partition), start) in pass.systems.kafka.start_offsets(&wanted).await? {
        starts.insert(partition, start?);
    }
    let row = table::within(QUESTION, table::find(&pass.systems.sql, pass.id)).await?;
    let drained = match row.and_then(|row| Some((row.id, row.topic_id?))) {
        Some((row, topic_id)) => table::within(QUESTION, table::drained(&pass.systems.sql, row, &topic_id)).await?,
        None => BTreeMap::new(),
    };
    Ok(Offsets { starts, ends, committed, drained }.unread())
}

/// Whether the topic of our name is the one that we created, which only SQL knows.
async fn topic_is_ours(pass: &Pass<'_>) -> Result<bool, ReconcileError> {
    let row = table::within(QUESTION, table::find(&pass.systems.sql, pass.id)).await?;
    let Some(recorded) = row.and_then(|row| row.topic_id).filter(|id| !id.is_empty()) else { return Ok(false) };
    let name = pass.id.topic();
    let mut found = pass.systems.kafka.describe_topics(&[&name]).await?;
    Ok(match found.remove(&name).unwrap_or(Ok(TopicState::Absent))? {
        TopicState::Present(topic) => topic.topic_id == recorded,
        // Gone already: there is nothing to spare.
        TopicState::Absent => true,
    })
}

/// Removes what the policy says: Redis keys, group, topic; the dead-letter topic only when it is empty. Rows always stay.
async fn remove(pass: &Pass<'_>) -> Result<String, ReconcileError> {
    let keys = StockKeys::of(pass.id);
    pass.systems.with_redis(async |redis| stock::forget(redis, &keys).await).await?;
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

async fn delete(pass: &Pass<'_>, topic: &str) -> Result<Removed, AdminError> {
    match pass.systems.kafka.delete_topic(topic).await {
        Ok(Deletion::Deleted) => Ok(Removed::Yes),
        Ok(_) => Ok(Removed::WasGone),
        Err(error) if error.forbids_deletion() => Ok(Removed::Forbidden),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finalizer_goes_from_the_list_that_was_seen_and_the_others_stay() {
        let mut campaign = crate::fixtures::campaign();
        let both = vec!["example.com/theirs".to_owned(), FINALIZER.to_owned()];
        campaign.metadata.finalizers = Some(both.clone());
        let mut stored = json!({"metadata": {"uid": "0001", "finalizers": both, "resourceVersion": "written since"}});
        json_patch::patch(&mut stored, &without_finalizer(&campaign).unwrap()).unwrap();
        assert_eq!(stored["metadata"]["finalizers"], json!(["example.com/theirs"]));
        let mut another = json!({"metadata": {"uid": "0002", "finalizers": both}});
        assert!(json_patch::patch(&mut another, &without_finalizer(&campaign).unwrap()).is_err());
    }
}
