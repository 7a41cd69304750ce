//! Asks the issuers what they serve, and mends those that serve nothing.

use kube::api::DeleteParams;
use kube::{Api, ResourceExt};

use super::observe::Observation;
use super::plan::{Plan, Step};
use super::{Pass, control_token};
use crate::children::{self, Component};
use crate::events;
use crate::pressure;
use crate::serving::{Answers, Epochs, Known, Service, Verdict};

/// What the campaign's ready issuers answer. Empty when there is none, or nobody to ask as.
pub(super) async fn ask(pass: &Pass<'_>) -> Answers {
    let pods = pass.context.pods_of(pass.campaign, Component::Issuer);
    if pods.is_empty() {
        return Answers::new();
    }
    match control_token::tokens(pass.context, pass.campaign, pass.uid).await {
        Ok(Some(tokens)) => pressure::ask(&pass.context.http, &tokens, &pods).await,
        Ok(None) => Answers::new(),
        Err(error) => {
            tracing::warn!(campaign = %pass.id, %error, "the token of the issuers' control port could not be read");
            Answers::new()
        }
    }
}

/// Whether they say that they grant.
pub(super) fn service(pass: &Pass<'_>, seen: &Observation, answers: &Answers) -> Service {
    let last_known = || pass.campaign.status.as_ref()?.epoch.and_then(|epoch| u64::try_from(epoch).ok());
    let open = match &seen.ledger {
        Ok(ledger) => Known::InSql(ledger.row.as_ref().and_then(|row| row.open_epoch)),
        Err(_) => Known::AtLeast(last_known().unwrap_or(0)),
    };
    let at_ms = pass.context.elapsed_ms();
    pass.context.memory.update(pass.uid, |memory| memory.serving.service(at_ms, open, answers))
}

/// Holds what they answer against what is open, and puts the mend into the plan; pods that are to be replaced are deleted here.
pub(super) async fn judge(pass: &Pass<'_>, plan: &mut Plan, seen: &Observation, answers: &Answers) -> Verdict {
    let Pass { context, campaign, uid, .. } = pass;
    let (at_ms, epochs) = (context.elapsed_ms(), epochs(plan, seen));
    let verdict = context.memory.update(uid, |memory| memory.serving.see(at_ms, epochs, answers));
    match &verdict {
        Verdict::Serving | Verdict::Waiting(_) => {}
        Verdict::NewEpoch(cause) => {
            tracing::warn!(campaign = %pass.id, cause, "no issuer serves the open epoch: opening a new one");
            events::warn(context, campaign, "IssuersNotServing", &format!("{cause}; a new epoch is opened")).await;
            plan.reopen("IssuersNotServing");
        }
        Verdict::Replace(uids, cause) => {
            tracing::warn!(campaign = %pass.id, cause, ?uids, "issuers that do not serve are replaced");
            events::warn(context, campaign, "IssuersReplaced", &format!("{cause}; {} are replaced", uids.len())).await;
            replace(pass, uids).await;
        }
    }
    verdict
}

/// What is open, if it is served by Redis as well and nothing is to be done to the ledger.
fn epochs(plan: &Plan, seen: &Observation) -> Option<Epochs> {
    let (Ok(ledger), Ok(stock)) = (&seen.ledger, &seen.stock) else { return None };
    let row = ledger.row.as_ref()?;
    let open = row.open_epoch.filter(|epoch| stock.serves(*epoch))?;
    let at_rest = !plan.hands_off && plan.steps.iter().all(Step::can_wait);
    at_rest.then_some(Epochs { allotted: row.epoch, open })
}

/// Deletes these pods; their Deployment makes others. A pod that could not be deleted is found again.
async fn replace(pass: &Pass<'_>, uids: &[String]) {
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
    for pod in pass.context.pods_of(pass.campaign, Component::Issuer) {
        if !pod.uid().is_some_and(|uid| uids.contains(&uid)) {
            continue;
        }
        if let Err(error) = children::apply::delete(&pods, &*pod, DeleteParams::default()).await {
            tracing::warn!(pod = pod.name_any(), %error, "an issuer that does not serve could not be deleted");
        }
    }
}
