//! Asks pods that run and are not ready why.

use std::sync::Arc;
use std::time::Duration;

use coupon_runtime::telemetry::BUT;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;

use super::{PodAnswers, is_true, short};

use crate::issuer_client::pods::PodClient;
use crate::ledger::epoch::pod_url;
use crate::workloads::PROBE_PORT;

/// How long a pod may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// So many are asked at a time: the others most likely say the same.
const MOST: usize = 4;
/// So much of an answer is read, in bytes.
const MOST_BYTES: usize = 4096;

/// What those of these pods say that run and are not ready: nothing, if they do not answer.
pub(crate) async fn fetch(http: &PodClient, pods: &[Arc<Pod>]) -> PodAnswers {
    let asked = pods.iter().filter_map(|pod| Some((pod.metadata.uid.clone()?, address(pod)?))).take(MOST);
    let answers = asked.map(async |(uid, ip)| Some((uid, answer(http, ip).await?)));
    join_all(answers).await.into_iter().flatten().collect()
}

/// What the first of these pods that is ready and held up says of it.
pub(crate) async fn fetch_readiness(http: &PodClient, pods: &[Arc<Pod>]) -> Option<String> {
    let ready = pods.iter().filter(|pod| pod.status.as_ref().is_some_and(|status| is_true(status, "Ready")));
    let ips = ready.filter_map(|pod| pod.status.as_ref()?.pod_ip.as_deref()).filter(|ip| !ip.is_empty()).take(MOST);
    let answers = join_all(ips.map(async |ip| {
        let response = http.get(pod_url(ip, PROBE_PORT, "readyz")).timeout(TIMEOUT).send().await.ok()?;
        let text = text_of(response).await?;
        text.strip_prefix(BUT).map(str::to_owned)
    }));
    answers.await.into_iter().flatten().next()
}

/// Where a pod answers that runs and is not ready.
fn address(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let runs = status.container_statuses.iter().flatten().any(|each| {
        let state = each.state.as_ref();
        state.is_some_and(|state| state.running.is_some())
    });
    let waits = runs && !is_true(status, "Ready") && pod.metadata.deletion_timestamp.is_none();
    status.pod_ip.as_deref().filter(|ip| waits && !ip.is_empty())
}

async fn answer(http: &PodClient, ip: &str) -> Option<String> {
    let Ok(response) = http.get(pod_url(ip, PROBE_PORT, "readyz")).timeout(TIMEOUT).send().await else {
        return Some(String::new());
    };
    if response.status() != reqwest::StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    text_of(response).await
}

async fn text_of(mut response: reqwest::Response) -> Option<String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() >= MOST_BYTES {
            break;
        }
    }
    let text = short(&String::from_utf8_lossy(&body));
    (!text.is_empty()).then_some(text)
}
