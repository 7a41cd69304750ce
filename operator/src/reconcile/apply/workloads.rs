//! Brings the objects in Kubernetes to what was decided: first what both kinds of pods need, then their Deployments.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

use super::children;
use super::deployment::{self, State};
use crate::error::ReconcileError;
use crate::reconcile::changes::WorkloadChanges;
use crate::reconcile::plan::Plan;
use crate::reconcile::reconcile_context::ReconcileContext;
use crate::reconcile::replicas::{DesiredReplicas, ScalingDecision};
use crate::reconcile::rollout::{self, Order, When};
use crate::reconcile::rollout_watch::RolloutWatch;
use crate::reconcile::{control_token, proven};
use crate::workloads::ownership::claim;
use crate::workloads::{self, ChildContext, Component, ControlTokens, object_name};

/// Brings the children to what was decided. Nothing is made before the first pod is wanted. `work`: whether the pods that are there do
/// theirs. What cannot be written keeps nothing else from being written; the first error is answered beside what was done.
pub(in crate::reconcile) async fn workloads(
    pass: &ReconcileContext<'_>,
    plan: &Plan,
    numbers: &ScalingDecision,
    work: rollout::WorkingPods,
) -> (WorkloadChanges, Result<(), ReconcileError>) {
    let mut scaled = WorkloadChanges::default();
    let result = all(pass, plan, numbers, work, &mut scaled).await;
    (scaled, result)
}

async fn all(
    pass: &ReconcileContext<'_>,
    plan: &Plan,
    numbers: &ScalingDecision,
    work: rollout::WorkingPods,
    scaled: &mut WorkloadChanges,
) -> Result<(), ReconcileError> {
    let (mut issuer, mut consumer) = (pass.deployment(Component::Issuer), pass.deployment(Component::Consumer));
    let is_dormant = numbers.issuer.replicas == 0 && numbers.consumer.replicas == 0;
    if issuer.is_none() && consumer.is_none() && is_dormant {
        return Ok(());
    }
    // Whose they are is looked at before the first of them is written: a conflict leaves nothing half made.
    find(pass, Component::Issuer, &mut issuer).await?;
    find(pass, Component::Consumer, &mut consumer).await?;
    let connections = proven::connections(pass, issuer.is_some() || consumer.is_some()).await?;
    // Where they cannot be read all but the Secret is brought to what it should be: another token would be written over what issuers know.
    let (tokens, unread) = match tokens(pass).await {
        Ok(tokens) => (tokens, None),
        Err(error) => (ControlTokens::default(), Some(ReconcileError::from(error))),
    };
    let family = ChildContext {
        campaign: pass.campaign,
        id: pass.id,
        cluster: pass.known_as,
        class: pass.class,
        connections: &connections,
        issuer_files: &pass.systems.issuer_files(),
        tokens: &tokens,
        key_by: plan.key_by,
        acknowledge: pass.campaign.spec.acknowledge,
        image: &pass.context.config.image,
        image_pull_policy: pass.context.config.image_pull_policy.as_deref(),
    };
    let outcome = children::apply(pass, &family, unread).await?;
    let kinds = [
        Kind {
            component: Component::Issuer,
            found: issuer,
            wanted: &numbers.issuer,
            build: workloads::issuer_deployment,
        },
        Kind {
            component: Component::Consumer,
            found: consumer,
            wanted: &numbers.consumer,
            build: workloads::consumer_deployment,
        },
    ];
    outcome.and(deployments(pass, plan, &family, kinds, work, scaled).await)
}

/// The Deployment of this kind, if it is ours to write.
async fn find(
    pass: &ReconcileContext<'_>,
    component: Component,
    found: &mut Option<Arc<Deployment>>,
) -> Result<(), ReconcileError> {
    // The watch shows what bears our labels; others may have the name, and a new one comes some moments late.
    if found.is_none() {
        let all: Api<Deployment> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
        *found = all.get_opt(&object_name(pass.campaign, component)).await?.map(Arc::new);
    }
    if let Some(found) = found {
        claim(found.as_ref(), pass.campaign)?;
    }
    Ok(())
}

/// The control tokens that there should be.
async fn tokens(pass: &ReconcileContext<'_>) -> Result<ControlTokens, kube::Error> {
    Ok(match control_token::tokens(pass.context, pass.campaign, pass.uid).await? {
        Some(known) => control_token::wanted(pass, known).await,
        None => ControlTokens::first(),
    })
}

