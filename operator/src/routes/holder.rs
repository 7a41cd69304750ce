//! Whether another campaign is found at the same address. Pure.
//!
//! Coupon ids repeat over namespaces, and an issuer knows its campaign by the coupon id alone: two routes at one address would lead users of one
//! campaign to the other, which would give them a coupon.

use std::sync::Arc;

use kube::ResourceExt;

use super::place::{Names, Place};
use crate::api::{CampaignClass, CouponCampaign};

/// Which older campaign has this place, as `namespace/name`. It has it until it is deleted: who was there first does not change.
pub(crate) fn holder(
    campaign: &CouponCampaign,
    place: &Place,
    campaigns: &[Arc<CouponCampaign>],
    classes: &[Arc<CampaignClass>],
) -> Option<String> {
    let older = campaigns.iter().filter(|other| is_older(other, campaign));
    let found = older.filter(|other| place_of(other, classes).is_some_and(|of_other| of_other.is_that_of(place)));
    found.map(|other| full_name(other)).min()
}

fn full_name(campaign: &CouponCampaign) -> String {
    format!("{}/{}", campaign.namespace().unwrap_or_default(), campaign.name_any())
}

/// Of two that were made in the same second the name decides.
fn is_older(other: &CouponCampaign, campaign: &CouponCampaign) -> bool {
    let age = |campaign: &CouponCampaign| {
        (campaign.metadata.creation_timestamp.as_ref().map(|time| time.0), full_name(campaign))
    };
    other.uid() != campaign.uid() && age(other) < age(campaign)
}

/// Where another campaign is, if its class has taken it and asks for routes.
fn place_of(campaign: &CouponCampaign, classes: &[Arc<CampaignClass>]) -> Option<Place> {
    let class = campaign.status.as_ref()?.class_name.as_ref()?;
    let routing = &classes.iter().find(|each| each.name_any() == *class)?.spec.routing;
    routing.route()?;
    let (namespace, name) = (campaign.namespace().unwrap_or_default(), campaign.name_any());
    Place::of(routing, Names { namespace: &namespace, name: &name, coupon_id: &campaign.coupon_id() }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use serde_json::json;

    fn campaign(namespace: &str, second: i64, class: Option<&str>) -> Arc<CouponCampaign> {
        let mut campaign = serde_json::to_value(fixtures::campaign()).unwrap();
        campaign["metadata"]["namespace"] = json!(namespace);
        campaign["metadata"]["uid"] = json!(namespace);
        let created = jiff::Timestamp::from_second(second).unwrap();
        campaign["metadata"]["creationTimestamp"] = json!(created.to_string());
        campaign["status"] = json!({"className": class});
        Arc::new(serde_json::from_value(campaign).unwrap())
    }

    fn class(name: &str, template: &str, has_route: bool) -> Arc<CampaignClass> {
        let mut class = fixtures::class();
        class.metadata.name = Some(name.to_owned());
        let route = if has_route { json!({"parentRefs": [{"name": "public"}]}) } else { json!(null) };
        class.spec.routing = serde_json::from_value(json!({"urlTemplate": template, "httpRoute": route})).unwrap();
        Arc::new(class)
    }

    /// Wrong: people who ask for a coupon of one shop get one of another.
    #[test]
    fn the_older_campaign_has_the_address() {
        let shared = "https://c.example/api/coupons/{couponId}/issue";
        let classes = [
            class("main", shared, true),
            class("apart", "https://c.example/{namespace}/{couponId}/issue", true),
            class("inside", shared, false),
        ];
        let ours = campaign("shop", 10, Some("main"));
        let routing = &classes[0].spec.routing;
        let place = Place::of(routing, Names { namespace: "shop", name: "spring", coupon_id: "spring" }).unwrap();
        for (what, other, expected) in [
            ("older", campaign("books", 9, Some("main")), Some("books/spring")),
            ("younger", campaign("books", 11, Some("main")), None),
            ("as old, and first by name", campaign("books", 10, Some("main")), Some("books/spring")),
            ("as old, and second by name", campaign("toys", 10, Some("main")), None),
            ("elsewhere", campaign("books", 9, Some("apart")), None),
            ("without a route", campaign("books", 9, Some("inside")), None),
            ("that no class has taken", campaign("books", 9, None), None),
            ("of a class that is gone", campaign("books", 9, Some("old")), None),
            ("itself", Arc::clone(&ours), None),
        ] {
            let all = [Arc::clone(&ours), other];
            assert_eq!(holder(&ours, &place, &all, &classes).as_deref(), expected, "{what}");
        }
    }
}
