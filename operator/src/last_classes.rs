//! The classes of campaigns, as they were last seen.

use crate::api::{CampaignClass, CouponCampaign};
use crate::class;
use crate::reconcile::FINALIZER as LEDGER_FINALIZER;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The classes of campaigns, as they were last seen.
#[derive(Debug, Default)]
pub struct LastKnown(Mutex<BTreeMap<String, CampaignClass>>);

impl LastKnown {
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CampaignClass>> {
        // A map of plain values: one that a panicking pass left behind is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a class that is there.
    pub(crate) fn remember(&self, class: &CampaignClass) {
        let mut all = self.lock();
        let name = class.name_any();
        if all.get(&name).is_none_or(|known| known.metadata.resource_version != class.metadata.resource_version) {
            all.insert(name, class.clone());
        }
    }

    /// The class of this name, as it was.
    pub(crate) fn get(&self, name: &str) -> Option<CampaignClass> {
        self.lock().get(name).cloned()
    }

    /// Forgets what is neither there nor used. Answers which classes are remembered.
    pub(crate) fn keep(&self, there: &BTreeSet<String>, campaigns: &[Arc<CouponCampaign>]) -> BTreeSet<String> {
        let mut all = self.lock();
        all.retain(|name, class| there.contains(name) || !users(class, campaigns).is_empty());
        all.keys().cloned().collect()
    }
}

/// Campaigns that have a ledger in this class, or are about to, as `namespace/name`.
pub(crate) fn users(class: &CampaignClass, all: &[Arc<CouponCampaign>]) -> Vec<String> {
    let has_ledger = |each: &CouponCampaign| each.finalizers().iter().any(|each| each == LEDGER_FINALIZER);
    let name = |each: &CouponCampaign| format!("{}/{}", each.namespace().unwrap_or_default(), each.name_any());
    let mut users: Vec<String> =
        all.iter().filter(|each| has_ledger(each) && class::uses(each, class)).map(|each| name(each)).collect();
    users.sort();
    users
}
