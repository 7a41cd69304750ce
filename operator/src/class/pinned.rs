//! What a campaign keeps of its class for as long as it lives: realm, and the names in Kafka. Neither can be changed in a class, but somebody
//! may remove the class by force and make it again. What is looked for in another realm, or under other names, is not there. Pure.

use std::sync::Arc;

use coupon_core::identity::{CampaignId, Identity};
use kube::ResourceExt;

use crate::api::conditions::{self, Report};
use crate::api::{CampaignClass, CampaignClassStatus, ConditionType, CouponCampaign};
use crate::class::in_use;
use crate::class::{self, ClassError};

/// Whether the campaign's ledger, if it has one, is where its class says.
pub(crate) fn check_pinned(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    id: &CampaignId,
) -> Result<(), ClassError> {
    check_realm(campaign, class)?;
    check_names(campaign, class, id)
}

/// Whether it is in the realm of its class. A status of the version before names none.
pub(crate) fn check_realm(campaign: &CouponCampaign, class: &CampaignClass) -> Result<(), ClassError> {
    let recorded = campaign.status.as_ref().and_then(|status| status.realm.as_ref());
    match recorded.filter(|recorded| **recorded != class.spec.realm) {
        None => Ok(()),
        Some(recorded) => Err(ClassError::RealmDiffers {
            class: class.name_any(),
            recorded: recorded.clone(),
            wanted: class.spec.realm.clone(),
        }),
    }
}

/// Whether the campaign's topics, if it has had any, are those that its class gives it.
fn check_names(campaign: &CouponCampaign, class: &CampaignClass, id: &CampaignId) -> Result<(), ClassError> {
    let Some(topic) = campaign.status.as_ref().and_then(|status| status.topic.as_ref()) else { return Ok(()) };
    // A status of the version before names no group.
    let group = topic.consumer_group.clone().unwrap_or_else(|| id.group());
    let recorded = [topic.name.clone(), topic.dead_letter_topic.clone(), group];
    let wanted = [id.topic(), id.dead_letter_topic(), id.group()];
    if recorded == wanted {
        return Ok(());
    }
    let words = |[topic, dead, group]: [String; 3]| format!("`{topic}` and `{dead}` (group `{group}`)");
    Err(ClassError::KafkaNamesDiffer { class: class.name_any(), recorded: words(recorded), wanted: words(wanted) })
}

