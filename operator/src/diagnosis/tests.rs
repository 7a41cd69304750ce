use serde_json::{Value, json};

use super::*;
use crate::diagnosis::pod_answers::MOST_WORDS;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
/// Of a pod that began a minute ago.
const LONG_AGO: &str = "2027-01-15T07:59:00Z";

fn deployment(conditions: Value) -> Deployment {
    serde_json::from_value(json!({"metadata": {}, "status": {"conditions": conditions}})).unwrap()
}

fn pod(name: &str, status: Value) -> Arc<Pod> {
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "status": status})).unwrap())
}

/// A pod with one container in this state.
fn container(state: Value, last: Value) -> Value {
    let ready = json!({"type": "Ready", "status": "False"});
    let one = json!({"name": "issuer", "image": "r.example/coupon:9", "imageID": "", "ready": false, "restartCount": 3,
        "state": state, "lastState": last});
    json!({"phase": "Running", "startTime": LONG_AGO, "conditions": [ready], "containerStatuses": [one]})
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn terminated(code: i32, reason: &str, message: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "message": message}})
}

fn running() -> Value {
    json!({"running": {"startedAt": LONG_AGO}})
}

/// Wrong: people read "0 of 1 pods are ready", and the cause stands in an object that they may not even see.
#[test]
fn what_kubernetes_knows_of_a_pod_is_said() {
    let quota = r#"pods "a-1" is forbidden: exceeded quota: two, requested: pods=1, used: pods=2, limited: pods=2"#;
    let unscheduled = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu."});
    let crash = terminated(1, "Error", "starting\nError: COUPON_CAMPAIGN is no campaign\n");
    let back_off = r#"Back-off pulling image "r.example/coupon:9": ErrImagePull: not found"#;
    for (what, conditions, status, reason, says) in [
        (
            "a quota",
            json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": quota}]),
            json!({}),
            "PodsForbidden",
            "exceeded quota: two",
        ),
        (
            "no node",
            json!([]),
            json!({"phase": "Pending", "conditions": [unscheduled]}),
            "PodsUnschedulable",
            "1 Insufficient cpu",
        ),
        (
            "no image",
            json!([]),
            container(waiting("ErrImagePull", "not found"), json!({})),
            "ImagePullFailed",
            "cannot have its image r.example/coupon:9: not found;",
        ),
        (
            "no image, and a pause before the next try",
            json!([]),
            container(waiting("ImagePullBackOff", back_off), json!({})),
            "ImagePullFailed",
            "cannot have its image r.example/coupon:9: not found;",
        ),
        (
            "a Secret that is not there",
            json!([]),
            container(waiting("CreateContainerConfigError", "secret \"x\" not found"), json!({})),
            "ContainerNotCreated",
            "secret \"x\" not found",
        ),
        (
            "a program that ends",
            json!([]),
            container(waiting("CrashLoopBackOff", "back-off 40s restarting failed container"), crash.clone()),
            "PodsCrash",
            "ended with exit code 1: Error: COUPON_CAMPAIGN is no campaign;",
        ),
        (
            "the same at the moment",
            json!([]),
            container(crash, json!({})),
            "PodsCrash",
            "ended with exit code 1: Error",
        ),
        (
            "too little memory",
            json!([]),
            container(waiting("CrashLoopBackOff", "back-off"), terminated(137, "OOMKilled", "")),
            "PodsOutOfMemory",
            "raise the memory limit",
        ),
        (
            "a node under pressure",
            json!([]),
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
            "PodsEvicted",
            "Evicted: The node was low on resource",
        ),
    ] {
        let found = cause(Some(&deployment(conditions)), &[pod("a-1", status)], &PodAnswers::new(), NOW);
        let found = found.unwrap_or_else(|| panic!("{what}"));
        assert_eq!((found.reason, found.is_starting), (reason, false), "{what}");
        assert!(found.text.contains(says), "{what}: {}", found.text);
    }
}

