//! Tells Prometheus which pods there are: what Kubernetes' own discovery would say to the project's example of what to scrape.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use stack::install::Installed;
use stack::layout::{Layout, TARGETS_PORT, on_node};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::example_of_scraping;

/// How long the API server may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Serves until the process is ended.
///
/// # Errors
/// If it cannot listen, or what it needs is not there.
pub async fn serve(stack: &str) -> Result<()> {
    let discovery = Arc::new(Discovery {
        kubectl: Installed::find()?.kubernetes.join("kubectl"),
        kubeconfig: Layout::new(stack)?.kubeconfig(),
        example: example_of_scraping()?,
    });
    let address = on_node(TARGETS_PORT);
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let router = Router::new().route("/", get(|| async { "" })).route("/jobs/{job}", get(targets));
    Ok(axum::serve(listener, router.with_state(discovery)).await?)
}

struct Discovery {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    example: Value,
}

/// Prometheus keeps the targets that it knows when it hears an error.
async fn targets(
    State(discovery): State<Arc<Discovery>>,
    Path(job): Path<String>,
) -> Result<Json<Vec<Value>>, (StatusCode, String)> {
    discovery.look(&job).await.map(Json).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}")))
}

impl Discovery {
    async fn look(&self, job: &str) -> Result<Vec<Value>> {
        let which = selection(&self.example, job)?;
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["get", "pods", "--output=json"]).args(which);
        let asked = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = timeout(ANSWER, asked).await.context("the API server does not answer")??;
        ensure!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(groups(&serde_json::from_slice(&output.stdout)?))
    }
}

/// Which pods a job of the example is about, in kubectl's words.
fn selection(example: &Value, job: &str) -> Result<Vec<String>> {
    let mut jobs = example["scrape_configs"].as_array().into_iter().flatten();
    let found = jobs.find(|each| each["job_name"] == *job).with_context(|| format!("there is no job {job}"))?;
    let asked = &found["kubernetes_sd_configs"][0];
    ensure!(asked["role"] == "pod", "{job} does not look for pods");
    let namespace = match asked["namespaces"]["names"].as_array().map(Vec::as_slice) {
        None => "--all-namespaces".to_owned(),
        Some([Value::String(one)]) => format!("--namespace={one}"),
        Some(_) => anyhow::bail!("{job} names more than one namespace"),
    };
    let selectors = asked["selectors"].as_array().into_iter().flatten();
    let labels = selectors.filter_map(|each| each["label"].as_str()).map(|label| format!("--selector={label}"));
    Ok(std::iter::once(namespace).chain(labels).collect())
}

/// A target for each port of each container that has an address.
fn groups(pods: &Value) -> Vec<Value> {
    pods["items"].as_array().into_iter().flatten().flat_map(of_pod).collect()
}

fn of_pod(pod: &Value) -> Vec<Value> {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let ip = text("/status/podIP");
    if ip.is_empty() {
        return Vec::new();
    }
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.filter(|each| each["type"] == "Ready").any(|each| each["status"] == "True");
    let mut common = Map::new();
    for (name, value) in [
        ("namespace", text("/metadata/namespace")),
        ("pod_name", text("/metadata/name")),
        ("pod_uid", text("/metadata/uid")),
        ("pod_ip", ip),
        ("pod_node_name", text("/spec/nodeName")),
        ("pod_phase", text("/status/phase")),
        ("pod_ready", if ready { "true" } else { "false" }),
    ] {
        common.insert(meta(name), json!(value));
    }
    for (label, value) in pod["metadata"]["labels"].as_object().into_iter().flatten() {
        common.insert(meta(&format!("pod_label_{}", sanitized(label))), value.clone());
    }
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers
        .flat_map(|container| container["ports"].as_array().into_iter().flatten().map(move |port| (container, port)));
    ports
        .map(|(container, port)| {
            let mut labels = common.clone();
            labels.insert(meta("pod_container_name"), container["name"].clone());
            labels.insert(meta("pod_container_port_name"), json!(port["name"].as_str().unwrap_or_default()));
            labels.insert(meta("pod_container_port_number"), json!(port["containerPort"].to_string()));
            json!({"targets": [format!("{ip}:{}", port["containerPort"])], "labels": labels})
        })
        .collect()
}

fn meta(name: &str) -> String {
    format!("__meta_kubernetes_{name}")
}

fn sanitized(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(change: impl Fn(&mut Value)) -> Value {
        let mut pod = json!({
            "metadata": {
                "name": "spring-issuer-1", "namespace": "shop", "uid": "u",
                "labels": {"coupon-operator.io/campaign": "spring", "app.kubernetes.io/component": "issuer"},
            },
            "spec": {"nodeName": "node1", "containers": [{"name": "issuer", "ports": [
                {"name": "http", "containerPort": 8080}, {"name": "probes", "containerPort": 9090},
            ]}]},
            "status": {"podIP": "10.244.0.7", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        change(&mut pod);
        json!({"items": [pod]})
    }

    /// Wrong: the relabellings of the example, which go by these names, give series no namespace or campaign.
    #[test]
    fn each_port_is_a_target_with_the_labels_that_kubernetes_own_discovery_gives() {
        let found = groups(&pod(|_| ()));
        assert_eq!(found.len(), 2);
        assert_eq!(found[1]["targets"], json!(["10.244.0.7:9090"]));
        let label = |name: &str| found[1]["labels"][meta(name)].as_str().unwrap_or("none").to_owned();
        for (name, value) in [
            ("namespace", "shop"),
            ("pod_name", "spring-issuer-1"),
            ("pod_phase", "Running"),
            ("pod_ready", "true"),
            ("pod_container_name", "issuer"),
            ("pod_container_port_name", "probes"),
            ("pod_container_port_number", "9090"),
            ("pod_label_coupon_operator_io_campaign", "spring"),
            ("pod_label_app_kubernetes_io_component", "issuer"),
        ] {
            assert_eq!(label(name), value, "{name}");
        }
        let used = example_of_scraping().unwrap().to_string();
        let mut names = used.split('"').filter(|word| word.starts_with("__meta_"));
        assert!(names.all(|name| found[1]["labels"].get(name).is_some()), "{used}");
    }

    #[test]
    fn a_pod_without_an_address_is_none() {
        assert!(groups(&pod(|pod| pod["status"] = json!({"phase": "Pending"}))).is_empty());
    }

    #[test]
    fn jobs_of_the_example_say_which_pods_they_mean() {
        let example = example_of_scraping().unwrap();
        let operator = selection(&example, "coupon-operator").unwrap();
        assert_eq!(operator, ["--namespace=coupon-system", "--selector=app.kubernetes.io/component=operator"]);
        let campaigns = selection(&example, "coupon-campaigns").unwrap();
        assert_eq!(campaigns[0], "--all-namespaces");
        assert!(campaigns[1].contains("app.kubernetes.io/component in (issuer,consumer)"), "{campaigns:?}");
        assert!(selection(&example, "other").is_err());
    }
}
