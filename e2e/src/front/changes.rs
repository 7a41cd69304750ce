//! What people who look after a sale do in the middle of it: new pods, more pods, another operator.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use coupon_core::contract::ports;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::campaign::Sale;
use crate::install::{SYSTEM_NAMESPACE, kubectl};
use crate::wait::until;

/// Within this time each of them is over.
const SOON: Duration = Duration::from_secs(180);

/// The campaign's issuers, those on their way out included.
async fn pods(client: &Client, sale: &Sale) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &sale.namespace);
    let labels = format!("coupon-operator.io/campaign={},app.kubernetes.io/component=issuer", sale.name);
    Ok(pods.list(&ListParams::default().labels(&labels)).await?.items)
}

/// Their UIDs.
async fn issuers(client: &Client, sale: &Sale) -> Result<BTreeSet<String>> {
    Ok(pods(client, sale).await?.iter().filter_map(Pod::uid).collect())
}

/// Where each of them answers users that stays.
pub async fn addresses(client: &Client, sale: &Sale) -> Result<Vec<SocketAddr>> {
    let staying = pods(client, sale).await?.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let ips: Vec<String> = staying.filter_map(|pod| pod.status?.pod_ip).collect();
    ips.iter().map(|ip| Ok(SocketAddr::new(ip.parse()?, ports::USERS))).collect()
}

/// Changes the class so that all pods are others, says that they are not to wait for the end of the window, and waits until those of before
/// are gone.
pub async fn roll(client: &Client, sale: &Sale, class: &str) -> Result<()> {
    let before = issuers(client, sale).await?;
    let change = json!({"spec": {"pods": {"annotations": {"front-demo": "rolled"}}}}).to_string();
    kubectl(&["patch", "campaignclass", class, "--type=merge", "--patch", &change]).await?;
    let name = format!("couponcampaign/{}", sale.name);
    kubectl(&["annotate", &name, "--namespace", &sale.namespace, "coupon-operator.io/rollout=now"]).await?;
    until("all issuers are others", SOON, async || {
        let now = issuers(client, sale).await.map_err(|error| error.to_string())?;
        if now.is_disjoint(&before) { Ok(()) } else { Err(format!("{before:?}, now {now:?}")) }
    })
    .await?;
    sale.until_condition("PodsUpToDate", "True", "UpToDate").await.map(drop)
}

/// Asks for one issuer more than there are, and waits until all are ready; how many that is.
pub async fn grow(client: &Client, sale: &mut Sale) -> Result<usize> {
    let wanted = addresses(client, sale).await?.len() + 1;
    sale.change(|manifest| manifest["spec"]["issuer"] = json!({"minReplicas": wanted, "maxReplicas": wanted})).await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &sale.namespace);
    let name = format!("{}-issuer", sale.name);
    until("more issuers are ready", SOON, async || {
        let found = deployments.get(&name).await.map_err(|error| error.to_string())?;
        let ready = found.status.and_then(|status| status.ready_replicas).unwrap_or(0);
        if usize::try_from(ready) == Ok(wanted) { Ok(wanted) } else { Err(format!("{ready} of {wanted}")) }
    })
    .await
}

/// Restarts the operator, and waits until the other one is ready.
pub async fn restart_operator() -> Result<()> {
    let these = ["deployment/coupon-operator", "--namespace", SYSTEM_NAMESPACE];
    kubectl(&[&["rollout", "restart"][..], &these].concat()).await?;
    kubectl(&[&["rollout", "status", "--timeout=120s"][..], &these].concat()).await.map(drop)
}
