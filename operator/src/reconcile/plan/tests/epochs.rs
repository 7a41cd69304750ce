//! When an epoch is opened.

use coupon_core::event::{EPOCHS_AHEAD, MAX_NUMBER};

use super::*;

// The way to the first open epoch.

#[test]
fn a_new_campaign_is_registered_and_gets_topics_then_an_epoch_in_a_pass_of_its_own() {
    let topics = Scene::registered().plan().steps;
    assert!(
        matches!(
            topics.as_slice(),
            [Step::Topic(TopicStep::Announce), Step::Topic(TopicStep::Create(both))] if both.len() == 2
        ),
        "{topics:?}"
    );
    assert_eq!(Scene::new_campaign().plan().steps, [&[Step::Register], &topics[..]].concat());
    assert_eq!(Scene::new_campaign().kafka_away().plan().steps, [Step::Register]);
    assert_eq!(Scene::new_campaign().redis_away().plan().steps, Scene::new_campaign().plan().steps);

    let opening = Scene::with_topics().plan();
    assert_eq!(opening.steps, [Step::OpenEpoch { reason: "NewCampaign" }]);
    assert_eq!(opening.phase, Phase::Pending);

    let prepared = Scene::prepared().plan();
    assert_eq!(prepared.steps, [], "nothing to do means nothing is written");
    assert_eq!(prepared.phase, Phase::Scheduled);
}

#[test]
fn no_epoch_is_opened_before_the_topics_are_as_they_should_be() {
    // The barrier of an epoch belongs to a topic: without one, late records could not be told from good ones.
    for (what, scene) in [
        ("created, not recorded", Scene::with_topics().with(|s| s.row().topic_id = Some(String::new()))),
        ("no dead-letter topic", Scene::with_topics().with(|s| s.kafka().topic.dead_letters = TopicState::Absent)),
        ("too few partitions", Scene::with_topics().with(|s| s.kafka().topic.events = topic("t1", 2))),
        ("no leader", Scene::with_topics().with(|s| without_leader(&mut s.kafka().topic.events))),
        (
            "no leader of the dead letters",
            Scene::with_topics().with(|s| without_leader(&mut s.kafka().topic.dead_letters)),
        ),
    ] {
        assert!(!opens_an_epoch(&scene.plan()), "{what}");
    }
}

/// Wrong: status says for good that nothing is issued, while every user gets a coupon.
#[test]
fn a_repair_that_came_to_its_end_is_over_although_the_database_cannot_be_read() {
    let repaired = Scene::open().was(Phase::Repairing).database_away();
    assert_eq!(repaired.plan().phase, Phase::Open);
    assert_eq!(repaired.clone().redis_history_changed().plan().phase, Phase::Repairing, "another Redis is not filled");
    assert_eq!(repaired.with(|scene| scene.redis().open = None).plan().phase, Phase::Repairing);
}

/// Redis was resumed from a memory snapshot: its identity is the same, but rows know ranks that it does not.
#[test]
fn a_redis_that_was_set_back_is_repaired() {
    let plan = Scene::open().issued(5).with(|s| s.ledger.as_mut().unwrap().highest = 9).plan();
    assert_eq!(
        (plan.steps.as_slice(), plan.phase),
        ([Step::OpenEpoch { reason: "SetBack" }].as_slice(), Phase::Repairing)
    );
}

fn without_leader(state: &mut TopicState) {
    let TopicState::Present(topic) = state else { panic!("the topic is there") };
    topic.partitions[1].leader = None;
}

#[test]
fn no_epoch_is_opened_while_a_system_is_away() {
    for (system, scene) in [
        ("database", Scene::with_topics().database_away()),
        ("Redis", Scene::with_topics().redis_away()),
        ("Kafka", Scene::with_topics().kafka_away()),
        ("database, Redis lost", Scene::open().redis_emptied().database_away()),
        ("Kafka, Redis lost", Scene::open().redis_emptied().kafka_away()),
    ] {
        assert!(!opens_an_epoch(&scene.plan()), "{system}");
    }
}

