//! Prometheus, Alertmanager and the receiver of the stack in which this runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use reqwest::{Client, Method, Url};
use serde_json::Value;
use stack::control;
use stack::layout::{ALERTMANAGER_PORT, PROMETHEUS_PORT, RECEIVER_PORT, on_node};
use stack::monitoring::{ALERTMANAGER_FILE, PROMETHEUS_FILE, RECEIVED, RULES_FILE};
use stack_monitoring::config;

use super::dashboards::{Answered, Ask};
use super::pace::Pace;
use super::timeline::{Alert, Sight};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// A time in which something is looked for, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// From when on.
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
    /// How much lies between two looks.
    pub step_ms: u64,
}

/// A rule that Prometheus has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The alert, or the series.
    pub name: String,
    /// Whether it makes a series.
    pub records: bool,
    /// What it asks.
    pub expression: String,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// The servers.
pub struct Servers {
    http: Client,
    folder: PathBuf,
}

impl Servers {
    /// Those of the stack.
    ///
    /// # Errors
    /// If it has none.
    pub fn of_stack() -> Result<Self> {
        let stack = control::Client::from_env()?;
        let status = stack.status()?.context("the stack does not run")?;
        ensure!(status.options.is_monitored(), "the stack has no Prometheus: start it with `--with monitoring`");
        let http = Client::builder().timeout(ANSWER).build().context("no HTTP client")?;
        Ok(Self { http, folder: stack.layout().monitoring() })
    }

    /// Makes everything as fast as `pace` says.
    ///
    /// # Errors
    /// If a file is not as expected, or a server does not take it.
    pub async fn quicken(&self, pace: Pace) -> Result<()> {
        for (name, text) in config::files(&self.folder)? {
            let faster = match name {
                RULES_FILE => pace.rules(coupon_core::yaml::from_str(&text)?)?,
                PROMETHEUS_FILE => pace.prometheus(serde_json::from_str(&text)?)?,
                ALERTMANAGER_FILE => pace.alertmanager(serde_json::from_str(&text)?)?,
                _ => continue,
            };
            self.write(name, &faster.to_string())?;
        }
        self.reload().await
    }

