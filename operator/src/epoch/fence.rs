//! Fences issuers: after it, nobody grants below an epoch, and whoever did has finished.

use std::time::Duration;

use campaign::later;
use campaign::sabotage::{Defence, without};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use serde::{Deserialize, Serialize};

use super::EpochError;
use crate::children::{self, ControlTokens};
use crate::pods::PodClient;

/// How long a pod may take to confirm, its own draining (11 s) included.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(13);
/// How long to wait for a deleted pod to be gone in one pass; the next pass goes on waiting.
const GONE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often to look whether it is.
const GONE_POLL: Duration = Duration::from_millis(250);
/// Port of the issuers' control endpoint.
pub const CONTROL_PORT: u16 = 8081;

/// Annotation of a campaign that confirms by hand that issuer pods are gone whose node cannot say so: their UIDs, separated by
/// commas. Whoever sets it vouches that these processes are dead.
pub const ISSUER_GONE_ANNOTATION: &str = "coupon-operator.io/issuer-gone";

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

/// What an issuer is told.
#[derive(Serialize)]
pub(super) struct Fence {
    floor: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    later: Option<&'static str>,
}

impl Fence {
    /// To serve nothing below this epoch.
    pub(super) fn below(floor: u64) -> Self {
        Self { floor, later: later::field() }
    }
}

#[derive(Deserialize)]
struct Fenced {
    drained: bool,
}

/// Where the issuer at this address answers its operator.
pub fn control_url(ip: &str, path: &str) -> String {
    pod_url(ip, CONTROL_PORT.into(), path)
}

/// A pod's address in a URL.
pub(crate) fn pod_url(ip: &str, port: i32, path: &str) -> String {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    format!("http://{host}:{port}/{path}")
}

/// Raises the floor of every issuer pod to `epoch` and waits until each has confirmed or is gone.
pub async fn fence(issuers: &Issuers, epoch: u64) -> Result<(), EpochError> {
    if without(Defence::Fence) {
        return Ok(());
    }
    // Without a resourceVersion this is a quorum read: no pod that was created before is missed.
    let pods = issuers.pods.list(&ListParams::default().labels(&issuers.selector)).await?.items;
    let confirmed = join_all(pods.iter().map(|pod| confirm(issuers, pod, epoch))).await;
    let unconfirmed: Vec<&Pod> = pods.iter().zip(confirmed).filter(|(_, yes)| !yes).map(|(pod, _)| pod).collect();
    for pod in &unconfirmed {
        tracing::warn!(pod = pod.name_any(), epoch, "issuer did not confirm the fence: deleting it");
        // Never a force delete: the object must go only when the kubelet says that the process is gone.
        // Another one that bears its name by now starts by asking for the epoch.
        children::apply::delete(&issuers.pods, *pod, DeleteParams::default()).await?;
    }
    let waiting = unconfirmed.into_iter().map(|pod| gone(issuers, pod));
    futures::future::try_join_all(waiting).await?;
    Ok(())
}

async fn confirm(issuers: &Issuers, pod: &Pod, epoch: u64) -> bool {
    if issuers.is_vouched_gone(pod) {
        return true;
    }
    // A pod whose process has not started, or has ended, grants nothing: it reads the epoch after it starts.
    let status = pod.status.as_ref();
    if matches!(status.and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return true;
    }
    let Some(ip) = status.and_then(|s| s.pod_ip.as_deref()).filter(|ip| !ip.is_empty()) else {
        // Not placed on a node yet: it cannot have started. One that is placed may run before its address is published.
        return pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default().is_empty();
    };
    let request = issuers.http.post(control_url(ip, "fence")).timeout(CONFIRM_TIMEOUT).json(&Fence::below(epoch));
    match issuers.tokens.send(request).await {
        Ok(response) if response.status().is_success() => {
            response.json::<Fenced>().await.is_ok_and(|fenced| fenced.drained)
        }
        Ok(response) => {
            tracing::warn!(pod = pod.name_any(), status = %response.status(), "issuer refused the fence");
            false
        }
        Err(error) => {
            tracing::warn!(pod = pod.name_any(), %error, "issuer could not be reached for the fence");
            false
        }
    }
}

/// Waits until the pod's object is gone, which means that its kubelet has seen the process end.
async fn gone(issuers: &Issuers, pod: &Pod) -> Result<(), EpochError> {
    let (name, uid) = (pod.name_any(), pod.uid());
    let deadline = tokio::time::Instant::now() + GONE_TIMEOUT;
    loop {
        match issuers.pods.get_opt(&name).await? {
            None => return Ok(()),
            Some(other) if other.uid() != uid => return Ok(()),
            Some(_) if tokio::time::Instant::now() >= deadline => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
                return Err(EpochError::RepairBlocked { pod: name, uid: uid.unwrap_or_default(), node });
            }
            Some(_) => tokio::time::sleep(GONE_POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that shows one issuer, which runs somewhere and cannot be spoken to, and takes no deletion of it.
    fn server(refusal: u16) -> (Api<Pod>, Arc<Mutex<Vec<Value>>>) {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let deletions: Arc<Mutex<Vec<Value>>> = Arc::default();
        let log = Arc::clone(&deletions);
        tokio::spawn(async move {
            let pod = |uid: &str| json!({"metadata": {"name": "spring-issuer-1", "uid": uid}, "spec": {"nodeName": "n1", "containers": []}});
            while let Some((request, answer)) = handle.next_request().await {
                let (method, path) = (request.method().clone(), request.uri().path().to_owned());
                let body = request.into_body().collect_bytes().await.unwrap();
                let reason = if refusal == 409 { "Conflict" } else { "Forbidden" };
                let refused =
                    json!({"kind": "Status", "status": "Failure", "reason": reason, "code": refusal, "message": "no"});
                let (code, said) = match (&method, path.ends_with("/pods")) {
                    (&Method::DELETE, _) => {
                        log.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                        (refusal, refused)
                    }
                    (_, true) => {
                        (200, json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod("u1")]}))
                    }
                    // Who is there by then.
                    (_, false) => (200, pod("u2")),
                };
                let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&said).unwrap()));
                answer.send_response(response.unwrap());
            }
        });
        (Api::namespaced(Client::new(service, "shop"), "shop"), deletions)
    }

    fn issuers(pods: Api<Pod>) -> Issuers {
        let http = PodClient::new().unwrap();
        Issuers { pods, selector: "x=y".to_owned(), tokens: ControlTokens::default(), http, vouched_gone: Vec::new() }
    }

    /// Wrong: between our look and our deletion a pod of that name was replaced, and the new one, which grants nothing old, is ended.
    #[tokio::test]
    async fn only_the_very_pod_that_did_not_confirm_is_deleted() {
        let (pods, deletions) = server(409);
        fence(&issuers(pods), 7).await.unwrap();
        let sent = deletions.lock().unwrap().clone();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0]["preconditions"], json!({"uid": "u1"}));
        assert_eq!(sent[0].get("gracePeriodSeconds"), None, "never by force");

        let (pods, _) = server(403);
        assert!(fence(&issuers(pods), 7).await.is_err(), "a pod that may not be deleted is not fenced");
    }
}
