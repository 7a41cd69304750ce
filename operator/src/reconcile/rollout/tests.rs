use coupon_ledger::redis::RedisError;
use serde_json::{Value, json};

use super::super::issuers::could_grant;
use super::super::scene::Scene;
use super::*;
use crate::fixtures::{END, LEAD, MINUTE, START};
use crate::issuer_client::pressure::Pressure;
use crate::issuer_client::serving::{Answers, OpenEpoch};

const WORKS: WorkingPods = WorkingPods { issuer: true, consumer: true };

fn annotated_as(scene: Scene, text: &str) -> Scene {
    scene.with(|s| {
        let annotations = s.campaign.metadata.annotations.get_or_insert_default();
        annotations.insert(ROLLOUT_ANNOTATION.to_owned(), text.to_owned());
    })
}

/// What is said about pods whose fingerprint is `new`.
fn order(scene: &Scene, used: Option<&RolledOut>) -> Order {
    Order::of(&scene.campaign, &scene.class, used, "new")
}

fn rolls(scene: &Scene, work: WorkingPods, component: Component) -> bool {
    when(&order(scene, None), &scene.plan(), work, component) == When::Now
}

fn now_by_class(scene: Scene) -> Scene {
    scene.with(|s| s.class.spec.rollout.during_window = DuringWindow::Now)
}

/// Wrong: a new image, or a login that is rotated, moves partitions and cuts connections while people ask.
#[test]
fn pods_that_work_stay_while_coupons_can_be_had() {
    let suspended = Scene::open().with(|s| s.campaign.spec.suspend = true).in_force();
    for (what, scene, expected) in [
        ("next week", Scene::prepared(), true),
        ("pods are up, the window opens in minutes", Scene::prepared().at(LEAD), true),
        ("the window opens in a moment", Scene::prepared().at(START - MINUTE), false),
        ("open", Scene::open(), false),
        ("Redis is brought back", Scene::open().redis_emptied(), false),
        ("sold out", Scene::open().issued(100).stored(100), true),
        ("suspended", suspended, true),
        ("over, and records wait", Scene::open().issued(9).lag(4).stored(5).at(END), true),
        ("over", Scene::completed(), true),
        ("open, the class says now", now_by_class(Scene::open()), true),
        ("open, somebody on call says now", annotated_as(Scene::open(), "now"), true),
        ("open, the class says now and the campaign wait", annotated_as(now_by_class(Scene::open()), "wait"), false),
        ("open, what somebody says is not understood", annotated_as(Scene::open(), "Now!"), false),
    ] {
        for component in [Component::Issuer, Component::Consumer] {
            assert_eq!(rolls(&scene, WORKS, component), expected, "{what}: {component:?}");
        }
    }
    let open = Scene::open();
    let When::Later(until) = when(&order(&open, None), &open.plan(), WORKS, Component::Issuer) else {
        panic!("an open sale")
    };
    assert!(until.contains("2026-12-01T12:00:00Z") && until.contains("coupon-operator.io/rollout=now"), "{until}");
}

