//! What a look at a class found.

use super::clocks::{Clocks, FAR_APART};
use super::fault::{Fault, Finding, Who};
use super::system::System;
use crate::api::conditions::Report;

/// What a look at a class found.
#[derive(Debug, Default)]
pub struct Measured {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What each system is, for people.
    pub(crate) notes: Vec<(System, String)>,
    /// Kafka's cluster id.
    pub kafka_cluster_id: Option<String>,
    /// Whose clocks say what.
    pub clocks: Clocks,
    /// Whether pods of the class could be made, if the API server was asked.
    pub pods: Option<Report>,
    /// Whether routes of the class could be made, if it asks for them.
    pub routing: Option<Report>,
}

impl Measured {
    /// Reason and words of what is wrong with a system.
    pub fn trouble(&self, system: System) -> Option<(&'static str, String)> {
        let mut here = self.findings.iter().filter(|finding| finding.system == system).peekable();
        let reason = here.peek()?.fault.reason();
        Some((reason, here.map(ToString::to_string).collect::<Vec<_>>().join("; ")))
    }

    /// Whether nobody answered there as that system would.
    pub(crate) fn found_nobody(&self, system: System) -> bool {
        self.findings.iter().any(|finding| finding.system == system && finding.fault.is_mute())
    }

    /// Whether Redis does not let the pods run what they need.
    pub(crate) fn pods_lack_redis_rights(&self) -> bool {
        let is_theirs =
            |finding: &Finding| matches!(finding.fault, Fault::RedisRight { .. }) && finding.who.contains(&Who::Pods);
        self.findings.iter().any(is_theirs)
    }

    /// Whether Kafka does not let one of the logins do what it needs.
    pub(crate) fn lacks_kafka_rights(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding.fault, Fault::KafkaRight { .. }))
    }

    /// Why no pods of the class could be made.
    pub fn pods_refused(&self) -> Option<&str> {
        let refused = self.pods.as_ref().filter(|pods| pods.status == Some(false));
        refused.map(|pods| pods.message.as_str())
    }

    /// What keeps a campaign from being opened for the first time.
    pub fn forbids_opening(&self) -> Option<(&'static str, String)> {
        let trouble = [System::Redis, System::Database, System::Kafka].into_iter().find_map(|each| self.trouble(each));
        trouble.or_else(|| {
            let report = self.clocks.report();
            (report.reason == FAR_APART).then_some((report.reason, report.message))
        })
    }

    /// One report per system, and one of the clocks.
    pub fn reports(&self) -> Vec<Report> {
        let part = |system: System| match self.trouble(system) {
            Some((reason, text)) => Report::no(system.condition(), reason, text),
            None => {
                let notes = self.notes.iter().filter(|(of, _)| *of == system).map(|(_, note)| note.as_str());
                let text: Vec<&str> = notes.collect();
                Report::yes(system.condition(), "Available", text.join("; "))
            }
        };
        let parts = [part(System::Kafka), part(System::Redis), part(System::Database), self.clocks.report()];
        parts.into_iter().chain(self.pods.clone()).chain(self.routing.clone()).collect()
    }
}
