//! When pods are replaced by newer ones, and how far that is. Pure, but for telling it.
//!
//! Pods that work are not replaced while coupons can be had, unless class or campaign say so: a rollout moves partitions, cuts kept
//! connections and begins with cold pods, at the time at which people ask. Only the template waits. The Secret beside the pods does
//! not: a pod that dies comes up with the old template and the newest settings that were seen to work. Pods that do not work are
//! replaced at once, as nothing is lost by it; and so are those of a rollout that is stuck half way.

mod progress;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;

use super::Pass;
use super::numbers::There;
use super::plan::Plan;
use super::report::Ailing;
use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, CouponCampaign, DuringWindow, Phase};
use crate::children::Component;
use crate::context::Memory;
use crate::diagnosis::Cause;
use crate::serving::Verdict;
use progress::Progress;
pub(super) use progress::is_observed;

/// Annotation of a campaign that goes before its class: `now` or `wait`.
pub const ROLLOUT_ANNOTATION: &str = "coupon-operator.io/rollout";
/// Reason: no pod has to be replaced.
const UP_TO_DATE: &str = "UpToDate";
/// A rollout that would not be over when the window opens waits as well, in milliseconds.
const AHEAD_MS: i64 = 60_000;

/// Whether the pods of each kind do their work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    issuer: bool,
    consumer: bool,
}

impl Work {
    /// As passes have found. `ailing`: why pods are not ready.
    pub fn of(
        issuer: Option<&Deployment>,
        consumer: Option<&Deployment>,
        ailing: &Ailing,
        serving: &Verdict,
        memory: &Memory,
    ) -> Self {
        Self {
            issuer: works(issuer, ailing.issuer.as_ref())
                && serving.nobody_serves().is_none()
                && !memory.serving.refuses_long(),
            consumer: works(consumer, ailing.consumer.as_ref()) && !memory.still.lasts(),
        }
    }

    fn is_done_by(self, component: Component) -> bool {
        match component {
            Component::Issuer => self.issuer,
            Component::Consumer => self.consumer,
        }
    }
}

/// Whether pods are ready, or come up again: one that died starts as it was.
fn works(deployment: Option<&Deployment>, cause: Option<&Cause>) -> bool {
    let there = There::of(deployment);
    let starts = there.current > 0 && cause.is_none_or(|cause| cause.is_starting);
    (there.ready > 0 || starts) && !is_stuck(deployment, cause)
}

/// Whether a rollout is half made, and the pods of the present template do not come up: what is wanted now cannot be worse.
fn is_stuck(deployment: Option<&Deployment>, cause: Option<&Cause>) -> bool {
    let status = deployment.and_then(|deployment| deployment.status.as_ref());
    let half_made = status.is_some_and(|status| status.updated_replicas.unwrap_or(0) < status.replicas.unwrap_or(0));
    half_made && cause.is_some_and(|cause| !cause.is_starting)
}

/// When pods that should change are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum When {
    /// One after another, at once.
    Now,
    /// Not yet; until when, in words.
    Later(String),
}

/// What the campaign's annotation says. `Err`: what is not understood.
fn annotated(campaign: &CouponCampaign) -> Result<Option<DuringWindow>, &str> {
    match campaign.metadata.annotations.as_ref().and_then(|all| all.get(ROLLOUT_ANNOTATION)).map(String::as_str) {
        None => Ok(None),
        Some("now") => Ok(Some(DuringWindow::Now)),
        Some("wait") => Ok(Some(DuringWindow::Wait)),
        Some(other) => Err(other),
    }
}

/// When pods of this kind that should change are replaced.
pub(crate) fn when(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    plan: &Plan,
    work: Work,
    component: Component,
) -> When {
    let said = annotated(campaign).ok().flatten().unwrap_or(class.spec.rollout.during_window);
    if said == DuringWindow::Now || !work.is_done_by(component) {
        return When::Now;
    }
    match sells_until(plan) {
        None => When::Now,
        Some(end) => When::Later(format!(
            "until the window ends at {end}, all coupons are issued, or the campaign is suspended; annotation \
             {ROLLOUT_ANNOTATION}=now replaces them at once"
        )),
    }
}

/// The end of the window, if coupons can be had now or in a moment.
fn sells_until(plan: &Plan) -> Option<Timestamp> {
    let terms = plan.in_force.unwrap_or(plan.terms);
    let window = terms.start_ms - AHEAD_MS..terms.end_ms;
    let sells = matches!(plan.phase, Phase::Scheduled | Phase::Open | Phase::Repairing) && !terms.suspended;
    Timestamp::from_millisecond(terms.end_ms).ok().filter(|_| sells && window.contains(&plan.now_ms))
}

/// The rollouts of both kinds, at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rollouts(Vec<(Component, Progress)>);

impl Rollouts {
    /// What the condition `PodsUpToDate` says; `None` before there are any.
    pub fn report(&self) -> Option<Report> {
        let worst = self.0.iter().max_by_key(|(_, each)| each.weight())?;
        let Some(reason) = worst.1.reason() else {
            return Some(Report::yes(ConditionType::PodsUpToDate, UP_TO_DATE, "all pods are as class and spec say"));
        };
        let said = self.0.iter().filter(|(_, each)| each.reason().is_some());
        let text: Vec<String> = said.map(|(kind, each)| each.text(*kind)).collect();
        Some(Report::no(ConditionType::PodsUpToDate, reason, text.join("; ")))
    }
}

/// Looks how far rollouts are, and tells once what waits and what is paused.
pub(crate) async fn look(pass: &Pass<'_>, issuer: Option<&Deployment>, consumer: Option<&Deployment>) -> Rollouts {
    let Memory { waiting, begun, .. } = pass.context.memory.get(pass.uid);
    let mut all = Vec::new();
    for (component, deployment) in [(Component::Issuer, issuer), (Component::Consumer, consumer)] {
        let Some(deployment) = deployment else { continue };
        let waits = waiting.iter().find(|(kind, _)| *kind == component).map(|(_, until)| until.as_str());
        all.push((component, Progress::of(deployment, waits, begun.contains(&component))));
    }
    let rollouts = Rollouts(all);
    pass.tell_rollouts(&rollouts).await;
    rollouts
}

impl Pass<'_> {
    async fn tell_rollouts(&self, rollouts: &Rollouts) {
        for reason in [progress::WAITS, progress::PAUSED] {
            let these = rollouts.0.iter().filter(|(_, each)| each.reason() == Some(reason));
            let texts: Vec<String> = these.map(|(kind, each)| each.text(*kind)).collect();
            self.notice(reason, Some(texts.join("; ")).filter(|text| !text.is_empty()).as_deref()).await;
        }
        let other = annotated(self.campaign).err().map(|other| {
            format!("annotation {ROLLOUT_ANNOTATION} is {other:?}: write now or wait, or remove it; until then the class decides")
        });
        self.caution("RolloutNotUnderstood", other.as_deref()).await;
    }
}

#[cfg(test)]
#[path = "rollout/tests.rs"]
mod tests;
