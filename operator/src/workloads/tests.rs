use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

use super::*;
use crate::api::RunAs;
use crate::fixtures;

/// Runs `build` with everything that the builders need.
pub(crate) fn family<T>(class: &CampaignClass, build: impl FnOnce(&ChildContext<'_>) -> T) -> T {
    build(&ChildContext {
        campaign: &fixtures::campaign(),
        id: &fixtures::id(),
        cluster: fixtures::CLUSTER,
        class,
        connections: &fixtures::connections(),
        issuer_files: &IssuerFiles::new(),
        tokens: &ControlTokens { current: "token".to_owned(), ..ControlTokens::default() },
        key_by: KeyBy::User,
        acknowledge: Acknowledge::Durable,
        image: "coupon:1",
        image_pull_policy: None,
    })
}

/// The consumers' Deployment, as it is applied once it has a scaler.
pub(crate) fn deployment_of(class: &CampaignClass) -> Deployment {
    family(class, |family| consumer_deployment(family, None))
}

/// A class whose consumer pods have these resources.
pub(super) fn with_resources(resources: Value) -> CampaignClass {
    let mut class = fixtures::class();
    class.spec.pods.consumer.resources = Some(serde_json::from_value(resources).unwrap());
    class
}

fn both(class: &CampaignClass) -> [Deployment; 2] {
    family(class, |family| [issuer_deployment(family, None), consumer_deployment(family, None)])
}

fn template(deployment: &Deployment) -> &PodTemplateSpec {
    &deployment.spec.as_ref().unwrap().template
}

#[test]
fn replicas_are_in_the_first_apply_only() {
    for deployment in both(&fixtures::class()) {
        assert_eq!(deployment.spec.unwrap().replicas, None);
    }
    let first = family(&fixtures::class(), |family| issuer_deployment(family, Some(2)));
    assert_eq!(first.spec.unwrap().replicas, Some(2));
}

#[test]
fn pods_have_no_more_rights_than_they_need() {
    // As the `restricted` Pod Security Standard asks, and without access to the Kubernetes API.
    for deployment in both(&fixtures::class()) {
        let pod = template(&deployment).spec.as_ref().unwrap();
        assert_eq!(pod.automount_service_account_token, Some(false));
        let of_pod = pod.security_context.as_ref().unwrap();
        assert_eq!(of_pod.run_as_non_root, Some(true));
        assert!(of_pod.run_as_user.is_some_and(|user| user != 0));
        assert_eq!(of_pod.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
        for container in &pod.containers {
            let context = serde_json::to_value(container.security_context.as_ref().unwrap()).unwrap();
            let expected = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(context, expected);
        }
    }
}

/// Wrong: where the platform gives each namespace its users, as OpenShift does, no pod is admitted.
#[test]
fn a_class_leaves_the_user_to_the_platform() {
    let mut class = fixtures::class();
    class.spec.pods.run_as = RunAs::Assigned;
    for deployment in both(&class) {
        let pod = template(&deployment).spec.as_ref().unwrap();
        let context = serde_json::to_value(pod.security_context.as_ref().unwrap()).unwrap();
        assert_eq!(context, json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}));
        let mode = pod.volumes.as_ref().unwrap()[0].secret.as_ref().unwrap().default_mode;
        assert_eq!(mode, Some(0o444), "without fsGroup the files are root's: another user could not read them");
    }
}

/// Wrong: new pods that cannot start take the place of pods that work, or a broken issuer holds up a drain for ever.
#[test]
fn pods_that_work_stay_until_their_successors_do_and_broken_ones_may_be_evicted() {
    for deployment in both(&fixtures::class()) {
        let strategy = serde_json::to_value(deployment.spec.unwrap().strategy.unwrap()).unwrap();
        let expected = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        assert_eq!(strategy, expected);
    }
    let budget = family(&fixtures::class(), issuer_budget).spec.unwrap();
    assert_eq!(budget.unhealthy_pod_eviction_policy.as_deref(), Some("AlwaysAllow"));
}

