//! What Prometheus and Alertmanager are told: the project's own files, with the addresses of a stack in their places.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use coupon_core::yaml;
use serde_json::{Value, json};
use stack::layout::{ALERTMANAGER_PORT, RECEIVER_PORT, TARGETS_PORT, on_node};
use stack::monitoring::{ALERTMANAGER_FILE, PROMETHEUS_FILE, RULES_FILE};

const SLACK_FILE: &str = "slack-url";
const PAGERDUTY_FILE: &str = "pagerduty-key";
/// Where the example looks for the two.
const SECRETS: &str = "/etc/alertmanager/secrets/";
/// As long as PagerDuty's are.
const PAGERDUTY_KEY: &str = "0123456789abcdef0123456789abcdef";
/// How often Prometheus asks which pods there are.
const REFRESH: &str = "5s";

/// The Service of the chart that its ServiceMonitor finds.
const SERVICE: &str = "coupon-operator-metrics";
/// What the Prometheus operator adds to the targets that it makes of the chart's monitors, beside what the example adds: the job of the
/// example, then labels with their values. `container` is another one, which is the pod's.
const ADDED: [(&str, &[(&str, &str)]); 2] = [
    ("coupon-operator", &[("job", SERVICE), ("service", SERVICE), ("endpoint", "metrics")]),
    ("coupon-campaigns", &[("job", "coupon-system/coupon-operator-campaigns"), ("endpoint", "probes")]),
];

/// The project's example of what to scrape. Read when it is needed: to compile it in would compile everything anew with each change.
pub(crate) fn example_of_scraping() -> Result<Value> {
    Ok(yaml::from_str(&read("prometheus.example.yaml")?)?)
}

/// All files, by their names, as they are to lie in `folder`.
///
/// # Errors
/// If one of the project's files cannot be read, or is not as expected.
pub fn files(folder: &Path) -> Result<Vec<(&'static str, String)>> {
    let routes = yaml::from_str(&read("alertmanager/alertmanager.example.yaml")?)?;
    Ok(vec![
        (PROMETHEUS_FILE, prometheus(example_of_scraping()?)?.to_string()),
        (RULES_FILE, read("rules/coupon.rules.yaml")?),
        (ALERTMANAGER_FILE, alertmanager(routes, folder)),
        (SLACK_FILE, format!("http://{}/services/T0/B0/watch", on_node(RECEIVER_PORT))),
        (PAGERDUTY_FILE, PAGERDUTY_KEY.to_owned()),
    ])
}

fn read(file: &str) -> Result<String> {
    let path = format!("{}/../../monitoring/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

/// The example, in which pods are found by asking us.
fn prometheus(mut example: Value) -> Result<Value> {
    example["rule_files"] = json!([RULES_FILE]);
    example["alerting"] =
        json!({"alertmanagers": [{"static_configs": [{"targets": [on_node(ALERTMANAGER_PORT).to_string()]}]}]});
    let jobs = example["scrape_configs"].as_array_mut().context("the example scrapes nothing")?;
    for job in jobs.iter_mut().filter_map(Value::as_object_mut) {
        let name = job.get("job_name").and_then(Value::as_str).context("a job without a name")?.to_owned();
        job.remove("kubernetes_sd_configs").with_context(|| format!("{name} does not look for pods"))?;
        let url = format!("http://{}/jobs/{name}", on_node(TARGETS_PORT));
        job.insert("http_sd_configs".to_owned(), json!([{"url": url, "refresh_interval": REFRESH}]));
        let (_, labels) = ADDED
            .iter()
            .find(|(job, _)| *job == name)
            .with_context(|| format!("{name} has no monitor in the chart"))?;
        let relabelling = job.get_mut("relabel_configs").and_then(Value::as_array_mut);
        let relabelling = relabelling.with_context(|| format!("{name} gives its targets no labels"))?;
        relabelling.extend([
            json!({"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Failed|Succeeded", "action": "drop"}),
            json!({"source_labels": ["__meta_kubernetes_pod_container_name"], "target_label": "container"}),
        ]);
        relabelling.extend(labels.iter().map(|(label, value)| json!({"target_label": label, "replacement": value})));
    }
    Ok(example)
}

/// The example, whose secrets lie in `folder`.
fn alertmanager(mut example: Value, folder: &Path) -> String {
    example["global"] = json!({"pagerduty_url": format!("http://{}/v2/enqueue", on_node(RECEIVER_PORT))});
    example.to_string().replace(SECRETS, &format!("{}/", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Value {
        let files = files(Path::new("/x/monitoring")).unwrap();
        let (_, text) = files.iter().find(|(file, _)| *file == name).unwrap();
        serde_json::from_str(text).unwrap()
    }

    /// Wrong: Debian's Prometheus, which knows no Kubernetes, does not start; or series lack what rules and dashboards go by.
    #[test]
    fn the_example_is_scraped_as_the_prometheus_operator_would() {
        let config = parsed(PROMETHEUS_FILE);
        let jobs = config["scrape_configs"].as_array().unwrap();
        assert_eq!(jobs.len(), ADDED.len());
        for job in jobs {
            assert_eq!(job["honor_labels"], true);
            assert!(job.get("kubernetes_sd_configs").is_none());
            let labels: Vec<_> = job["relabel_configs"].as_array().unwrap().iter().collect();
            let targets = |label: &str| labels.iter().filter(|each| each["target_label"] == *label).count();
            for label in ["namespace", "pod", "campaign", "container", "job", "endpoint"] {
                assert_eq!(targets(label), 1, "{label} of {}", job["job_name"]);
            }
        }
    }

    /// Wrong: the names of the chart's monitors are others, so that series would be of another `job` than on a cluster.
    #[test]
    fn jobs_are_called_as_the_charts_monitors() {
        let template = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/coupon-operator/templates");
            fs::read_to_string(format!("{folder}/{name}.yaml")).unwrap()
        };
        assert!(template("podmonitor").contains("name: {{ include \"coupon-operator.fullname\" . }}-campaigns\n"));
        assert!(template("podmonitor").contains("- port: probes\n"));
        assert!(template("servicemonitor").contains("- port: metrics\n"));
        assert!(template("service").contains("name: {{ include \"coupon-operator.fullname\" . }}-metrics\n"));
    }

    /// Wrong: Alertmanager does not start, or sends to the real Slack.
    #[test]
    fn everything_goes_to_the_receiver() {
        let config = parsed(ALERTMANAGER_FILE);
        let receiver = on_node(RECEIVER_PORT).to_string();
        assert!(config["global"]["pagerduty_url"].as_str().unwrap().contains(&receiver));
        assert!(!config.to_string().contains(SECRETS));
        for each in config["receivers"].as_array().unwrap() {
            for slack in each["slack_configs"].as_array().into_iter().flatten() {
                assert_eq!(slack["api_url_file"], "/x/monitoring/slack-url", "{each}");
            }
            for pager in each["pagerduty_configs"].as_array().into_iter().flatten() {
                assert_eq!(pager["routing_key_file"], "/x/monitoring/pagerduty-key", "{each}");
            }
        }
    }
}
