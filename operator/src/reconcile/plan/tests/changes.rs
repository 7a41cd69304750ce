//! Changes of the terms.

use super::*;

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
