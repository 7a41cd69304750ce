//! A class in use cannot vanish: while campaigns have a ledger in it, a finalizer holds it. One that is gone all the same, as
//! somebody forced the finalizer off, is remembered for those campaigns.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, CouponCampaign};
pub(crate) use crate::class::last_seen::LastKnown;
use crate::class::last_seen::is_user;
pub(crate) use crate::class::last_seen::users;
use crate::context::Context;
use crate::workloads::apply::MANAGER;

/// Keeps a class until no campaign has a ledger in it.
pub(crate) const FINALIZER: &str = "coupon-operator.io/in-use";
/// So many campaigns are named.
const NAMED: usize = 5;

/// What is to be done about the finalizer of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinalizerChange {
    /// It is as it should be.
    None,
    /// The first campaign uses the class.
    Add,
    /// No campaign uses it any more.
    Remove,
}

/// What so many users mean for the finalizer. To an object that is being deleted none can be added.
pub(crate) fn finalizer_change(class: &CampaignClass, users: usize) -> FinalizerChange {
    let held = class.finalizers().iter().any(|each| each == FINALIZER);
    match (held, users, is_leaving(class)) {
        (false, 1.., false) => FinalizerChange::Add,
        (true, 0, _) => FinalizerChange::Remove,
        _ => FinalizerChange::None,
    }
}

/// Whether somebody has deleted it.
pub(crate) fn is_leaving(class: &CampaignClass) -> bool {
    class.metadata.deletion_timestamp.is_some()
}

/// Whether the class serves this campaign: a class that is being deleted serves those that it has taken, as [`report`] says of it, also before
/// their first epoch; and takes no others.
pub(crate) fn serves(class: &CampaignClass, campaign: &CouponCampaign) -> bool {
    !is_leaving(class) || is_user(campaign, class)
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
pub(crate) async fn write(
    class: &CampaignClass,
    context: &Context,
    change: FinalizerChange,
) -> Result<(), kube::Error> {
    let mut finalizers: Vec<String> = class.finalizers().iter().filter(|each| *each != FINALIZER).cloned().collect();
    match change {
        FinalizerChange::None => return Ok(()),
        FinalizerChange::Add => finalizers.push(FINALIZER.to_owned()),
        FinalizerChange::Remove => {}
    }
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": class.resource_version()}});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let classes: Api<CampaignClass> = Api::all(context.client.clone());
    match classes.patch(&class.name_any(), &parameters, &Patch::Merge(patch)).await {
        // Nobody has to let go of it any more; but a campaign must not begin in a class that is gone.
        Err(kube::Error::Api(status)) if status.is_not_found() && change == FinalizerChange::Remove => Ok(()),
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
    use kube::client::Body;
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
            ("nobody uses it", class(false, false), 0, FinalizerChange::None),
            ("its first campaign", class(false, false), 1, FinalizerChange::Add),
            ("in use", class(true, false), 2, FinalizerChange::None),
            ("the last one has gone", class(true, false), 0, FinalizerChange::Remove),
            ("deleted in use", class(true, true), 1, FinalizerChange::None),
            ("deleted, and the last one has gone", class(true, true), 0, FinalizerChange::Remove),
            ("deleted, the finalizer forced off, others hold it", class(false, true), 1, FinalizerChange::None),
        ] {
            assert_eq!(finalizer_change(&class, users), expected, "{what}");
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

    /// Wrong: a campaign makes its ledger in a class that went a moment before.
    #[tokio::test]
    async fn a_class_that_is_gone_takes_nobody_and_need_not_be_let_go_of() {
        let (mut context, _) = fixtures::context();
        let (service, mut handle) = tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
        tokio::spawn(async move {
            let gone =
                json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no"});
            while let Some((_, answer)) = handle.next_request().await {
                let body = Body::from(serde_json::to_vec(&gone).unwrap());
                answer.send_response(http::Response::builder().status(404).body(body).unwrap());
            }
        });
        context.client = kube::Client::new(service, "coupon-system");
        assert!(write(&class(false, false), &context, FinalizerChange::Add).await.is_err());
        assert!(write(&class(true, true), &context, FinalizerChange::Remove).await.is_ok());
    }

    #[test]
    fn a_class_that_is_gone_is_remembered_as_long_as_it_is_used() {
        let known = LastKnown::default();
        known.remember(&Arc::new(class(true, false)));
        let there = BTreeSet::from(["main".to_owned()]);
        assert_eq!(known.retain(&there, &[]), there, "it is there");
        assert_eq!(known.retain(&BTreeSet::new(), &[campaign("a", Some("main"), true)]), there, "it is used");
        assert!(known.get("main").is_some());
        assert_eq!(known.retain(&BTreeSet::new(), &[campaign("a", Some("main"), false)]), BTreeSet::new());
        assert_eq!(known.get("main"), None);
    }
}
