//! What status says of pods and the objects beside them.

use super::*;

/// Wrong: consumers that read nothing are ready, and so is the campaign.
#[test]
fn consumers_that_stand_still_are_a_condition_with_what_and_since_when() {
    use ConditionType::{Ready, WorkloadsReady};
    let scene = Scene::open().issued(10).lag(4).stored(6);
    let text = "consumers are ready, and since noon they have stored nothing of partitions 2 (offset 7)";
    for (ready, still, expected) in [
        (3, None, "True/PodsReady"),
        (3, Some(text), "False/ConsumersStandStill"),
        // Why those that are there do not work is the better news.
        (1, Some(text), "False/ConsumersStandStill"),
        (1, None, "False/PodsNotReady"),
    ] {
        let lasting = || Lasting { consumers_still: still, ..Lasting::default() };
        let status = status_while(&scene, ready, None, None, NOW, lasting());
        assert_eq!(says(&status, WorkloadsReady), expected);
        if still.is_some() {
            assert_eq!((says(&status, Ready).as_str(), message(&status, Ready).as_str()), (expected, text));
        }
        let mut again = scene.clone();
        again.campaign.status = Some(stored(&status));
        assert_eq!(
            status_while(&again, ready, None, None, LATER, lasting()),
            stored(&status),
            "nothing new, nothing to write"
        );
    }
}

#[test]
fn pods_that_are_not_ready_are_counted() {
    let status = status_with(&Scene::open(), 1, None, None, NOW);
    assert_eq!(says(&status, ConditionType::WorkloadsReady), "False/PodsNotReady");
    assert_eq!(message(&status, ConditionType::WorkloadsReady), "1 of 3 consumer pods are ready");
    assert_eq!(says(&status, ConditionType::Ready), "False/PodsNotReady");
    let consumer = status.consumer.unwrap();
    assert_eq!(
        (consumer.wanted, consumer.ready, consumer.reason.as_str()),
        (3, 1, "fewer will do if it stays so for a minute")
    );
}

/// Wrong: a winner asks again after the sale, a consumer is started for that one record, and `Ready` is False for as long as it takes. Wrong,
/// too: what keeps it from starting waits for as long as a start may take; issuers start while users reach nobody, and all is well.
#[test]
fn pods_that_were_just_added_are_said_and_are_no_fault() {
    use ConditionType::{Ready, WorkloadsReady};
    const CONSUMERS: Starting = Starting { issuer: false, consumer: true };
    const ISSUERS: Starting = Starting { issuer: true, consumer: false };
    let quota = || Ailing { issuer: None, consumer: cause("PodsForbidden", "exceeded quota: two") };
    let begins = || {
        let starting =
            NotReadyCause { is_starting: true, ..cause("PodsNotReady", "it waits for its partitions").unwrap() };
        Ailing { issuer: None, consumer: Some(starting) }
    };
    for (what, ready, lasting, part, text) in [
        (
            "consumers",
            0,
            Lasting { starting: CONSUMERS, ..Lasting::default() },
            "True/PodsStarting",
            "but for some that were just added: 0 of 3 consumer pods are ready",
        ),
        (
            "they say that they start",
            2,
            Lasting { starting: CONSUMERS, ailing: begins(), ..Lasting::default() },
            "True/PodsStarting",
            "2 of 3 consumer pods are ready: it waits for its partitions",
        ),
        (
            "no pod may be made",
            0,
            Lasting { starting: CONSUMERS, ailing: quota(), ..Lasting::default() },
            "False/PodsForbidden",
            "0 of 3 consumer pods are ready: exceeded quota: two",
        ),
        (
            "issuers, and none is there",
            3,
            Lasting { starting: ISSUERS, issuers: Some(0), ..Lasting::default() },
            "False/PodsNotReady",
            "0 of 1 issuer pods are ready",
        ),
        (
            "consumers are, and issuers are lost",
            0,
            Lasting { starting: CONSUMERS, issuers: Some(0), ..Lasting::default() },
            "False/PodsNotReady",
            "0 of 1 issuer pods are ready",
        ),
    ] {
        let status = status_while(&Scene::open(), ready, None, None, NOW, lasting);
        assert_eq!(says(&status, WorkloadsReady), part, "{what}");
        assert!(message(&status, WorkloadsReady).contains(text), "{what}: {}", message(&status, WorkloadsReady));
        let expected = if part.starts_with("True") { "True/AllChecksPassed" } else { part };
        assert_eq!(says(&status, Ready), expected, "{what}");
    }
}

#[test]
fn pods_that_are_held_are_reported_as_they_are() {
    let status = status_of(&Scene::open().issued(5).kafka_away());
    let consumer = status.consumer.unwrap();
    assert_eq!((consumer.wanted, consumer.reason.as_str()), (3, "what there is to do cannot be read"));
}

