//! The classes of campaigns, as they were last seen.

use crate::api::{CampaignClass, CouponCampaign};
use crate::class;
use crate::reconcile::FINALIZER as LEDGER_FINALIZER;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The classes of campaigns, as they were last seen.
#[derive(Debug, Default)]
pub struct LastKnown(Mutex<BTreeMap<String, Arc<CampaignClass>>>);

impl LastKnown {
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<CampaignClass>>> {
        // A map of plain values: one that a panicking pass left behind is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a class that is there.
    pub(crate) fn remember(&self, class: &Arc<CampaignClass>) {
        let mut all = self.lock();
        let name = class.name_any();
        if all.get(&name).is_none_or(|known| known.metadata.resource_version != class.metadata.resource_version) {
            all.insert(name, Arc::clone(class));
        }
    }

    /// The class of this name, as it was.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<CampaignClass>> {
        self.lock().get(name).cloned()
    }

    /// Forgets what is neither there nor used. Answers which classes are remembered.
    pub(crate) fn retain(&self, there: &BTreeSet<String>, campaigns: &[Arc<CouponCampaign>]) -> BTreeSet<String> {
        let mut all = self.lock();
        all.retain(|name, class| there.contains(name) || !users(class, campaigns).is_empty());
        all.keys().cloned().collect()
    }
}

/// Whether a campaign has a ledger in this class, or is about to: it was taken, and bears the finalizer. This alone decides it, for what the
/// class says and for what is done with the campaign.
pub(crate) fn is_user(campaign: &CouponCampaign, class: &CampaignClass) -> bool {
    campaign.finalizers().iter().any(|each| each == LEDGER_FINALIZER) && class::uses(campaign, class)
}

/// The campaigns that do, as `namespace/name`.
pub(crate) fn users(class: &CampaignClass, all: &[Arc<CouponCampaign>]) -> Vec<String> {
    let name = |each: &CouponCampaign| format!("{}/{}", each.namespace().unwrap_or_default(), each.name_any());
    let mut users: Vec<String> = all.iter().filter(|each| is_user(each, class)).map(|each| name(each)).collect();
    users.sort();
    users
}
