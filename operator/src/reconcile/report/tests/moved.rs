//! What status says of a campaign whose ledger cannot be looked at where its class says, while its issuers go on where they are.

use super::*;
use crate::class::ClassError;
use crate::reconcile::observe::LedgerView;

/// The row is in another database, or realm, and the Redis that answers is another one as well.
fn moved() -> Scene {
    let before = status_of(&Scene::open().issued(40).stored(40));
    Scene::open().with(|s| {
        s.campaign.status = Some(CouponCampaignStatus { epoch: Some(1), ..before });
        s.ledger = Some(LedgerView::unregistered());
        (s.redis().open, s.redis().issued) = (None, 0);
    })
}

/// Wrong: users hear 503, says status, while they are given coupons; or the sale is empty, as another Redis is.
#[test]
fn of_a_ledger_that_is_elsewhere_status_says_what_issuers_say() {
    use ConditionType::{LedgerConsistent, Open, Ready, RedisKeysReady, Stalled};
    let status = status_of(&moved());
    for (condition, expected) in [
        (Stalled, "True/LedgerMoved"),
        (Ready, "False/LedgerMoved"),
        (Open, "Unknown/LedgerMoved"),
        (RedisKeysReady, "Unknown/LedgerMoved"),
        (LedgerConsistent, "Unknown/Unreadable"),
    ] {
        assert_eq!(says(&status, condition), expected, "{condition}: {}", message(&status, condition));
    }
    assert!(message(&status, Open).contains("issuers say that they grant"), "{}", message(&status, Open));
    assert!(message(&status, Stalled).contains("for realm `prod`"), "{}", message(&status, Stalled));
    assert_eq!((status.phase, status.issued, status.persisted), (Some(Phase::Open), Some(40), Some(40)));

    let refuses = Some(Service::Refuses("1 RedisAway; users hear 503".to_owned()));
    let refused = status_while(&moved(), 3, None, None, NOW, Lasting { service: refuses, ..Lasting::default() });
    assert_eq!(says(&refused, Open), "False/IssuersNotServing");
    // Its window goes by all the same.
    let over = status_of(&moved().at(END + HOUR));
    assert_eq!((over.phase, says(&over, Open).as_str()), (Some(Phase::Draining), "False/Ended"));
    let scheduled = moved().was(Phase::Scheduled);
    assert_eq!(status_of(&scheduled.clone().at(START - HOUR)).phase, Some(Phase::Scheduled));
    assert_eq!(status_of(&scheduled).phase, Some(Phase::Open));
    for phase in [Phase::Pending, Phase::Repairing] {
        assert_eq!(status_of(&moved().was(phase)).phase, Some(phase), "nobody knows how it goes on");
    }
}

/// Wrong: while the class is another one nobody asks the issuers, and what they do is not known.
#[test]
fn of_a_pass_that_ends_early_status_says_what_issuers_say() {
    let mut campaign = fixtures::campaign();
    campaign.status = Some(stored(&status_of(&Scene::open().issued(10).stored(10))));
    let words = |of: &str| of.to_owned();
    let class = || ClassError::RealmDiffers { class: words("main"), recorded: words("old"), wanted: words("prod") };
    let refuses = Service::Refuses("issuers are ready and grant nothing (1 RedisAway); users hear 503".to_owned());
    for (service, ready, open, part) in [
        (Service::Grants, 1, "Unknown/RealmDiffers", "issuers say that they grant"),
        (refuses, 1, "False/RealmDiffers", "users hear 503"),
        (Service::Silent, 1, "Unknown/RealmDiffers", "was well when it was last looked at"),
        (Service::Silent, 0, "False/RealmDiffers", "users are turned away"),
    ] {
        let known = Blind { ready, service: &service, now_ms: START + HOUR };
        let status = status_without_class(&campaign, &class().into(), &known, NOW);
        assert_eq!(says(&status, ConditionType::Open), open, "{service:?}");
        let text = message(&status, ConditionType::Open);
        assert!(text.contains(part), "{service:?}: {text}");
        assert_eq!(says(&status, ConditionType::Stalled), "True/RealmDiffers");
        assert!(message(&status, ConditionType::Ready).contains("realm `old`"));
    }
}
