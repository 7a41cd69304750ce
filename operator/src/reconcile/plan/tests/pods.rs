//! What the numbers of pods aim at.

use super::*;

/// Wrong: what somebody writes into Redis takes the pods of a running sale away, until it is put right a second later.
#[test]
fn pods_are_for_the_terms_that_are_being_put_right_and_not_for_what_somebody_wrote_into_redis() {
    let wanted = Scene::open().issued(1).plan().goals;
    let right = terms();
    for (what, written) in [
        ("a later start", Terms { start_ms: i64::MAX / 4096, ..right }),
        ("an end that has passed", Terms { end_ms: right.start_ms + 1, ..right }),
        ("fewer coupons", Terms { total: 1, ..right }),
        ("suspended", Terms { suspended: true, ..right }),
    ] {
        let plan = Scene::open().issued(1).with(|scene| scene.in_redis().terms = written).plan();
        assert!(plan.steps.iter().any(|step| matches!(step, Step::Configure(_))), "{what}: {plan:?}");
        assert_eq!(plan.goals, wanted, "{what}");
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
