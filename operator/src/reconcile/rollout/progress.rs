//! How far the rollout of one Deployment is. Pure.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use crate::workloads::Component;

/// Reason: pods should change, and wait.
pub(super) const WAITS: &str = "RolloutWaits";
/// Reason: somebody has paused the Deployment.
pub(super) const PAUSED: &str = "RolloutPaused";

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// All pods are as they should be.
    Done,
    /// Pods were told to change, and Kubernetes has not looked at it yet.
    Begins,
    /// Pods are being replaced.
    UnderWay {
        /// So many are new.
        new: i32,
        /// Of so many.
        all: i32,
        /// It got no further for long.
        stuck: bool,
    },
    /// Pods should change, and wait; until when.
    Waits(String),
    /// Somebody has paused the Deployment, of this name.
    Paused(String),
}

impl Progress {
    /// As a Deployment says. `waits`: until when a change of it waits, if one does. `begun`: what its status says is of before a change.
    pub(super) fn of(deployment: &Deployment, waits: Option<&str>, begun: bool) -> Self {
        let (old, new) = counts(deployment);
        if deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true) {
            return Self::Paused(deployment.name_any());
        }
        match waits {
            Some(until) => Self::Waits(until.to_owned()),
            None if begun => Self::Begins,
            None if old > 0 => Self::UnderWay { new, all: old + new, stuck: is_stuck(deployment) },
            None => Self::Done,
        }
    }

    /// A stable word for programs; `None`: there is nothing to say.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Done => None,
            Self::Begins | Self::UnderWay { .. } => Some("RollingOut"),
            Self::Waits(_) => Some(WAITS),
            Self::Paused(_) => Some(PAUSED),
        }
    }

    /// The higher, the more somebody should know of it.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Begins | Self::UnderWay { .. } => 1,
            Self::Waits(_) => 2,
            Self::Paused(_) => 3,
        }
    }

    /// In words.
    pub(super) fn text(&self, component: Component) -> String {
        let name = component.name();
        match self {
            Self::Done => format!("{name} pods are as they should be"),
            Self::Begins => format!("{name} pods are about to be replaced"),
            Self::UnderWay { new, all, stuck } => {
                let stuck = if *stuck { "; it gets no further, and those of before that work are kept" } else { "" };
                format!("{new} of {all} {name} pods are new, the others are being replaced{stuck}")
            }
            Self::Waits(until) => format!(
                "{name} pods should change, and those that work stay {until}; one that dies comes up with the newest connections"
            ),
            Self::Paused(deployment) => format!(
                "Deployment {deployment} is paused by hand, so {name} pods stay as they are; kubectl rollout resume lets it go on"
            ),
        }
    }
}

/// Whether what the Deployment's status says is of what it asks for now.
pub(in crate::reconcile) fn is_observed(deployment: &Deployment) -> bool {
    let seen = deployment.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
    seen >= deployment.metadata.generation.unwrap_or(0)
}

/// Pods of old templates, and of the newest.
fn counts(deployment: &Deployment) -> (i32, i32) {
    let status = deployment.status.as_ref();
    let new = status.and_then(|status| status.updated_replicas).unwrap_or(0);
    let all = status.and_then(|status| status.replicas).unwrap_or(0);
    (all.saturating_sub(new).max(0), new)
}

/// Whether the Deployment says that its rollout got no further for long.
fn is_stuck(deployment: &Deployment) -> bool {
    let conditions = deployment.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|each| {
        each.type_ == "Progressing"
            && each.status == "False"
            && each.reason.as_deref() == Some("ProgressDeadlineExceeded")
    })
}
