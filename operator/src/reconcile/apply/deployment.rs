//! Brings one Deployment to what it should be.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt};

use crate::reconcile::replicas::DesiredReplicas;
use crate::reconcile::rollout::When;
use crate::workloads::apply::{Applied, SCALE_MANAGER, ensure, scale, write};
use crate::workloads::replaces_pods;

/// What became of a Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing but the number of pods was to be changed.
    UpToDate,
    /// It was written.
    Written,
    /// It should change, and waits: its pods would be replaced.
    Waits,
}

/// Makes sure that a Deployment is as it should be and has as many replicas as wanted. Returns what changed about them, and what became
/// of the rest.
pub(super) async fn apply(
    api: &Api<Deployment>,
    found: Option<&Deployment>,
    build: impl Fn(Option<i32>) -> Deployment,
    wanted: &DesiredReplicas,
    when: &When,
) -> Result<(Option<String>, State), kube::Error> {
    let template = build(None);
    let name = template.name_any();
    let Some(found) = found else {
        let replicas = wanted.replicas;
        if replicas <= 0 {
            return Ok((None, State::UpToDate));
        }
        // The first apply carries replicas, or the Deployment would start with one. Then the scaler owns the field as well,
        // and only then does the main manager give it up.
        let made = write(api, &build(Some(replicas)), None).await?;
        scale(api, &made, replicas).await?;
        write(api, &template, Some(&made)).await?;
        return Ok((Some(format!("0 -> {replicas}")), State::Written));
    };
    let current = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let target = if wanted.is_left_alone { current } else { wanted.replicas };
    // The scaler first: where it does not own the field yet, the main manager's apply would drop it.
    if !wanted.is_left_alone && (target != current || !owned_by_scaler(found)) {
        scale(api, found, target).await?;
    }
    let state = if *when != When::Now && replaces_pods(found, &template) {
        State::Waits
    } else if ensure(api, &template, Some(found)).await? == Applied::Written {
        tracing::info!(deployment = name, "deployment was written");
        State::Written
    } else {
        State::UpToDate
    };
    Ok(((target != current).then(|| format!("{current} -> {target}")), state))
}

/// Whether the scaler owns the number of replicas: else the main manager's next apply would drop the field.
fn owned_by_scaler(deployment: &Deployment) -> bool {
    deployment.metadata.managed_fields.iter().flatten().any(|entry| entry.manager.as_deref() == Some(SCALE_MANAGER))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures;
    use crate::workloads::apply::tests::server;
    use crate::workloads::tests::deployment_of;

    /// Wrong: somebody's Deployment that takes the name of one that we have just made is scaled, and written over.
    #[tokio::test]
    async fn a_new_deployment_is_scaled_and_written_as_the_one_that_was_made() {
        let (api, sent) = server();
        let build = |replicas| {
            let mut deployment = deployment_of(&fixtures::class());
            deployment.spec.as_mut().unwrap().replicas = replicas;
            deployment
        };
        let (reason, figures, stopped, is_left_alone, hot) = (String::new(), None, None, false, None);
        let wanted = DesiredReplicas { replicas: 2, reason, figures, stopped, is_left_alone, hot };
        let (change, state) = apply(&api, None, build, &wanted, &When::Now).await.unwrap();
        assert_eq!((change.as_deref(), state), (Some("0 -> 2"), State::Written));
        let sent = sent.lock().unwrap().clone();
        let said = |index: usize| {
            let (_, uri, body): &(_, String, _) = &sent[index];
            let replicas = body["spec"].get("replicas").cloned();
            (uri.contains("force=true"), body["metadata"].get("uid").cloned(), replicas)
        };
        assert_eq!(sent.len(), 3);
        assert_eq!(said(0), (false, None, Some(json!(2))), "by force onto nothing");
        assert_eq!(said(1), (true, Some(json!("0007")), Some(json!(2))));
        assert_eq!(
            said(2),
            (true, Some(json!("0007")), None),
            "lets go of the number, and writes even though nothing else differs"
        );
    }
}
