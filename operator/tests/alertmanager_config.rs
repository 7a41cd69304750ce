//! The chart's AlertmanagerConfig: it routes and inhibits as the example does that people without the Prometheus operator take.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use stack::install::Installed;

const TEMPLATE: &str = "templates/alertmanagerconfig.yaml";
const SECRETS: [&str; 2] = ["slack.apiURLSecretRef.name=slack", "pagerduty.routingKeySecretRef.name=pagerduty"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn template(settings: &[&str]) -> Output {
    let helm = Installed::find().expect("run `stack install`").helm.join("helm");
    let mut command = Command::new(helm);
    command.args(["template", "coupon-operator", "charts/coupon-operator", "--kube-version", "1.33.0"]);
    command.args(["--namespace", "coupon-system", "--show-only", TEMPLATE]);
    for setting in settings {
        command.arg("--set").arg(format!("alertmanagerConfig.{setting}"));
    }
    command.current_dir(repository()).output().unwrap()
}

/// The object, with these settings beside those that it needs.
fn rendered(settings: &[&str]) -> Value {
    let output = template(&[&["enabled=true"], &SECRETS[..], settings].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    coupon_core::yaml::from_str(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

fn example() -> Value {
    let file = repository().join("monitoring/alertmanager/alertmanager.example.yaml");
    coupon_core::yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Matchers as Alertmanager itself writes them.
fn matchers(of: &Value) -> Vec<Value> {
    let one = |each: &Value| {
        let text = |field: &str| each[field].as_str().unwrap().to_owned();
        json!(format!("{}{}\"{}\"", text("name"), text("matchType"), text("value")))
    };
    list(of).iter().map(one).collect()
}

fn plain_inhibition(spec: &Value) -> Vec<Value> {
    let one = |rule: &Value| {
        let mut plain = json!({
            "source_matchers": matchers(&rule["sourceMatch"]), "target_matchers": matchers(&rule["targetMatch"])
        });
        if rule["equal"].is_array() {
            plain["equal"] = rule["equal"].clone();
        }
        plain
    };
    list(&spec["inhibitRules"]).iter().map(one).collect()
}

/// The route as Alertmanager itself reads it, with receivers that do nothing.
fn plain_routes(spec: &Value) -> Value {
    let route = &spec["route"];
    let inner = |route: &Value| json!({"receiver": route["receiver"], "continue": route["continue"] == true, "matchers": matchers(&route["matchers"])});
    let inner: Vec<Value> = list(&route["routes"]).iter().map(inner).collect();
    let receivers: Vec<Value> = list(&spec["receivers"]).iter().map(|each| json!({"name": each["name"]})).collect();
    let receivers = [&[json!({"name": "others"})], &receivers[..]].concat();
    json!({
        "route": {"receiver": "others", "routes": [
            {"receiver": route["receiver"], "matchers": matchers(&route["matchers"]), "routes": inner}
        ]},
        "receivers": receivers,
    })
}

/// Wrong: whoever installs the chart is paged for a consequence, whose cause pages already, and whoever copies the example is not.
#[test]
fn it_inhibits_waits_and_speaks_as_the_example_does() {
    let (spec, example) = (rendered(&["teams.checkout.channel=#checkout"])["spec"].clone(), example());
    assert_eq!(plain_inhibition(&spec), list(&example["inhibit_rules"]));
    let (ours, theirs) = (&spec["route"], &example["route"]);
    for (camel, snake) in [
        ("receiver", "receiver"),
        ("groupBy", "group_by"),
        ("groupWait", "group_wait"),
        ("groupInterval", "group_interval"),
        ("repeatInterval", "repeat_interval"),
    ] {
        assert_eq!(ours[camel], theirs[snake], "{camel}");
    }
    let slack = &spec["receivers"][0]["slackConfigs"][0];
    for (camel, snake) in [("title", "title"), ("text", "text"), ("sendResolved", "send_resolved")] {
        assert_eq!(slack[camel], example["receivers"][0]["slack_configs"][0][snake], "{camel}");
    }
    let page = list(&spec["receivers"]).iter().find(|each| each["name"] == "page").unwrap();
    let theirs = list(&example["receivers"]).iter().find(|each| each["name"] == "page").unwrap();
    let (page, theirs) = (&page["pagerdutyConfigs"][0], &theirs["pagerduty_configs"][0]);
    assert_eq!((&page["severity"], &page["description"]), (&theirs["severity"], &theirs["description"]));
    let details: serde_json::Map<String, Value> = list(&page["details"])
        .iter()
        .map(|each| (each["key"].as_str().unwrap().to_owned(), each["value"].clone()))
        .collect();
    assert_eq!(json!(details), theirs["details"]);
    assert_eq!((&slack["apiURL"]["name"], &page["routingKey"]["name"]), (&json!("slack"), &json!("pagerduty")));
}

/// Wrong: an alert goes elsewhere than with the example; or every alert of the company goes to the chat of coupons.
#[test]
fn it_sends_alerts_where_the_example_sends_them_and_no_others() {
    let spec = rendered(&["teams.checkout.channel=#checkout"])["spec"].clone();
    let folder = stack::child::folder("coupon-alertmanager-config").unwrap();
    let file = folder.join("alertmanager.yaml");
    std::fs::write(&file, plain_routes(&spec).to_string()).unwrap();
    for (labels, receivers) in [
        (&["alertname=ConsumerDown", "severity=critical", "team=checkout"][..], "page,team-checkout"),
        (&["alertname=OperatorDown", "severity=critical"], "page,chat"),
        (&["alertname=IssuerDown", "severity=warning", "team=checkout"], "team-checkout"),
        (&["alertname=IssuerDown", "severity=warning", "team=other"], "chat"),
        (&["alertname=KubeNodeNotReady", "severity=critical"], "others"),
    ] {
        let mut command = Command::new("amtool");
        command.args(["config", "routes", "test"]).arg(format!("--config.file={}", file.display()));
        let output = command.arg(format!("--verify.receivers={receivers}")).args(labels).output();
        let output = output.unwrap_or_else(|error| panic!("amtool: {error}; run `stack install --test-packages`"));
        assert!(output.status.success(), "{labels:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn it_is_off_by_default_and_needs_both_secrets() {
    assert!(!template(&[]).status.success(), "there is nothing to show");
    for (settings, words) in [
        (&["enabled=true", SECRETS[1]][..], "slack.apiURLSecretRef.name"),
        (&["enabled=true", SECRETS[0]], "pagerduty.routingKeySecretRef.name"),
    ] {
        let output = template(settings);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
    assert_eq!(rendered(&[])["metadata"]["namespace"], "coupon-system");
    assert_eq!(rendered(&["namespace=alerts"])["metadata"]["namespace"], "alerts");
}
