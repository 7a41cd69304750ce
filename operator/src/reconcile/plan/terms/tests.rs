use super::*;
use crate::api::Phase;
use crate::fixtures::{END, HOUR, MINUTE, START, terms_status};
use crate::reconcile::plan::{Plan, Step};
use crate::reconcile::scene::{Scene, terms};

fn reasons(plan: &Plan) -> Vec<&'static str> {
    plan.refusals.iter().map(|report| report.reason).collect()
}

/// Wrong: correcting a wrong year opens the sale at once, from the wrong start to the new end (W2).
#[test]
fn a_window_that_never_opened_may_move_freely() {
    let (tomorrow, after) = (END + 24 * HOUR, END + 48 * HOUR);
    for (what, scene) in [
        ("it is over when Redis is filled", Scene::prepared().at(END + HOUR).was(Phase::Completed)),
        ("it is over, and Redis was away all the time", Scene::with_topics().at(END + HOUR)),
        ("it has not begun", Scene::prepared()),
    ] {
        assert_eq!(scene.plan().steps.iter().filter(|step| matches!(step, Step::RecordOpened(_))).count(), 0, "{what}");
        let moved = scene.starting(tomorrow).ending(after).plan();
        assert_eq!(reasons(&moved), [""; 0], "{what}");
        assert_eq!((moved.terms.start_ms, moved.terms.end_ms), (tomorrow, after), "{what}");
        assert_ne!(moved.phase, Phase::Open, "{what}");
    }
    let earlier = Scene::prepared().at(START - HOUR).starting(START - 2 * HOUR).plan();
    assert_eq!((reasons(&earlier).len(), earlier.terms.start_ms), (0, START - 2 * HOUR));
}

#[test]
fn a_window_counts_as_opened_while_redis_clock_is_within_it_or_was_and_somebody_won() {
    for (what, scene, recorded) in [
        ("before", Scene::prepared().at(START - 1), false),
        ("from its start on", Scene::prepared().at(START), true),
        ("to its end", Scene::prepared().at(END - 1), true),
        ("over, and nobody came", Scene::prepared().at(END), false),
        ("over, and somebody won", Scene::prepared().issued(1).at(END), true),
        ("Redis is closed", Scene::prepared().redis_emptied().at(START), false),
        ("Redis is another one", Scene::prepared().redis_history_changed().at(START), false),
        ("the epoch is not open", Scene::prepared().with(|s| s.row().open_epoch = None).at(START), false),
    ] {
        let steps = scene.plan().steps;
        assert_eq!(steps.contains(&Step::RecordOpened(terms())), recorded, "{what}: {steps:?}");
    }
}

/// Wrong: the old start and a new end make one long window, which is open now.
#[test]
fn a_window_that_has_opened_keeps_start_and_end_together() {
    for (what, scene) in [
        ("it is open", Scene::open()),
        ("it is over", Scene::completed()),
        ("it is over, and Redis was lost", Scene::completed().redis_emptied()),
    ] {
        let before = scene.plan().phase;
        let plan = scene.starting(END + 24 * HOUR).ending(END + 48 * HOUR).plan();
        assert_eq!(reasons(&plan), ["WindowStartFixed"], "{what}");
        assert_eq!((plan.terms.start_ms, plan.terms.end_ms, plan.phase), (START, END, before), "{what}");
        assert!(plan.refusals[0].message.contains("set suspend: true"), "{}", plan.refusals[0].message);
    }
    // An older version has recorded the start only, and Redis is lost: nobody knows when it ends.
    let unknown = Scene::open().redis_emptied().with(|s| s.row().opened_end_ms = None);
    assert!(unknown.starting(START + MINUTE).plan().terms.suspended);
}

