//! What every step of a pass needs.

use super::cluster::Cluster;
use super::numbers::There;
use crate::api::{CampaignClass, CouponCampaign};
use crate::children::{Component, object_name};
use crate::connections::Systems;
use crate::context::Context;
use campaign::identity::CampaignId;
use campaign::table::{CampaignRow, Heir};
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt};
use std::time::Duration;

/// What every step of a pass needs.
pub struct Pass<'a> {
    /// What all passes share.
    pub context: &'a Context,
    /// The campaign.
    pub campaign: &'a CouponCampaign,
    /// Its UID.
    pub uid: &'a str,
    /// Its class.
    pub class: &'a CampaignClass,
    /// Its identity.
    pub id: &'a CampaignId,
    /// The cluster that this is.
    pub cluster: &'a Cluster,
    /// What this ledger calls it.
    pub known_as: &'a str,
    /// Kafka, Redis and the database.
    pub systems: &'a Systems,
}

impl Pass<'_> {
    /// Whether this object has never had an epoch: what the ledger holds, it holds from another object's time.
    pub(crate) fn is_new_to_ledger(&self) -> bool {
        self.campaign.status.as_ref().is_none_or(|status| status.epoch.is_none())
    }

    /// Who this object is to a ledger.
    pub(crate) fn heir(&self, row: &CampaignRow) -> Heir<'_> {
        Heir { cluster: self.cluster.in_row(row), uid: self.uid }
    }

    /// Whether requests to the campaign's Service reach an issuer, if one is ready.
    pub(crate) fn users_reach_issuers(&self) -> bool {
        let name = object_name(self.campaign, Component::Issuer);
        let issuers = There::of(self.context.deployment(self.id.namespace(), &name).as_deref());
        issuers.ready == 0 || self.context.leads_somewhere(self.id.namespace(), &name)
    }
}

/// While coupons are given or stored, every campaign is looked at this often.
pub(crate) const BUSY: Duration = Duration::from_secs(2);

/// To write with: of the answers nothing is wanted, and the object may be one that cannot be decoded any more.
pub(crate) fn campaigns(campaign: &CouponCampaign, context: &Context) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<CouponCampaign>(&());
    Api::namespaced_with(context.client.clone(), &campaign.namespace().unwrap_or_default(), &kind)
}
