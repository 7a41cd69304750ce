//! Fences all issuers without a new epoch: for a suspension while Redis does not answer.

use coupon_core::contract::FenceRequest;
use coupon_core::contract::control::{FENCE_PATH, PRESSURE_PATH};
use coupon_core::later;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use std::time::Duration;

use super::EpochError;
use super::fence::{Issuers, control_url};
use crate::issuer_client::pressure::Pressure;

/// How long an issuer may take for one answer. It raises its floor first, and then waits until older grants are finished.
const ANSWER: Duration = Duration::from_millis(400);

/// How many issuers are fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FencedIssuers {
    /// Issuers that have confirmed it.
    pub fenced: usize,
    /// All issuers whose process may run.
    pub pods: usize,
}

impl FencedIssuers {
    /// Whether no issuer is left that may grant.
    pub fn is_complete(&self) -> bool {
        self.fenced == self.pods
    }
}

/// Raises the floor of every issuer above what it serves, so that it grants nothing until a newer epoch opens. `known`: the highest
/// epoch that was allotted, as far as is known.
///
/// # Errors
/// The pods could not be listed.
pub(crate) async fn fence_all(issuers: &Issuers, known: u64) -> Result<FencedIssuers, EpochError> {
    let pods = issuers.pods.list(&ListParams::default().labels(&issuers.selector)).await?.items;
    let running: Vec<&Pod> = pods.iter().filter(|pod| may_run(pod)).collect();
    let fenced = join_all(running.iter().map(|pod| fence_one(issuers, pod, known))).await;
    Ok(FencedIssuers { fenced: fenced.into_iter().filter(|yes| *yes).count(), pods: running.len() })
}

/// One that is not placed on a node, or whose process has ended, grants nothing.
fn may_run(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    !matches!(phase, Some("Succeeded" | "Failed")) && !node.is_empty()
}

async fn fence_one(issuers: &Issuers, pod: &Pod, known: u64) -> bool {
    let Some(ip) = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) else { return false };
    let ask = async || {
        let request = issuers.http.get(control_url(ip, PRESSURE_PATH)).timeout(ANSWER);
        issuers.tokens.send(request).await.ok()?.error_for_status().ok()?.json::<Pressure>().await.ok()
    };
    let Some(before) = ask().await else { return false };
    let floor = floor(&before, known);
    let body = later::written(FenceRequest { floor });
    let fence = issuers.http.post(control_url(ip, FENCE_PATH)).timeout(ANSWER).json(&body);
    if let Err(error) = issuers.tokens.send(fence).await {
        // It may be waiting until older grants are finished; its floor shows whether it is fenced.
        tracing::debug!(ip, %error, "an issuer did not confirm in time that it stopped");
    }
    ask().await.is_some_and(|after| after.floor >= floor && after.epoch.is_none())
}

/// Above all that it may serve: what it serves, and whatever epoch is known. No higher, as the next epoch must be served.
fn floor(pressure: &Pressure, known: u64) -> u64 {
    pressure.floor.max(pressure.epoch.unwrap_or(0).max(known).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_above_what_may_be_served_and_the_next_epoch_is_not_below_it() {
        let pressure = |epoch, floor| Pressure { epoch, floor, ..Pressure::default() };
        for (what, pressure, known, expected) in [
            ("it serves what is open", pressure(Some(4), 4), 4, 5),
            ("what is known is older", pressure(Some(4), 4), 3, 5),
            ("a newer epoch is allotted, which it would find", pressure(Some(4), 4), 5, 6),
            ("it serves nothing yet", pressure(None, 0), 1, 2),
            ("it was stopped before", pressure(None, 6), 5, 6),
        ] {
            assert_eq!(floor(&pressure, known), expected, "{what}");
        }
    }
}
