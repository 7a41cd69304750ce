use super::*;
use crate::fixtures::{END, HOUR, MINUTE, START};
use crate::reconcile::scene::Scene;

fn of(scene: &Scene, open: Report, service: &Service) -> Supply {
    let issued = scene.observation().issued().and_then(|issued| i64::try_from(issued).ok());
    let (plan, mut next) = (scene.plan(), CouponCampaignStatus { issued, ..CouponCampaignStatus::default() });
    let now = jiff::Timestamp::UNIX_EPOCH;
    for report in [open, Report::no(ConditionType::Ready, "TopicAwaited", "a topic is awaited")] {
        conditions::set(&mut next.conditions, &report, 1, now);
    }
    of_pass(&scene.campaign, &plan, service, &next)
}

fn missed(supply: &Supply) -> Option<&str> {
    match supply {
        Supply::Missed(cause) => Some(cause.reason.as_str()),
        _ => None,
    }
}

fn suspend(scene: Scene) -> Scene {
    scene.with(|scene| scene.campaign.spec.suspend = true)
}

fn suspended_in_redis(scene: Scene) -> Scene {
    scene.with(|scene| scene.in_redis().terms.suspended = true)
}

fn foreign(scene: Scene) -> Scene {
    suspended_in_redis(scene.with(|scene| scene.foreign_row(5000)))
}

fn below_issued() -> Scene {
    suspended_in_redis(Scene::open().issued(10).stored(10).quantity(5))
}

/// Wrong: a window in which nobody was served counts one second, as the class was late (`Pending`) or somebody wrote a row
/// (`Suspended`); or a sale that a person stopped counts as one that nobody could reach.
#[test]
fn time_is_missed_where_users_get_nothing_and_no_person_asked_for_that() {
    use Supply::{NotAskedFor, Unknown, Well};
    let refuses = Service::Refuses("1 RedisAway".to_owned());
    let no = || Report::no(ConditionType::Open, "NoReadyIssuer", "nobody is there");
    let yes = || Report::yes(ConditionType::Open, "WindowOpen", "coupons can be had");
    let unknown = || Report::unknown(ConditionType::Open, "ConnectionFailed", "who knows");
    let in_window = |scene: Scene| scene.at(START + HOUR);
    let moved = |scene: Scene| scene.with(|scene| scene.in_redis().terms.start_ms = END);
    let (silent, not_in_force) = (|| Service::Silent, || Err("TermsNotInForce"));
    for (what, scene, open, service, expected) in [
        ("not prepared", in_window(Scene::with_topics()), no(), Service::Silent, Err("TopicAwaited")),
        ("no row yet", in_window(Scene::new_campaign()), no(), Service::Silent, Err("TopicAwaited")),
        ("not prepared, suspended", suspend(in_window(Scene::with_topics())), no(), Service::Silent, Ok(NotAskedFor)),
        ("status was lost, issuers grant", in_window(Scene::new_campaign()), no(), Service::Grants, Ok(Well)),
        ("before the window", Scene::prepared(), no(), Service::Silent, Ok(Well)),
        ("open, coupons can be had", Scene::open(), yes(), Service::Grants, Ok(Well)),
        ("open, nobody is there", Scene::open(), no(), Service::Silent, Err("NoReadyIssuer")),
        ("open, nobody knows", Scene::open(), unknown(), Service::Silent, Ok(Unknown)),
        ("open, issuers refuse", Scene::open(), unknown(), refuses, Err("IssuersNotServing")),
        ("open, suspension is asked for", suspend(Scene::open()), no(), Service::Silent, Ok(NotAskedFor)),
        ("a repair", Scene::open().redis_emptied(), no(), Service::Silent, Err("TopicAwaited")),
        ("a repair, suspended", suspend(Scene::open().redis_emptied()), no(), Service::Silent, Ok(NotAskedFor)),
        ("suspended", suspend(suspended_in_redis(Scene::open())), no(), Service::Silent, Ok(NotAskedFor)),
        ("going on is on its way", suspended_in_redis(Scene::open()), no(), Service::Silent, Err("NoReadyIssuer")),
        ("a foreign row", foreign(Scene::open()), no(), Service::Silent, Err("ForeignRow")),
        ("a foreign row, suspended", suspend(foreign(Scene::open())), no(), Service::Silent, Ok(NotAskedFor)),
        ("a quantity below what is issued", below_issued(), no(), Service::Silent, Ok(NotAskedFor)),
        ("sold out", Scene::open().issued(100).stored(100), no(), Service::Silent, Ok(Well)),
        ("over", Scene::completed(), no(), Service::Silent, Ok(Well)),
        ("a window that somebody has moved in Redis", moved(Scene::open()), no(), silent(), not_in_force()),
        ("which is suspended", suspend(moved(Scene::open())), no(), silent(), Ok(NotAskedFor)),
        ("a longer one is on its way", Scene::open().ending(END + HOUR).at(END), no(), silent(), not_in_force()),
        ("more are on their way", Scene::open().issued(100).stored(100).quantity(101), no(), silent(), not_in_force()),
    ] {
        let found = of(&scene, open, &service);
        match expected {
            Ok(expected) => assert_eq!(found, expected, "{what}"),
            Err(reason) => assert_eq!(missed(&found), Some(reason), "{what}: {found:?}"),
        }
    }
}