#[test]
fn an_object_of_somebody_else_in_the_way_is_a_conflict_that_names_it_and_says_what_to_do() {
    let foreign = NotOurs::Foreign {
        kind: "Service".to_owned(),
        namespace: "shop".to_owned(),
        name: "spring-issuer".to_owned(),
        owner: Some("Deployment/orders".to_owned()),
    };
    let status = status_with(&Scene::open(), 3, Some(&foreign.into()), None, NOW);
    for (condition, expected) in [
        (ConditionType::ResourceConflict, "True/ResourceConflict"),
        (ConditionType::WorkloadsReady, "False/ResourceConflict"),
        (ConditionType::Stalled, "True/ResourceConflict"),
        (ConditionType::Ready, "False/ResourceConflict"),
        (ConditionType::Reconciling, ""),
    ] {
        assert_eq!(says(&status, condition), expected, "{condition}");
    }
    let text = message(&status, ConditionType::ResourceConflict);
    for part in ["Service shop/spring-issuer", "Deployment/orders", "left as it is", "metadata.name"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A predecessor's object goes by itself: nothing is stalled.
    let leaving = NotOurs::Leaving { kind: "Secret".to_owned(), namespace: "shop".to_owned(), name: "s".to_owned() };
    let status = status_with(&Scene::open(), 3, Some(&leaving.into()), None, NOW);
    assert_eq!(says(&status, ConditionType::Reconciling), "True/PredecessorLeaving");
    assert_eq!(says(&status, ConditionType::Stalled), "");
}

/// Wrong: "0 of 1 pods are ready", and nothing else.
#[test]
fn pods_that_are_not_ready_come_with_their_cause() {
    use ConditionType::{Ready, WorkloadsReady};
    let crash = || cause("PodsCrash", "pod spring-consumer-1 ended with exit code 1: no space left");
    let lasting = Lasting { ailing: Ailing { issuer: None, consumer: crash() }, ..Lasting::default() };
    let status = status_while(&Scene::open(), 1, None, None, NOW, lasting);
    assert_eq!(
        (says(&status, WorkloadsReady).as_str(), says(&status, Ready).as_str()),
        ("False/PodsCrash", "False/PodsCrash")
    );
    let text = message(&status, WorkloadsReady);
    assert_eq!(text, "1 of 3 consumer pods are ready: pod spring-consumer-1 ended with exit code 1: no space left");
}

/// Wrong: nobody is wanted, so nobody is missed.
#[test]
fn scaling_that_is_held_at_no_issuers_is_no_campaign_that_is_ready() {
    let pause = json!({"coupon-operator.io/pause-scaling": "all"});
    let scene =
        Scene::open().with(|s| s.campaign.metadata.annotations = serde_json::from_value(pause.clone()).unwrap());
    let (plan, seen) = (scene.plan(), scene.observation());
    let mut numbers = scene.numbers(ReplicaCount::of(None), ReplicaCount::of(None));
    assert!(numbers.issuer.replicas > 0, "from nothing pods come all the same");
    (numbers.issuer.replicas, numbers.consumer.replicas) = (0, 0);
    numbers.issuer.reason = "the clocks do not agree".to_owned();
    let facts = Facts {
        campaign: &scene.campaign,
        class: &scene.class,
        id: &fixtures::id(),
        seen: &seen,
        plan: &plan,
        numbers: &numbers,
        failure: None,
        issuer: None,
        consumer: None,
        adopted: None,
        scan: &ScanResult::default(),
        compared: ComparisonStatus { proves: true, suspect: None },
        measured: None,
        route: None,
        kafka_refuses: None,
        nobody_serves: None,
        service: &Service::Silent,
        users_reach_issuers: true,
        strays: None,
        redis_refusal: None,
        ailing: &Ailing::default(),
        starting: Starting::default(),
        ending_issuers: 0,
        stop: None,
        epochs: &EpochWatch::default(),
        right_missing: None,
        rollouts: &Rollouts::default(),
        offsets_unread: false,
        consumers_still: None,
    };
    let status = status(&facts, NOW);
    assert_eq!(says(&status, ConditionType::Open), "False/NoReadyIssuer");
    assert_eq!(says(&status, ConditionType::WorkloadsReady), "False/NoIssuersWanted");
    assert!(message(&status, ConditionType::Ready).contains("the clocks do not agree"), "{status:?}");
}

/// Wrong: those of before are ready, so all is well, and the next node that goes takes the last of them.
#[test]
fn pods_whose_successors_do_not_come_up_are_not_ready() {
    let mut rolling = deployment(1, 1);
    let status = rolling.status.as_mut().unwrap();
    (status.replicas, status.updated_replicas, status.unavailable_replicas) = (Some(2), Some(1), Some(1));
    let image = cause("ImagePullFailed", "pod a cannot have its image");
    let kind = |cause| super::super::workloads::stuck_of(&rolling, cause).map(|(reason, _)| reason);
    assert_eq!(kind(image.as_ref()), Some("RolloutStuck"));
    let starting = NotReadyCause { is_starting: true, ..image.clone().unwrap() };
    assert_eq!((kind(Some(&starting)), kind(None)), (None, None));
    assert_eq!(super::super::workloads::stuck_of(&deployment(1, 1), image.as_ref()), None, "the pods are all of them");
}
