//! A class in use cannot vanish: while campaigns have a ledger in it, a finalizer holds it. One that is gone all the same, as
//! somebody forced the finalizer off, is remembered for those campaigns.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType};
use crate::children::apply::MANAGER;
use crate::context::Context;
pub use crate::last_classes::LastKnown;
pub(crate) use crate::last_classes::users;

/// Keeps a class until no campaign has a ledger in it.
pub const FINALIZER: &str = "coupon-operator.io/in-use";
/// So many campaigns are named.
const NAMED: usize = 5;

/// What is to be done about the finalizer of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It is as it should be.
    Stays,
    /// The first campaign uses the class.
    Take,
    /// No campaign uses it any more.
    LetGo,
}

/// What so many users mean for the finalizer. To an object that is being deleted none can be added.
pub(crate) fn hold(class: &CampaignClass, users: usize) -> Hold {
    let held = class.finalizers().iter().any(|each| each == FINALIZER);
    match (held, users, is_leaving(class)) {
        (false, 1.., false) => Hold::Take,
        (true, 0, _) => Hold::LetGo,
        _ => Hold::Stays,
    }
}

/// Whether somebody has deleted it.
pub(crate) fn is_leaving(class: &CampaignClass) -> bool {
    class.metadata.deletion_timestamp.is_some()
}

/// What a class says that is deleted and in use.
pub(crate) fn report(class: &CampaignClass, users: &[String]) -> Option<Report> {
    if !is_leaving(class) || users.is_empty() {
        return None;
    }
    let (number, verb) = match users.len() {
        1 => ("1 campaign".to_owned(), "uses"),
        several => (format!("{several} campaigns"), "use"),
    };
    let text = format!(
        "{number} {verb} this class ({}): it stays, and serves them, until they are deleted; it takes no new ones; to keep \
         it, apply it again once it is gone",
        named(users)
    );
    Some(Report::yes(ConditionType::InUse, "CampaignsLeft", text))
}

/// The first of them, and how many more there are.
pub(crate) fn named(users: &[String]) -> String {
    let named = users.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match users.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Sets or removes the finalizer, unless somebody has changed the class meanwhile.
pub(crate) async fn write(class: &CampaignClass, context: &Context, hold: Hold) -> Result<(), kube::Error> {
    let mut finalizers: Vec<String> = class.finalizers().iter().filter(|each| *each != FINALIZER).cloned().collect();
    match hold {
        Hold::Stays => return Ok(()),
        Hold::Take => finalizers.push(FINALIZER.to_owned()),
        Hold::LetGo => {}
    }
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": class.resource_version()}});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let classes: Api<CampaignClass> = Api::all(context.client.clone());
    match classes.patch(&class.name_any(), &parameters, &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CouponCampaign;
    use crate::fixtures;
    use crate::reconcile::FINALIZER as LEDGER_FINALIZER;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn class(held: bool, leaving: bool) -> CampaignClass {
        let mut class = fixtures::class();
        class.metadata.finalizers = held.then(|| vec![FINALIZER.to_owned()]);
        class.metadata.deletion_timestamp = leaving.then(|| Time("2026-12-01T10:00:00Z".parse().unwrap()));
        class
    }

    fn campaign(name: &str, of: Option<&str>, has_ledger: bool) -> Arc<CouponCampaign> {
        let mut campaign = fixtures::campaign();
        campaign.metadata.name = Some(name.to_owned());
        campaign.spec.class_name = of.map(str::to_owned);
        campaign.metadata.finalizers = has_ledger.then(|| vec![LEDGER_FINALIZER.to_owned()]);
        Arc::new(campaign)
    }

    /// Wrong: a class goes while sales run in it, and nobody has them under control any more.
    #[test]
    fn a_class_is_held_while_campaigns_have_a_ledger_in_it() {
        for (what, class, users, expected) in [
            ("nobody uses it", class(false, false), 0, Hold::Stays),
            ("its first campaign", class(false, false), 1, Hold::Take),
            ("in use", class(true, false), 2, Hold::Stays),
            ("the last one has gone", class(true, false), 0, Hold::LetGo),
            ("deleted in use", class(true, true), 1, Hold::Stays),
            ("deleted, and the last one has gone", class(true, true), 0, Hold::LetGo),
            ("deleted, the finalizer forced off, others hold it", class(false, true), 1, Hold::Stays),
        ] {
            assert_eq!(hold(&class, users), expected, "{what}");
        }
    }

    #[test]
    fn users_have_a_ledger_and_this_class() {
        let resolved = {
            let mut campaign = (*campaign("by-default", None, true)).clone();
            campaign.status.get_or_insert_default().class_name = Some("main".to_owned());
            Arc::new(campaign)
        };
        let all = [
            campaign("named", Some("main"), true),
            campaign("refused", Some("main"), false),
            campaign("other", Some("another"), true),
            campaign("unresolved", None, true),
            resolved,
        ];
        assert_eq!(users(&class(true, false), &all), ["shop/by-default", "shop/named"]);
    }

    #[test]
    fn a_class_that_is_deleted_in_use_says_by_how_many_and_by_whom() {
        let users: Vec<String> = (1..=7).map(|number| format!("shop/sale-{number}")).collect();
        let said = report(&class(true, true), &users).unwrap().message;
        assert!(said.starts_with("7 campaigns use this class (shop/sale-1, "), "{said}");
        assert!(said.contains("shop/sale-5 and 2 more)"), "{said}");
        assert!(report(&class(true, true), &users[..1]).unwrap().message.starts_with("1 campaign uses"));
        assert_eq!(report(&class(true, false), &users), None);
        assert_eq!(report(&class(true, true), &[]), None);
    }

    #[test]
    fn a_class_that_is_gone_is_remembered_as_long_as_it_is_used() {
        let known = LastKnown::default();
        known.remember(&class(true, false));
        let there = BTreeSet::from(["main".to_owned()]);
        assert_eq!(known.keep(&there, &[]), there, "it is there");
        assert_eq!(known.keep(&BTreeSet::new(), &[campaign("a", Some("main"), true)]), there, "it is used");
        assert!(known.get("main").is_some());
        assert_eq!(known.keep(&BTreeSet::new(), &[campaign("a", Some("main"), false)]), BTreeSet::new());
        assert_eq!(known.get("main"), None);
    }
}