/// Wrong: a pass that ends early (no class, no Secret) leaves the window uncounted; or counts against a sale that pods may serve well.
#[test]
fn a_pass_that_could_not_look_counts_only_what_is_certain() {
    use Supply::{NotAskedFor, OfOthers, Unknown, Well};
    let no_class = || ReconcileError::Class(ClassError::NotFound("main".to_owned()));
    let taken = ReconcileError::Class(ClassError::CouponIdTaken("older".to_owned()));
    let elsewhere = ReconcileError::LedgerOwnedElsewhere("there".to_owned());
    let renamed = || ReconcileError::ClusterNameChanged("its own, under another name".to_owned());
    let sold = |scene: Scene| {
        scene.with(|scene| {
            let status = scene.campaign.status.get_or_insert_default();
            (status.issued, status.terms) = (Some(100), Some(crate::fixtures::terms_status(false)));
        })
    };
    for (what, scene, error, ready, expected) in [
        ("never prepared", Scene::new_campaign(), no_class(), 0, Err("ClassNotFound")),
        ("status was lost, pods run", Scene::new_campaign(), no_class(), 1, Ok(Unknown)),
        ("suspended by its manifest", suspend(Scene::new_campaign()), no_class(), 0, Ok(NotAskedFor)),
        ("prepared, and no pod", Scene::prepared(), no_class(), 0, Err("ClassNotFound")),
        ("prepared, and pods", Scene::prepared(), no_class(), 1, Ok(Unknown)),
        ("open, and no pod", Scene::open(), no_class(), 0, Err("ClassNotFound")),
        ("open, and pods", Scene::open(), no_class(), 2, Ok(Unknown)),
        ("the pass took too long", Scene::open(), ReconcileError::PassTimeout, 2, Ok(Unknown)),
        (
            "a repair took too long",
            Scene::open().was(Phase::Repairing),
            ReconcileError::PassTimeout,
            2,
            Err("PassTimeout"),
        ),
        ("sold out", Scene::open().was(Phase::SoldOut), no_class(), 0, Ok(Well)),
        ("all are given", sold(Scene::open()), no_class(), 0, Ok(Well)),
        ("over", Scene::completed(), no_class(), 0, Ok(Well)),
        ("another cluster sells", Scene::open(), elsewhere, 0, Ok(OfOthers)),
        ("an older campaign sells", Scene::new_campaign(), taken, 0, Ok(OfOthers)),
        ("this cluster has lost its name", Scene::open(), renamed(), 0, Err("ClusterNameChanged")),
        ("and its pods are there", Scene::open(), renamed(), 2, Ok(Unknown)),
        ("after the window", Scene::completed(), renamed(), 0, Ok(Well)),
    ] {
        let found = of_blind_pass(&scene.campaign, &error, ready, &Service::Silent);
        match expected {
            Ok(expected) => assert_eq!(found, expected, "{what}"),
            Err(reason) => assert_eq!(missed(&found), Some(reason), "{what}: {found:?}"),
        }
    }
}

