//! Which phase a campaign is in.

use super::*;

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
fn the_next_change_is_the_next_point_in_time() {
    for (now_ms, expected) in
        [(LEAD - 1, Some(LEAD)), (LEAD, Some(START)), (START, Some(END)), (END - 1, Some(END)), (END, None)]
    {
        assert_eq!(Scene::prepared().at(now_ms).plan().next_ms, expected);
    }
}
