//! A ledger and the clusters that share its realm: what is done with one that is another cluster's, and how it comes here.
//!
//! The fence of a repair reaches the issuers of its own cluster only, so one cluster has the ledger at a time (`coupon_ledger::database`,
//! custody). After a hand-over the issuers of the owner before may still grant, and what they are told by Kafka from the new barrier on is
//! void. So no epoch begins before one of these holds:
//!
//! - the operator of the owner before has fenced its own issuers, and says so in the row ([`stand_aside`]);
//! - the one Redis in which they can be given a rank has been closed, and everybody who was given one before has been told by now
//!   ([`fence_other`]). Which Redis that is, its identity says: an epoch is bound to one process, whatever failed over since. If it is not
//!   the one that answers here, another may still serve them, and nothing but the first or the last will do;
//! - somebody vouches that the other cluster is gone.

use ::redis::aio::MultiplexedConnection;
use coupon_ledger::database::{self, CampaignRow, Unfenced};
use coupon_ledger::redis::{self, RedisError, RedisKeys};
use kube::ResourceExt;

use super::ReconcileContext;
pub(super) use super::elsewhere::Elsewhere;
pub(crate) use super::elsewhere::is_this_objects;
use super::issuer_pods::issuers;
use super::plan::Plan;
use super::pods_left::pods_left;
pub use crate::api::annotations::{CLUSTER_GONE_ANNOTATION, TAKE_OVER_ANNOTATION};
use crate::error::ReconcileError;
use crate::events;
use crate::ledger::count::QUESTION;
use crate::ledger::epoch::{EpochError, fence};
use crate::ledger::repair::watch::SETTLE;

/// Does what a campaign still has to do here whose ledger is another cluster's: nothing, unless it was here before. Then its issuers are
/// fenced, which the new owner waits for, and its pods go. Answers what is the matter, for status.
pub(super) async fn stand_aside(pass: &ReconcileContext<'_>, row: &CampaignRow, plan: &Plan) -> ReconcileError {
    let said: Vec<&str> = plan.refusals.iter().map(|report| report.message.as_str()).collect();
    let mut text = said.join("; ");
    if let Err(error) = step_down(pass, row).await {
        text = format!("{text}; its issuers and consumers here are not all stopped yet: {error}");
    }
    match is_this_objects(row, pass.campaign) {
        true => ReconcileError::ClusterNameChanged(text),
        false => ReconcileError::LedgerOwnedElsewhere(text),
    }
}

/// Fences the issuers of this cluster, if the new owner waits for that, and removes all pods; how many are left.
///
/// # Errors
/// Some issuer did not confirm and is not gone, or the systems could not be asked.
pub(super) async fn step_down(pass: &ReconcileContext<'_>, row: &CampaignRow) -> Result<usize, ReconcileError> {
    let is_waited_for = row.custody.unfenced.as_ref().is_some_and(|unfenced| pass.cluster.is(&unfenced.cluster));
    if is_waited_for {
        fence(&issuers(pass.context, pass.campaign, pass.uid).await?, row.epoch).await?;
        if database::within(QUESTION, database::note_fenced(&pass.systems.sql, row)).await? {
            let text = "the ledger was taken over by another cluster; the issuers of this one have stopped";
            events::note(pass.context, pass.campaign, "LedgerHandedOver", text).await;
        }
    }
    pods_left(pass).await
}

/// Makes sure that no issuer of the owner before grants any more, or has an answer under way.
///
/// # Errors
/// [`EpochError::OwnerNotFenced`] while that is not known.
pub(super) async fn fence_other(pass: &ReconcileContext<'_>, row: &CampaignRow) -> Result<(), ReconcileError> {
    let Some(unfenced) = &row.custody.unfenced else { return Ok(()) };
    let sql = &pass.systems.sql;
    let waits = |why: String| {
        let (cluster, campaign) = (unfenced.cluster.clone(), pass.campaign.name_any());
        ReconcileError::from(EpochError::OwnerNotFenced { cluster, campaign, why })
    };
    let vouched = pass.campaign.annotations().get(CLUSTER_GONE_ANNOTATION).map(|value| value.trim());
    if vouched != Some(unfenced.cluster.as_str()) {
        if !unfenced.closed {
            let keys = RedisKeys::of(pass.id);
            let closed = pass.systems.with_redis(async |redis| close_for(redis, &keys, unfenced).await).await?;
            if let Err(why) = closed {
                return Err(waits(why.to_owned()));
            }
            database::within(QUESTION, database::note_closed(sql, row)).await?;
        }
        // From when this process knows: a clock of another one says nothing here.
        let since = pass.memory.update(|memory| memory.custody.closed_since(row.epoch));
        if since.elapsed() < SETTLE {
            return Err(waits(
                "it is closed in Redis, and what its issuers have under way ends within seconds".to_owned(),
            ));
        }
    }
    database::within(QUESTION, database::note_fenced(sql, row)).await?;
    Ok(())
}