    /// Takes everything back to how the stack made it.
    ///
    /// # Errors
    /// If a file cannot be written, or a server does not take it.
    pub async fn restore(&self) -> Result<()> {
        for (name, text) in config::files(&self.folder)? {
            self.write(name, &text)?;
        }
        self.reload().await
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    async fn reload(&self) -> Result<()> {
        for port in [PROMETHEUS_PORT, ALERTMANAGER_PORT] {
            let answer = self.http.request(Method::POST, format!("http://{}/-/reload", on_node(port))).send().await?;
            let (status, said) = (answer.status(), answer.text().await?);
            ensure!(status.is_success(), "{} does not take its files: {said}", on_node(port));
        }
        Ok(())
    }

    async fn get(&self, port: u16, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url = Url::parse_with_params(&format!("http://{}{path}", on_node(port)), parameters)?;
        let answer = self.http.get(url).send().await.with_context(|| format!("{path} of {}", on_node(port)))?;
        Ok(answer.json().await?)
    }

    /// Asks Prometheus, for all of a time.
    ///
    /// # Errors
    /// If it gives no answer.
    pub async fn ask(&self, ask: &Ask, range: Range) -> Result<Answered> {
        let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
        let [from, to, step] = [range.from_ms, range.to_ms, range.step_ms].map(seconds);
        let answer = match ask {
            Ask::Expression(query) => {
                let parameters = [
                    ("query", query.as_str()),
                    ("start", from.as_str()),
                    ("end", to.as_str()),
                    ("step", step.as_str()),
                ];
                self.get(PROMETHEUS_PORT, "/api/v1/query_range", &parameters).await?
            }
            Ask::LabelValues { series, label } => {
                let parameters = [("match[]", series.as_str()), ("start", from.as_str()), ("end", to.as_str())];
                self.get(PROMETHEUS_PORT, &format!("/api/v1/label/{label}/values"), &parameters).await?
            }
        };
        Ok(answered(&answer))
    }

    /// What is to be seen now.
    ///
    /// # Errors
    /// If a server gives no answer.
    pub async fn look(&self) -> Result<Sight> {
        let (alerts, routed, messages) = tokio::try_join!(
            self.get(PROMETHEUS_PORT, "/api/v1/alerts", &[]),
            self.get(ALERTMANAGER_PORT, "/api/v2/alerts", &[]),
            self.get(RECEIVER_PORT, RECEIVED, &[]),
        )?;
        Ok(Sight {
            at_ms: u64::try_from(Timestamp::now().as_millisecond())?,
            firing: firing(&alerts),
            inhibited: inhibited(&routed),
            messages: serde_json::from_value(messages)?,
        })
    }

    /// The rules, as Prometheus sees them.
    ///
    /// # Errors
    /// If it gives no answer.
    pub async fn rules(&self) -> Result<Vec<Rule>> {
        Ok(rules(&self.get(PROMETHEUS_PORT, "/api/v1/rules", &[]).await?))
    }
}

fn items<'a>(of: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    of.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A value that is no number is shown by nobody.
fn answered(answer: &Value) -> Answered {
    if answer["status"] != "success" {
        let error = answer["error"].as_str().unwrap_or("it is no answer of Prometheus");
        return Answered::Refused(error.to_owned());
    }
    let labels = items(answer, "/data").next().is_some();
    let mut samples = items(answer, "/data/result").flat_map(|series| items(series, "/values"));
    if labels || samples.any(|sample| sample[1] != "NaN") { Answered::Data } else { Answered::Empty }
}

fn firing(answer: &Value) -> BTreeSet<Alert> {
    items(answer, "/data/alerts")
        .filter(|each| each["state"] == "firing")
        .map(|each| Alert::of(&each["labels"]))
        .collect()
}

fn inhibited(alerts: &Value) -> BTreeMap<Alert, BTreeSet<String>> {
    let name = |fingerprint: &Value| {
        let found = items(alerts, "").find(|each| each["fingerprint"] == *fingerprint);
        found.map(|each| Alert::of(&each["labels"]).name)
    };
    let all = items(alerts, "").map(|each| {
        let by: BTreeSet<String> = items(each, "/status/inhibitedBy").filter_map(name).collect();
        (Alert::of(&each["labels"]), by)
    });
    all.filter(|(_, by)| !by.is_empty()).collect()
}

fn rules(answer: &Value) -> Vec<Rule> {
    let rule = |rule: &Value| {
        let text = |field: &str| rule[field].as_str().unwrap_or_default().to_owned();
        let error = Some(text("lastError")).filter(|error| !error.is_empty());
        let error = error.or_else(|| (rule["health"] != "ok").then(|| format!("its health is {}", rule["health"])));
        Rule { name: text("name"), records: rule["type"] == "recording", expression: text("query"), error }
    };
    items(answer, "/data/groups").flat_map(|group| items(group, "/rules")).map(rule).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_numbers_are_data() {
        let series =
            |value: &str| json!({"status": "success", "data": {"result": [{"values": [[1, "NaN"], [2, value]]}]}});
        for (answer, expected) in [
            (series("3"), Answered::Data),
            (series("+Inf"), Answered::Data),
            (series("NaN"), Answered::Empty),
            (json!({"status": "success", "data": {"result": []}}), Answered::Empty),
            (json!({"status": "success", "data": ["shop"]}), Answered::Data),
            (json!({"status": "success", "data": []}), Answered::Empty),
            (json!({"status": "error", "error": "unknown function"}), Answered::Refused("unknown function".to_owned())),
        ] {
            assert_eq!(answered(&answer), expected, "{answer}");
        }
    }

    #[test]
    fn who_inhibits_an_alert_is_said_by_name() {
        let labels = |name: &str| json!({"alertname": name, "severity": "critical"});
        let alerts = json!([
            {"fingerprint": "1", "labels": labels("SaleUnreachable"), "status": {"inhibitedBy": []}},
            {"fingerprint": "2", "labels": labels("IssuerDown"), "status": {"inhibitedBy": ["1"]}},
        ]);
        let found = inhibited(&alerts);
        assert_eq!(found.len(), 1);
        assert_eq!(found[&Alert::of(&labels("IssuerDown"))], BTreeSet::from(["SaleUnreachable".to_owned()]));
        let seen = json!({"data": {"alerts": [
            {"state": "firing", "labels": labels("A")}, {"state": "pending", "labels": labels("B")},
        ]}});
        assert_eq!(firing(&seen).into_iter().map(|alert| alert.name).collect::<Vec<_>>(), ["A"]);
    }

    #[test]
    fn a_rule_without_health_has_an_error() {
        let rule = |health: &str, error: &str| json!({"name": "a", "type": "alerting", "query": "up", "health": health, "lastError": error});
        let answer =
            json!({"data": {"groups": [{"rules": [rule("ok", ""), rule("unknown", ""), rule("err", "bad")]}]}});
        let errors: Vec<_> = rules(&answer).into_iter().map(|rule| rule.error).collect();
        assert_eq!(errors, [None, Some("its health is \"unknown\"".to_owned()), Some("bad".to_owned())]);
    }
}
