//! What people get wrong: each is answered with a sentence that says what to change, nothing is made half, and it recovers by
//! itself when the cause goes away.

use std::collections::BTreeMap;

use coupon_kafka_admin::{KafkaAdmin, TopicSpec};
use e2e::campaign::{Sale, manifest};
use e2e::install::{self, SYSTEM_NAMESPACE, apply, kubectl};
use serde_json::{Value, json};

use crate::test_context::{SOON, TestContext};

/// Refused by `kubectl apply` itself.
#[tokio::test]
async fn a_bad_manifest_fails_at_apply() {
    let context = TestContext::new("apply").await;
    let good = || manifest(&context.namespace, "good", 100, 3600, 7200);
    let with = |pointer: &str, value: Value| {
        let mut manifest = good();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        manifest.pointer_mut(parent).unwrap()[key] = value;
        manifest
    };
    let backwards = {
        let mut manifest = good();
        manifest["spec"]["window"] = json!({"start": "2027-01-02T00:00:00Z", "end": "2027-01-01T00:00:00Z"});
        manifest
    };
    for (manifest, sentence) in [
        (backwards, "window.start must be before window.end"),
        (with("/spec/totalQuantity", json!(0)), "should be greater than or equal to 1"),
        (with("/spec/partitions", json!(0)), "should be greater than or equal to 1"),
        (with("/metadata/name", json!("a".repeat(41))), "at most 40 characters"),
        (with("/spec/consumer", json!({"maxReplicas": 9})), "lower them or raise partitions"),
    ] {
        let error = apply(&manifest).await.unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    }
    apply(&good()).await.unwrap();
    let error = apply(&with("/spec/partitions", json!(2))).await.unwrap_err().to_string();
    assert!(error.contains("partitions cannot shrink"), "{error}");
    let error = apply(&with("/spec/couponId", json!("other"))).await.unwrap_err().to_string();
    assert!(error.contains("create another campaign instead"), "{error}");
    context.leave().await;
}

/// Objects in the namespace that a campaign could have made.
async fn made(namespace: &str) -> String {
    kubectl(&["get", "deployments,services,secrets,poddisruptionbudgets", "-n", namespace, "-o", "name"]).await.unwrap()
}

