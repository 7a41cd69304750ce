//! What every step of a pass needs.

use std::sync::Arc;
use std::time::Duration;

use coupon_core::identity::CampaignId;
use coupon_ledger::database::{CampaignRow, Heir};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt};

use super::cluster::Cluster;
use super::memory::CampaignMemory;
use super::replicas::ReplicaCount;
use crate::api::{CampaignClass, CouponCampaign};
use crate::class::pools::Systems;
use crate::context::Context;
use crate::workloads::{Component, object_name};

/// What every step of a pass needs.
#[derive(Clone, Copy)]
pub struct ReconcileContext<'a> {
    /// What all passes share.
    pub context: &'a Context,
    /// The campaign, as it was written.
    pub object: &'a CouponCampaign,
    /// The same within the limits of its class.
    pub campaign: &'a CouponCampaign,
    /// Its UID.
    pub uid: &'a str,
    /// What is remembered of it.
    pub memory: &'a CampaignMemory,
    /// Its class.
    pub class: &'a CampaignClass,
    /// The class exists. If not, it was removed by force, and this is what was last known of it.
    pub class_exists: bool,
    /// Its identity.
    pub id: &'a CampaignId,
    /// The cluster that this is.
    pub cluster: &'a Cluster,
    /// What this ledger calls it.
    pub known_as: &'a str,
    /// Kafka, Redis and the database.
    pub systems: &'a Systems,
}

impl<'a> ReconcileContext<'a> {
    /// The same, with the name that the ledger has for this cluster; it is remembered. `row`: what was read of the ledger, if it was.
    pub(super) fn known_to(self, row: Option<&CampaignRow>) -> Self {
        let known_as = row.map_or(self.known_as, |row| self.cluster.in_row(row));
        self.memory.update(|memory| memory.known_as = Some(known_as.to_owned()));
        Self { known_as, ..self }
    }

    /// The campaign's Deployment of one kind, as the watch knows it.
    pub(super) fn deployment(&self, component: Component) -> Option<Arc<Deployment>> {
        self.context.deployment(self.id.namespace(), &object_name(self.campaign, component))
    }
}

impl ReconcileContext<'_> {
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
        let issuers = ReplicaCount::of(self.context.deployment(self.id.namespace(), &name).as_deref());
        issuers.ready == 0 || self.context.has_ready_endpoint(self.id.namespace(), &name)
    }
}

/// While coupons are given or stored, every campaign is looked at this often.
pub(crate) const BUSY: Duration = Duration::from_secs(2);

/// To write with: of the answers nothing is wanted, and the object may be one that cannot be decoded any more.
pub(crate) fn campaigns(campaign: &CouponCampaign, context: &Context) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<CouponCampaign>(&());
    Api::namespaced_with(context.client.clone(), &campaign.namespace().unwrap_or_default(), &kind)
}