#[test]
fn what_is_on_record_of_a_window_follows_what_is_in_force() {
    let longer = Terms { end_ms: END + HOUR, ..terms() };
    let scene = Scene::open().ending(END + HOUR);
    assert_eq!(scene.plan().steps, [Step::Configure(longer)], "not before it is in force");
    let in_force = scene.with(|s| s.in_redis().terms = longer);
    assert_eq!(in_force.plan().steps, [Step::RecordOpened(longer)]);
    assert_eq!(in_force.with(|s| s.row().opened_end_ms = Some(END + HOUR)).plan().steps, []);
}

/// Wrong: somebody writes another window into Redis, and the database has it for good: the sale opens early, or ends when a stranger says.
#[test]
fn a_window_that_somebody_wrote_into_redis_is_never_put_on_record() {
    let edited = |scene: Scene, start_ms: i64, end_ms: i64, limit: u32| {
        scene.with(|s| s.in_redis().terms = Terms { start_ms, end_ms, limit, ..terms() })
    };
    let seen =
        |scene: Scene| scene.with(|s| s.campaign.status.get_or_insert_default().terms = Some(terms_status(false)));
    let ahead = || seen(Scene::prepared()).at(START - HOUR);
    let (early, late) = (START - 2 * HOUR, END + HOUR);
    for (what, scene) in [
        ("it opens early", edited(ahead(), early, END, 1)),
        ("and somebody has won", edited(ahead(), early, END, 1).issued(3)),
        ("early, and it is over", edited(ahead(), early, START - 2 * HOUR + 1, 1).issued(3)),
        ("it ends later", edited(seen(Scene::open()), START, late, 1)),
        ("later, in the moment at which it opens", edited(seen(Scene::prepared()).at(START), START, late, 1)),
        ("people may have more", edited(seen(Scene::open()), START, END, 9)),
    ] {
        let plan = scene.plan();
        assert_eq!((plan.steps.as_slice(), plan.terms), ([Step::Configure(terms())].as_slice(), terms()), "{what}");
        assert_eq!(reasons(&plan), [""; 0], "{what}");
    }
    // Where another start is refused, what is on record of the window stays in force.
    let refused = |scene: Scene| scene.starting(START + MINUTE);
    let plan = refused(edited(seen(Scene::open()), START, late, 1)).plan();
    assert_eq!(
        (plan.steps.as_slice(), reasons(&plan)),
        ([Step::Configure(terms())].as_slice(), vec!["WindowStartFixed"])
    );
    // Nothing is on record yet, and people move the start as it opens: what was in force is what opened.
    let moved = refused(seen(Scene::prepared()).at(START)).plan();
    assert_eq!(
        (moved.steps.as_slice(), reasons(&moved)),
        ([Step::RecordOpened(terms())].as_slice(), vec!["WindowStartFixed"])
    );
    let unseen = refused(Scene::prepared().at(START)).plan();
    assert_eq!(unseen.steps, [Step::RecordOpened(terms())], "also where no status says so");
}

/// Wrong: people ask for fewer, and the sale goes on to the old total. While it runs, each look finds more issued than the last.
#[test]
fn fewer_coupons_than_are_issued_close_the_sale_at_what_is_issued() {
    let mut scene = Scene::open().issued(70).quantity(60);
    let stopping = Terms { suspended: true, ..terms() };
    let first = scene.plan();
    assert_eq!(
        (first.steps.as_slice(), reasons(&first)),
        ([Step::Configure(stopping)].as_slice(), vec!["QuantityBelowIssued"])
    );
    assert!(first.refusals[0].message.contains("raise it to at least 70"), "{}", first.refusals[0].message);

    // Two more were faster; from here on nobody is.
    scene.in_redis().terms = stopping;
    scene = scene.issued(72);
    let closing = Terms { total: 72, ..terms() };
    assert_eq!(scene.plan().steps, [Step::Configure(closing), Step::SetTotal(72)]);

    scene.in_redis().terms = closing;
    scene.row().total = 72;
    let closed = scene.plan();
    assert_eq!((closed.steps.as_slice(), closed.phase), ([].as_slice(), Phase::SoldOut));
    assert_eq!(reasons(&closed), ["QuantityBelowIssued"]);

    let raised = scene.quantity(80).plan();
    assert_eq!(raised.steps, [Step::SetTotal(80), Step::Configure(Terms { total: 80, ..terms() })]);
    assert_eq!(raised.refusals, []);
}