// Redis is not what it was.

#[test]
fn a_redis_that_is_not_the_one_that_was_filled_is_repaired() {
    for (reason, scene) in [
        ("RedisEmpty", Scene::open().redis_emptied()),
        ("CampaignClosed", Scene::open().issued(3).with(|s| s.redis().open = None)),
        ("HistoryChanged", Scene::open().redis_history_changed()),
        ("EpochClosed", Scene::open().with(|s| (s.row().epoch, s.row().open_epoch) = (2, None))),
        ("EpochMismatch", Scene::open().with(|s| s.in_redis().epoch = 7)),
        ("RedisDamaged", Scene::open().with(|s| s.in_redis().misfit = Some("5 winners and the requests of 4".into()))),
    ] {
        let plan = scene.plan();
        assert_eq!(plan.steps, [Step::OpenEpoch { reason }]);
        assert_eq!(plan.phase, Phase::Repairing, "{reason}");
    }
}

#[test]
fn a_repair_waits_for_the_topic_and_says_so_meanwhile() {
    // Redis and the topic are both gone: the topic first, as the repair reads and bars it.
    let gone = Scene::open().redis_emptied().with(|s| s.kafka().topic.events = TopicState::Absent);
    let plan = gone.plan();
    assert!(matches!(plan.steps.first(), Some(Step::Topic(TopicStep::Announce))), "{:?}", plan.steps);
    assert!(!opens_an_epoch(&plan));
    assert_eq!(plan.phase, Phase::Repairing);
}

#[test]
fn repairing_a_completed_campaign_starts_no_pods() {
    // Else one restart of Redis would start pods for every campaign there ever was.
    let lost = Scene::completed().redis_emptied();
    assert_eq!(lost.plan().phase, Phase::Repairing);
    assert_eq!(pods(&lost), (Goal::Held, NONE));
    assert_eq!(pods(&Scene::open().redis_emptied()), (LEAST, LEAST), "inside the window they are needed right after");
}

/// Wrong: a campaign that was never open is "Repairing", because its first epoch was allotted and not opened.
#[test]
fn a_campaign_that_was_never_open_is_prepared_and_not_repaired() {
    let mut scene = Scene::with_topics();
    scene.row().epoch = 3;
    let opens = |plan: &Plan| match plan.steps.as_slice() {
        [Step::OpenEpoch { reason }] => *reason,
        other => panic!("{other:?}"),
    };
    let plan = scene.plan();
    assert_eq!((plan.phase, opens(&plan)), (Phase::Pending, "NewCampaign"));
    let continued = scene.clone().stored(5).plan();
    assert_eq!(
        (continued.phase, opens(&continued)),
        (Phase::Repairing, "RedisEmpty"),
        "there is something to bring back"
    );
    let was_open = scene.was(Phase::Scheduled).plan();
    assert_eq!((was_open.phase, opens(&was_open)), (Phase::Repairing, "RedisEmpty"));
}

/// Wrong: a number of terms that somebody wrote into Redis is followed by the database and uses up all numbers; or Redis takes no terms of ours
/// ever after, and `suspend` has no effect.
#[test]
fn a_number_of_terms_that_nobody_gave_is_mended_by_an_epoch_and_not_followed() {
    let numbered = |number| Scene::open().with(|s| (s.row().terms_number, s.in_redis().number) = (7, number));
    for number in [7, 8, 7 + EPOCHS_AHEAD] {
        assert_eq!(numbered(number).plan().steps, [], "{number}: a database that was restored may have forgotten it");
    }
    for number in [8 + EPOCHS_AHEAD, MAX_NUMBER, u64::MAX] {
        let plan = numbered(number).plan();
        assert_eq!((plan.steps, plan.phase), (vec![Step::OpenEpoch { reason: "RedisDamaged" }], Phase::Repairing));
    }
}
