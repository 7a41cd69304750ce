use campaign::log::admin::TopicState;

use super::super::aims::{Aim, Floor};
use super::super::scene::{Scene, terms, topic};
use super::*;
use crate::api::KeyBy;
use crate::api::{ScalingFigures, WorkloadStatus};
use crate::fixtures::{END, HOUR, LEAD, MINUTE, START};

/// The reasons of what is refused, with the condition that says so.
fn refused(plan: &Plan) -> Vec<(ConditionType, &'static str)> {
    plan.refusals.iter().map(|report| (report.condition, report.reason)).collect()
}

/// What the numbers of issuer and consumer pods aim at.
fn pods(scene: &Scene) -> (Goal, Goal) {
    let goal = |aim| match aim {
        Aim::Hold { .. } => Goal::Held,
        Aim::Exactly { replicas, .. } => Goal::Exactly(replicas),
        Aim::Follow { floor, .. } => Goal::Follow(floor),
    };
    let aims = scene.plan().aims;
    (goal(aims.issuer), goal(aims.consumer))
}

#[derive(Debug, PartialEq)]
enum Goal {
    Held,
    Exactly(i32),
    Follow(Floor),
}

const NONE: Goal = Goal::Exactly(0);
const RUSH: Goal = Goal::Follow(Floor::Rush);
const LEAST: Goal = Goal::Follow(Floor::Least);

fn opens_an_epoch(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step, Step::OpenEpoch { .. }))
}

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
        ("no dead-letter topic", Scene::with_topics().with(|s| s.log().topic.dead_letters = TopicState::Absent)),
        ("too few partitions", Scene::with_topics().with(|s| s.log().topic.events = topic("t1", 2))),
        ("no leader", Scene::with_topics().with(|s| without_leader(&mut s.log().topic.events))),
        (
            "no leader of the dead letters",
            Scene::with_topics().with(|s| without_leader(&mut s.log().topic.dead_letters)),
        ),
    ] {
        assert!(!opens_an_epoch(&scene.plan()), "{what}");
    }
}

/// A policy of the brokers that refuses a setting must not keep a sale from being suspended, or Redis from being repaired.
#[test]
fn a_setting_that_drifted_is_put_back_last_and_holds_nothing_up() {
    let drift = |scene: Scene| scene.with(|s| drop(s.log().topic.events_config.remove("retention.ms")));
    let opening = drift(Scene::with_topics()).plan();
    assert!(
        matches!(opening.steps.as_slice(), [Step::OpenEpoch { .. }, Step::Topic(TopicStep::Configure { .. })]),
        "{:?}",
        opening.steps
    );
}

/// Wrong: status says for good that nothing is issued, while every user gets a coupon.
#[test]
fn a_repair_that_came_to_its_end_is_over_although_the_database_cannot_be_read() {
    let repaired = Scene::open().was(Phase::Repairing).database_away();
    assert_eq!(repaired.plan().phase, Phase::Open);
    assert_eq!(repaired.clone().redis_history_changed().plan().phase, Phase::Repairing, "another Redis is not filled");
    assert_eq!(repaired.with(|scene| scene.stock().open = None).plan().phase, Phase::Repairing);
}