/// Wrong: somebody raises the total in Redis, and the database takes what nobody has asked for.
#[test]
fn what_redis_gave_under_a_total_that_somebody_raised_there_is_not_stored() {
    let mut scene = Scene::open().issued(150).stored(100);
    scene.in_redis().terms.total = 200;
    let plan = scene.plan();
    let closing = Terms { total: 150, suspended: true, ..terms() };
    assert_eq!(
        (plan.steps.as_slice(), reasons(&plan)),
        ([Step::Configure(closing)].as_slice(), vec!["GivenAboveTotal"])
    );
    assert!(plan.refusals[0].message.contains("set totalQuantity to 150"), "{}", plan.refusals[0].message);
    scene.in_redis().terms = closing;
    assert_eq!(scene.plan().steps, [], "and stays so");
    let fewer = scene.quantity(60);
    assert_eq!((fewer.plan().steps, reasons(&fewer.plan())), (vec![], vec!["GivenAboveTotal"]));
    let counts = fewer.quantity(150).plan();
    assert_eq!(counts.steps, [Step::SetTotal(150), Step::Configure(Terms { total: 150, ..terms() })]);
    assert_eq!(counts.refusals, [], "if people say that they count, they do");
}

/// Wrong: a row that somebody else wrote, above every total, raises the total, and the sale goes on up to it.
#[test]
fn a_row_above_every_total_raises_nothing_and_stops_the_sale() {
    let scene = Scene::open().issued(7).stored(7).with(|s| s.foreign_row(200));
    let plan = scene.plan();
    let stopping = Terms { suspended: true, ..terms() };
    assert_eq!((plan.steps.as_slice(), reasons(&plan)), ([Step::Configure(stopping)].as_slice(), vec!["ForeignRow"]));
    assert!(plan.refusals[0].message.contains("rank 200"), "{}", plan.refusals[0].message);
    // Redis is lost meanwhile: what is opened anew is closed too, and no epoch follows the other.
    let opened = scene.with(|s| s.in_redis().terms = stopping);
    assert_eq!(opened.plan().steps, []);
    let counts = opened.quantity(200).plan();
    assert_eq!(reasons(&counts), Vec::<&str>::new(), "if people say that it counts, it does");
}

/// Ranks that nobody holds would be handed out again, though more are issued than people ask for.
#[test]
fn ranks_that_are_free_stay_free_below_what_is_issued() {
    let closed = Terms { total: 70, suspended: true, ..terms() };
    let mut scene = Scene::open().issued(70).with(|s| s.redis().issued = 68).quantity(60);
    scene.in_redis().terms = Terms { suspended: true, ..terms() };
    assert_eq!(scene.plan().steps, [Step::Configure(closed), Step::SetTotal(70)]);
    scene.in_redis().terms = closed;
    scene.row().total = 70;
    assert_eq!((scene.plan().steps, scene.plan().phase), (vec![], Phase::Suspended));
}

#[test]
fn a_redis_that_must_be_filled_is_filled_closed() {
    for (what, scene) in [
        ("it is empty", Scene::open().stored(70).redis_emptied()),
        ("it was set back", Scene::open().issued(65).stored(70)),
        ("it is another one", Scene::open().issued(70).redis_history_changed()),
    ] {
        let plan = scene.quantity(60).plan();
        assert_eq!((plan.terms.total, plan.terms.suspended), (100, true), "{what}: more may be found in the log");
    }
}

