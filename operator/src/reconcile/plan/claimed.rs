//! What the database has of a campaign. Pure.

use coupon_core::identity::CampaignId;
use coupon_ledger::database::CampaignRow;

use super::decision::Step;
use crate::api::conditions::Report;
use crate::api::{ConditionType, CouponCampaign};
use crate::reconcile::cluster::Cluster;
use crate::reconcile::observe::LedgerView;
use crate::reconcile::owner::{self, Closed};

/// Reason: the ledger is not where the class says.
pub(in crate::reconcile) const LEDGER_MOVED: &str = "LedgerMoved";

/// What the database has of a campaign.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claimed<'a> {
    /// Nothing yet.
    Unregistered,
    /// Nothing, though the campaign has had an epoch.
    Moved,
    /// Its row.
    By(&'a CampaignRow),
}

/// `None`: it could not be read.
pub(super) fn claimed<'a>(ledger: Option<&'a LedgerView>, campaign: &CouponCampaign) -> Option<Claimed<'a>> {
    let has_had_epoch = campaign.status.as_ref().is_some_and(|status| status.epoch.is_some());
    Some(match (&ledger?.row, has_had_epoch) {
        (Some(row), _) => Claimed::By(row),
        (None, true) => Claimed::Moved,
        (None, false) => Claimed::Unregistered,
    })
}

/// The step that makes the ledger this object's, if one is needed, and what is refused where it is not in this database; or why nothing else is
/// to be done in this pass.
pub(super) fn claim(
    claimed: Option<Claimed<'_>>,
    campaign: &CouponCampaign,
    id: &CampaignId,
    cluster: &Cluster,
) -> Result<(Vec<Step>, Option<Report>), Closed> {
    Ok(match claimed {
        None => (Vec::new(), None),
        Some(Claimed::Unregistered) => (vec![Step::Register], None),
        Some(Claimed::Moved) => (Vec::new(), Some(moved(id.realm()))),
        Some(Claimed::By(row)) => (owner::owner(campaign, row, cluster).claim()?.into_iter().collect(), None),
    })
}

/// What a campaign of this realm hears whose row is not in the database.
fn moved(realm: &str) -> Report {
    let text = format!(
        "the campaign has a ledger, but no row in this database for realm `{realm}`: point the class back to where it was (host and name of \
         the database, realm), or restore the database; until then pods stay as they are, and nobody repairs, suspends or closes it"
    );
    Report::yes(ConditionType::Stalled, LEDGER_MOVED, text)
}
