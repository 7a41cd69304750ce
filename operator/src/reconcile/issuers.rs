//! Asks the issuers what they serve, decides about those that serve nothing, and replaces them.

use k8s_openapi::api::core::v1::Pod;
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

/// Holds what they answer against what is open. Decides, and does nothing.
pub(super) fn judge(pass: &Pass<'_>, plan: &Plan, seen: &Observation, answers: &Answers) -> Verdict {
    let (at_ms, epochs) = (pass.context.elapsed_ms(), epochs(plan, seen));
    pass.context.memory.update(pass.uid, |memory| memory.serving.see(at_ms, epochs, answers))
}

/// Puts what is decided about them into the plan.
pub(super) fn mend(plan: &mut Plan, verdict: &Verdict) {
    match verdict {
        Verdict::Serving | Verdict::Waiting(_) => {}
        Verdict::NewEpoch(_) => plan.reopen(NOT_SERVING),
        Verdict::Replace(uids, _) => plan.replaces.clone_from(uids),
    }
}

/// Says what is decided about them.
pub(super) async fn tell(pass: &Pass<'_>, plan: &Plan, verdict: &Verdict) {
    let (reason, text) = match verdict {
        Verdict::Serving | Verdict::Waiting(_) => return,
        Verdict::Replace(..) if plan.replaces.is_empty() => return,
        Verdict::NewEpoch(cause) => (NOT_SERVING, format!("{cause}; a new epoch is opened")),
        Verdict::Replace(uids, cause) => ("IssuersReplaced", format!("{cause}; {} are replaced", uids.len())),
    };
    tracing::warn!(campaign = %pass.id, ?verdict, "{text}");
    events::warn(pass.context, pass.campaign, reason, &text).await;
}

/// The reason of the event, and of the epoch that mends it.
const NOT_SERVING: &str = "IssuersNotServing";

/// What is open, if it is served by Redis as well and nothing is to be done to the ledger.
fn epochs(plan: &Plan, seen: &Observation) -> Option<Epochs> {
    let (Ok(ledger), Ok(stock)) = (&seen.ledger, &seen.stock) else { return None };
    let row = ledger.row.as_ref()?;
    let open = row.open_epoch.filter(|epoch| stock.serves(*epoch))?;
    let at_rest = !plan.hands_off && plan.steps.iter().all(Step::can_wait);
    at_rest.then_some(Epochs { allotted: row.epoch, open })
}

/// Deletes the pods that are to be replaced; their Deployment makes others. One that could not be deleted is found again.
pub(super) async fn replace(pass: &Pass<'_>, plan: &Plan) {
    if plan.replaces.is_empty() {
        return;
    }
    let pods: Api<Pod> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
    for pod in pass.context.pods_of(pass.campaign, Component::Issuer) {
        if !pod.uid().is_some_and(|uid| plan.replaces.contains(&uid)) {
            continue;
        }
        if let Err(error) = children::apply::delete(&pods, &*pod, DeleteParams::default()).await {
            tracing::warn!(pod = pod.name_any(), %error, "an issuer that does not serve could not be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;

    /// Wrong: a decision has deleted pods before anybody knew what else is done in this pass.
    #[test]
    fn what_is_found_of_issuers_is_planned_and_gives_way_to_a_new_epoch() {
        let (mut plan, uids) = (Scene::open().plan(), vec!["a".to_owned()]);
        let before = plan.clone();
        mend(&mut plan, &Verdict::Waiting(Some("1 RedisAway".to_owned())));
        assert_eq!(plan, before);
        mend(&mut plan, &Verdict::Replace(uids.clone(), "1 StockBroken".to_owned()));
        assert_eq!(plan, Plan { replaces: uids, ..before.clone() });
        // Rows and Redis were found to differ, after that.
        plan.reopen("RedisDiffers");
        assert_eq!((plan.opens_epoch(), plan.replaces.len()), (true, 0));
        let mut plan = before;
        mend(&mut plan, &Verdict::NewEpoch("1 StockBroken".to_owned()));
        assert_eq!(plan.steps, [Step::OpenEpoch { reason: NOT_SERVING }]);
    }
}
