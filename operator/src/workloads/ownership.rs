//! Who owns an object that has the name of one of our workload objects. Pure.
//!
//! Nothing is written, scaled or deleted that is not controlled by the campaign's own UID: names such as `orders-consumer` are
//! common, and an apply by force would take over what somebody else made, so that the garbage collector removes it with us.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use super::{CAMPAIGN_LABEL, MANAGED_BY};
use crate::api::CouponCampaign;

/// Whose an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// This campaign controls it.
    Ours,
    /// We made it, and nothing controls it: it was orphaned on purpose, or restored without its owner. It may be taken back.
    Orphaned,
    /// It belongs to a campaign of this name that was deleted, and goes with it in a moment.
    Leaving,
    /// It is somebody else's; with who that is, if anything says so.
    Foreign(Option<String>),
}

/// An object that stands where one of ours belongs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// Somebody else's.
    #[error(
        "{kind} {namespace}/{name} exists and is not this campaign's{}; it is left as it is: rename it, or apply the campaign \
         under another metadata.name (with spec.couponId set to the present one if its ledger is to go on)",
        .owner.as_ref().map(|owner| format!(" (it belongs to {owner})")).unwrap_or_default()
    )]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Who controls it, as `Kind/name`.
        owner: Option<String>,
    },
    /// A deleted predecessor's.
    #[error("{kind} {namespace}/{name} of the deleted campaign of this name is still being removed; waiting for that")]
    Leaving {
        /// Its kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Whose an object with this metadata is, seen from a campaign.
pub(crate) fn ownership(found: &ObjectMeta, campaign: &CouponCampaign) -> Ownership {
    let controller = found.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let Some(controller) = controller else {
        let label = |key: &str| found.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let made_by_us = label("app.kubernetes.io/managed-by") == Some(MANAGED_BY)
            && label(CAMPAIGN_LABEL) == Some(campaign.name_any().as_str());
        return if made_by_us { Ownership::Orphaned } else { Ownership::Foreign(None) };
    };
    if Some(&controller.uid) == campaign.metadata.uid.as_ref() {
        return Ownership::Ours;
    }
    if is_predecessor(controller, campaign) {
        return Ownership::Leaving;
    }
    Ownership::Foreign(Some(format!("{}/{}", controller.kind, controller.name)))
}

/// Whether this owner is an earlier object with the campaign's name.
fn is_predecessor(owner: &OwnerReference, campaign: &CouponCampaign) -> bool {
    let group = |api_version: &str| api_version.split('/').next().unwrap_or_default().to_owned();
    owner.kind == CouponCampaign::kind(&())
        && group(&owner.api_version) == CouponCampaign::group(&())
        && owner.name == campaign.name_any()
}

/// Whether an object may be written as this campaign's.
///
/// # Errors
/// [`NotOurs`]: it must be left alone.
pub(crate) fn claim<K: Resource<DynamicType = ()>>(found: &K, campaign: &CouponCampaign) -> Result<(), NotOurs> {
    let kind = K::kind(&()).into_owned();
    let (namespace, name) = (found.meta().namespace.clone().unwrap_or_default(), found.name_any());
    match ownership(found.meta(), campaign) {
        Ownership::Ours | Ownership::Orphaned => Ok(()),
        Ownership::Leaving => Err(NotOurs::Leaving { kind, namespace, name }),
        Ownership::Foreign(owner) => Err(NotOurs::Foreign { kind, namespace, name, owner }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use serde_json::{Value, json};

    #[test]
    fn whose_an_object_is() {
        let owner = |kind: &str, name: &str, uid: &str, controller: bool| {
            let group = if kind == "CouponCampaign" { "coupon-operator.io/v1alpha1" } else { "apps/v1" };
            json!([{"apiVersion": group, "kind": kind, "name": name, "uid": uid, "controller": controller}])
        };
        let labels =
            json!({"app.kubernetes.io/managed-by": "coupon-operator", "coupon-operator.io/campaign": "spring"});
        let of_another =
            json!({"app.kubernetes.io/managed-by": "coupon-operator", "coupon-operator.io/campaign": "autumn"});
        let foreign = |owner: &str| Ownership::Foreign(Some(owner.to_owned()));
        let none = || Value::Null;
        for (what, labels, owners, expected) in [
            ("ours", labels.clone(), owner("CouponCampaign", "spring", "0001", true), Ownership::Ours),
            ("ours, its labels taken away", none(), owner("CouponCampaign", "spring", "0001", true), Ownership::Ours),
            ("made by hand", none(), none(), Ownership::Foreign(None)),
            (
                "an owner that controls nothing",
                none(),
                owner("CouponCampaign", "spring", "0001", false),
                Ownership::Foreign(None),
            ),
            ("labels of another campaign", of_another, none(), Ownership::Foreign(None)),
            ("orphaned", labels.clone(), none(), Ownership::Orphaned),
            (
                "the deleted campaign's",
                labels.clone(),
                owner("CouponCampaign", "spring", "0000", true),
                Ownership::Leaving,
            ),
            (
                "another campaign's",
                labels.clone(),
                owner("CouponCampaign", "autumn", "0002", true),
                foreign("CouponCampaign/autumn"),
            ),
            (
                "with our labels, somebody else's",
                labels,
                owner("Deployment", "spring", "0001x", true),
                foreign("Deployment/spring"),
            ),
        ] {
            let meta =
                json!({"name": "spring-issuer", "namespace": "shop", "labels": labels, "ownerReferences": owners});
            let meta: ObjectMeta = serde_json::from_value(meta).unwrap();
            assert_eq!(ownership(&meta, &fixtures::campaign()), expected, "{what}");
        }
    }
}
