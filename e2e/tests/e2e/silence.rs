//! What could go wrong in silence: users who reach nobody, and a suspension that nobody could bring into force.

use std::time::Instant;

use coupon_core::identity::CampaignId;
use coupon_kafka_admin::KafkaAdmin;
use coupon_ledger::redis::RedisKeys;
use e2e::campaign::{Sale, manifest};
use e2e::install::{self, SYSTEM_NAMESPACE, apply, kubectl};
use e2e::wait::until;
use operator::api::{CouponCampaign, Phase};
use serde_json::{Value, json};

use crate::test_context::{SOON, TestContext};

/// A tool of somebody's gives the Service's selector one label more, and later somebody deletes the Service.
#[tokio::test]
async fn a_service_that_leads_to_nobody_is_put_right_and_said() {
    let context = TestContext::new("nowhere").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "lost", 10, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    assert!(issuer.insist("anna", None, SOON).await.issued());
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();

    let service = ["-n", &context.namespace, "service", "lost-issuer"];
    let narrowed = r#"{"spec": {"selector": {"app": "x"}}}"#;
    kubectl(&[&["patch"], &service[..], &["-p", narrowed]].concat()).await.unwrap();
    context.event("lost", "ChildRestored", "somebody has changed the campaign's Service").await;
    let selector = kubectl(&[&["get"], &service[..], &["-o", "jsonpath={.spec.selector}"]].concat()).await.unwrap();
    assert!(!selector.contains("app\":\"x"), "{selector}");
    assert!(issuer.insist("bert", None, SOON).await.issued());

    let by_hand = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "by-hand", "namespace": context.namespace, "labels": {"kubernetes.io/service-name": "lost-issuer"},
        },
        "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": ["10.255.255.254"]}],
    });
    apply(&by_hand).await.unwrap();
    let message = sale.until_condition("WorkloadsReady", "False", "ForeignEndpoints").await.unwrap();
    assert!(message.contains("10.255.255.254 of EndpointSlice by-hand"), "{message}");
    kubectl(&["delete", "endpointslice", "by-hand", "-n", &context.namespace]).await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();

    kubectl(&[&["delete"], &service[..]].concat()).await.unwrap();
    let gone = Instant::now();
    context.event("lost", "ChildRestored", "somebody has deleted the campaign's Service").await;
    let took = gone.elapsed();
    assert!(took.as_secs() < 25, "users reached nobody for {took:?}, as long as nobody looks by himself");
    // It has another address.
    assert!(sale.issuer().await.unwrap().insist("carl", None, SOON).await.issued());
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    context.leave().await;
}

/// The Secret with the operator's logins is deleted, as while it is rotated; and meanwhile the sale has to stop.
#[tokio::test]
async fn a_sale_is_suspended_though_the_operators_secret_is_gone() {
    let context = TestContext::new("secret").await;
    let name = format!("secret-{}", context.namespace);
    let of = kubectl(&["get", "secret", "coupon-admin", "-n", SYSTEM_NAMESPACE, "-o", "json"]).await.unwrap();
    let data = serde_json::from_str::<Value>(&of).unwrap()["data"].clone();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE}, "data": data
    });
    apply(&secret).await.unwrap();
    let mut class = install::class(&name, &context.connections, false).unwrap();
    class["spec"]["credentials"]["operator"]["secretName"] = json!(name);
    apply(&class).await.unwrap();
    let mut wanted = manifest(&context.namespace, "locked", 10, -1, 900);
    wanted["spec"]["className"] = json!(name);
    let mut sale = Sale::apply(&context.client, wanted).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    assert!(issuer.insist("anna", None, SOON).await.issued());
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();

    kubectl(&["delete", "secret", &name, "-n", SYSTEM_NAMESPACE]).await.unwrap();
    sale.until_condition("CredentialsReady", "False", "SecretMissing").await.unwrap();
    sale.change(|manifest| manifest["spec"]["suspend"] = json!(true)).await.unwrap();
    sale.until_phase(Phase::Suspended, SOON).await.unwrap();
    let heard = issuer.ask("bert", None).await;
    assert!(!heard.issued(), "{heard:?}");
    sale.until_condition("Open", "False", "SuspendedByFence").await.unwrap();

    sale.change(|manifest| manifest["spec"]["suspend"] = json!(false)).await.unwrap();
    let message = sale.until_condition("Open", "False", "ResumptionPending").await.unwrap();
    assert!(message.contains("not in force yet, because") && message.contains(&name), "{message}");
    apply(&secret).await.unwrap();
    sale.until_condition("Open", "True", "WindowOpen").await.unwrap();
    assert!(issuer.insist("carl", None, SOON).await.issued());
    kubectl(&["delete", "couponcampaign", "locked", "-n", &context.namespace]).await.unwrap();
    kubectl(&["delete", "campaignclass", &name, "--wait=false"]).await.unwrap();
    kubectl(&["delete", "secret", &name, "-n", SYSTEM_NAMESPACE]).await.unwrap();
    context.leave().await;
}

