use super::super::pause::PAUSE_ANNOTATION;
use super::super::scene::Scene;
use super::*;
use crate::fixtures::{END, LEAD};
use crate::scaling::reading::Membership;

fn there(current: i32) -> ReplicaCount {
    ReplicaCount { current, ready: current }
}

/// A campaign in its window with 300,000 winners in the log, which two consumers store.
fn behind() -> Scene {
    Scene::open().quantity(1_000_000).with(|s| s.row().total = 1_000_000).issued(300_000).lag(300_000)
}

fn consumers(scene: &Scene, current: i32) -> DesiredReplicas {
    scene.numbers(there(1), there(current)).consumer
}

fn paused(scene: Scene, pause: &str) -> Scene {
    scene.with(|s| {
        let annotations = s.campaign.metadata.annotations.get_or_insert_default();
        annotations.insert(PAUSE_ANNOTATION.to_owned(), pause.to_owned());
    })
}

fn says(scene: &Scene, current: i32) -> (Option<bool>, &'static str) {
    let found = report(&scene.numbers(there(1), there(current)), &scene.plan().terms);
    (found.status, found.reason)
}

#[test]
fn consumers_follow_the_lag_within_the_bounds_of_the_spec() {
    assert_eq!(consumers(&behind(), 1).replicas, 3, "one per partition");
    let bounded = |least, most| {
        behind().with(|s| {
            (s.campaign.spec.consumer.min_replicas, s.campaign.spec.consumer.max_replicas) = (least, Some(most));
        })
    };
    assert_eq!(consumers(&bounded(0, 1), 1).replicas, 1);
    assert!(consumers(&bounded(0, 1), 1).reason.contains("raise consumer.maxReplicas"));
    assert_eq!(consumers(&bounded(2, 3).issued(10).stored(10).lag(0), 0).replicas, 2);
    assert_eq!(consumers(&Scene::open().lag(0), 0).replicas, 1, "the first winner must not wait for a pod");
}

#[test]
fn the_rush_at_the_beginning_is_planned_for() {
    let large = |total, peak| {
        Scene::prepared().at(LEAD).lag(0).quantity(total).with(|s| s.campaign.spec.expected_peak_rps = peak)
    };
    assert_eq!(consumers(&large(1_000, None), 0).replicas, 1);
    assert_eq!(consumers(&large(30_000, None), 0).replicas, 3, "1,000 a second, of which a pod does 375");
    assert_eq!(consumers(&large(30_000, Some(500)), 0).replicas, 1, "they come over a minute: 333 a second");
    let issuers = |peak| large(1_000, peak).numbers(there(0), there(0)).issuer.replicas;
    assert_eq!([None, Some(100), Some(3_000), Some(100_000)].map(issuers), [1, 1, 3, 4]);
}

#[test]
fn what_was_learned_before_counts() {
    let fast = Scene::prepared().at(LEAD).lag(0).quantity(30_000).with(|s| {
        let figures = ScalingFigures { per_pod: Some(2_000), ..ScalingFigures::default() };
        let status = s.campaign.status.as_mut().unwrap();
        status.consumer = Some(WorkloadStatus { figures: Some(figures), ..WorkloadStatus::default() });
    });
    assert_eq!(consumers(&fast, 0).replicas, 1, "one pod does 2,000 a second");
}

#[test]
fn status_says_how_many_consumers_are_at_work_if_that_is_known() {
    let at_work = |group| {
        let scene = behind().with(|s| s.kafka().group = group);
        consumers(&scene, 3).figures.unwrap().at_work
    };
    let group = |stable| Some(Membership { stable, holders: 2 });
    assert_eq!([group(true), group(false), None].map(at_work), [Some(2), None, None]);
}

#[test]
fn rows_that_are_complete_never_bring_consumers() {
    let expired = behind().stored(300_000);
    assert_eq!(consumers(&expired, 1).replicas, 1);
}

#[test]
fn a_lag_that_cannot_be_read_changes_nothing_and_is_said() {
    for scene in [
        behind().kafka_away(),
        behind().with(|s| s.kafka().lag = None),
        behind().database_away(),
        behind().redis_away(),
        behind().kafka_away().at(END),
    ] {
        assert_eq!(consumers(&scene, 2).replicas, 2, "{scene:#?}");
        assert_eq!(says(&scene, 2), (Some(false), "LagUnknown"));
    }
    let soon = Scene::prepared().at(LEAD).kafka_away();
    assert_eq!(consumers(&soon, 0).replicas, 1, "the plan for the window needs no lag");
}

#[test]
fn somebody_on_call_can_hold_the_numbers() {
    for (pause, up, down) in [("out", 1, 0), ("in", 3, 3), ("all", 1, 3), ("both", 1, 3)] {
        let text = format!("{pause}: up {up}, down {down}");
        assert_eq!(consumers(&paused(behind(), pause), 1).replicas, up, "{text}");
        assert_eq!(consumers(&paused(Scene::completed(), pause), 3).replicas, down, "{text}");
    }
    assert_eq!(says(&paused(behind(), "out"), 1), (Some(false), "Paused"));
    assert!(consumers(&paused(behind(), "both"), 1).reason.contains("write in, out or all"));
    assert_eq!(says(&paused(behind(), "both"), 1), (Some(false), "PauseNotUnderstood"));
}

/// Wrong: scaling that was paused before a sale had pods keeps it from ever having any, and everybody hears nothing.
#[test]
fn a_pause_before_there_are_pods_does_not_keep_a_sale_from_beginning() {
    for pause in ["in", "out", "all", "true", "both"] {
        let soon = paused(Scene::prepared().at(LEAD).lag(0), pause);
        let found = soon.numbers(there(0), there(0));
        assert_eq!((found.issuer.replicas, found.consumer.replicas), (1, 1), "{pause}");
        assert!(report(&found, &soon.plan().terms).reason.starts_with("Pause"), "{pause}: it is said all the same");
    }
}

#[test]
fn a_deployment_that_another_autoscaler_has_is_left_alone() {
    let scene = behind();
    let (plan, seen) = (scene.plan(), scene.observation());
    let find = |current| {
        let sight = ScalingInputs {
            consumer: there(current),
            claimed: (None, Some("keda-hpa-sale")),
            ..ScalingInputs::new(&scene.campaign, &plan, &seen, None, 0)
        };
        Policies::default().find(&sight)
    };
    let found = find(1);
    assert!(found.consumer.is_left_alone && found.consumer.replicas == 1);
    let said = report(&found, &plan.terms);
    assert_eq!((said.status, said.reason), (Some(false), "AnotherAutoscaler"));
    assert!(said.message.contains("keda-hpa-sale"));
    let found = find(0).consumer;
    assert_eq!((found.is_left_alone, found.replicas), (false, 1), "a sale must begin");
}

#[test]
fn the_condition_says_what_the_numbers_do() {
    assert_eq!(says(&Scene::prepared(), 0), (Some(true), "Planned"));
    assert_eq!(says(&Scene::open().lag(0), 1), (Some(true), "FollowsWork"));
}