#[test]
fn pods_are_found_by_labels_that_never_change() {
    // A selector is immutable: with a label in it that a new version or class changes, the Deployment could not be written.
    for (deployment, component) in both(&fixtures::class()).iter().zip([Component::Issuer, Component::Consumer]) {
        let selected = deployment.spec.as_ref().unwrap().selector.match_labels.clone().unwrap();
        let expected = BTreeMap::from([
            ("coupon-operator.io/campaign".to_owned(), "spring".to_owned()),
            ("app.kubernetes.io/component".to_owned(), component.name().to_owned()),
        ]);
        assert_eq!(selected, expected);
        let labels = template(deployment).metadata.as_ref().unwrap().labels.clone().unwrap();
        assert!(selected.iter().all(|(key, value)| labels.get(key) == Some(value)), "{labels:?}");
    }
}

#[test]
fn a_class_adds_labels_and_annotations_and_overrides_none_of_ours() {
    let mut class = fixtures::class();
    let plain = both(&class);
    for key in ["coupon-operator.io/campaign", "app.kubernetes.io/component", "app.kubernetes.io/managed-by", "team"] {
        class.spec.pods.labels.insert(key.to_owned(), "theirs".to_owned());
    }
    for key in ["coupon-operator.io/connections-hash", "note"] {
        class.spec.pods.annotations.insert(key.to_owned(), "theirs".to_owned());
    }
    for (with, without) in both(&class).iter().zip(&plain) {
        let (with, without) = (template(with).metadata.clone().unwrap(), template(without).metadata.clone().unwrap());
        let mut labels = without.labels.unwrap();
        labels.insert("team".to_owned(), "theirs".to_owned());
        assert_eq!(with.labels, Some(labels));
        let mut annotations = without.annotations.unwrap();
        annotations.insert("note".to_owned(), "theirs".to_owned());
        assert_eq!(with.annotations, Some(annotations));
    }
}

#[test]
fn pods_are_replaced_when_they_must_connect_elsewhere() {
    let before = deployment_of(&fixtures::class());
    let mut connections = fixtures::connections();
    connections.redis.login.password = "rotated".to_owned();
    let after = family(&fixtures::class(), |family| {
        consumer_deployment(&ChildContext { connections: &connections, ..*family }, None)
    });
    assert_ne!(template(&before).metadata, template(&after).metadata);
    assert!(!format!("{after:?}").contains("rotated"), "a password stands in the Secret only");
}

#[test]
fn every_child_goes_with_its_campaign() {
    let owners = family(&fixtures::class(), |family| {
        [
            issuer_deployment(family, None).metadata,
            consumer_deployment(family, None).metadata,
            issuer_service(family).metadata,
            issuer_budget(family).metadata,
            connections_secret(family).unwrap().metadata,
        ]
        .map(|metadata| metadata.owner_references.unwrap_or_default())
    });
    for owner in owners {
        assert_eq!(owner.len(), 1);
        assert_eq!((owner[0].uid.as_str(), owner[0].controller), ("0001", Some(true)));
    }
}

#[test]
fn a_secret_is_nobodys_guess_and_its_text_can_be_read_back() {
    assert_ne!(new_token(), new_token());
    assert_eq!(new_token().len(), 64);
    let data = family(&fixtures::class(), connections_secret).unwrap().data.unwrap();
    assert_eq!(data["control-token"].0, b"token");
    let text = String::from_utf8(data["connections.yaml"].0.clone()).unwrap();
    assert_eq!(coupon_core::yaml::from_str::<Connections>(&text).unwrap(), fixtures::connections());
}

/// Wrong: a rollout that should wait is begun because a label of the Deployment changed, or what somebody changed by hand waits for the
/// end of the window.
#[test]
fn what_replaces_pods_is_told_from_what_does_not() {
    let ours = deployment_of(&fixtures::class());
    let mut class = fixtures::class();
    class.spec.images.image = Some("coupon:2".to_owned());
    assert!(replaces_pods(&ours, &deployment_of(&class)), "another image");
    let mut connections = fixtures::connections();
    connections.redis.login.password = "rotated".to_owned();
    let rotated = family(&fixtures::class(), |family| {
        consumer_deployment(&ChildContext { connections: &connections, ..*family }, None)
    });
    assert!(replaces_pods(&ours, &rotated), "another login");
    assert!(!replaces_pods(&ours, &ours.clone()));

    let mut drifted = ours.clone();
    let container = &mut drifted.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0];
    container.image = Some("evil".to_owned());
    assert!(!replaces_pods(&drifted, &ours), "what somebody changed is put back at once");
    let mut labelled = ours.clone();
    labelled.metadata.labels.as_mut().unwrap().clear();
    assert!(!replaces_pods(&labelled, &ours), "what is not of the pods is written at once");
}

