//! The status of a campaign that could not be looked at, or that is being deleted.

use super::*;

/// Of a pass that could not look an hour into the window, while an issuer is ready.
fn blind(campaign: &CouponCampaign, failure: &ReconcileError, now: Timestamp) -> CouponCampaignStatus {
    let known = Blind { ready: 1, service: &Service::Silent, now_ms: START + HOUR };
    status_without_class(campaign, failure, &known, now)
}

#[test]
fn without_a_class_what_was_known_stays() {
    let mut campaign = fixtures::campaign();
    campaign.status = Some(stored(&status_of(&Scene::open().issued(10).stored(10))));
    let missing = ReconcileError::Class(crate::class::ClassError::NotFound("main".to_owned()));
    let status = blind(&campaign, &missing, NOW);
    assert_eq!((status.phase, status.issued, status.persisted), (Some(Phase::Open), Some(10), Some(10)));
    for (condition, expected) in [
        (ConditionType::ClassResolved, "False/ClassNotFound"),
        (ConditionType::Ready, "False/ClassNotFound"),
        (ConditionType::Reconciling, "True/ClassNotFound"),
        (ConditionType::Stalled, ""),
    ] {
        assert_eq!(says(&status, condition), expected);
    }

    // Secrets arrive some seconds later (External Secrets), and an API server that errs will not for ever: no tool should give up.
    let (namespace, name) = ("coupon-system".to_owned(), "login".to_owned());
    let refused = json!({"status": "Failure", "message": "try again", "reason": "ServiceUnavailable", "code": 503});
    for arrives in [
        crate::class::ClassError::SecretMissing { namespace, name, class: "main".to_owned() },
        crate::class::ClassError::Api(kube::Error::Api(serde_json::from_value(refused).unwrap())),
    ] {
        let reason = arrives.reason();
        let status = blind(&fixtures::campaign(), &ReconcileError::Class(arrives), NOW);
        assert_eq!(says(&status, ConditionType::Reconciling), format!("True/{reason}"));
        assert_eq!(says(&status, ConditionType::Stalled), "", "{reason}");
    }

    let limit = ReconcileError::Class(crate::class::ClassError::CouponIdTaken("older".to_owned()));
    let stalled = blind(&campaign, &limit, NOW);
    assert_eq!(says(&stalled, ConditionType::Stalled), "True/CouponIdTaken", "nothing arrives that would end this");
    assert_eq!(says(&stalled, ConditionType::Reconciling), "");
    let fault = ReconcileError::Panic("words".to_owned());
    assert_eq!(says(&blind(&campaign, &fault, NOW), ConditionType::Reconciling), "True/InternalError");

    let new = blind(&fixtures::campaign(), &missing, NOW);
    assert_eq!(json!(new.phase), json!("Pending"));
}

/// Wrong: status stays as it was, all green, for as long as passes fail.
#[test]
fn what_was_well_is_not_known_to_be_when_a_pass_ends_early() {
    use ConditionType::{ClassResolved, DatabaseReady, LedgerAdopted, Open, Ready, Reconciling};
    let mut campaign = Scene::open().campaign;
    campaign.status = Some(stored(&status_with(&Scene::open().issued(10).stored(10), 3, None, Some(7), NOW)));
    let gone = ReconcileError::Class(crate::class::ClassError::NotFound("main".to_owned()));
    for (failure, class, text) in [
        (ReconcileError::PassTimeout, "Unknown/PassTimeout", "took too long"),
        (gone, "False/ClassNotFound", "apply it again, as it was"),
    ] {
        let status = blind(&campaign, &failure, NOW);
        let reason = failure.reason();
        for (condition, expected) in [
            (Ready, format!("False/{reason}")),
            (Reconciling, format!("True/{reason}")),
            (ClassResolved, class.to_owned()),
            (Open, format!("Unknown/{reason}")),
            (DatabaseReady, format!("Unknown/{reason}")),
            (LedgerAdopted, "True/LedgerNotEmpty".to_owned()),
        ] {
            assert_eq!(says(&status, condition), expected, "{condition}");
        }
        assert!(message(&status, Ready).contains(text), "{}", message(&status, Ready));
        assert_eq!((status.issued, status.persisted), (Some(10), Some(10)));
        campaign.status = Some(stored(&status));
        assert_eq!(blind(&campaign, &failure, LATER), stored(&status), "nothing new, nothing to write");
    }
}

/// Wrong: an object that is Terminating for ever is Ready, and nobody says what it waits for.
#[test]
fn a_deletion_that_waits_says_what_for_and_how_to_let_it_go() {
    use ConditionType::{ClassResolved, Open, Ready, Reconciling, TopicReady};
    let denied = || {
        ReconcileError::Kafka(coupon_kafka_admin::AdminError::NotAuthorized {
            resource: "topic shop.events".to_owned(),
            cause: "Authorization failed.".to_owned(),
        })
    };
    let gone = ReconcileError::Class(crate::class::ClassError::NotFound("main".to_owned()));
    let mut object = Scene::open().campaign;
    object.metadata.generation = Some(8);
    object.status = Some(stored(&status_of(&Scene::open())));
    for (waits_for, closed, ready, open, text) in [
        (Leaving::Going, false, "False/Deleting", "Unknown/Deleting", "issuing is being closed"),
        (Leaving::Going, true, "False/Deleting", "False/Deleting", "what is left in the log"),
        (Leaving::Pods(2), true, "False/PodsEnding", "False/Deleting", "2 pods of it have not ended"),
        (Leaving::Failed(&denied()), true, "False/KafkaNotAuthorized", "False/Deleting", "topic shop.events"),
        (Leaving::Failed(&gone), false, "False/ClassNotFound", "Unknown/ClassNotFound", "apply it again"),
    ] {
        let status = status_while_leaving(&object, &waits_for, closed, NOW);
        assert_eq!((status.phase, status.observed_generation), (Some(Phase::Draining), Some(8)));
        assert_eq!((says(&status, Ready).as_str(), says(&status, Open).as_str()), (ready, open), "{waits_for:?}");
        assert_eq!(says(&status, Reconciling), ready.replace("False", "True"));
        let said = message(&status, Ready);
        assert!(said.contains(text), "{said}");
        let says_release = said.contains("kubectl annotate couponcampaign spring coupon-operator.io/release=true");
        assert_eq!(says_release, !matches!(waits_for, Leaving::Going), "{said}");
    }
    let status = status_while_leaving(&object, &Leaving::Failed(&denied()), true, NOW);
    assert_eq!(says(&status, TopicReady), "False/KafkaNotAuthorized");
    let status = status_while_leaving(&object, &Leaving::Failed(&gone), false, NOW);
    assert_eq!(says(&status, ClassResolved), "False/ClassNotFound");
}