/// What strangers write into the sale's topic, status and keys is put right, and told: nothing else shows it afterwards.
#[tokio::test]
async fn what_somebody_changes_by_hand_is_put_right_and_told() {
    let context = TestContext::new("byhand").await;
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "touched", 100, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    for user in ["anna", "bert"] {
        assert!(issuer.insist(user, None, SOON).await.issued());
    }
    sale.until_condition("LedgerConsistent", "True", "AllStored").await.unwrap();

    let campaign = CampaignId::with_default_names(install::REALM, &context.namespace, "touched").unwrap();
    let mut config = rdkafka::ClientConfig::new();
    let kafka =
        KafkaAdmin::new(config.set("bootstrap.servers", context.connections.kafka.as_deref().unwrap())).unwrap();
    kafka.delete_topic(&campaign.topic()).await.unwrap();
    context.event("touched", "TopicRecreated", "was deleted by somebody and is made anew").await;
    assert!(issuer.insist("carl", None, SOON).await.issued());

    let lie = r#"{"status": {"phase": "Completed", "issued": 90, "persisted": 90}}"#;
    kubectl(&[
        "patch",
        "couponcampaign",
        "touched",
        "-n",
        &context.namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        lie,
    ])
    .await
    .unwrap();
    sale.until_phase(Phase::Open, SOON).await.unwrap();

    let url = context.connections.redis.as_deref().unwrap();
    let meta = RedisKeys::of(&campaign).meta;
    let far = (jiff::Timestamp::now().as_millisecond() + 86_400_000).to_string();
    let write = async |field| install::run("redis-cli", &["-u", url, "HSET", &meta, field, &far], None).await.unwrap();
    write("start_ms").await;
    context.event("touched", "TermsChangedInRedis", "the window's start").await;
    write("last_ms").await;
    context.event("touched", "TimeCorrected", "latest coupon").await;
    assert!(issuer.insist("dora", None, SOON).await.issued());
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    let four = |found: &CouponCampaign| found.status.as_ref().is_some_and(|status| status.issued == Some(4));
    let status = sale.until("four are counted", SOON, four).await.unwrap().status.unwrap();
    assert_eq!(status.once_persisted, None, "nobody believes in rows that never were");
    context.leave().await;
}

/// A quota takes no PodDisruptionBudget: that is said, and keeps nothing away that users need.
#[tokio::test]
async fn a_child_that_cannot_be_made_holds_up_no_other() {
    let context = TestContext::new("budgetless").await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": context.namespace},
        "spec": {"hard": {"count/poddisruptionbudgets.policy": "0"}},
    });
    apply(&quota).await.unwrap();
    let of_quota = ["get", "resourcequota", "none", "-n", &context.namespace, "-o", "jsonpath={.status.hard}"];
    // It is in force once its controller has seen it.
    until("the quota is in force", SOON, async || match kubectl(&of_quota).await {
        Ok(hard) if hard.contains("poddisruptionbudgets") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "bare", 10, -1, 900)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    assert!(issuer.insist("anna", None, SOON).await.issued());
    let message = sale.until_condition("Ready", "False", "KubernetesError").await.unwrap();
    assert!(message.contains("exceeded quota"), "{message}");
    kubectl(&["delete", "resourcequota", "none", "-n", &context.namespace]).await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    context.leave().await;
}

/// The pods' password in Redis is changed before their Secret is: that is said from where users stand, and the right Secret is enough.
#[tokio::test]
async fn an_issuer_whose_password_was_changed_says_so_and_is_replaced() {
    let context = TestContext::new("rotated").await;
    let name = context.namespace.clone();
    let url = context.connections.redis.as_deref().unwrap();
    let redis = async |command: &[&str]| {
        install::run("redis-cli", &[&["-e", "-u", url, "--no-auth-warning"], command].concat(), None).await.unwrap()
    };
    redis(&["ACL", "SETUSER", &name, "on", ">first", "~*", "&*", "+@all"]).await;
    let of = kubectl(&["get", "secret", "coupon-workload", "-n", SYSTEM_NAMESPACE, "-o", "json"]).await.unwrap();
    let secret = |password: &str| {
        let strings = json!({"redis-username": name, "redis-password": password});
        let data = serde_json::from_str::<Value>(&of).unwrap()["data"].clone();
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
            "data": data, "stringData": strings,
        })
    };
    apply(&secret("first")).await.unwrap();
    let mut class = install::class(&name, &context.connections, false).unwrap();
    class["spec"]["credentials"]["workload"]["secretName"] = json!(name);
    apply(&class).await.unwrap();
    let mut wanted = manifest(&name, "rotated", 100, -1, 900);
    wanted["spec"]["className"] = json!(name);
    let sale = Sale::apply(&context.client, wanted).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    assert!(issuer.insist("anna", None, SOON).await.issued());
    sale.until_condition("Open", "True", "WindowOpen").await.unwrap();

    redis(&["ACL", "SETUSER", &name, "resetpass", ">second"]).await;
    redis(&["CLIENT", "KILL", "USER", &name]).await;
    let heard = issuer.ask("bert", None).await;
    assert!(!heard.issued(), "{heard:?}");
    let message = sale.until_condition("Open", "False", "IssuersNotServing").await.unwrap();
    let words = message.to_lowercase();
    assert!(["wrongpass", "password", "authentic"].iter().any(|word| words.contains(word)), "{message}");
    apply(&secret("second")).await.unwrap();
    sale.until_condition("Open", "True", "WindowOpen").await.unwrap();
    assert!(issuer.insist("bert", None, SOON).await.issued());
    kubectl(&["delete", "couponcampaign", "rotated", "-n", &name]).await.unwrap();
    kubectl(&["delete", "campaignclass", &name, "--wait=false"]).await.unwrap();
    kubectl(&["delete", "secret", &name, "-n", SYSTEM_NAMESPACE]).await.unwrap();
    redis(&["ACL", "DELUSER", &name]).await;
    context.leave().await;
}