/// One kind of pods.
struct Kind<'a> {
    component: Component,
    found: Option<Arc<Deployment>>,
    wanted: &'a DesiredReplicas,
    build: fn(&ChildContext<'_>, Option<i32>) -> Deployment,
}

/// What became of the Deployment of one kind.
struct Written {
    /// What changed about its number of pods, for an event.
    change: Option<String>,
    state: State,
    /// Pods were told to change.
    is_rolled_out: bool,
    /// Its status is of what it asks for, which is what it should ask for.
    is_observed: bool,
}

impl Kind<'_> {
    async fn apply(
        &self,
        pass: &ReconcileContext<'_>,
        family: &ChildContext<'_>,
        when: &When,
    ) -> Result<Written, kube::Error> {
        let deployments: Api<Deployment> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
        let (found, build) = (self.found.as_deref(), |replicas| (self.build)(family, replicas));
        let replaces = found.is_some_and(|found| workloads::replaces_pods(found, &build(None)));
        let (change, state) = deployment::apply(&deployments, found, build, self.wanted, when).await?;
        if state == State::UpToDate {
            pass.note_additions(self.component, found, &build(None)).await;
        }
        let sentence =
            |change| format!("{} {change}: {}{}", self.component.name(), self.wanted.reason, figures(self.wanted));
        Ok(Written {
            change: change.map(sentence),
            state,
            is_rolled_out: replaces && state == State::Written,
            is_observed: !replaces && found.is_some_and(rollout::is_observed),
        })
    }
}

/// Brings the Deployments to what they should be. What is remembered of their rollouts is brought up to date.
async fn deployments(
    pass: &ReconcileContext<'_>,
    plan: &Plan,
    family: &ChildContext<'_>,
    kinds: [Kind<'_>; 2],
    work: rollout::WorkingPods,
    scaled: &mut WorkloadChanges,
) -> Result<(), ReconcileError> {
    let mut outcome = Ok(());
    let memory = pass.memory.get();
    let templates = kinds.each_ref().map(|kind| (kind.build)(family, None));
    let pods = workloads::pods_hash(templates.iter());
    let used = rollout::used(pass.campaign, &memory.rollout);
    let order = Order::of(pass.campaign, pass.class, used.as_ref(), &pods);
    let (mut waiting, mut begun, mut rolls) = (Vec::new(), Vec::new(), false);
    for kind in &kinds {
        let when = rollout::when(&order, plan, work, kind.component);
        let written = match kind.apply(pass, family, &when).await {
            Ok(written) => written,
            Err(error) => {
                outcome = outcome.and(Err(error.into()));
                continue;
            }
        };
        if let (State::Waits, When::Later(until)) = (written.state, when) {
            waiting.push((kind.component, until));
        }
        rolls |= written.is_rolled_out;
        if written.is_rolled_out || (memory.rollout.begun.contains(&kind.component) && !written.is_observed) {
            begun.push(kind.component);
        }
        scaled.changes.extend(written.change);
    }
    let used = Some(pods).filter(|_| rolls).and_then(|pods| order.once(pods)).or(used);
    pass.memory.update(|memory| memory.rollout = RolloutWatch { waiting, begun, used });
    outcome
}

/// The figures behind a number, for an event.
fn figures(wanted: &DesiredReplicas) -> String {
    let Some(figures) = &wanted.figures else { return String::new() };
    let known = [
        figures.arrival_per_second.map(|rate| format!("{rate}/s come")),
        figures.done_per_second.map(|rate| format!("{rate}/s are done")),
        figures.per_pod.map(|rate| format!("one pod does {rate}/s")),
    ];
    // What was not measured yet is left out.
    let known: Vec<String> = known.into_iter().flatten().collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ScalingFigures;

    #[test]
    fn an_event_says_the_figures_that_are_known() {
        let said = |figures| {
            let (replicas, reason, stopped, is_left_alone, hot) = (1, String::new(), None, false, None);
            super::figures(&DesiredReplicas { replicas, reason, figures, stopped, is_left_alone, hot })
        };
        let new = ScalingFigures { per_pod: Some(1500), ..ScalingFigures::default() };
        assert_eq!(said(Some(new.clone())), " (one pod does 1500/s)");
        let all = ScalingFigures { arrival_per_second: Some(9), done_per_second: Some(7), ..new };
        assert_eq!(said(Some(all)), " (9/s come, 7/s are done, one pod does 1500/s)");
        assert_eq!(said(Some(ScalingFigures::default())), "");
    }
}
