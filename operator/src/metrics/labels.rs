//! The labels of what the operator counts.

use kube::ResourceExt;
use prometheus_client::encoding::EncodeLabelSet;

use crate::api::CouponCampaign;

/// Labels of what belongs to a campaign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct CampaignLabels {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub campaign: String,
}

impl CampaignLabels {
    /// Those of an object.
    pub fn of(campaign: &CouponCampaign) -> Self {
        Self { namespace: campaign.namespace().unwrap_or_default(), campaign: campaign.name_any() }
    }
}

/// Labels of what belongs to a class.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClassLabels {
    /// Its name.
    pub class: String,
}

/// Labels of what belongs to a kind of object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabels {
    /// Such as `CouponCampaign`.
    pub kind: String,
}

/// Labels of a pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `success`, or the stable reason of the failure.
    pub outcome: String,
}
