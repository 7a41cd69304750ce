//! Stops issuers without an epoch: for a suspension that Redis cannot be told.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use std::time::Duration;

use super::EpochError;
use super::fence::{Fence, Issuers, control_url};
use crate::pressure::Pressure;

/// How long an issuer may take for one answer. It has raised its floor by then; what it waits for is the end of what is under way.
const ANSWER: Duration = Duration::from_millis(400);

/// How many issuers are fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Those that say so.
    pub fenced: usize,
    /// All whose process may run.
    pub pods: usize,
}

impl Told {
    /// Whether none is left that may grant.
    pub fn all(&self) -> bool {
        self.fenced == self.pods
    }
}

/// Raises the floor of every issuer above what it serves, so that it grants nothing until a newer epoch opens. `known`: the highest
/// epoch that was allotted, as far as is known.
///
/// # Errors
/// The pods could not be listed.
pub async fn stop(issuers: &Issuers, known: u64) -> Result<Told, EpochError> {
    let pods = issuers.pods.list(&ListParams::default().labels(&issuers.selector)).await?.items;
    let running: Vec<&Pod> = pods.iter().filter(|pod| may_run(pod)).collect();
    let fenced = join_all(running.iter().map(|pod| stop_one(issuers, pod, known))).await;
    Ok(Told { fenced: fenced.into_iter().filter(|yes| *yes).count(), pods: running.len() })
}

/// One that is not placed on a node, or whose process has ended, grants nothing.
fn may_run(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    !matches!(phase, Some("Succeeded" | "Failed")) && !node.is_empty()
}

async fn stop_one(issuers: &Issuers, pod: &Pod, known: u64) -> bool {
    let Some(ip) = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) else { return false };
    let ask = async || {
        let request = issuers.http.get(control_url(ip, "pressure")).timeout(ANSWER);
        issuers.tokens.send(request).await.ok()?.error_for_status().ok()?.json::<Pressure>().await.ok()
    };
    let Some(before) = ask().await else { return false };
    let floor = floor(&before, known);
    let fence = issuers.http.post(control_url(ip, "fence")).timeout(ANSWER).json(&Fence::below(floor));
    if let Err(error) = issuers.tokens.send(fence).await {
        // It may be waiting for what is under way; its floor tells.
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
