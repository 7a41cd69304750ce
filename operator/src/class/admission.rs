//! Which class a campaign uses, and whether that class admits it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use coupon_core::connections::Connections;
use coupon_core::identity::{CampaignId, Identity, NameError};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, Time};
use kube::ResourceExt;

use super::error::ClassError;
use super::limits::{self, Exceeded, InForce};
use crate::api::{CampaignClass, CouponCampaign, Phase};

/// The class of a campaign: the one it resolved to before, else the one it names, else the default.
pub fn resolve<'a>(
    campaign: &CouponCampaign,
    classes: &'a [Arc<CampaignClass>],
) -> Result<&'a Arc<CampaignClass>, ClassError> {
    let sticky = campaign.status.as_ref().and_then(|status| status.class_name.as_ref());
    if let Some(name) = campaign.spec.class_name.as_ref().or(sticky) {
        return classes
            .iter()
            .find(|class| class.name_any() == *name)
            .ok_or_else(|| ClassError::NotFound(name.clone()));
    }
    let defaults: Vec<&Arc<CampaignClass>> = classes.iter().filter(|class| class.is_default()).collect();
    match defaults.as_slice() {
        [] => Err(ClassError::NoDefault),
        [class] => Ok(class),
        several => {
            Err(ClassError::SeveralDefaults(several.iter().map(|c| c.name_any()).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Whether the class lets the namespace take part, and the campaign asks for no more than it allows; all that is too much is
/// said at once.
pub fn admit(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    namespace: &Namespace,
    all: &[Arc<CouponCampaign>],
) -> Result<(), ClassError> {
    let labels = namespace.metadata.labels.clone().unwrap_or_default();
    if !selects(&class.spec.namespace_selector, &labels) {
        return Err(ClassError::NamespaceNotSelected {
            namespace: namespace.name_any(),
            class: class.name_any(),
            selector: describe(&class.spec.namespace_selector),
        });
    }
    let (_, mut exceeded) = limits::hold(campaign, &class.spec.limits, &InForce::default());
    let (before, most) = (before(campaign, class, all), i64::from(class.spec.limits.campaigns_per_namespace));
    if before >= most {
        let field = "the number of campaigns of this namespace that are not Completed, with this one,";
        exceeded.push(Exceeded { field, asked: before.saturating_add(1), limit: most, granted: before });
    }
    match exceeded.is_empty() {
        true => Ok(()),
        false => Err(ClassError::LimitExceeded { exceeded, class: class.name_any() }),
    }
}

/// Campaigns of the namespace in this class that count before this one: those that run, and those that are older and may.
fn before(campaign: &CouponCampaign, class: &CampaignClass, all: &[Arc<CouponCampaign>]) -> i64 {
    let own = &campaign.metadata;
    let counts = |other: &&Arc<CouponCampaign>| {
        let status = other.status.as_ref();
        let runs = status.is_some_and(|status| status.epoch.is_some());
        other.metadata.namespace == own.namespace
            && other.metadata.uid != own.uid
            && uses(other, class)
            && status.and_then(|status| status.phase) != Some(Phase::Completed)
            && (runs || age(other) < age(campaign))
    };
    i64::try_from(all.iter().filter(counts).count()).unwrap_or(i64::MAX)
}

/// Whether a campaign uses this class, or would.
pub fn uses(campaign: &CouponCampaign, class: &CampaignClass) -> bool {
    let resolved = campaign.status.as_ref().and_then(|status| status.class_name.as_deref());
    let named = campaign.spec.class_name.as_deref().or(resolved);
    named.map_or_else(|| class.is_default(), |name| class.metadata.name.as_deref() == Some(name))
}

/// By what campaigns are older than others.
fn age(campaign: &CouponCampaign) -> (Option<Time>, String) {
    (campaign.creation_timestamp(), campaign.name_any())
}

/// Whether no older campaign of the namespace has the same coupon id: they would share one ledger.
pub fn check_coupon_id_unique(campaign: &CouponCampaign, all: &[Arc<CouponCampaign>]) -> Result<(), ClassError> {
    let (id, own) = (campaign.coupon_id(), &campaign.metadata);
    let older = all.iter().find(|other| {
        let meta = &other.metadata;
        // Every pass looks at every campaign here, so nothing is copied before the id matches.
        other.spec.coupon_id.as_ref().or(meta.name.as_ref()) == Some(&id)
            && meta.namespace == own.namespace
            && meta.uid != own.uid
            && age(other) < age(campaign)
    });
    older.map_or(Ok(()), |older| Err(ClassError::CouponIdTaken(older.name_any())))
}

/// The campaign, with the names that its class gives it in Kafka.
pub fn campaign_id(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    connections: &Connections,
) -> Result<CampaignId, NameError> {
    let namespace = campaign.namespace().unwrap_or_default();
    Ok(connections.campaign(Identity::new(&class.spec.realm, &namespace, &campaign.coupon_id())?))
}

/// A label selector, as Kubernetes evaluates it.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expression = |e: &LabelSelectorRequirement| {
        let value = labels.get(&e.key);
        let listed = value.is_some_and(|value| e.values.iter().flatten().any(|each| each == value));
        match e.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    equal && selector.match_expressions.iter().flatten().all(expression)
}

fn describe(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|e| format!("{} {} {}", e.key, e.operator, e.values.clone().unwrap_or_default().join(",")));
    labels.chain(expressions).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: any number of campaigns, or all of a namespace refused because one too many was applied.
    #[test]
    fn the_oldest_campaigns_of_a_namespace_come_first() {
        use crate::fixtures;
        let made = |name: &str, second: &str, change: &dyn Fn(&mut CouponCampaign)| {
            let mut campaign = fixtures::campaign();
            let meta = &mut campaign.metadata;
            (meta.name, meta.uid) = (Some(name.to_owned()), Some(format!("uid-{name}")));
            meta.creation_timestamp = Some(Time(format!("2026-12-01T09:00:{second}Z").parse().unwrap()));
            campaign.spec.class_name = Some("main".to_owned());
            change(&mut campaign);
            Arc::new(campaign)
        };
        let all = [
            made("ended", "01", &|c| c.status.get_or_insert_default().phase = Some(Phase::Completed)),
            made("elsewhere", "02", &|c| c.metadata.namespace = Some("web".to_owned())),
            made("other-class", "03", &|c| c.spec.class_name = Some("other".to_owned())),
            made("first", "04", &|_| {}),
            made("second", "05", &|_| {}),
            made("third", "06", &|_| {}),
            made("runs", "07", &|c| c.status.get_or_insert_default().epoch = Some(1)),
        ];
        let mut class = fixtures::class();
        class.spec.limits.campaigns_per_namespace = 3;
        let namespace = |labels: serde_json::Value| -> Namespace {
            serde_json::from_value(serde_json::json!({"metadata": {"name": "shop", "labels": labels}})).unwrap()
        };
        let labelled = namespace(serde_json::json!({"coupon-operator.io/enabled": "true"}));
        for (name, expected) in [("first", true), ("second", true), ("third", false), ("elsewhere", true)] {
            let campaign = all.iter().find(|each| each.name_any() == name).unwrap();
            let admitted = admit(campaign, &class, &labelled, &all);
            assert_eq!(admitted.is_ok(), expected, "{name}: {admitted:?}");
            if let Err(error) = admitted {
                let text = error.to_string();
                assert!(text.contains("with this one, is 4, at most 3"), "{text}");
            }
        }
    }

    #[test]
    fn selectors_as_kubernetes_evaluates_them() {
        let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        let expression = |operator: &str, values: &[&str]| LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "team".to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
            }]),
        };
        assert!(selects(&LabelSelector::default(), &labels), "an empty selector takes all");
        assert!(selects(&expression("In", &["shop", "web"]), &labels));
        assert!(!selects(&expression("NotIn", &["shop"]), &labels));
        assert!(selects(&expression("Exists", &[]), &labels));
        assert!(!selects(&expression("DoesNotExist", &[]), &labels));
        assert!(!selects(&expression("Nonsense", &[]), &labels), "an unknown operator selects nothing");
    }
}
