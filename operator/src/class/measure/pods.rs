//! Whether the API server would take a campaign's pods: it is asked as if they were to be made. A quantity that is none, or a label that
//! no node can have, shows here, and not minutes before a window opens.

use coupon_core::connections::Connections;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use crate::api::conditions::Report;
use crate::api::{Acknowledge, CampaignClass, ConditionType, CouponCampaign, KeyBy};
use crate::class::measure::EACH;
use crate::class::{self, IssuerFiles};
use crate::config::Config;
use crate::error::kubernetes_words;
use crate::workloads::{ChildContext, ControlTokens, consumer_deployment, issuer_deployment};

/// The reason where they would be refused.
pub(crate) const REFUSED: &str = "PodsRefused";

/// A campaign that nobody has.
pub(super) fn probe(namespace: &str) -> serde_json::Result<CouponCampaign> {
    serde_json::from_value(json!({
        "apiVersion": "coupon-operator.io/v1alpha1", "kind": "CouponCampaign",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"totalQuantity": 1, "window": {"start": "2000-01-01T00:00:00Z", "end": "2000-01-02T00:00:00Z"}},
    }))
}

/// The Deployments of a campaign of this class.
fn deployments(class: &CampaignClass, connections: &Connections, config: &Config) -> Option<[Deployment; 2]> {
    let campaign = probe(&config.pod_namespace).ok()?;
    let id = class::campaign_id(&campaign, class, connections).ok()?;
    let family = ChildContext {
        campaign: &campaign,
        id: &id,
        cluster: "probe",
        class,
        connections,
        issuer_files: &IssuerFiles::new(),
        tokens: &ControlTokens::default(),
        key_by: KeyBy::default(),
        acknowledge: Acknowledge::default(),
        image: &config.image,
        image_pull_policy: config.image_pull_policy.as_deref(),
    };
    Some([issuer_deployment(&family, Some(1)), consumer_deployment(&family, Some(1))])
}

/// What to change where the API server said this.
fn advice(said: &str) -> &'static str {
    // As RBAC says it of whoever asks.
    match said.contains("cannot create resource") {
        true => "give the operator's role this right, as the chart does",
        false => "correct pods or images in the CampaignClass",
    }
}

/// Asks the API server, which makes nothing.
pub(crate) async fn check(
    client: &Client,
    class: &CampaignClass,
    connections: &Connections,
    config: &Config,
) -> Report {
    use ConditionType::PodTemplatesValid;
    let Some(both) = deployments(class, connections, config) else {
        return Report::unknown(PodTemplatesValid, "Unread", "the operator's own namespace is no name for a campaign");
    };
    let api: Api<Deployment> = Api::namespaced(client.clone(), &config.pod_namespace);
    let parameters = PostParams { dry_run: true, field_manager: None };
    for deployment in &both {
        let asked = tokio::time::timeout(EACH, api.create(&parameters, deployment)).await;
        match asked {
            Ok(Ok(_)) => {}
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 403 | 422) => {
                let advice = advice(&status.message);
                let said = kubernetes_words(&kube::Error::Api(status));
                let text = format!("pods of this class cannot be made: {said}; {advice}");
                return Report::no(PodTemplatesValid, REFUSED, text);
            }
            Ok(Err(error)) => return Report::unknown(PodTemplatesValid, "Unread", kubernetes_words(&error)),
            Err(_) => {
                let text = format!("the API server did not answer within {} s", EACH.as_secs());
                return Report::unknown(PodTemplatesValid, "Unread", text);
            }
        }
    }
    Report::yes(PodTemplatesValid, "Accepted", "the API server would take issuer and consumer pods")
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn whose_fault_a_refusal_is() {
        let right = "deployments.apps is forbidden: User \"system:serviceaccount:s:o\" cannot create resource \"deployments\" in API group";
        assert!(advice(right).contains("operator's role"));
        let quota = "pods \"probe\" is forbidden: exceeded quota: small, requested: cpu=1";
        assert!(advice(quota).contains("CampaignClass"));
    }
}
