//! When pods are replaced by newer ones, and how far that is. Pure, but for telling it.
//!
//! Pods that work are not replaced while coupons can be had, unless class or campaign say so: a rollout moves partitions, cuts kept
//! connections and begins with cold pods, at the time at which people ask. Only the template waits. The Secret beside the pods does
//! not: a pod that dies comes up with the old template and the newest settings that were seen to work. Pods that do not work are
//! replaced at once, as nothing is lost by it; and so are those of a rollout that is stuck half way.

mod progress;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;

use super::ReconcileContext;
use super::memory::Memory;
use super::plan::Plan;
use super::proven::NOT_PROVEN;
use super::replicas::ReplicaCount;
use super::report::Ailing;
use super::rollout_watch::RolloutWatch;
use crate::api::annotations::ROLLOUT_ANNOTATION;
use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, CouponCampaign, DuringWindow, Phase, RolledOut};
use crate::diagnosis::NotReadyCause;
use crate::issuer_client::serving::Verdict;
use crate::workloads::Component;
use progress::Progress;
pub(super) use progress::is_observed;

/// Reason: no pod has to be replaced.
const UP_TO_DATE: &str = "UpToDate";
/// Reason: this pass could not look.
const NOT_COMPARED: &str = "NotCompared";
/// A rollout that would not be over when the window opens waits as well, in milliseconds.
const AHEAD_MS: i64 = 60_000;

/// Whether the pods of each kind do their work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkingPods {
    issuer: bool,
    consumer: bool,
}

