//! What the processes weigh, and how often they were restarted.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::chaos::inject::processes_of;
use crate::memory;

/// One program of the product, as it runs.
#[derive(Debug, Clone)]
struct Watched {
    program: String,
    uid: String,
    ip: String,
    restarts: i32,
    /// Bytes.
    limit: u64,
}

/// Those that are attacked.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    all: Vec<Watched>,
}

impl Weights {
    /// Adds the pods of `namespace` with these labels, whose container runs `program`.
    pub async fn add(&mut self, client: &Client, namespace: &str, labels: &str, program: &str) -> Result<()> {
        self.all.extend(find(client, namespace, labels, program).await?);
        Ok(())
    }

    /// Addresses of the pods that run `program`.
    pub fn addresses(&self, program: &str) -> Vec<String> {
        self.all.iter().filter(|one| one.program == program).map(|one| one.ip.clone()).collect()
    }

    /// The most that a process ever weighed, and whether one of them passed its pod's limit; MiB.
    pub fn heaviest(&self) -> Result<(u64, bool)> {
        let (mut most, mut beyond) = (0, false);
        for one in &self.all {
            for pid in processes_of(&one.uid, &one.program)? {
                let peak = memory::peak(pid.as_raw()).with_context(|| format!("{} is gone", one.program))?;
                most = most.max(peak.div_ceil(1 << 20));
                beyond |= peak >= one.limit;
            }
        }
        Ok((most, beyond))
    }

    /// Restarts since the beginning, each with the program and what Kubernetes knows of its end; a pod that is gone counts as one.
    pub async fn restarts(&self, client: &Client) -> Result<Vec<String>> {
        let mut restarts = Vec::new();
        let now = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?;
        for one in &self.all {
            let Some(found) = now.iter().find(|pod| pod.uid().as_deref() == Some(&one.uid)) else {
                restarts.push(format!("{}: the pod is gone", one.program));
                continue;
            };
            for _ in one.restarts..restarts_of(found) {
                restarts.push(format!("{}: {}", one.program, last_end(found)));
            }
        }
        Ok(restarts)
    }
}

fn last_end(pod: &Pod) -> String {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let ended = containers.iter().find_map(|container| container.last_state.as_ref()?.terminated.as_ref());
    ended.map_or_else(
        || "?".to_owned(),
        |end| {
            let (reason, message) = (end.reason.as_deref().unwrap_or("?"), end.message.as_deref().unwrap_or_default());
            format!("{reason}, exit code {}: {message}", end.exit_code)
        },
    )
}

async fn find(client: &Client, namespace: &str, labels: &str, program: &str) -> Result<Vec<Watched>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = pods.list(&ListParams::default().labels(labels)).await?;
    let watched = found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).map(|pod| {
        let limit = pod.spec.iter().flat_map(|spec| &spec.containers).find_map(|container| {
            let limit = container.resources.as_ref()?.limits.as_ref()?.get("memory")?;
            memory::bytes(&limit.0)
        });
        Ok(Watched {
            program: program.to_owned(),
            uid: pod.uid().context("a pod without UID")?,
            ip: pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("a pod without address")?,
            restarts: restarts_of(&pod),
            limit: limit.context("a container without a memory limit")?,
        })
    });
    watched.collect()
}

fn restarts_of(pod: &Pod) -> i32 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    containers.iter().map(|container| container.restart_count).sum()
}
