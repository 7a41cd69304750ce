//! How the issuer pods of a campaign are spoken to.

use super::control_token;
use crate::api::CouponCampaign;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::ledger::epoch::{self, Issuers};
use crate::workloads::{self, Component};
use kube::{Api, ResourceExt};

/// How to speak to the campaign's issuer pods.
pub(crate) async fn issuers(
    context: &Context,
    campaign: &CouponCampaign,
    uid: &str,
) -> Result<Issuers, ReconcileError> {
    Ok(Issuers {
        pods: Api::namespaced(context.client.clone(), &campaign.namespace().unwrap_or_default()),
        selector: workloads::selector_text(campaign, Component::Issuer),
        tokens: control_token::tokens(context, campaign, uid).await?.unwrap_or_default(),
        http: context.http.clone(),
        vouched_gone: campaign
            .annotations()
            .get(epoch::ISSUER_GONE_ANNOTATION)
            .map(|uids| uids.split(',').map(|uid| uid.trim().to_owned()).collect())
            .unwrap_or_default(),
    })
}