/// Wrong: users' connections that do not fit into the pod's memory, or a pod that is killed while it still serves.
#[test]
fn an_issuer_knows_its_memory_and_its_grace_follows_its_delay() {
    let mut class = fixtures::class();
    for (delay, grace) in [(5, 40), (0, 35), (30, 65)] {
        class.spec.pods.issuer.shutdown_delay_seconds = delay;
        let [issuer, consumer] = both(&class);
        let pod = template(&issuer).spec.clone().unwrap();
        assert_eq!(pod.termination_grace_period_seconds, Some(grace));
        let env = pod.containers[0].env.clone().unwrap();
        let named = |name: &str| serde_json::to_value(env.iter().find(|one| one.name == name).unwrap()).unwrap();
        assert_eq!(named("COUPON_SHUTDOWN_DELAY_MS")["value"], (u32::from(delay) * 1000).to_string());
        assert_eq!(named("COUPON_KEEP_ALIVE_SECONDS")["value"], "75");
        assert_eq!(named("COUPON_MEMORY_LIMIT")["valueFrom"]["resourceFieldRef"]["resource"], "limits.memory");
        assert_eq!(template(&consumer).spec.as_ref().unwrap().termination_grace_period_seconds, Some(35));
    }
}

/// Wrong: pages that the class names cannot call, or every pod is replaced by an upgrade that changes nothing for it.
#[test]
fn issuers_hear_of_pages_that_may_call_and_of_nothing_where_none_may() {
    let mut class = fixtures::class();
    let named = |class: &CampaignClass| -> BTreeMap<String, String> {
        let [issuer, _] = both(class);
        let env = template(&issuer).spec.clone().unwrap().containers[0].env.clone().unwrap();
        let cors = env.into_iter().filter(|one| one.name.starts_with("COUPON_CORS"));
        cors.map(|one| (one.name, one.value.unwrap())).collect()
    };
    assert_eq!(named(&class), BTreeMap::new());
    let cors = json!({"allowedOrigins": ["https://shop.example", "http://localhost:8000"]});
    class.spec.routing.cors = Some(serde_json::from_value(cors).unwrap());
    let expected =
        [("COUPON_CORS_ORIGINS", "https://shop.example,http://localhost:8000"), ("COUPON_CORS_MAX_AGE_SECONDS", "600")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(named(&class), BTreeMap::from(expected));
}

/// Wrong: an issuer of before does not start where nobody is authenticated, or one that should authenticate users believes them.
#[test]
fn issuers_are_told_how_users_are_authenticated_where_they_are() {
    let arguments = |authentication: Value| {
        let mut class = fixtures::class();
        class.spec.authentication = serde_json::from_value(authentication).unwrap();
        both(&class).map(|deployment| template(&deployment).spec.clone().unwrap().containers[0].args.clone())
    };
    assert_eq!(arguments(json!({})), [None, None]);
    assert_eq!(arguments(json!({"acknowledged": true})), [None, None], "to say so replaces no pod");
    let [issuer, consumer] = arguments(json!({"type": "Header", "header": {"name": "X-User"}}));
    assert_eq!(
        (issuer.unwrap().join(" "), consumer),
        (r#"--authentication {"header":{"name":"x-user"}}"#.to_owned(), None)
    );
}

/// Wrong: an issuer of before does not start where nothing is limited, or one that should limit lets in everybody.
#[test]
fn issuers_are_told_how_often_users_may_ask_where_that_is_limited() {
    let arguments = |rate_limits: Value| {
        let mut class = fixtures::class();
        class.spec.rate_limits = serde_json::from_value(rate_limits).unwrap();
        both(&class).map(|deployment| template(&deployment).spec.clone().unwrap().containers[0].args.clone())
    };
    assert_eq!(arguments(json!({})), [None, None]);
    assert_eq!(arguments(json!({"trustedProxies": ["10.0.0.0/8"]})), [None, None]);
    let [issuer, consumer] = arguments(json!({"perUser": {"requests": 1, "perSeconds": 2, "burst": 10}}));
    let limits = r#"--rate-limits {"perUser":{"requests":1,"perSeconds":2,"burst":10}}"#;
    assert_eq!((issuer.unwrap().join(" "), consumer), (limits.to_owned(), None));
    let mut class = fixtures::class();
    class.spec.rate_limits = serde_json::from_value(json!({"perPod": {"requests": 9, "burst": 9}})).unwrap();
    class.spec.authentication =
        serde_json::from_value(json!({"type": "Header", "header": {"name": "X-User"}})).unwrap();
    let [issuer, _] = both(&class);
    let arguments = template(&issuer).spec.clone().unwrap().containers[0].args.clone().unwrap();
    assert_eq!(
        (arguments.len(), arguments[0].as_str(), arguments[2].as_str()),
        (4, "--authentication", "--rate-limits")
    );
}

/// Wrong: new keys in a sale do not reach issuers, or replace them.
#[test]
fn keys_of_tokens_reach_issuers_beside_their_connections_and_replace_no_pod() {
    let with = |files: &IssuerFiles| {
        family(&fixtures::class(), |family| {
            let family = ChildContext { issuer_files: files, ..*family };
            (connections_secret(&family).unwrap().data.unwrap(), issuer_deployment(&family, None))
        })
    };
    let (without, before) = with(&IssuerFiles::new());
    let (data, after) = with(&IssuerFiles::from([("token-keys.json", "{}".to_owned())]));
    assert_eq!((data["token-keys.json"].0.as_slice(), before), (&b"{}"[..], after));
    assert_eq!(data.len(), without.len() + 1);
}

/// Wrong: any pod of the cluster fills the control port, or calls the API past the gateway.
#[test]
fn a_policy_lets_in_whom_the_class_names_and_the_operator() {
    let labels = BTreeMap::from([("app".to_owned(), "operator".to_owned())]);
    let operator = OperatorPods { namespace: "coupon-system".to_owned(), labels };
    let built = |access: Value| {
        let mut class = fixtures::class();
        class.spec.network_policy = serde_json::from_value(access).unwrap();
        family(&class, |family| network_policy(family, &operator)).map(|policy| serde_json::to_value(policy).unwrap())
    };
    assert_eq!(built(json!(null)), None, "nobody has asked for it");
    let own = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "coupon-system"}},
        "podSelector": {"matchLabels": {"app": "operator"}}});
    let port = |port: i32| json!([{"port": port, "protocol": "TCP"}]);
    let closed = built(json!({})).unwrap();
    assert_eq!(closed["metadata"]["name"], "spring-pods");
    assert_eq!(closed["metadata"]["ownerReferences"][0]["uid"], "0001");
    assert_eq!(
        closed["spec"],
        json!({
            "podSelector": {"matchLabels": {CAMPAIGN_LABEL: "spring"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": port(8080)}, {"ports": port(8081), "from": [own]}, {"ports": port(9090), "from": [own]}],
        })
    );
    let gateway = json!({"namespaceSelector": {"matchLabels": {"name": "gateways"}}});
    let prometheus = json!({"podSelector": {"matchLabels": {"app": "prometheus"}}});
    let open = built(json!({"usersFrom": [gateway], "metricsFrom": [prometheus]})).unwrap();
    let from: Vec<Value> =
        open["spec"]["ingress"].as_array().unwrap().iter().map(|rule| rule["from"].clone()).collect();
    assert_eq!(from, [json!([gateway]), json!([own]), json!([own, prometheus])]);
    // Pods bear the label that is selected.
    let pods = both(&fixtures::class());
    assert!(
        pods.iter()
            .all(|pods| template(pods).metadata.as_ref().unwrap().labels.as_ref().unwrap()[CAMPAIGN_LABEL] == "spring")
    );
}

/// Wrong: a token that was rotated reaches no issuer before somebody restarts it; or consumers are replaced for it.
#[test]
fn issuers_are_replaced_when_their_token_is_another_one() {
    let built = |token: &str| {
        family(&fixtures::class(), |family| {
            let tokens = ControlTokens {
                current: token.to_owned(),
                previous: Some("old".to_owned()),
                ..ControlTokens::default()
            };
            let family = ChildContext { tokens: &tokens, ..*family };
            [issuer_deployment(&family, None), consumer_deployment(&family, None)]
        })
    };
    let [[issuer, consumer], [other_issuer, other_consumer]] = [built("one"), built("two")];
    assert!(replaces_pods(&issuer, &other_issuer));
    assert!(!replaces_pods(&consumer, &other_consumer));
    assert!(!format!("{issuer:?}").contains("one\""), "the token itself is in the Secret only");
}
