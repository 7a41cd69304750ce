//! Winners whom people give up by annotation, as neither database, Redis nor Kafka has them any more. Each text of the annotation is taken
//! once: one that stays in a manifest must not give up those of the next loss. Pure.

use kube::ResourceExt;

use crate::api::CouponCampaign;
use crate::api::annotations::ACCEPT_LOST_ANNOTATION;

/// The annotation's text.
pub(super) fn text(campaign: &CouponCampaign) -> Option<&str> {
    campaign.annotations().get(ACCEPT_LOST_ANNOTATION).map(|text| text.trim())
}

/// How many winners are given up: the number with which the annotation begins, unless an epoch was opened since it has this text. `taken`: the
/// text at the last opening by this process, before the watch shows it in status.
pub(super) fn given_up(campaign: &CouponCampaign, taken: Option<&str>) -> u64 {
    let in_status = campaign.status.as_ref().and_then(|status| status.accepted_lost_winners.as_deref());
    let Some(text) = text(campaign).filter(|text| taken.or(in_status) != Some(*text)) else { return 0 };
    text.split('-').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;

    /// Wrong: winners of a second loss are given up by what was said of the first.
    #[test]
    fn a_text_is_taken_once() {
        for (what, annotation, in_status, taken, expected) in [
            ("none", None, None, None, 0),
            ("said", Some("2"), None, None, 2),
            ("taken, and still there", Some("2"), Some("2"), None, 0),
            ("taken by this process, and not shown yet", Some("2"), None, Some("2"), 0),
            ("said anew", Some("2-2"), Some("2"), None, 2),
            ("said anew, and taken", Some("2-2"), Some("2-2"), None, 0),
            ("another number", Some("3"), Some("2"), None, 3),
            ("no number", Some("all"), None, None, 0),
        ] {
            let mut campaign = Scene::open().campaign;
            campaign.metadata.annotations =
                annotation.map(|text| [(ACCEPT_LOST_ANNOTATION.into(), text.into())].into());
            campaign.status.get_or_insert_default().accepted_lost_winners = in_status.map(str::to_owned);
            assert_eq!(given_up(&campaign, taken), expected, "{what}");
        }
    }
}