impl WorkingPods {
    /// As passes have found. `ailing`: why pods are not ready.
    pub(crate) fn of(
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
            consumer: works(consumer, ailing.consumer.as_ref()) && !memory.still.is_reported(),
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
fn works(deployment: Option<&Deployment>, cause: Option<&NotReadyCause>) -> bool {
    let there = ReplicaCount::of(deployment);
    let starts = there.current > 0 && cause.is_none_or(|cause| cause.is_starting);
    (there.ready > 0 || starts) && !is_stuck(deployment, cause)
}

/// Whether a rollout is half made, and the pods of the present template do not come up: what is wanted now cannot be worse.
fn is_stuck(deployment: Option<&Deployment>, cause: Option<&NotReadyCause>) -> bool {
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

/// What the campaign's annotation says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said<'a> {
    /// That the class decides.
    Nothing,
    /// That pods wait.
    Wait,
    /// That they are replaced, once, in these words.
    Once(&'a str),
    /// What is not understood.
    Other(&'a str),
}

fn annotated(campaign: &CouponCampaign) -> Said<'_> {
    match campaign.metadata.annotations.as_ref().and_then(|all| all.get(ROLLOUT_ANNOTATION)).map(String::as_str) {
        None => Said::Nothing,
        Some("wait") => Said::Wait,
        Some(now) if now == "now" || now.starts_with("now-") => Said::Once(now),
        Some(other) => Said::Other(other),
    }
}

/// What the annotation, as it is now, has brought about already.
pub(crate) fn used(campaign: &CouponCampaign, watch: &RolloutWatch) -> Option<RolledOut> {
    let known = watch.used.as_ref().or_else(|| campaign.status.as_ref()?.rolled_out.as_ref());
    known.filter(|used| annotated(campaign) == Said::Once(&used.annotation)).cloned()
}

/// What people have said about these pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    during: DuringWindow,
    /// The annotation that says so and is not used up.
    once: Option<String>,
    /// What the annotation has to be for another rollout at once.
    next: String,
}

impl Order {
    /// `used`: what the annotation has brought about. `pods`: a fingerprint of those that are wanted.
    pub(crate) fn of(campaign: &CouponCampaign, class: &CampaignClass, used: Option<&RolledOut>, pods: &str) -> Self {
        let of_class = class.spec.rollout.during_window;
        let is_spent = used.is_some_and(|used| used.pods != pods);
        let (during, once) = match annotated(campaign) {
            Said::Wait => (DuringWindow::Wait, None),
            Said::Once(value) if !is_spent => (DuringWindow::Now, Some(value.to_owned())),
            _ => (of_class, None),
        };
        Self { during, once, next: next_value(used) }
    }

    /// That these pods were rolled out by annotation, if they were.
    pub(crate) fn once(&self, pods: String) -> Option<RolledOut> {
        self.once.clone().map(|annotation| RolledOut { annotation, pods })
    }
}

/// A value of the annotation that works.
fn next_value(used: Option<&RolledOut>) -> String {
    let Some(used) = used else { return "now".to_owned() };
    let number = used.annotation.strip_prefix("now-").and_then(|number| number.parse::<u32>().ok());
    format!("now-{}", number.map_or(2, |number| number.saturating_add(1)))
}

/// When pods of this kind that should change are replaced.
pub(crate) fn when(order: &Order, plan: &Plan, work: WorkingPods, component: Component) -> When {
    if order.during == DuringWindow::Now || !work.is_done_by(component) {
        return When::Now;
    }
    let next = &order.next;
    match sells_until(plan) {
        None => When::Now,
        Some(end) => When::Later(format!(
            "until the window ends at {end}, all coupons are issued, or the campaign is suspended; annotation \
             {ROLLOUT_ANNOTATION}={next} replaces them at once"
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

/// Whether Deployments ask for what class and spec say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Asked {
    /// Yes, but for those of which it is known that they do not.
    #[default]
    ForAll,
    /// Not for the connections; why, in words.
    NotForConnections(String),
    /// This pass has not held them against it.
    NotCompared,
}

/// The rollouts of both kinds, at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rollouts {
    all: Vec<(Component, Progress)>,
    asked: Asked,
    used: Option<RolledOut>,
}

impl Rollouts {
    /// What the condition `PodsUpToDate` says; `None` before there are any.
    pub(crate) fn report(&self) -> Option<Report> {
        use ConditionType::PodsUpToDate;
        let worst = self.all.iter().max_by_key(|(_, each)| each.weight())?;
        let said = self.all.iter().filter(|(_, each)| each.reason().is_some());
        let texts = said.map(|(kind, each)| each.text(*kind));
        Some(match (&self.asked, worst.1.reason()) {
            // Whatever else is rolled out does not bring them.
            (Asked::NotForConnections(why), _) => {
                let texts: Vec<String> = std::iter::once(why.clone()).chain(texts).collect();
                Report::no(PodsUpToDate, NOT_PROVEN, texts.join("; "))
            }
            (_, Some(reason)) => Report::no(PodsUpToDate, reason, texts.collect::<Vec<_>>().join("; ")),
            (Asked::NotCompared, None) => Report::unknown(
                PodsUpToDate,
                NOT_COMPARED,
                "pods stay as they are; what Ready says keeps them from being held against what class and spec say",
            ),
            (Asked::ForAll, None) => {
                let text = format!("all pods are as class and spec say{}", self.spent().unwrap_or_default());
                Report::yes(PodsUpToDate, UP_TO_DATE, text)
            }
        })
    }

    /// What the annotation has brought about.
    pub(crate) fn used(&self) -> Option<&RolledOut> {
        self.used.as_ref()
    }

    /// That the annotation has done what it can, in words that go behind others.
    fn spent(&self) -> Option<String> {
        let RolledOut { annotation, .. } = self.used.as_ref()?;
        let next = next_value(self.used.as_ref());
        Some(format!(
            "; annotation {ROLLOUT_ANNOTATION}={annotation} has done its work and holds for no other change: take it away, or set it to {next} \
             when pods are to be replaced at once again"
        ))
    }
}

/// Looks how far rollouts are, and tells once what waits and what is paused. `compared`: this pass has held the Deployments against what
/// class and spec say.
pub(crate) async fn observe(
    pass: &ReconcileContext<'_>,
    issuer: Option<&Deployment>,
    consumer: Option<&Deployment>,
    compared: bool,
) -> Rollouts {
    let memory = pass.memory.get();
    let asked = match (&memory.pods.unproven, compared) {
        (Some(why), _) => Asked::NotForConnections(why.clone()),
        (None, true) => Asked::ForAll,
        (None, false) => Asked::NotCompared,
    };
    let RolloutWatch { waiting, begun, .. } = &memory.rollout;
    let mut all = Vec::new();
    for (component, deployment) in [(Component::Issuer, issuer), (Component::Consumer, consumer)] {
        let Some(deployment) = deployment else { continue };
        let waits = waiting.iter().find(|(kind, _)| *kind == component).map(|(_, until)| until.as_str());
        all.push((component, Progress::of(deployment, waits, begun.contains(&component))));
    }
    let rollouts = Rollouts { all, asked, used: used(pass.campaign, &memory.rollout) };
    pass.note_rollouts(&rollouts).await;
    rollouts
}

impl ReconcileContext<'_> {
    async fn note_rollouts(&self, rollouts: &Rollouts) {
        for reason in [progress::WAITS, progress::PAUSED] {
            let these = rollouts.all.iter().filter(|(_, each)| each.reason() == Some(reason));
            let texts: Vec<String> = these.map(|(kind, each)| each.text(*kind)).collect();
            self.notice(reason, Some(texts.join("; ")).filter(|text| !text.is_empty()).as_deref()).await;
        }
        let is_over = rollouts.asked == Asked::ForAll && rollouts.all.iter().all(|(_, each)| each.reason().is_none());
        let spent = rollouts.spent().filter(|_| is_over);
        let spent = spent.map(|spent| format!("all pods that should change were replaced{spent}"));
        self.notice("RolloutByAnnotation", spent.as_deref()).await;
        let other = match annotated(self.campaign) {
            Said::Other(other) => Some(format!(
                "annotation {ROLLOUT_ANNOTATION} is {other:?}: write now (or now-2, to use it again) or wait, or remove it; until then the class \
                 decides"
            )),
            _ => None,
        };
        self.caution("RolloutNotUnderstood", other.as_deref()).await;
    }
}

#[cfg(test)]
mod tests;
