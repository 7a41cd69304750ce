//! Reads what the policies of scaling need, and lets them decide.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::ReconcileContext;
use super::observe::Observation;
use super::plan::Plan;
use super::replicas::{ReplicaCount, ScalingDecision, ScalingInputs};
use super::scaling_goals::ScalingGoal;
use crate::issuer_client::pressure;
use crate::issuer_client::serving::Answers;
use crate::workloads::{Component, object_name};

/// How many pods there should be.
pub(super) fn find(
    pass: &ReconcileContext<'_>,
    plan: &Plan,
    seen: &Observation,
    issuer: Option<&Deployment>,
    consumer: Option<&Deployment>,
    answers: &Answers,
) -> ScalingDecision {
    let ReconcileContext { context, campaign, memory, .. } = pass;
    let at_ms = context.elapsed_ms();
    let load = match plan.goals.issuer {
        ScalingGoal::Follow { .. } => {
            pressure::all_of(answers).and_then(|pods| memory.update(|memory| memory.counts.update(at_ms, pods)))
        }
        _ => None,
    };
    let claimed =
        |component| context.autoscaler_of(&campaign.namespace().unwrap_or_default(), &object_name(campaign, component));
    let (issuers_claimed, consumers_claimed) = (claimed(Component::Issuer), claimed(Component::Consumer));
    let reading = seen.kafka.as_ref().ok().and_then(|kafka| kafka.reading(at_ms));
    let sight = ScalingInputs {
        load,
        issuer: ReplicaCount::of(issuer),
        consumer: ReplicaCount::of(consumer),
        claimed: (issuers_claimed.as_deref(), consumers_claimed.as_deref()),
        ..ScalingInputs::new(campaign, plan, seen, reading.as_ref(), at_ms)
    };
    memory.update(|memory| memory.policies.find(&sight))
}
