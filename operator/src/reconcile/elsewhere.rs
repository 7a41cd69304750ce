//! A ledger that is another cluster's.

use coupon_ledger::database::CampaignRow;

use super::cluster::Cluster;
use crate::api::annotations::TAKE_OVER_ANNOTATION;
use crate::api::conditions::Report;
use crate::api::{ConditionType, CouponCampaign};
use kube::ResourceExt;

/// A ledger that is another cluster's, by the name that it bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// The cluster.
    pub owner: String,
    /// How often the ledger has changed hands.
    pub changes: u64,
}

impl Elsewhere {
    /// Whose the ledger is, if it is not this cluster's.
    pub(super) fn of(row: &CampaignRow, cluster: &Cluster) -> Option<Self> {
        let owner = row.custody.owner.clone().filter(|owner| !cluster.is(owner))?;
        Some(Self { owner, changes: row.custody.changes })
    }

    /// Whether the campaign is to take it over.
    pub(super) fn is_asked_for(&self, campaign: &CouponCampaign) -> bool {
        let asked = campaign.annotations().get(TAKE_OVER_ANNOTATION);
        asked.is_some_and(|value| value.trim() == self.value())
    }

    /// What the annotation must say.
    pub(crate) fn value(&self) -> String {
        format!("{}/{}", self.owner, self.changes)
    }

    /// The same of a ledger that this very object has had: under another name of this cluster.
    pub(crate) fn former(&self, campaign: &str, here: &Cluster) -> String {
        format!(
            "the ledger of this couponId is this object's own, under the name {}, and this cluster is called {} now: clusterId of the chart \
             was changed or taken away. Nothing is made or changed here until it is put back, and then all goes on by itself; meanwhile pods \
             go, and nobody gets a coupon. To go on under the present name: kubectl annotate couponcampaign {campaign} --overwrite \
             {TAKE_OVER_ANNOTATION}={}. (Only where this cluster is a copy of {}, its objects included, is that another cluster.)",
            self.owner,
            here.name(),
            self.value(),
            self.owner
        )
    }

    /// Why a campaign does nothing with it.
    pub(super) fn report(&self, row: &CampaignRow, campaign: &CouponCampaign, here: &Cluster) -> Report {
        let name = campaign.name_any();
        match is_this_objects(row, campaign) {
            true => Report::yes(ConditionType::Stalled, NAME_CHANGED, self.former(&name, here)),
            false => Report::yes(ConditionType::Stalled, ELSEWHERE, self.text(&name, here)),
        }
    }

    /// What it means and what to do. A name may be a `clusterId` or the UID of a namespace `kube-system`: nobody can tell from here, nor whether
    /// it was this cluster's once.
    pub(crate) fn text(&self, campaign: &str, here: &Cluster) -> String {
        format!(
            "the ledger of this couponId belongs to cluster {}, and this one is {}: nothing is made or changed here. If that is another \
             cluster, delete the campaign there, and this one goes on by itself. To take the ledger over as it is, also if this cluster has \
             had that name (clusterId of the chart was changed or taken away: put it back, and nothing is to be done): kubectl annotate \
             couponcampaign {campaign} --overwrite {TAKE_OVER_ANNOTATION}={}",
            self.owner,
            here.name(),
            self.value()
        )
    }
}

/// Whether it is this very object that had the ledger last: whatever the cluster was called then, it is this one, but for a copy of it.
pub(crate) fn is_this_objects(row: &CampaignRow, campaign: &CouponCampaign) -> bool {
    row.object_uid.is_some() && row.object_uid == campaign.uid()
}

/// Reason: this cluster has it, under another name.
pub(super) const NAME_CHANGED: &str = "ClusterNameChanged";

/// Reason: another cluster has the ledger.
pub(super) const ELSEWHERE: &str = "LedgerOwnedElsewhere";
