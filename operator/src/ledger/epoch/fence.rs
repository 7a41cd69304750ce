//! Fences issuers: afterwards no issuer grants below an epoch, and all earlier grants are finished.

use std::time::Duration;

use coupon_core::contract::control::FENCE_PATH;
use coupon_core::contract::{FenceRequest, FenceResponse, deadlines, ports};
use coupon_core::failpoints::{Safeguard, is_disabled};
use coupon_core::later;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use reqwest::StatusCode;
use tokio::time::Instant;

use super::EpochError;
pub use crate::api::annotations::ISSUER_GONE_ANNOTATION;
use crate::issuer_client::pods::PodClient;
use crate::workloads::{self, ControlError, ControlTokens};

/// How long a pod may take to confirm, its own draining included.
const CONFIRM_TIMEOUT: Duration = deadlines::FENCE_ANSWER;
/// A pod that is older than this, in seconds, and not ready yet, is not about to be.
const YOUNG_S: i64 = 60;
/// Pause before a pod that is starting is asked again.
const AGAIN: Duration = Duration::from_millis(250);
/// How long one such try may take. An issuer that answers later, as it waits until older grants are finished, is asked again.
const TRY: Duration = Duration::from_secs(2);
/// How long to wait for a deleted pod to be gone in one pass; the next pass goes on waiting.
const GONE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often to look whether it is.
const GONE_POLL: Duration = Duration::from_millis(250);

/// The issuer pods of a campaign and how to speak to them.
pub struct Issuers {
    /// Pods of the campaign's namespace.
    pub pods: Api<Pod>,
    /// Selects the campaign's issuer pods.
    pub selector: String,
    /// What authenticates us to them; empty before there ever was a pod.
    pub tokens: ControlTokens,
    /// Speaks to them.
    pub http: PodClient,
    /// UIDs of pods that somebody vouches are dead.
    pub vouched_gone: Vec<String>,
}

impl Issuers {
    fn is_vouched_gone(&self, pod: &Pod) -> bool {
        pod.uid().is_some_and(|uid| self.vouched_gone.contains(&uid))
    }
}

/// Where the issuer at this address answers its operator.
pub fn control_url(ip: &str, path: &str) -> String {
    pod_url(ip, ports::CONTROL.into(), path)
}

/// A pod's address in a URL.
pub(crate) fn pod_url(ip: &str, port: i32, path: &str) -> String {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    format!("http://{host}:{port}/{path}")
}

/// Raises the floor of every issuer pod to `epoch` and waits until each has confirmed or is gone.
///
/// One that does not confirm is deleted, and waited for until it is gone, which takes as long as its process takes to end: far longer than
/// one that is only starting takes to answer. So that one is asked again instead, for as long as any other may take to answer. This is safe
/// whatever it does meanwhile, also if it is taken for starting and is not: it counts as fenced only once it has confirmed, is gone, or is
/// known not to have begun, and nothing of the ledger is read before. Which pods are asked again decides how long that takes, and nothing
/// else; so clocks, and what a kubelet has said some time ago, are good enough for it.
///
/// That a pod holds no older epoch is taken for granted of none that may run. `epoch` is in SQL by now, and no older one is open there, so
/// a process that begins after the pods were listed can take no older one: pods that come later need no fence, and none that has no node.
/// One that has a node may have begun before, and read the epoch that was open then.
pub async fn fence(issuers: &Issuers, epoch: u64) -> Result<(), EpochError> {
    if is_disabled(Safeguard::Fence) {
        return Ok(());
    }
    // Without a resourceVersion this is a quorum read: no pod that was created before is missed.
    let pods = issuers.pods.list(&ListParams::default().labels(&issuers.selector)).await?.items;
    let fenced = join_all(pods.iter().map(|pod| one(issuers, pod, epoch))).await;
    let mut unconfirmed = Vec::new();
    for (pod, fenced) in pods.iter().zip(fenced) {
        let Err(why) = fenced else { continue };
        tracing::warn!(pod = pod.name_any(), epoch, %why, "issuer did not confirm the fence: deleting it");
        // Never a force delete: the object must go only when the kubelet says that the process is gone.
        // Another one that bears its name by now starts by asking for the epoch.
        workloads::apply::delete(&issuers.pods, pod, DeleteParams::default()).await?;
        unconfirmed.push(pod);
    }
    let waiting = unconfirmed.into_iter().map(|pod| gone(issuers, pod));
    futures::future::try_join_all(waiting).await?;
    Ok(())
}

