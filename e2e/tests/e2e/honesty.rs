//! What status says when something is wrong: the cause, in words, on a real cluster.

use e2e::campaign::{Sale, manifest};
use e2e::install::{self, SYSTEM_NAMESPACE, apply, kubectl};
use e2e::wait::until;
use serde_json::json;

use crate::test_context::{SOON, TestContext};

/// A quota that lets no pod in: the window passes, and nobody can get a coupon. Status says so while it lasts, and afterwards.
#[tokio::test]
async fn pods_that_a_quota_forbids_are_said_with_its_words_and_the_window_is_not_forgotten() {
    let context = TestContext::new("quota").await;
    kubectl(&["create", "quota", "two", "-n", &context.namespace, "--hard=limits.cpu=2"]).await.unwrap();
    let sale = Sale::apply(&context.client, manifest(&context.namespace, "kept-out", 10, -1, 900)).await.unwrap();
    for (condition, status, reason, words) in [
        ("WorkloadsReady", "False", "PodsForbidden", "0 of 1 issuer pods are ready: no pod may be made"),
        ("Ready", "False", "PodsForbidden", "must specify limits.cpu"),
        ("Open", "False", "NoReadyIssuer", "users reach nobody"),
        ("WindowServed", "False", "NotServed", "must specify limits.cpu"),
    ] {
        let message = sale.until_condition(condition, status, reason).await.unwrap();
        assert!(message.contains(words), "{condition}: {message}");
    }
    for (reason, words) in
        [("PodsForbidden", "must specify limits.cpu"), ("UsersReachNobody", "no issuer pod is ready")]
    {
        context.event("kept-out", reason, words).await;
    }
    kubectl(&["delete", "quota", "two", "-n", &context.namespace]).await.unwrap();
    sale.until_condition("Open", "True", "WindowOpen").await.unwrap();
    assert!(sale.issuer().await.unwrap().insist("anna", None, SOON).await.issued());
    let found = sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    assert!(found.status.unwrap().unserved_seconds.is_some_and(|seconds| seconds >= 5));
    let message = sale.until_condition("WindowServed", "False", "ServedInPart").await.unwrap();
    assert!(message.contains("of the window users could get no coupon"), "{message}");
    context.leave().await;
}

/// An image that no node has; a login with a line break; and a deletion that cannot go on.
#[tokio::test]
async fn an_image_a_line_break_and_a_deletion_that_waits_are_said() {
    let context = TestContext::new("said").await;
    let class = format!("said-{}", context.namespace);
    let good = install::class(&class, &context.connections, false).unwrap();
    let mut wrong = good.clone();
    wrong["spec"]["images"] = json!({"image": "example.com/not-there:1", "pullPolicy": "Never"});
    apply(&wrong).await.unwrap();
    let mut wanted = manifest(&context.namespace, "unseen", 10, -1, 900);
    wanted["spec"]["className"] = json!(class);
    let sale = Sale::apply(&context.client, wanted).await.unwrap();
    let message = sale.until_condition("WorkloadsReady", "False", "ImagePullFailed").await.unwrap();
    assert!(message.contains("cannot have its image example.com/not-there:1"), "{message}");
    apply(&good).await.unwrap();
    sale.until("Ready once the image is there", SOON, Sale::is_ready).await.unwrap();

    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": class, "namespace": SYSTEM_NAMESPACE},
        "stringData": {"redis-password": "a", "database-username": "coupon_operator\n", "database-password": "b"}
    });
    apply(&secret).await.unwrap();
    let mut broken = good.clone();
    broken["spec"]["credentials"]["operator"]["secretName"] = json!(class);
    apply(&broken).await.unwrap();
    let message = sale.until_condition("CredentialsReady", "False", "SecretWhitespace").await.unwrap();
    assert!(message.contains("key `database-username`"), "{message}");
    sale.until_condition("Open", "Unknown", "SecretWhitespace").await.unwrap();

    kubectl(&["delete", "couponcampaign", "unseen", "-n", &context.namespace, "--wait=false"]).await.unwrap();
    let message = sale.until_condition("Ready", "False", "SecretWhitespace").await.unwrap();
    until("what the deletion waits for", SOON, async || {
        let found = sale.get().await.map_err(|e| e.to_string())?;
        let ready = found.status.iter().flat_map(|s| &s.conditions).find(|each| each.type_ == "Ready").cloned();
        let text = ready.map(|ready| ready.message).unwrap_or_default();
        match text.contains("is being deleted") && text.contains("coupon-operator.io/release=true") {
            true => Ok(()),
            false => Err(text),
        }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}; {message}"));
    kubectl(&["annotate", "couponcampaign", "unseen", "-n", &context.namespace, "coupon-operator.io/release=true"])
        .await
        .unwrap();
    until("it is let go", SOON, async || match sale.api().get_opt("unseen").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    kubectl(&["delete", "campaignclass", &class, "--wait=false"]).await.unwrap();
    kubectl(&["delete", "secret", &class, "-n", SYSTEM_NAMESPACE]).await.unwrap();
    context.leave().await;
}

/// Settings that no pod can have are said by the class, and by a sale that begins next week.
#[tokio::test]
async fn a_class_whose_pods_would_be_refused_is_not_ready() {
    let context = TestContext::new("refused").await;
    let class = format!("refused-{}", context.namespace);
    let good = install::class(&class, &context.connections, false).unwrap();
    let mut wrong = good.clone();
    wrong["spec"]["pods"]["issuer"]["resources"]["limits"]["memory"] = json!("abc");
    apply(&wrong).await.unwrap();
    let of_class = async |status: &str| {
        let condition = "--for=condition=Ready=".to_owned() + status;
        kubectl(&["wait", "campaignclass", &class, &condition, "--timeout=60s"]).await.unwrap();
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
        kubectl(&["get", "campaignclass", &class, "-o", path]).await.unwrap()
    };
    let said = of_class("False").await;
    assert!(said.contains("pods of this class cannot be made") && said.contains("quantit"), "{said}");
    let mut wanted = manifest(&context.namespace, "next-week", 10, 600_000, 700_000);
    wanted["spec"]["className"] = json!(class);
    let sale = Sale::apply(&context.client, wanted).await.unwrap();
    sale.until_condition("Ready", "False", "PodsRefused").await.unwrap();
    apply(&good).await.unwrap();
    of_class("True").await;
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    kubectl(&["delete", "couponcampaign", "next-week", "-n", &context.namespace]).await.unwrap();
    kubectl(&["delete", "campaignclass", &class, "--wait=false"]).await.unwrap();
    context.leave().await;
}