/// Wrong: what somebody writes into Redis takes the pods of a running sale away, until it is put right a second later.
#[test]
fn pods_are_for_the_terms_that_are_being_put_right_and_not_for_what_somebody_wrote_into_redis() {
    let wanted = Scene::open().issued(1).plan().aims;
    let right = terms();
    for (what, written) in [
        ("a later start", Terms { start_ms: i64::MAX / 4096, ..right }),
        ("an end that has passed", Terms { end_ms: right.start_ms + 1, ..right }),
        ("fewer coupons", Terms { total: 1, ..right }),
        ("suspended", Terms { suspended: true, ..right }),
    ] {
        let plan = Scene::open().issued(1).with(|scene| scene.in_redis().terms = written).plan();
        assert!(plan.steps.iter().any(|step| matches!(step, Step::Configure(_))), "{what}: {plan:?}");
        assert_eq!(plan.aims, wanted, "{what}");
    }
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

// Where a campaign stands.

#[test]
fn phases_follow_the_clock_and_the_counts() {
    for (expected, scene) in [
        (Phase::Pending, Scene::new_campaign()),
        (Phase::Pending, Scene::registered()),
        (Phase::Pending, Scene::with_topics()),
        (Phase::Scheduled, Scene::prepared()),
        (Phase::Scheduled, Scene::prepared().at(START - 1)),
        (Phase::Open, Scene::prepared().at(START)),
        (Phase::Open, Scene::open().issued(99).lag(3)),
        (Phase::SoldOut, Scene::open().issued(100).lag(100)),
        (Phase::Open, Scene::open().issued(100).quantity(120).in_force().was(Phase::SoldOut)),
        (Phase::Suspended, Scene::open().with(|s| s.campaign.spec.suspend = true).in_force()),
        (Phase::Suspended, Scene::prepared().with(|s| s.campaign.spec.suspend = true).in_force()),
        (Phase::Draining, Scene::open().issued(10).lag(10).at(END)),
        (Phase::Draining, Scene::open().issued(10).stored(8).at(END)),
        (Phase::Completed, Scene::open().issued(10).stored(10).at(END)),
        (Phase::Completed, Scene::open().issued(10).stored(8).dead_letters(2).at(END)),
        (Phase::Completed, Scene::open().at(END)),
        (Phase::Open, Scene::completed().quantity(120).ending(END + 2 * HOUR).in_force()),
    ] {
        assert_eq!(scene.plan().phase, expected, "{scene:#?}");
    }
}

#[test]
fn redis_clock_decides_and_ours_only_while_redis_is_away() {
    // Redis grants by its own clock: another clock would say "open" while everybody is refused.
    let ours_is_fast = Scene::prepared().at(START - MINUTE).with(|s| s.clock_ms = START + MINUTE);
    assert_eq!(ours_is_fast.plan().phase, Phase::Scheduled);
    assert_eq!(ours_is_fast.plan().now_ms, START - MINUTE);
    assert_eq!(ours_is_fast.redis_away().plan().now_ms, START + MINUTE);
}

#[test]
fn a_system_that_is_away_changes_no_phase_by_itself() {
    for scene in [Scene::prepared(), Scene::open(), Scene::open().issued(100).was(Phase::SoldOut), Scene::completed()] {
        let phase = scene.plan().phase;
        for away in [Scene::database_away, Scene::redis_away, Scene::kafka_away] {
            assert_eq!(away(scene.clone()).plan().phase, phase);
        }
    }
}

#[test]
fn without_the_database_the_clock_goes_on() {
    // Issuing needs Redis and Kafka only, so the window opens and closes all the same.
    let scene = Scene::prepared().database_away();
    assert_eq!(scene.clone().at(START).plan().phase, Phase::Open);
    let over = scene.clone().was(Phase::Open).at(END).plan();
    assert_eq!(over.phase, Phase::Draining, "what is stored is unknown, so it is not completed");
    assert_eq!(scene.redis_emptied().plan().phase, Phase::Repairing, "nobody gets a coupon from an empty Redis");
    assert_eq!(Scene::with_topics().database_away().plan().phase, Phase::Pending, "never prepared");
}

#[test]
fn completed_stays_completed() {
    for (why_not, scene) in [
        ("Kafka is away", Scene::completed().kafka_away()),
        ("Kafka is away, and nobody ever came", Scene::open().at(END + HOUR).was(Phase::Completed).kafka_away()),
        ("Redis is away", Scene::completed().redis_away()),
        ("all are away", Scene::completed().kafka_away().redis_away().database_away()),
        ("the committed offsets expired, so all looks like lag", Scene::completed().lag(100)),
    ] {
        let plan = scene.plan();
        assert_eq!(plan.phase, Phase::Completed, "{why_not}");
        assert_eq!(pods(&scene), (NONE, NONE), "{why_not}");
    }
    let replayed = Scene::open().issued(100).stored(99).lag(1).at(END + HOUR).was(Phase::Completed);
    assert_eq!(replayed.plan().phase, Phase::Draining, "a dead letter that was put back must still be stored");
}

/// Wrong: a campaign is called completed by counts that were made before all of it was stored, or never again.
#[test]
fn only_a_count_of_all_rows_completes_a_campaign() {
    let stored = || Scene::open().issued(10).stored(10).at(END).was(Phase::Draining);
    let plan = stored().counted_before(1_000).plan();
    assert_eq!((plan.phase, plan.wants_count), (Phase::Draining, true));
    let plan = stored().plan();
    assert_eq!((plan.phase, plan.wants_count), (Phase::Completed, false));
    for (what, scene) in [
        ("the window is open", Scene::open().issued(10).stored(10).counted_before(1_000)),
        ("one is missing", Scene::open().issued(10).stored(9).counted_before(1_000).at(END)),
        ("it is completed already", stored().counted_before(1_000).was(Phase::Completed)),
    ] {
        assert!(!scene.plan().wants_count, "{what}");
    }
    let lost = Scene::completed().stored(90);
    assert_eq!(lost.plan().phase, Phase::Draining, "rows that a completed campaign has lost must be stored again");
}

/// Wrong: a sale is said to be over while whoever reads its topic still waits for winners that were stored past Kafka.
#[test]
fn winners_without_a_record_keep_a_campaign_from_being_completed() {
    for (before, expected) in [(Phase::Draining, Phase::Draining), (Phase::Completed, Phase::Completed)] {
        let mut scene = Scene::open().issued(10).stored(10).at(END).was(before);
        scene.ledger.as_mut().unwrap().unpublished = true;
        assert_eq!(scene.plan().phase, expected);
    }
}

#[test]
fn rows_do_not_wait_for_the_window() {
    for (expected, scene) in [
        ((NONE, NONE), Scene::prepared().issued(10).stored(10)),
        ((NONE, LEAST), Scene::prepared().issued(10).stored(8)),
        ((NONE, LEAST), Scene::prepared().issued(10).stored(8).lag(2)),
        ((NONE, NONE), Scene::prepared().issued(10).stored(8).kafka_away()),
    ] {
        assert_eq!(pods(&scene), expected, "{scene:#?}");
    }
}

// Pods.

#[test]
fn pods_run_from_the_lead_time_until_all_is_stored() {
    for (expected, scene) in [
        ((NONE, NONE), Scene::prepared()),
        ((NONE, NONE), Scene::prepared().at(LEAD - 1)),
        ((RUSH, RUSH), Scene::prepared().at(LEAD)),
        ((RUSH, RUSH), Scene::open().at(START + MINUTE - 1)),
        ((LEAST, LEAST), Scene::open()),
        ((LEAST, LEAST), Scene::open().issued(10).lag(10).at(END)),
        ((LEAST, LEAST), Scene::open().issued(10).stored(8).at(END)),
        ((NONE, NONE), Scene::completed()),
    ] {
        assert_eq!(pods(&scene), expected, "{scene:#?}");
    }
}

#[test]
fn pods_that_were_seen_to_start_slowly_start_earlier() {
    let slow = |seconds| {
        Scene::prepared().with(|s| {
            let figures = Some(ScalingFigures { start_up_seconds: Some(seconds), ..ScalingFigures::default() });
            s.campaign.status.as_mut().unwrap().consumer =
                Some(WorkloadStatus { figures, ..WorkloadStatus::default() });
        })
    };
    let warm_up = (START - LEAD) / 1000;
    assert_eq!(slow(warm_up - 5).plan().next_ms, Some(LEAD));
    assert_eq!(slow(warm_up).plan().next_ms, Some(LEAD - 5_000));
}

#[test]
fn sold_out_and_stored_leaves_the_fewest_consumers() {
    assert_eq!(pods(&Scene::open().issued(100).lag(1).stored(99)), (LEAST, LEAST), "one is still to be stored");
    assert_eq!(pods(&Scene::open().issued(100).stored(100)), (LEAST, NONE));
    let two = Scene::open().issued(100).stored(100).with(|s| s.campaign.spec.consumer.min_replicas = 2);
    assert_eq!(pods(&two), (LEAST, Goal::Exactly(2)));
    let not_sold_out = Scene::open().issued(99).stored(99);
    assert_eq!(pods(&not_sold_out), (LEAST, LEAST), "the next may come any moment");
}

#[test]
fn pods_of_a_campaign_that_ended_are_held_while_nothing_can_be_read() {
    let scene = Scene::open().issued(10).stored(5).kafka_away();
    assert_eq!(pods(&scene), (LEAST, LEAST), "the policy holds them");
    assert_eq!(pods(&scene.at(END)), (LEAST, Goal::Held));
}

#[test]
fn before_it_is_prepared_a_campaign_leaves_pods_alone() {
    assert_eq!(pods(&Scene::with_topics().at(START)), (Goal::Held, Goal::Held));
}

#[test]
fn the_next_change_is_the_next_point_in_time() {
    for (now_ms, expected) in
        [(LEAD - 1, Some(LEAD)), (LEAD, Some(START)), (START, Some(END)), (END - 1, Some(END)), (END, None)]
    {
        assert_eq!(Scene::prepared().at(now_ms).plan().next_ms, expected);
    }
}

// Redis is not what it was.

#[test]
fn a_redis_that_is_not_the_one_that_was_filled_is_repaired() {
    for (reason, scene) in [
        ("RedisEmpty", Scene::open().redis_emptied()),
        ("StockClosed", Scene::open().issued(3).with(|s| s.stock().open = None)),
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
    let gone = Scene::open().redis_emptied().with(|s| s.log().topic.events = TopicState::Absent);
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

// Quantity.

#[test]
fn more_coupons_are_in_the_database_before_redis_may_give_them() {
    // The other way round, Redis could grant a rank that the database refuses to store.
    let expected = [Step::SetTotal(150), Step::Configure(Terms { total: 150, ..terms() })];
    assert_eq!(Scene::open().issued(100).quantity(150).plan().steps, expected);
}

#[test]
fn fewer_coupons_are_in_redis_before_the_database_forbids_more() {
    let expected = [Step::Configure(Terms { total: 60, ..terms() }), Step::SetTotal(60)];
    assert_eq!(Scene::open().issued(50).quantity(60).plan().steps, expected);
    for (what, scene) in [
        ("Redis is away", Scene::open().issued(50).quantity(60).redis_away()),
        ("Redis is another one", Scene::open().issued(50).quantity(60).redis_history_changed()),
    ] {
        let steps = scene.plan().steps;
        assert!(!steps.iter().any(|step| matches!(step, Step::SetTotal(_))), "{what}: {steps:?}");
    }
}

/// Wrong: a change that was overtaken reaches Redis, late, and finds no newer one there.
#[test]
fn another_quantity_goes_to_redis_even_if_it_is_right_already() {
    for (in_the_database, expected) in
        [(90, [Step::SetTotal(100), Step::Configure(terms())]), (110, [Step::Configure(terms()), Step::SetTotal(100)])]
    {
        let mut scene = Scene::open().issued(50);
        scene.row().total = in_the_database;
        assert_eq!(scene.plan().steps, expected, "{in_the_database}");
    }
}

#[test]
fn exactly_what_is_issued_is_enough() {
    assert_eq!(Scene::open().issued(60).quantity(60).plan().refusals, []);
    let away = Scene::open().issued(70).stored(70).redis_away().quantity(60).plan();
    assert_eq!(refused(&away), [(ConditionType::Stalled, "QuantityBelowIssued")], "rows tell it as well");
}

// What is fixed once the window has opened.

#[test]
fn the_opening_is_put_on_record_once() {
    assert_eq!(Scene::prepared().at(START - 1).plan().steps, []);
    assert_eq!(Scene::prepared().at(START).plan().steps, [Step::RecordOpened(terms())]);
    assert_eq!(Scene::open().plan().steps, []);
}

#[test]
fn the_start_may_move_until_the_window_opens_and_not_after() {
    let later = START + 90 * MINUTE;
    let moved = Scene::prepared().starting(later).plan();
    assert_eq!((moved.steps, moved.refusals), (vec![Step::Configure(Terms { start_ms: later, ..terms() })], vec![]));

    let refused_later = Scene::open().starting(later).plan();
    assert_eq!(refused(&refused_later), [(ConditionType::Stalled, "WindowStartFixed")]);
    assert_eq!((refused_later.steps, refused_later.terms.start_ms), (vec![], START));
    assert_eq!(refused_later.phase, Phase::Open, "the window stays as it was");
}

#[test]
fn a_start_that_redis_has_reached_is_fixed_though_nobody_has_recorded_it() {
    // The operator was away when the window opened: coupons were given from the old start on.
    let missed = Scene::prepared().at(START + MINUTE).starting(START + HOUR).plan();
    assert_eq!(refused(&missed), [(ConditionType::Stalled, "WindowStartFixed")]);
    assert_eq!((missed.steps, missed.terms.start_ms), (vec![Step::RecordOpened(terms())], START));
}

#[test]
fn the_key_is_fixed_once_the_window_has_opened() {
    let other_key = |scene: Scene| scene.with(|s| s.campaign.spec.key_by = KeyBy::Campaign).plan();
    assert_eq!(other_key(Scene::prepared()).key_by, KeyBy::Campaign);
    let fixed = other_key(Scene::open());
    assert_eq!(refused(&fixed), [(ConditionType::Stalled, "KeyByFixed")]);
    assert_eq!(fixed.key_by, KeyBy::User, "or one user's events would change their partition, and their order");
}

#[test]
fn the_end_may_move_at_any_time() {
    let longer = Scene::open().ending(END + HOUR).plan();
    assert_eq!(longer.steps, [Step::Configure(Terms { end_ms: END + HOUR, ..terms() })]);
    assert_eq!(longer.refusals, []);
}

// Kafka is not what it was.

#[test]
fn a_topic_that_is_not_ours_stops_the_ledger() {
    for (reason, scene) in [
        ("TopicNotOurs", Scene::registered().with(|s| s.log().topic.events = topic("t9", 3))),
        ("TopicReplaced", Scene::open().with(|s| s.log().topic.events = topic("t9", 3))),
        ("TopicReplaced", Scene::open().redis_emptied().with(|s| s.log().topic.events = topic("t9", 3))),
    ] {
        let plan = scene.plan();
        let expected = [ConditionType::Stalled, ConditionType::TopicReady, ConditionType::ResourceConflict];
        assert_eq!(refused(&plan), expected.map(|condition| (condition, reason)));
        assert_eq!(plan.steps, [], "{reason}");
    }
}

#[test]
fn a_class_that_points_to_another_kafka_stops_the_ledger() {
    let plan = Scene::open().with(|s| s.log().topic.cluster_id = "c2".to_owned()).plan();
    assert_eq!(
        refused(&plan),
        [(ConditionType::Stalled, "LedgerMoved"), (ConditionType::TopicReady, "LedgerMoved")],
        "no conflict with anybody else"
    );
    assert_eq!(plan.steps, []);
}

#[test]
fn trouble_with_the_topic_keeps_no_suspension_from_redis() {
    let suspended = Scene::open().with(|s| {
        s.log().topic.cluster_id = "c2".to_owned();
        s.campaign.spec.suspend = true;
    });
    assert_eq!(suspended.plan().steps, [Step::Configure(Terms { suspended: true, ..terms() })]);
    let kafka_away = Scene::open().kafka_away().with(|s| s.campaign.spec.suspend = true);
    assert_eq!(kafka_away.plan().steps, [Step::Configure(Terms { suspended: true, ..terms() })]);
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
