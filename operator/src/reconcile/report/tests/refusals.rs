//! What becomes of several refusals at once.

use super::*;
use crate::api::KeyBy;

/// Wrong: the first refusal hides the others, and one of them names as in force what another keeps from it.
#[test]
fn all_that_is_refused_is_said_with_what_is_in_force() {
    let mut scene = Scene::open().starting(START + HOUR).quantity(5000).with(|s| {
        s.class.spec.limits.max_total_quantity = 1000;
        s.class.spec.limits.max_window_days = 7;
        s.campaign.spec.key_by = KeyBy::Campaign;
        s.campaign.spec.window.end = Time(Timestamp::from_millisecond(START + 300 * 24 * HOUR).unwrap());
    });
    scene.row().opened_key_by = Some("User".to_owned());
    let status = status_of(&scene);
    for condition in [ConditionType::Stalled, ConditionType::Ready] {
        let said = find(&status.conditions, condition).unwrap();
        assert_eq!(said.reason, "WindowStartFixed");
        for words in [
            "window.start cannot change",
            "; KeyByFixed: keyBy cannot change",
            "; LimitExceeded: the campaign asks for more",
            "in force is totalQuantity 1000, window, in days, 1;",
        ] {
            assert!(said.message.contains(words), "{words}: {}", said.message);
        }
    }
}

/// Wrong: a campaign that stalls, as somebody else's object is in its way, has pods that start, says `Open`.
#[test]
fn what_stops_a_campaign_is_why_it_has_no_issuer() {
    let foreign = NotOurs::Foreign {
        kind: "Service".to_owned(),
        namespace: "shop".to_owned(),
        name: "spring-issuer".to_owned(),
        owner: None,
    };
    let failure = ReconcileError::NotOurs(foreign);
    let lasting = Lasting { issuers: Some(0), ..Lasting::default() };
    let status = status_while(&Scene::open(), 0, Some(&failure), None, NOW, lasting);
    let open = find(&status.conditions, ConditionType::Open).unwrap();
    assert_eq!(open.reason, "NoReadyIssuer");
    assert!(open.message.contains("Service shop/spring-issuer exists and is not this campaign's"), "{}", open.message);
}

/// Wrong: a sale that was suspended by a fence is well, and going on takes a repair that nobody has heard of.
#[test]
fn a_suspended_sale_whose_issuers_would_grant_nothing_is_not_ready() {
    let scene = Scene::open().with(|s| s.campaign.spec.suspend = true).in_force();
    let refuses = Service::Refuses("issuers are ready and grant nothing (2 Fenced); users hear 503".to_owned());
    for (service, expected) in [(None, "True/AllChecksPassed"), (Some(refuses), "False/IssuersNotServing")] {
        let status = status_while(&scene, 3, None, None, NOW, Lasting { service, ..Lasting::default() });
        assert_eq!((status.phase, says(&status, ConditionType::Ready).as_str()), (Some(Phase::Suspended), expected));
    }
}