/// Why a pod has not confirmed a fence.
#[derive(Debug, thiserror::Error)]
enum Unconfirmed {
    #[error("it has no address yet")]
    NoAddress,
    #[error("it answers {0}")]
    Refused(StatusCode),
    #[error("what it sent under an older epoch is still under way")]
    NotDrained,
    #[error(transparent)]
    NotHeard(#[from] ControlError),
}

/// Makes sure that nothing below `epoch` can come from this pod any more. One that is starting is asked again and again.
async fn one(issuers: &Issuers, listed: &Pod, epoch: u64) -> Result<(), Unconfirmed> {
    let deadline = Instant::now() + CONFIRM_TIMEOUT;
    let mut pod = listed.clone();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let is_starting = is_starting(&pod, Timestamp::now());
        let asked = fence_pod(issuers, &pod, epoch, if is_starting { TRY.min(left) } else { left }).await;
        if asked.is_ok() || !is_starting || Instant::now() + AGAIN >= deadline {
            return asked;
        }
        tokio::time::sleep(AGAIN).await;
        match issuers.pods.get_opt(&pod.name_any()).await {
            Ok(Some(found)) if found.uid() == listed.uid() => pod = found,
            // It is gone; what bears its name now has begun after it.
            Ok(_) => return Ok(()),
            // As it was seen last. Were it gone, the next try fails as well.
            Err(error) => tracing::debug!(pod = pod.name_any(), %error, "a pod that is starting could not be read"),
        }
    }
}

/// Whether a pod seems to be on its way up: young, placed, not ready yet, never restarted, and in no trouble that lasts.
fn is_starting(pod: &Pod, now: Timestamp) -> bool {
    let created = pod.metadata.creation_timestamp.as_ref();
    let is_young = created.is_some_and(|created| now.as_second() - created.0.as_second() < YOUNG_S);
    let Some(status) = &pod.status else { return is_young };
    let is_ready = status.conditions.iter().flatten().any(|each| each.type_ == "Ready" && each.status == "True");
    let stumbles = status.container_statuses.iter().flatten().any(|container| {
        let waits = container.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
        container.restart_count > 0 || waits.is_some_and(|why| !matches!(why, "ContainerCreating" | "PodInitializing"))
    });
    is_young && !is_ready && !stumbles && pod.metadata.deletion_timestamp.is_none()
}

/// Asks a pod once, for `patience` at most.
async fn fence_pod(issuers: &Issuers, pod: &Pod, epoch: u64, patience: Duration) -> Result<(), Unconfirmed> {
    if issuers.is_vouched_gone(pod) {
        return Ok(());
    }
    // A pod whose process has not started, or has ended, grants nothing: it reads the epoch after it starts.
    let status = pod.status.as_ref();
    if matches!(status.and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return Ok(());
    }
    let Some(ip) = status.and_then(|s| s.pod_ip.as_deref()).filter(|ip| !ip.is_empty()) else {
        // Not placed on a node yet: it cannot have started. One that is placed may run before its address is published.
        let is_placed =
            pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
        return if is_placed { Err(Unconfirmed::NoAddress) } else { Ok(()) };
    };
    let body = later::written(FenceRequest { floor: epoch });
    let request = issuers.http.post(control_url(ip, FENCE_PATH)).timeout(patience).json(&body);
    let response = issuers.tokens.send(request).await?;
    if !response.status().is_success() {
        return Err(Unconfirmed::Refused(response.status()));
    }
    match response.json::<FenceResponse>().await {
        Ok(FenceResponse { drained: true, .. }) => Ok(()),
        Ok(FenceResponse { drained: false, .. }) => Err(Unconfirmed::NotDrained),
        Err(error) => Err(ControlError::from(error).into()),
    }
}

/// Waits until the pod's object is gone, which means that its kubelet has seen the process end.
async fn gone(issuers: &Issuers, pod: &Pod) -> Result<(), EpochError> {
    let (name, uid) = (pod.name_any(), pod.uid());
    let deadline = Instant::now() + GONE_TIMEOUT;
    loop {
        match issuers.pods.get_opt(&name).await? {
            None => return Ok(()),
            Some(other) if other.uid() != uid => return Ok(()),
            Some(_) if Instant::now() >= deadline => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
                return Err(EpochError::RepairBlocked { pod: name, uid: uid.unwrap_or_default(), node });
            }
            Some(_) => tokio::time::sleep(GONE_POLL).await,
        }
    }
}

#[cfg(test)]
mod tests;