/// A class with one thing wrong: the condition says what, nothing is made, and correcting the class is all it takes.
#[tokio::test]
async fn a_wrong_class_is_told_apart_and_recovers_when_corrected() {
    let context = TestContext::new("class").await;
    let wrong = format!("wrong-{}", context.namespace);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": wrong, "namespace": SYSTEM_NAMESPACE},
        "stringData": {"redis-username": "coupon_operator", "redis-password": "wrong",
            "database-username": "coupon_operator", "database-password": "wrong"}
    });
    apply(&secret).await.unwrap();
    let good = install::class(&wrong, &context.connections, false).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut class = good.clone();
        *class.pointer_mut(pointer).unwrap() = value;
        class
    };
    let nowhere = json!(["127.0.0.1:1"]);
    for (number, (class, condition, reason, sentence)) in [
        (
            with("/spec/kafka/bootstrapServers", nowhere),
            "KafkaReady",
            "KafkaUnreachable",
            "check the bootstrap address",
        ),
        (
            with("/spec/redis/url", json!("redis://127.0.0.1:1")),
            "RedisReady",
            "RedisUnavailable",
            "check redis in the CampaignClass",
        ),
        (
            with("/spec/database/name", json!("coupons_absent")),
            "DatabaseReady",
            "DatabaseSchemaInvalid",
            "check that the database named in the CampaignClass exists",
        ),
        (
            with("/spec/credentials/operator/secretName", json!(wrong)),
            "RedisReady",
            "RedisAuthenticationFailed",
            "check redis-username and redis-password",
        ),
        (
            with("/spec/credentials/operator/secretName", json!("absent")),
            "CredentialsReady",
            "SecretMissing",
            "create it",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        apply(&class).await.unwrap();
        let name = format!("sale-{number}");
        let mut wanted = manifest(&context.namespace, &name, 10, -1, 900);
        wanted["spec"]["className"] = json!(wrong);
        wanted["spec"]["partitions"] = json!(1);
        let sale = Sale::apply(&context.client, wanted).await.unwrap();
        let found = sale
            .until(&format!("{condition} {reason}: {sentence}"), SOON, |c| {
                c.status.iter().flat_map(|s| &s.conditions).any(|each| {
                    each.type_ == condition
                        && each.status == "False"
                        && each.reason == reason
                        && each.message.contains(sentence)
                })
            })
            .await
            .unwrap();
        assert!(!Sale::is_ready(&found));
        assert_eq!(made(&context.namespace).await, "", "{name}: nothing is made half");
        apply(&good).await.unwrap();
        sale.until(&format!("{name} recovers"), SOON, Sale::is_ready).await.unwrap();
        assert!(sale.issuer().await.unwrap().insist("anna", None, SOON).await.issued());
        sale.delete("foreground").await.unwrap();
        e2e::wait::until("nothing left", SOON, async || {
            let left = made(&context.namespace).await;
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await
        .unwrap();
    }
    kubectl(&["delete", "campaignclass", &wrong]).await.unwrap();
    context.leave().await;
}

#[tokio::test]
async fn an_unknown_class_and_a_namespace_that_does_not_take_part() {
    let context = TestContext::new("unknown").await;
    let mut wanted = manifest(&context.namespace, "lost", 10, -1, 900);
    let class = format!("missing-{}", context.namespace);
    wanted["spec"]["className"] = json!(class);
    let sale = Sale::apply(&context.client, wanted).await.unwrap();
    let message = sale.until_condition("ClassResolved", "False", "ClassNotFound").await.unwrap();
    assert!(message.contains("ask the platform team"), "{message}");
    sale.until_condition("Reconciling", "True", "ClassNotFound").await.unwrap();
    apply(&install::class(&class, &context.connections, false).unwrap()).await.unwrap();
    sale.until("Ready once the class is there", SOON, Sale::is_ready).await.unwrap();
    sale.delete("background").await.unwrap();
    kubectl(&["delete", "campaignclass", &class]).await.unwrap();

    let outside = format!("{}-outside", context.namespace);
    install::namespace(&outside, false).await.unwrap();
    let sale = Sale::apply(&context.client, manifest(&outside, "outside", 10, -1, 900)).await.unwrap();
    let message = sale.until_condition("ClassResolved", "False", "NamespaceNotSelected").await.unwrap();
    assert!(message.contains("coupon-operator.io/enabled=true"), "{message}");
    install::namespace(&outside, true).await.unwrap();
    sale.until("Ready once the namespace takes part", SOON, Sale::is_ready).await.unwrap();
    kubectl(&["delete", "namespace", &outside, "--wait=false"]).await.unwrap();
    context.leave().await;
}

/// A topic of our name that somebody else made is left alone.
#[tokio::test]
async fn a_topic_that_is_not_ours_is_not_touched() {
    let context = TestContext::new("foreign").await;
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", context.connections.kafka.as_deref().unwrap());
    let kafka = KafkaAdmin::new(&config).unwrap();
    let topic = format!("{}.{}.taken.coupon-events", install::REALM, context.namespace);
    let spec = TopicSpec { name: topic.clone(), partitions: 7, replication_factor: 1, config: BTreeMap::new() };
    kafka.create_topic(&spec).await.unwrap();

    let sale = Sale::apply(&context.client, manifest(&context.namespace, "taken", 10, -1, 900)).await.unwrap();
    let message = sale.until_condition("ResourceConflict", "True", "TopicNotOurs").await.unwrap();
    assert!(message.contains("choose another couponId"), "{message}");
    assert_eq!(made(&context.namespace).await, "");
    let config = kafka.topic_config(&topic).await.unwrap();
    assert!(config.values().all(|entry| !entry.is_set()), "nothing was configured on it");

    kafka.delete_topic(&topic).await.unwrap();
    sale.until("Ready once the topic is gone", SOON, Sale::is_ready).await.unwrap();
    context.leave().await;
}

/// Objects of somebody else that bear the names of ours: told, and left as they are, before, during and after the campaign.
#[tokio::test]
async fn objects_that_are_not_ours_are_not_touched() {
    let context = TestContext::new("theirs").await;
    let labels = json!({"app": "theirs"});
    let template = json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "theirs", "image": "example.com/theirs:1", "imagePullPolicy": "Never"}]},
    });
    let deployment = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template});
    for (kind, api, suffix, content) in [
        ("Service", "v1", "issuer", json!({"spec": {"selector": labels, "ports": [{"port": 9999}]}})),
        ("Secret", "v1", "connections", json!({"stringData": {"precious": "theirs"}})),
        (
            "PodDisruptionBudget",
            "policy/v1",
            "issuer",
            json!({"spec": {"selector": {"matchLabels": labels}, "minAvailable": 0}}),
        ),
        ("Deployment", "apps/v1", "issuer", json!({"spec": deployment})),
        ("Deployment", "apps/v1", "consumer", json!({"spec": deployment})),
    ] {
        let name = format!("{}-{suffix}", kind.to_lowercase());
        let theirs = format!("{name}-{suffix}");
        let mut object = content;
        object["apiVersion"] = json!(api);
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": theirs, "namespace": context.namespace});
        apply(&object).await.unwrap();
        let look = async || -> Value {
            let text = kubectl(&["get", kind, &theirs, "-n", &context.namespace, "-o", "json"]).await.unwrap();
            let mut found: Value = serde_json::from_str(&text).unwrap();
            // What Kubernetes' own controllers say about it is no change of it.
            found.as_object_mut().unwrap().remove("status");
            found["metadata"]
                .as_object_mut()
                .unwrap()
                .retain(|key, _| key == "uid" || key == "labels" || key == "ownerReferences");
            found
        };
        let before = look().await;

        let sale = Sale::apply(&context.client, manifest(&context.namespace, &name, 10, -1, 900)).await.unwrap();
        let message = sale.until_condition("ResourceConflict", "True", "ResourceConflict").await.unwrap();
        assert!(message.contains(&format!("{kind} {}/{theirs}", context.namespace)), "{message}");
        sale.until_condition("Stalled", "True", "ResourceConflict").await.unwrap();
        assert_eq!(look().await, before, "{kind}: while the campaign is there");
        if suffix == "consumer" {
            kubectl(&["delete", kind, &theirs, "-n", &context.namespace]).await.unwrap();
            sale.until("Ready once the name is free", SOON, Sale::is_ready).await.unwrap();
            sale.delete("background").await.unwrap();
        } else {
            sale.delete("background").await.unwrap();
            assert_eq!(look().await, before, "{kind}: after the campaign has gone");
        }
    }
    context.leave().await;
}

