//! Reads what the policies of scaling need, and lets them decide.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::Pass;
use super::aims::Aim;
use super::numbers::{Numbers, Sight, There};
use super::observe::Observation;
use super::plan::Plan;
use crate::children::{Component, object_name};
use crate::pressure;
use crate::serving::Answers;

/// How many pods there should be.
pub fn find(
    pass: &Pass<'_>,
    plan: &Plan,
    seen: &Observation,
    issuer: Option<&Deployment>,
    consumer: Option<&Deployment>,
    answers: &Answers,
) -> Numbers {
    let Pass { context, campaign, uid, .. } = pass;
    let at_ms = context.elapsed_ms();
    let load = match plan.aims.issuer {
        Aim::Follow { .. } => pressure::all_of(answers)
            .and_then(|pods| context.memory.update(uid, |memory| memory.counts.see(at_ms, pods))),
        _ => None,
    };
    let claimed =
        |component| context.autoscaler_of(&campaign.namespace().unwrap_or_default(), &object_name(campaign, component));
    let (issuers_claimed, consumers_claimed) = (claimed(Component::Issuer), claimed(Component::Consumer));
    let reading = seen.log.as_ref().ok().and_then(|log| log.reading(at_ms));
    let sight = Sight {
        load,
        issuer: There::of(issuer),
        consumer: There::of(consumer),
        claimed: (issuers_claimed.as_deref(), consumers_claimed.as_deref()),
        ..Sight::new(campaign, plan, seen, reading.as_ref(), at_ms)
    };
    context.memory.update(uid, |memory| memory.policies.find(&sight))
}