/// What a class says some of whose campaigns it does not fit: as it is, it serves none of them.
pub(crate) fn misfit(class: &CampaignClass, all: &[Arc<CouponCampaign>]) -> Option<Report> {
    let names = class.spec.kafka.names.checked().ok()?;
    let trouble = |each: &CouponCampaign| {
        let identity =
            Identity::new(&class.spec.realm, &each.namespace().unwrap_or_default(), &each.coupon_id()).ok()?;
        check_pinned(each, class, &identity.named(&names)).err()
    };
    let mut found: Vec<(String, ClassError)> = Vec::new();
    for each in all.iter().filter(|each| class::uses(each, class)) {
        let name = || format!("{}/{}", each.namespace().unwrap_or_default(), each.name_any());
        found.extend(trouble(each).map(|error| (name(), error)));
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (_, first) = found.first()?;
    let users: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
    let text =
        format!("campaigns of this class are stopped ({}): of the first of them: {first}", in_use::named(&users));
    Some(Report::no(ConditionType::Ready, first.reason(), text))
}

/// Whether a status says this of campaigns that the class does not fit, or nothing where it fits them all.
pub(crate) fn says(status: &CampaignClassStatus, misfit: Option<&Report>) -> bool {
    let said = conditions::find(&status.conditions, ConditionType::Ready);
    match (misfit, said) {
        (Some(misfit), Some(said)) => said.reason == misfit.reason && said.message.starts_with(&misfit.message),
        (Some(_), None) => false,
        (None, said) => said.is_none_or(|said| !matches!(said.reason.as_str(), "RealmDiffers" | "KafkaNamesDiffer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{self, CouponCampaignStatus};
    use crate::fixtures;

    /// Wrong: a class that was made again with other names gives its campaigns new, empty topics.
    #[test]
    fn campaigns_keep_the_names_that_their_topics_have() {
        let (class, id) = (fixtures::class(), fixtures::id());
        let topic = || api::TopicStatus {
            name: id.topic(),
            dead_letter_topic: id.dead_letter_topic(),
            consumer_group: Some(id.group()),
            topic_id: None,
            partitions: 3,
            replication_factor: 3,
            min_in_sync_replicas: 2,
        };
        let old = || "old.shop.spring".to_owned();
        for (what, topic, kept) in [
            ("none yet", None, true),
            ("its own", Some(topic()), true),
            ("as the version before wrote it", Some(api::TopicStatus { consumer_group: None, ..topic() }), true),
            ("another topic", Some(api::TopicStatus { name: old(), ..topic() }), false),
            ("other dead letters", Some(api::TopicStatus { dead_letter_topic: old(), ..topic() }), false),
            ("another group", Some(api::TopicStatus { consumer_group: Some(old()), ..topic() }), false),
        ] {
            let mut campaign = fixtures::campaign();
            campaign.status.get_or_insert_default().topic = topic;
            let found = check_names(&campaign, &class, &id);
            assert_eq!(found.is_ok(), kept, "{what}: {found:?}");
            if let Err(error) = found {
                let text = error.to_string();
                assert!(text.contains("`old.shop.spring`") && text.contains(&id.topic()), "{text}");
                assert_eq!((error.reason(), error.is_waited_for()), ("KafkaNamesDiffer", false), "{what}");
            }
        }
    }

    /// Wrong: a class that is made again with another realm sends people to another database, as the campaign's row is not found there.
    #[test]
    fn campaigns_keep_the_realm_that_their_ledger_is_in() {
        let class = fixtures::class();
        for (what, realm, kept) in
            [("none yet", None, true), ("its own", Some("prod"), true), ("another", Some("old"), false)]
        {
            let mut campaign = fixtures::campaign();
            campaign.status.get_or_insert_default().realm = realm.map(str::to_owned);
            let found = check_pinned(&campaign, &class, &fixtures::id());
            assert_eq!(found.is_ok(), kept, "{what}: {found:?}");
            if let Err(error) = found {
                assert_eq!((error.reason(), error.is_waited_for()), ("RealmDiffers", false));
                assert!(error.to_string().ends_with("apply it again with realm `old`"), "{error}");
            }
        }
    }

    /// Wrong: the class that stopped a sale says that all is well.
    #[test]
    fn a_class_says_which_campaigns_it_does_not_fit() {
        let class = fixtures::class();
        let campaign = |name: &str, realm: &str, class: &str| {
            let mut campaign = fixtures::campaign();
            campaign.metadata.name = Some(name.to_owned());
            campaign.spec.class_name = Some(class.to_owned());
            campaign.status =
                Some(CouponCampaignStatus { realm: Some(realm.to_owned()), ..CouponCampaignStatus::default() });
            Arc::new(campaign)
        };
        let well = campaign("well", "prod", "main");
        let others = campaign("others", "old", "other");
        assert_eq!(misfit(&class, &[Arc::clone(&well), Arc::clone(&others)]), None);
        let all = [campaign("b", "old", "main"), well, campaign("a", "older", "main"), others];
        let report = misfit(&class, &all).unwrap();
        assert_eq!(report.reason, "RealmDiffers");
        assert!(
            report.message.contains("(shop/a, shop/b)") && report.message.contains("realm `older`"),
            "{}",
            report.message
        );

        let mut status = CampaignClassStatus::default();
        assert!(says(&status, None) && !says(&status, Some(&report)));
        conditions::set(&mut status.conditions, &report, 1, jiff::Timestamp::UNIX_EPOCH);
        assert!(!says(&status, None) && says(&status, Some(&report)));
    }
}
