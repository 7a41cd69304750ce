//! Why pods are not ready, in words: from what their Deployment says, what the kubelet says of them, and what they answer
//! themselves when they are asked whether they are ready. Pure, but for the asking.

mod fetch;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;

use crate::workloads::PROBE_PORT;

pub(super) use self::pod_answers::{PodAnswers, is_true, short};
pub(crate) use fetch::{fetch, fetch_readiness};

/// A pod that began less than this ago and is not ready yet is starting: that is no fault.
const STARTING: Duration = Duration::from_secs(30);

/// What keeps pods from being ready; the first is the one to be said before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::EnumIter)]
enum ProblemKind {
    /// The API server refuses to make them: quota, limits, admission policies.
    Forbidden,
    /// No node takes them.
    Unschedulable,
    /// Their image cannot be had.
    Image,
    /// The kubelet cannot make the container.
    NotCreated,
    /// Killed for the memory that they used.
    OutOfMemory,
    /// The program ends by itself.
    Crash,
    /// A node has put them out.
    Evicted,
    /// They run, and say why they are not ready.
    NotReady,
}

impl ProblemKind {
    /// A stable word for programs.
    fn reason(self) -> &'static str {
        match self {
            Self::Forbidden => "PodsForbidden",
            Self::Unschedulable => "PodsUnschedulable",
            Self::Image => "ImagePullFailed",
            Self::NotCreated => "ContainerNotCreated",
            Self::OutOfMemory => "PodsOutOfMemory",
            Self::Crash => "PodsCrash",
            Self::Evicted => "PodsEvicted",
            Self::NotReady => "PodsNotReady",
        }
    }

    /// What to change.
    fn advice(self) -> &'static str {
        match self {
            Self::Forbidden => {
                "; let the namespace's quota, limits and admission policies take it, or change pods in the CampaignClass"
            }
            Self::Unschedulable => {
                "; make room on the nodes, or change resources, nodeSelector or tolerations under pods in the CampaignClass"
            }
            Self::Image => "; check images in the CampaignClass and that the nodes may pull from there",
            Self::NotCreated | Self::Evicted | Self::NotReady => "",
            Self::OutOfMemory => "; raise the memory limit under pods in the CampaignClass",
            Self::Crash => "; its log says more",
        }
    }
}

/// Why pods of one kind are not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotReadyCause {
    /// A stable word for programs.
    pub reason: &'static str,
    /// A sentence for people, in words that stay the same while nothing changes.
    pub text: String,
    /// They may just be starting, which needs nobody.
    pub is_starting: bool,
}

/// What keeps one pod from being ready.
struct Ailment {
    kind: ProblemKind,
    words: String,
    is_starting: bool,
}

/// Why not all pods of a Deployment are ready, as far as that is known.
pub(crate) fn cause(
    deployment: Option<&Deployment>,
    pods: &[Arc<Pod>],
    answers: &PodAnswers,
    now: Timestamp,
) -> Option<NotReadyCause> {
    if let Some(text) = deployment.and_then(leaving) {
        return Some(NotReadyCause { reason: "ChildTerminating", text, is_starting: false });
    }
    if let Some(refusal) = deployment.and_then(refusal) {
        let kind = ProblemKind::Forbidden;
        let text = format!("no pod may be made: {}{}", short(&refusal), kind.advice());
        return Some(NotReadyCause { reason: kind.reason(), text, is_starting: false });
    }
    let mut ailing: Vec<(String, Ailment)> = pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| Some((pod.name_any(), ailment(pod, answers, now)?)))
        .collect();
    // The same pod first each time, so that a text does not change by itself.
    ailing.sort_by(|(a, first), (b, second)| {
        (first.is_starting, first.kind, a).cmp(&(second.is_starting, second.kind, b))
    });
    let (name, first) = ailing.first()?;
    let others = ailing.iter().filter(|(_, other)| other.kind == first.kind).count() - 1;
    let more = if others > 0 { format!(" ({others} more likewise)") } else { String::new() };
    let text = format!("pod {name} {}{more}{}", first.words, first.kind.advice());
    Some(NotReadyCause { reason: first.kind.reason(), text, is_starting: first.is_starting })
}

/// How many of these pods are told to end and have not: until then they answer who is connected to them.
pub(crate) fn ending(pods: &[Arc<Pod>]) -> usize {
    let runs = |pod: &Pod| {
        let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        containers.filter_map(|each| each.state.as_ref()).any(|state| state.running.is_some())
    };
    pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some() && runs(pod)).count()
}

/// Why no pods come up in a namespace that is being deleted.
pub(crate) fn namespace_leaves(namespace: &str) -> NotReadyCause {
    let text = format!("namespace {namespace} is being deleted, so its pods go and no others can be made in it");
    NotReadyCause { reason: "NamespaceTerminating", text, is_starting: false }
}

