//! Puts on record whose ledger it is.

use coupon_ledger::database::{self, CampaignRow};

use crate::error::ReconcileError;
use crate::events;
use crate::reconcile::observe::Observation;
use crate::reconcile::opening;
use crate::reconcile::reconcile_context::ReconcileContext;
use crate::workloads::Component;

/// Makes the campaign's row. `None` where somebody else has registered it meanwhile: it may have topics that this plan knows nothing of, or be
/// another cluster's.
pub(super) async fn register(pass: &ReconcileContext<'_>, total: u64) -> Result<Option<CampaignRow>, ReconcileError> {
    let registered = database::register_in(&pass.systems.sql, pass.id, total, Some(pass.cluster.name())).await?;
    let is_ours = registered.custody.owner.as_deref().is_some_and(|owner| pass.cluster.is(owner));
    Ok((is_ours && registered.topic_id.is_none()).then_some(registered))
}

/// Puts on record that the ledger is this object's. False: the ledger has changed meanwhile.
pub(super) async fn claim(
    pass: &ReconcileContext<'_>,
    row: &CampaignRow,
    forget_window: bool,
) -> Result<bool, ReconcileError> {
    Ok(database::claim(&pass.systems.sql, row, pass.heir(row), forget_window).await?)
}

/// Takes the ledger over from the cluster that has it. False: the ledger has changed meanwhile.
pub(super) async fn take_over(
    pass: &ReconcileContext<'_>,
    row: &CampaignRow,
    seen: &Observation,
    forget_window: bool,
) -> Result<bool, ReconcileError> {
    let known = opening::known_epoch(pass.campaign, seen);
    if !database::take_over(&pass.systems.sql, row, pass.heir(row), known, forget_window).await? {
        return Ok(false);
    }
    pass.memory.update(|memory| memory.custody.begin());
    let before = row.custody.owner.as_deref().unwrap_or_default();
    let text = format!("the ledger is taken over from cluster {before}, by annotation");
    events::note(pass.context, pass.campaign, "LedgerTakenOver", &text).await;
    Ok(true)
}

/// Gives the row this cluster's present name. Not while an issuer is there: it knows the ledger by the name that it was started with.
pub(super) async fn rename(pass: &ReconcileContext<'_>, row: &CampaignRow) -> Result<(), ReconcileError> {
    if !pass.context.pods_of(pass.campaign, Component::Issuer).is_empty() {
        return Ok(());
    }
    let now = pass.cluster.name();
    if database::rename_owner(&pass.systems.sql, row, now).await? {
        let before = row.custody.owner.as_deref().unwrap_or_default();
        let text = format!(
            "the ledger names its cluster {now} from now on, as clusterId says; until now it was {before}, the UID of this cluster's \
             namespace kube-system"
        );
        events::note(pass.context, pass.campaign, "LedgerRenamed", &text).await;
    }
    Ok(())
}
