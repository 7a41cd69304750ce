mod changes;
mod epochs;
mod phases;
mod pods;

use coupon_kafka_admin::TopicState;

use super::*;
use crate::api::{ConditionType, KeyBy, Phase, ScalingFigures, WorkloadStatus};
use crate::fixtures::{END, HOUR, LEAD, MINUTE, START};
use crate::kafka::topics::TopicStep;
use crate::reconcile::scaling_goals::{Floor, ScalingGoal};
use crate::reconcile::scene::{Scene, terms, topic};

/// The reasons of what is refused, with the condition that says so.
fn refused(plan: &Plan) -> Vec<(ConditionType, &'static str)> {
    plan.refusals.iter().map(|report| (report.condition, report.reason)).collect()
}

/// What the numbers of issuer and consumer pods aim at.
fn pods(scene: &Scene) -> (Goal, Goal) {
    let goal = |aim| match aim {
        ScalingGoal::Hold { .. } => Goal::Held,
        ScalingGoal::Exactly { replicas, .. } => Goal::Exactly(replicas),
        ScalingGoal::Follow { floor, .. } => Goal::Follow(floor),
    };
    let goals = scene.plan().goals;
    (goal(goals.issuer), goal(goals.consumer))
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

/// A policy of the brokers that refuses a setting must not keep a sale from being suspended, or Redis from being repaired.
#[test]
fn a_setting_that_drifted_is_put_back_last_and_holds_nothing_up() {
    let drift = |scene: Scene| scene.with(|s| drop(s.kafka().topic.events_config.remove("retention.ms")));
    let opening = drift(Scene::with_topics()).plan();
    assert!(
        matches!(opening.steps.as_slice(), [Step::OpenEpoch { .. }, Step::Topic(TopicStep::Configure { .. })]),
        "{:?}",
        opening.steps
    );
}

// Kafka is not what it was.

#[test]
fn a_topic_that_is_not_ours_stops_the_ledger() {
    for (reason, scene) in [
        ("TopicNotOurs", Scene::registered().with(|s| s.kafka().topic.events = topic("t9", 3))),
        ("TopicReplaced", Scene::open().with(|s| s.kafka().topic.events = topic("t9", 3))),
        ("TopicReplaced", Scene::open().redis_emptied().with(|s| s.kafka().topic.events = topic("t9", 3))),
    ] {
        let plan = scene.plan();
        let expected = [ConditionType::Stalled, ConditionType::TopicReady, ConditionType::ResourceConflict];
        assert_eq!(refused(&plan), expected.map(|condition| (condition, reason)));
        assert_eq!(plan.steps, [], "{reason}");
    }
}

#[test]
fn a_class_that_points_to_another_kafka_stops_the_ledger() {
    let plan = Scene::open().with(|s| s.kafka().topic.cluster_id = "c2".to_owned()).plan();
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
        s.kafka().topic.cluster_id = "c2".to_owned();
        s.campaign.spec.suspend = true;
    });
    assert_eq!(suspended.plan().steps, [Step::Configure(Terms { suspended: true, ..terms() })]);
    let kafka_away = Scene::open().kafka_away().with(|s| s.campaign.spec.suspend = true);
    assert_eq!(kafka_away.plan().steps, [Step::Configure(Terms { suspended: true, ..terms() })]);
}