/// Wrong: connections that are broken stay broken until the window is over.
#[test]
fn pods_that_do_not_work_are_replaced_at_once() {
    let up = |ready: i32| -> Deployment {
        serde_json::from_value(json!({"metadata": {}, "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": {"replicas": 2, "readyReplicas": ready}}))
        .unwrap()
    };
    let silent = Verdict::Waiting(Some("none serves".to_owned()));
    let broken = |ready: i32| {
        Some(NotReadyCause { reason: "PodsCrash", text: String::new(), is_starting: false }).filter(|_| ready == 0)
    };
    let work = |issuers, consumers, serving| {
        let ailing = Ailing { issuer: broken(issuers), consumer: broken(consumers) };
        let work = WorkingPods::of(Some(&up(issuers)), Some(&up(consumers)), &ailing, serving, &Memory::default());
        [Component::Issuer, Component::Consumer].map(|component| rolls(&Scene::open(), work, component))
    };
    assert_eq!(work(2, 2, &Verdict::Serving), [false, false]);
    assert_eq!(work(1, 1, &Verdict::Serving), [false, false], "some work: they would be lost as well");
    assert_eq!(work(0, 2, &Verdict::Serving), [true, false]);
    assert_eq!(work(2, 0, &Verdict::Serving), [false, true]);
    assert_eq!(work(2, 2, &silent), [true, false], "ready, and nobody is served");
    let none = WorkingPods::of(None, None, &Ailing::default(), &Verdict::Serving, &Memory::default());
    assert!(rolls(&Scene::open(), none, Component::Issuer), "there is nobody to be protected");
    let starts = WorkingPods::of(Some(&up(0)), Some(&up(0)), &Ailing::default(), &Verdict::Serving, &Memory::default());
    assert!(!rolls(&Scene::open(), starts, Component::Consumer), "the only one has died, and comes up again");
}

