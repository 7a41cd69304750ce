//! A campaign, as a marketer sees it.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use operator::api::{CouponCampaign, Phase, conditions};
use serde_json::{Value, json};

use crate::install::apply;
use crate::issuer_client::IssuerClient;
use crate::wait::until;

/// A campaign in the cluster.
#[derive(Clone)]
pub struct Sale {
    client: Client,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What was applied last.
    pub manifest: Value,
}

/// RFC 3339 with whole seconds, this many seconds from now.
pub fn from_now(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// A small manifest: `total` coupons, from `start` to `end` seconds from now, and one issuer at least, as many campaigns share a small
/// machine.
pub fn manifest(namespace: &str, name: &str, total: u64, start: i64, end: i64) -> Value {
    json!({
        "apiVersion": "coupon-operator.io/v1alpha1", "kind": "CouponCampaign",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"totalQuantity": total, "window": {"start": from_now(start), "end": from_now(end)}, "issuer": {"minReplicas": 1}},
    })
}

impl Sale {
    /// Applies the manifest.
    pub async fn apply(client: &Client, manifest: Value) -> Result<Self> {
        apply(&manifest).await?;
        let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        Ok(Self { client: client.clone(), namespace, name, manifest })
    }

    /// Applies it again, with a change.
    pub async fn change(&mut self, change: impl FnOnce(&mut Value)) -> Result<()> {
        change(&mut self.manifest);
        apply(&self.manifest).await?;
        Ok(())
    }

    /// The API for campaigns of its namespace.
    pub fn api(&self) -> Api<CouponCampaign> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The object as it is.
    pub async fn get(&self) -> Result<CouponCampaign> {
        Ok(self.api().get(&self.name).await?)
    }

    /// Waits until the campaign is as `holds` wants it.
    pub async fn until(
        &self,
        what: &str,
        deadline: Duration,
        holds: impl Fn(&CouponCampaign) -> bool,
    ) -> Result<CouponCampaign> {
        until(&format!("{}/{}: {what}", self.namespace, self.name), deadline, async || {
            let found = self.api().get(&self.name).await.map_err(|e| e.to_string())?;
            if holds(&found) { Ok(found) } else { Err(serde_json::to_string(&found.status).unwrap_or_default()) }
        })
        .await
    }

    /// Waits for a phase.
    pub async fn until_phase(&self, phase: Phase, deadline: Duration) -> Result<CouponCampaign> {
        self.until(&format!("phase {phase}"), deadline, |found| {
            found.status.as_ref().and_then(|status| status.phase) == Some(phase)
        })
        .await
    }

    /// Waits for a condition to have this status and reason.
    pub async fn until_condition(&self, condition: &str, status: &str, reason: &str) -> Result<String> {
        let has = |found: &CouponCampaign| {
            let all = found.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            all.into_iter().find(|each| each.type_ == condition && each.status == status && each.reason == reason)
        };
        let what = format!("condition {condition}={status} ({reason})");
        let found = self.until(&what, Duration::from_secs(60), |found| has(found).is_some()).await?;
        Ok(has(&found).map(|each| each.message).unwrap_or_default())
    }

    /// Whether `Ready` is True.
    pub fn is_ready(found: &CouponCampaign) -> bool {
        found
            .status
            .as_ref()
            .is_some_and(|status| conditions::is_true(&status.conditions, operator::api::ConditionType::Ready))
    }

    /// The way in: the issuers' Service, once it answers about the campaign.
    pub async fn issuer(&self) -> Result<IssuerClient> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let coupon_id = self.get().await?.coupon_id();
        let name = format!("{}-issuer", self.name);
        let address = until("the issuers' Service", Duration::from_secs(60), async || {
            let service = services.get(&name).await.map_err(|e| e.to_string())?;
            service
                .spec
                .and_then(|spec| spec.cluster_ip)
                .filter(|ip| !ip.is_empty())
                .ok_or_else(|| "no address".to_owned())
        })
        .await?;
        let issuer = IssuerClient::new(&format!("http://{address}"), &coupon_id)?;
        until("an answer of the issuers", Duration::from_secs(60), async || {
            let response = issuer.http().get(issuer.url("")).send().await.map_err(|e| e.to_string())?;
            if response.status().is_success() { Ok(()) } else { Err(response.status().to_string()) }
        })
        .await?;
        Ok(issuer)
    }

    /// Deletes the campaign and waits until it is gone.
    pub async fn delete(&self, propagation: &str) -> Result<()> {
        let cascade = format!("--cascade={propagation}");
        crate::install::kubectl(&[
            "delete",
            "couponcampaign",
            &self.name,
            "-n",
            &self.namespace,
            &cascade,
            "--timeout=90s",
        ])
        .await
        .context("the campaign could not be deleted")?;
        Ok(())
    }
}