/// Two campaigns that would share one ledger: the older one keeps it.
#[tokio::test]
async fn two_campaigns_with_one_coupon_id() {
    let context = TestContext::new("shared").await;
    let with_id = |name: &str| {
        let mut wanted = manifest(&context.namespace, name, 10, 3600, 7200);
        wanted["spec"]["couponId"] = json!("same");
        wanted
    };
    let older = Sale::apply(&context.client, with_id("older")).await.unwrap();
    older.until("Ready", SOON, Sale::is_ready).await.unwrap();
    let younger = Sale::apply(&context.client, with_id("younger")).await.unwrap();
    let message = younger.until_condition("ResourceConflict", "True", "CouponIdTaken").await.unwrap();
    assert!(message.contains("`older`"), "{message}");
    assert!(Sale::is_ready(&older.get().await.unwrap()));
    context.leave().await;
}

/// Bodies that are no wish, through the Service as users reach it.
#[tokio::test]
async fn garbage_is_answered_with_what_to_change() {
    let context = TestContext::new("garbage").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "strict", 10, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    let big = json!({"userId": "x".repeat(1 << 20)}).to_string();
    for (body, statuses) in [
        ("", vec![400, 422]),
        ("not json", vec![400]),
        ("{}", vec![400, 422]),
        (r#"{"userId": ""}"#, vec![422]),
        (r#"{"userId": 7.5}"#, vec![422]),
        (big.as_str(), vec![413, 422]),
    ] {
        let request = issuer.http().post(issuer.url("/issue")).header("content-type", "application/json");
        let response = request.body(body.to_owned()).send().await.unwrap();
        let status = response.status().as_u16();
        let answer: Value = response.json().await.unwrap();
        let shown = body.chars().take(20).collect::<String>();
        assert!(statuses.contains(&status), "{shown}: {status} {answer}");
        assert_eq!(answer["success"], json!(false), "{shown}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|text| text.len() > 10), "{shown}: {answer}");
    }
    let other = issuer.http().post(issuer.url("/issue").replace("strict", "lenient")).json(&json!({"userId": "a"}));
    assert_eq!(other.send().await.unwrap().status().as_u16(), 404);
    assert!(context.rows("strict").await.winners.is_empty());
    context.leave().await;
}