/// Wrong: a rollout that waits for the end of a sale begins because Redis is away, which it does not mend, and the sale that comes back meets cold
/// pods and cut connections.
#[test]
fn an_outage_lets_no_rollout_go_that_waits_for_the_sale() {
    let up = || deployment(false, json!({"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}));
    let refusing = |reason: &str| {
        let pressure = Pressure { reason: Some(reason.to_owned()), ..Pressure::default() };
        Answers::from([("a".to_owned(), Some(pressure.clone())), ("b".to_owned(), Some(pressure))])
    };
    let granting = Answers::from([("a".to_owned(), Some(Pressure { epoch: Some(1), ..Pressure::default() }))]);
    let away = || Scene::open().redis_away();
    let repairing = || Scene::open().redis_history_changed().with(|s| s.row().open_epoch = None);
    let full = RedisError::Timeout(2_000);
    let mut memory = Memory::default();
    for (second, what, scene, refusal, answers, expected) in [
        (0, "a sale that nobody asks", Scene::open(), None, granting.clone(), false),
        (2, "Redis is away", away(), None, refusing("RedisAway"), false),
        (80, "and stays away", away(), None, refusing("RedisAway"), false),
        (90, "the database as well", away().database_away(), None, refusing("RedisAway"), false),
        (100, "it is brought back", repairing(), None, refusing("Closed"), false),
        (130, "which takes its time", repairing(), None, refusing("Closed"), false),
        (140, "it can be read, and takes no writes", Scene::open(), Some(&full), refusing("RedisAway"), false),
        (160, "nor does it later", Scene::open(), Some(&full), refusing("RedisAway"), false),
        (170, "it is back, and issuers look for it", Scene::open(), None, refusing("RedisAway"), false),
        (172, "they have found it", Scene::open(), None, granting, false),
        (200, "they lose it, and nobody else does", Scene::open(), None, refusing("RedisAway"), false),
        (210, "what they connect to is wrong", Scene::open(), None, refusing("RedisAway"), true),
    ] {
        let could_grant = could_grant(&scene.observation(), refusal);
        memory.serving.service(second * 1_000, OpenEpoch::Recorded(Some(1)), could_grant, &answers);
        let work = WorkingPods::of(Some(&up()), Some(&up()), &Ailing::default(), &Verdict::Serving, &memory);
        assert_eq!(rolls(&scene, work, Component::Issuer), expected, "{second} s: {what}");
        assert!(!rolls(&scene, work, Component::Consumer), "{second} s: {what}");
    }
}

/// Wrong: an image that cannot be had was rolled out by hand; the class is put right, and the broken half stays until the window ends.
#[test]
fn a_rollout_that_is_stuck_half_way_does_not_wait_for_what_mends_it() {
    let half = deployment(false, json!({"replicas": 3, "updatedReplicas": 1, "readyReplicas": 2}));
    let whole = deployment(false, json!({"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}));
    let cause =
        |is_starting| NotReadyCause { reason: "ImagePullFailed", text: "no such image".to_owned(), is_starting };
    for (what, issuer, cause, expected) in [
        ("its image cannot be had", &half, Some(cause(false)), true),
        ("its pods start", &half, Some(cause(true)), false),
        ("it goes on", &half, None, false),
        ("one of those that were there is broken", &whole, Some(cause(false)), false),
    ] {
        let ailing = Ailing { issuer: cause, consumer: None };
        let work = WorkingPods::of(Some(issuer), Some(issuer), &ailing, &Verdict::Serving, &Memory::default());
        assert_eq!(rolls(&Scene::open(), work, Component::Issuer), expected, "{what}");
        assert!(!rolls(&Scene::open(), work, Component::Consumer), "{what}");
    }
}

fn deployment(paused: bool, status: Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "spring-issuer"},
        "spec": {"replicas": 2, "paused": paused, "selector": {}, "template": {}}, "status": status,
    }))
    .unwrap()
}

/// Wrong: nobody sees that pods are not yet what class and spec say.
#[test]
fn how_far_a_rollout_is() {
    let progressing = |status: &str, reason: &str| json!([{"type": "Progressing", "status": status, "reason": reason}]);
    let stuck = json!({"replicas": 3, "updatedReplicas": 1, "readyReplicas": 2,
        "conditions": progressing("False", "ProgressDeadlineExceeded")});
    let rolling = json!({"replicas": 3, "updatedReplicas": 1, "conditions": progressing("True", "ReplicaSetUpdated")});
    let still = json!({"replicas": 2, "updatedReplicas": 2});
    let told = |paused, status: &Value, waits: Option<&str>, begun| {
        let all = vec![(Component::Issuer, Progress::of(&deployment(paused, status.clone()), waits, begun))];
        Rollouts { all, ..Rollouts::default() }
    };
    let said = |paused, status, waits| told(paused, status, waits, false);
    for (what, rollouts, reason, says) in [
        ("no pods yet", Rollouts::default(), None, ""),
        ("as it should be", said(false, &still, None), Some("UpToDate"), "all pods are as class and spec say"),
        ("none is wanted", said(false, &json!({}), None), Some("UpToDate"), "all pods"),
        (
            "more pods come up",
            said(false, &json!({"replicas": 4, "updatedReplicas": 4}), None),
            Some("UpToDate"),
            "all pods",
        ),
        ("it was told to just now", told(false, &still, None, true), Some("RollingOut"), "about to be replaced"),
        ("it waits", said(false, &still, Some("until then")), Some("RolloutWaits"), "stay until then"),
        ("it goes on", said(false, &rolling, None), Some("RollingOut"), "1 of 3 issuer pods are new"),
        ("it is stuck", said(false, &stuck, None), Some("RollingOut"), "it gets no further"),
        ("paused by hand", said(true, &still, None), Some("RolloutPaused"), "kubectl rollout resume"),
    ] {
        let report = rollouts.report();
        assert_eq!(report.as_ref().map(|report| report.reason), reason, "{what}");
        let is_true = report.as_ref().and_then(|report| report.status);
        assert_eq!(is_true, reason.map(|reason| reason == "UpToDate"), "{what}");
        let text = report.map(|report| report.message).unwrap_or_default();
        assert!(text.contains(says), "{what}: {text}");
    }
    let all = vec![
        (Component::Issuer, Progress::UnderWay { new: 1, all: 2, stuck: false }),
        (Component::Consumer, Progress::Waits("until then".to_owned())),
    ];
    let both = Rollouts { all, ..Rollouts::default() };
    let report = both.report().unwrap();
    assert_eq!(report.reason, "RolloutWaits");
    assert!(report.message.contains("1 of 2 issuer pods") && report.message.contains("consumer pods should change"));
}

/// Wrong: who waits for a rotation (`kubectl wait`) is told that it is done while pods keep the old logins, as the new ones do not work.
#[test]
fn pods_are_not_up_to_date_while_they_do_not_get_what_the_class_says() {
    let unproven = || Asked::NotForConnections("pods keep the connections that they have to Redis".to_owned());
    let waits = || Progress::Waits("until then".to_owned());
    for (what, asked, progress, expected) in [
        ("as it should be", Asked::ForAll, Progress::Done, (Some(true), "UpToDate")),
        ("new connections wait", unproven(), Progress::Done, (Some(false), "ConnectionsNotProven")),
        ("and so does a rollout", unproven(), waits(), (Some(false), "ConnectionsNotProven")),
        ("nobody could look", Asked::NotCompared, Progress::Done, (None, "NotCompared")),
        ("nor need to", Asked::NotCompared, waits(), (Some(false), "RolloutWaits")),
    ] {
        let is_waiting = progress == waits();
        let rollouts = Rollouts { all: vec![(Component::Issuer, progress)], asked, used: None };
        let report = rollouts.report().unwrap();
        assert_eq!((report.status, report.reason), expected, "{what}");
        assert_eq!(report.message.contains("stay until then"), is_waiting, "{what}: {}", report.message);
    }
    let none = Rollouts { asked: unproven(), ..Rollouts::default() };
    assert_eq!(none.report(), None, "no pods yet");
}

/// Wrong: the figures of before a change say that all pods are new.
#[test]
fn a_deployment_speaks_of_what_it_asks_for_once_kubernetes_has_looked() {
    for (generation, observed, expected) in [
        (2, json!({"observedGeneration": 2}), true),
        (3, json!({"observedGeneration": 2}), false),
        (1, json!({}), false),
    ] {
        let mut found = deployment(false, observed);
        found.metadata.generation = Some(generation);
        assert_eq!(is_observed(&found), expected, "{generation}");
    }
}

/// Wrong: an annotation that was set for one rollout replaces pods in mid-sale at the next change, of which nobody on call knows; or the same
/// command does nothing the second time.
#[test]
fn now_is_said_of_one_rollout() {
    let once =
        |annotation: &str, pods: &str| Some(RolledOut { annotation: annotation.to_owned(), pods: pods.to_owned() });
    for (what, annotation, known, replaces, next) in [
        ("just set", "now", None, true, "now"),
        ("its rollout goes on", "now", once("now", "new"), true, "now-2"),
        ("another change", "now", once("now", "old"), false, "now-2"),
        ("another change, and said anew", "now-2", once("now", "old"), true, "now"),
        ("another change after that", "now-2", once("now-2", "old"), false, "now-3"),
        ("by date", "now-2026-11-29", once("now-2026-11-29", "old"), false, "now-2"),
    ] {
        let scene = annotated_as(Scene::open(), annotation).with(|scene| {
            scene.campaign.status.get_or_insert_default().rolled_out = known;
        });
        let known = used(&scene.campaign, &RolloutWatch::default());
        let order = order(&scene, known.as_ref());
        let when = when(&order, &scene.plan(), WORKS, Component::Issuer);
        assert_eq!(when == When::Now, replaces, "{what}");
        let wanted = replaces.then(|| RolledOut { annotation: annotation.to_owned(), pods: "new".to_owned() });
        assert_eq!(order.once("new".to_owned()), wanted, "{what}");
        if let When::Later(until) = when {
            assert!(until.contains(&format!("coupon-operator.io/rollout={next} replaces")), "{what}: {until}");
        }
    }
    // Of this process, before the watch shows it.
    let scene = annotated_as(Scene::open(), "now");
    let watch = RolloutWatch { used: once("now", "old"), ..RolloutWatch::default() };
    assert_eq!(used(&scene.campaign, &watch), once("now", "old"));
    let done = vec![(Component::Issuer, Progress::Done)];
    let over = Rollouts { all: done, used: once("now", "old"), ..Rollouts::default() };
    let text = over.report().unwrap().message;
    assert!(text.contains("rollout=now has done its work") && text.contains("set it to now-2"), "{text}");
}