/// Wrong: users are given coupons, or turned away, for as long as a class is gone, and nobody asks the issuers.
#[test]
fn where_nobody_can_look_the_issuers_know() {
    let refuses = Service::Refuses("1 RedisAway".to_owned());
    for (what, scene, ready, service, expected) in [
        ("they grant", Scene::open(), 1, Service::Grants, Ok(Supply::Well)),
        ("they grant, and status was lost", Scene::new_campaign(), 1, Service::Grants, Ok(Supply::Well)),
        ("they do not", Scene::open(), 1, refuses, Err("IssuersNotServing")),
        ("the last one has gone", Scene::open(), 0, Service::Grants, Err("ClassNotFound")),
        ("suspended", Scene::open().was(Phase::Suspended), 1, Service::Grants, Ok(Supply::Unknown)),
        ("a repair", Scene::open().was(Phase::Repairing), 1, Service::Grants, Err("ClassNotFound")),
    ] {
        let error = ReconcileError::Class(ClassError::NotFound("main".to_owned()));
        let found = of_blind_pass(&scene.campaign, &error, ready, &service);
        match expected {
            Ok(expected) => assert_eq!(found, expected, "{what}"),
            Err(reason) => assert_eq!(missed(&found), Some(reason), "{what}: {found:?}"),
        }
    }
}

/// Wrong: what somebody writes into Redis by hand is another window, and what was counted is forgotten.
#[test]
fn the_window_that_counts_is_what_spec_and_row_say() {
    let start = |scene: &Scene| WindowMs::of_pass(&scene.plan(), &scene.campaign).start_ms;
    let by_hand = |scene: Scene| scene.with(|scene| scene.in_redis().terms.start_ms = START + MINUTE);
    for (what, scene, expected) in [
        ("not registered", Scene::new_campaign(), START),
        ("before the window", Scene::prepared(), START),
        ("moved before the window, and not in force yet", Scene::prepared().starting(START + HOUR), START + HOUR),
        ("moved in Redis before the window", by_hand(Scene::prepared()), START),
        ("open", Scene::open(), START),
        ("moved in Redis", by_hand(Scene::open()), START),
        ("another start is refused", Scene::open().starting(START + HOUR), START),
        ("Redis is away", Scene::open().starting(START + HOUR).redis_away(), START),
    ] {
        assert_eq!(start(&scene), expected, "{what}");
    }

    // Where the row cannot be read, status says which start was refused, and which was written by hand.
    let shown = |scene: Scene, shown_ms: i64, counted_ms: Option<i64>| {
        scene.database_away().with(|scene| {
            let status = scene.campaign.status.get_or_insert_default();
            let time = |ms| jiff::Timestamp::from_millisecond(ms).unwrap();
            let mut terms = crate::fixtures::terms_status(false);
            terms.window.start = time(shown_ms);
            (status.terms, status.unserved_window_start) = (Some(terms), counted_ms.map(time));
        })
    };
    let (by_hand, refused) = (|| by_hand(Scene::open()), || Scene::open().starting(START + HOUR));
    for (what, scene, expected) in [
        ("as it should be", shown(Scene::open(), START, None), START),
        ("by hand", shown(by_hand(), START + MINUTE, Some(START)), START),
        ("refused", shown(refused(), START, Some(START)), START),
        ("refused, nothing counted", shown(refused(), START, None), START),
    ] {
        assert_eq!((start(&scene), WindowMs::of_blind_pass(&scene.campaign).start_ms), (expected, expected), "{what}");
    }
}