/// A Deployment that somebody has deleted and that does not go: no pod of it comes up, and no other can bear its name.
fn leaving(deployment: &Deployment) -> Option<String> {
    let since = &deployment.metadata.deletion_timestamp.as_ref()?.0;
    let holders = deployment.finalizers().join(", ");
    let by = match holders.as_str() {
        "" => "it goes as soon as its pods have gone".to_owned(),
        "foregroundDeletion" => "it waits for its pods to go".to_owned(),
        _ => format!("its finalizers hold it ({holders}): let whoever set them take them off"),
    };
    Some(format!(
        "Deployment {} was deleted by somebody at {since:.0}, and there is no other until it is gone; {by}",
        deployment.name_any()
    ))
}

/// Why the Deployment's pods are refused, if they are.
fn refusal(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_deref()?;
    let failure = conditions.iter().find(|each| each.type_ == "ReplicaFailure" && each.status == "True")?;
    failure.message.clone().or_else(|| failure.reason.clone())
}

fn ailment(pod: &Pod, answers: &PodAnswers, now: Timestamp) -> Option<Ailment> {
    let status = pod.status.as_ref()?;
    if is_true(status, "Ready") {
        return None;
    }
    let lasting = |kind, words| Some(Ailment { kind, words, is_starting: false });
    if status.phase.as_deref() == Some("Failed") {
        let why = [status.reason.as_deref(), status.message.as_deref()];
        let why: Vec<&str> = why.into_iter().flatten().collect();
        if !why.is_empty() {
            return lasting(ProblemKind::Evicted, format!("was put out by its node: {}", short(&why.join(": "))));
        }
    }
    let scheduled = status.conditions.iter().flatten().find(|each| each.type_ == "PodScheduled");
    if let Some(scheduled) = scheduled.filter(|each| each.status == "False") {
        let why = scheduled.message.as_deref().or(scheduled.reason.as_deref()).unwrap_or("no reason given");
        return lasting(ProblemKind::Unschedulable, format!("is on no node: {}", short(why)));
    }
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    if let Some((kind, words)) = containers.iter().find_map(stopped) {
        return lasting(kind, words);
    }
    let said = pod.metadata.uid.as_ref().and_then(|uid| answers.get(uid))?;
    let before = containers.iter().find_map(|each| each.last_state.as_ref()?.terminated.as_ref());
    let before = before.map(|end| format!("; before, it {}", ended(end).1)).unwrap_or_default();
    let began = status.start_time.as_ref().map(|start| start.0);
    let is_starting =
        before.is_empty() && began.is_some_and(|began| now.duration_since(began).unsigned_abs() < STARTING);
    // One that starts listens in a moment.
    if is_starting && said.is_empty() {
        return None;
    }
    let words = match said.is_empty() {
        true => format!(
            "runs, is not ready, and does not answer on port {PROBE_PORT}: it hangs, or nothing gets through to it{before}"
        ),
        false => format!("runs and says: {}{before}", short(said)),
    };
    Some(Ailment { kind: ProblemKind::NotReady, words, is_starting })
}

/// Why a container does not run, if it does not and should.
fn stopped(container: &ContainerStatus) -> Option<(ProblemKind, String)> {
    let state = container.state.as_ref()?;
    if let Some(end) = &state.terminated {
        return Some(ended(end));
    }
    let waiting = state.waiting.as_ref()?;
    let said = waiting.message.as_deref().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => {
            // "Back-off pulling image ...: ErrImagePull: ..." and the error itself take turns; only the error says why.
            let why = said.split_once("ErrImagePull: ").map_or(said, |(_, why)| why);
            let words = format!("cannot have its image {}: {}", container.image, short(why));
            Some((ProblemKind::Image, words))
        }
        // How long the pause is changes all the time; how it ended does not.
        "CrashLoopBackOff" => {
            let end = container.last_state.as_ref()?.terminated.as_ref()?;
            Some(ended(end))
        }
        reason @ ("CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError") => {
            Some((ProblemKind::NotCreated, format!("cannot be started ({reason}): {}", short(said))))
        }
        _ => None,
    }
}

/// How a container ended: kind and words.
fn ended(end: &ContainerStateTerminated) -> (ProblemKind, String) {
    if end.reason.as_deref() == Some("OOMKilled") {
        return (ProblemKind::OutOfMemory, "was killed, as it used more memory than its limit (OOMKilled)".to_owned());
    }
    let by = match (end.signal, end.exit_code) {
        (Some(signal), _) if signal > 0 => format!("ended by signal {signal}"),
        (_, code) => format!("ended with exit code {code}"),
    };
    let words = end.message.as_deref().map(str::trim).filter(|words| !words.is_empty());
    (ProblemKind::Crash, words.map_or(by.clone(), |words| format!("{by}: {}", short(last_line(words)))))
}

/// The last line that says something: programs say last why they end.
fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or(text)
}

mod pod_answers;
#[cfg(test)]
mod tests;