#[test]
fn the_phase_says_what_is_in_force() {
    let suspend = |scene: Scene| scene.with(|s| s.campaign.spec.suspend = true);
    let suspended = Terms { suspended: true, ..terms() };
    for (what, expected, scene) in [
        ("asked for, on its way", Phase::Open, suspend(Scene::open())),
        ("asked for, the database is away", Phase::Open, suspend(Scene::open()).database_away()),
        ("in force", Phase::Suspended, suspend(Scene::open()).with(|s| s.in_redis().terms = suspended)),
        (
            "in force, the database is away",
            Phase::Suspended,
            suspend(Scene::open()).with(|s| s.in_redis().terms = suspended).database_away(),
        ),
        ("going on, on its way", Phase::Suspended, Scene::open().with(|s| s.in_redis().terms = suspended)),
        (
            "a later end, the database is away",
            Phase::Draining,
            Scene::open().ending(END + HOUR).database_away().at(END),
        ),
        ("more coupons, the database is away", Phase::SoldOut, Scene::open().issued(100).quantity(120).database_away()),
    ] {
        assert_eq!(scene.plan().phase, expected, "{what}");
    }
}

#[test]
fn while_redis_is_away_the_phase_says_what_was_in_force() {
    let time = |ms| Timestamp::from_millisecond(ms).unwrap();
    let seen = |suspended: bool| {
        Scene::open().redis_away().with(|s| {
            s.campaign.spec.suspend = !suspended;
            s.campaign.status.as_mut().unwrap().terms = Some(crate::api::TermsStatus {
                total_quantity: 100,
                window: crate::api::WindowStatus { start: time(START), end: time(END) },
                per_user_limit: 1,
                suspended,
            });
        })
    };
    assert_eq!(seen(false).plan().phase, Phase::Open);
    assert_eq!(seen(true).plan().phase, Phase::Suspended);
}

/// Wrong: next year's sale with last year's name sells at once (W1); or another object's ledger is touched.
#[test]
fn a_ledger_of_other_terms_stays_closed_and_untouched() {
    let anew = |scene: Scene| {
        scene.starting(START + 24 * HOUR).ending(END + 48 * HOUR).with(|s| s.row().object_uid = Some("2".to_owned()))
    };
    for (what, scene, steps) in [
        (
            "closed by its last object",
            anew(Scene::completed().redis_emptied().with(|s| s.row().open_epoch = None)),
            vec![],
        ),
        ("its last object went without a farewell", anew(Scene::open()), vec![Step::Suspend]),
        ("Kafka is away", anew(Scene::completed().redis_emptied().kafka_away()), vec![]),
        ("Redis is away", anew(Scene::completed().redis_away()), vec![]),
    ] {
        let plan = scene.plan();
        assert_eq!((plan.phase, plan.hands_off, plan.goals.are_dormant()), (Phase::Pending, true, false), "{what}");
        assert_eq!((plan.steps.as_slice(), reasons(&plan)), (steps.as_slice(), vec!["LedgerTermsDiffer"]), "{what}");
    }
    // Taken over, it is closed first whatever is there, and its window is forgotten with that.
    let adopted = anew(Scene::open()).with(|s| {
        let annotations = s.campaign.metadata.annotations.get_or_insert_default();
        annotations.insert(super::super::owner::ADOPT_ANNOTATION.to_owned(), "1".to_owned());
    });
    assert_eq!(adopted.plan().steps, [Step::Suspend, Step::Claim { forget_window: true }]);
    let next = adopted.with(|s| {
        s.row().object_uid = Some("0001".to_owned());
        (s.row().opened_start_ms, s.row().open_epoch) = (None, None);
    });
    let plan = next.plan();
    assert_eq!(plan.steps, [Step::OpenEpoch { reason: "EpochClosed" }]);
    assert_eq!((plan.terms.start_ms, reasons(&plan).len()), (START + 24 * HOUR, 0));
}

#[test]
fn the_same_terms_go_on_under_another_object() {
    let anew = Scene::completed().redis_emptied().with(|s| {
        (s.row().object_uid, s.row().open_epoch) = (Some("2".to_owned()), None);
    });
    assert_eq!(anew.plan().steps, [Step::Claim { forget_window: false }], "the epoch follows in a pass of its own");
}