/// Wrong: a login that the pods cannot use shows in their logs only.
#[test]
fn what_a_running_pod_says_of_itself_is_said_and_a_start_is_no_fault() {
    let answers = PodAnswers::from([("a-1".to_owned(), "database: 1045 Access denied for user 'w'".to_owned())]);
    let nothing = PodAnswers::new();
    let found = |status, answers| cause(None, &[pod("a-1", status)], answers, NOW);
    let one = found(container(running(), json!({})), &answers).unwrap();
    assert_eq!((one.reason, one.is_starting), ("PodsNotReady", false));
    assert_eq!(one.text, "pod a-1 runs and says: database: 1045 Access denied for user 'w'");
    let again = found(container(running(), terminated(2, "Error", "")), &answers).unwrap();
    assert!(again.text.ends_with("; before, it ended with exit code 2"), "{}", again.text);
    let mut young = container(running(), json!({}));
    young["startTime"] = json!("2027-01-15T07:59:45Z");
    assert!(found(young, &answers).unwrap().is_starting);
    assert_eq!(found(container(running(), json!({})), &nothing), None, "nobody says why");
    let mut ready = container(running(), json!({}));
    ready["conditions"][0]["status"] = json!("True");
    assert_eq!(found(ready, &answers), None);
    assert_eq!(cause(None, &[], &PodAnswers::new(), NOW), None);
}

#[test]
fn a_deployment_that_is_deleted_and_does_not_go_is_said_with_what_holds_it() {
    for (finalizers, says) in [
        (json!(["example.com/hold"]), "its finalizers hold it (example.com/hold)"),
        (json!(["foregroundDeletion"]), "waits for its pods"),
        (json!([]), "as soon as its pods have gone"),
    ] {
        let mut held = deployment(json!([]));
        held.metadata.finalizers = serde_json::from_value(finalizers).unwrap();
        held.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW));
        let found = cause(Some(&held), &[], &PodAnswers::new(), NOW).unwrap();
        assert!(found.reason == "ChildTerminating" && !found.is_starting, "{found:?}");
        assert!(found.text.contains("deleted by somebody at") && found.text.contains(says), "{found:?}");
    }
}

#[test]
fn the_worst_of_several_pods_is_said_with_how_many_are_like_it_in_the_same_words_each_time() {
    let image = container(waiting("ErrImagePull", "not found"), json!({}));
    let slow = container(running(), json!({}));
    let answers = PodAnswers::from([("a-1".to_owned(), "no open epoch yet".to_owned())]);
    let pods = [pod("a-3", image.clone()), pod("a-1", slow), pod("a-2", image)];
    let mut turned = pods.clone();
    turned.reverse();
    let found = cause(None, &pods, &answers, NOW).unwrap();
    assert!(found.text.starts_with("pod a-2 cannot have its image"), "{}", found.text);
    assert!(found.text.contains("(1 more likewise)"), "{}", found.text);
    assert_eq!(cause(None, &turned, &answers, NOW), Some(found));
}

#[test]
fn words_of_others_are_one_line_and_bounded() {
    assert_eq!(short("a\n  b\tc"), "a b c");
    let long = short(&"é".repeat(MOST_WORDS + 7));
    assert_eq!(long.chars().count(), MOST_WORDS + 3);
}

/// Wrong: pods that hang "start", for as long as they hang.
#[test]
fn a_pod_that_runs_and_does_not_answer_is_said() {
    let answers = |said: &str| PodAnswers::from([("a".to_owned(), said.to_owned())]);
    let pods = [pod("a", container(running(), json!({})))];
    let cause = |answers: &PodAnswers| cause(None, &pods, answers, NOW);
    let silent = cause(&answers("")).unwrap();
    assert!(!silent.is_starting && silent.text.contains("does not answer on port 9090"), "{}", silent.text);
    assert_eq!(cause(&PodAnswers::new()), None, "it was not asked");
    let mut young = container(running(), json!({}));
    young["startTime"] = json!("2027-01-15T07:59:45Z");
    assert_eq!(super::cause(None, &[pod("a", young)], &answers(""), NOW), None, "it starts");
}

/// Wrong: users reach nobody, says status, while some are answered.
#[test]
fn a_pod_that_ends_is_counted_until_its_process_has_ended() {
    let leaving = |name: &str, state: Value| {
        let mut pod = Arc::unwrap_or_clone(pod(name, container(state, json!({}))));
        let at = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW);
        pod.metadata.deletion_timestamp = Some(at);
        Arc::new(pod)
    };
    let stays = pod("stays", container(running(), json!({})));
    assert_eq!(ending(&[stays, leaving("a", running()), leaving("b", terminated(0, "Completed", ""))]), 1);
}