/// Closes the campaign in Redis, if this is the one Redis in which the issuers of the owner before can be given a rank; else why that is not
/// known.
async fn close_for(
    redis: &mut MultiplexedConnection,
    keys: &RedisKeys,
    unfenced: &Unfenced,
) -> Result<Result<(), &'static str>, RedisError> {
    let before = redis::observe(redis, keys).await?;
    let Some(epoch) = unfenced.epoch else {
        return Ok(Err("it was being repaired there, so the epoch that its issuers serve is not known"));
    };
    if !before.serves(epoch) {
        return Ok(Err(
            "this Redis is not the one in which its issuers were given ranks last, so another may still serve them",
        ));
    }
    redis::close(redis, keys).await?;
    let after = redis::observe(redis, keys).await?;
    // One process from the first look to the last: what was closed in between was closed there.
    Ok(match after.history == before.history && !after.serves(epoch) {
        true => Ok(()),
        false => Err("Redis changed while it was being closed"),
    })
}

#[cfg(test)]
mod tests {
    use coupon_ledger::database::Custody;

    use super::*;
    use crate::fixtures;
    use crate::reconcile::cluster::Cluster;
    use crate::reconcile::elsewhere::ELSEWHERE;
    use crate::reconcile::elsewhere::NAME_CHANGED;

    /// Wrong: an annotation that stays in a manifest takes the ledger back when it has gone home.
    #[test]
    fn a_ledger_is_taken_over_once_for_each_annotation() {
        let row = |owner: Option<&str>, changes| {
            let custody = Custody { owner: owner.map(str::to_owned), changes, unfenced: None };
            CampaignRow { custody, ..fixtures::row() }
        };
        let here = Cluster::named("a");
        assert_eq!(Elsewhere::of(&row(None, 0), &here), None, "an older version's is whoever claims it");
        assert_eq!(Elsewhere::of(&row(Some("a"), 1), &here), None);
        let mut campaign = fixtures::campaign();
        let elsewhere = |changes| Elsewhere::of(&row(Some("b"), changes), &here).unwrap();
        assert!(!elsewhere(1).is_asked_for(&campaign));
        for (value, asked) in
            [("b/1", true), (" b/1 ", true), ("b", false), ("b/3", false), ("a/1", false), ("true", false)]
        {
            campaign.annotations_mut().insert(TAKE_OVER_ANNOTATION.to_owned(), value.to_owned());
            assert_eq!(elsewhere(1).is_asked_for(&campaign), asked, "{value}");
        }
        let text = elsewhere(1).text("spring", &here);
        assert!(text.ends_with("spring --overwrite coupon-operator.io/take-over-ledger=b/1"), "{text}");
        assert!(text.contains("belongs to cluster b, and this one is a:"), "both by the names that they have: {text}");
    }

    /// Wrong: a cluster whose `clusterId` was taken away says that another cluster sells, which is false.
    #[test]
    fn a_ledger_under_another_name_of_this_cluster_is_told_from_another_clusters() {
        let here = Cluster::named("a");
        for (object, expected) in [
            (Some("0001"), (NAME_CHANGED, "this object's own, under the name b, and this cluster is called a now")),
            (Some("0002"), (ELSEWHERE, "belongs to cluster b, and this one is a:")),
            (None, (ELSEWHERE, "belongs to cluster b")),
        ] {
            let custody = Custody { owner: Some("b".to_owned()), changes: 1, unfenced: None };
            let row = CampaignRow { custody, object_uid: object.map(str::to_owned), ..fixtures::row() };
            let report = Elsewhere::of(&row, &here).unwrap().report(&row, &fixtures::campaign(), &here);
            assert_eq!(report.reason, expected.0, "{object:?}");
            assert!(report.message.contains(expected.1), "{}", report.message);
            assert!(report.message.contains("take-over-ledger=b/1"), "{}", report.message);
        }
    }
}
