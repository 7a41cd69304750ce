//! How hard the issuers are pressed: asks each pod, and makes rates of what they count.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Deserialize;

use crate::children::ControlTokens;
use crate::epoch::control_url;
use crate::pods::PodClient;
use crate::scale::issuers::Load;
use crate::serving::Answers;

/// How long a pod may take to answer: one that takes longer is not waited for.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Counts closer together than this, in milliseconds, say nothing about rates.
const CLOSEST_MS: i64 = 500;
/// Counts further apart than this, in milliseconds, are not compared.
const STALE_MS: i64 = 30_000;

/// What a pod reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pressure {
    /// Wishes that wait.
    pub queue_depth: u64,
    /// Wishes that may wait.
    pub queue_capacity: u64,
    /// Wishes refused because there was no room, since the process started.
    pub rejected: u64,
    /// Wishes that waited too long for their turn, since the process started.
    pub delayed: u64,
    /// Wishes answered with a rank or a no, rather than told to come back, since the process started.
    pub answered: u64,
    /// The epoch under which it grants; `None` when it grants nothing.
    pub epoch: Option<u64>,
    /// Below this epoch it grants nothing.
    #[serde(default)]
    pub floor: u64,
    /// Why it grants nothing. An older issuer does not say.
    pub reason: Option<String>,
    /// Why its calls to Redis fail, in Redis' words, if they do for a while. An older issuer does not say.
    pub failing: Option<String>,
    /// Why Kafka takes no winners, in Kafka's words, if its user lacks a right. An older issuer does not say.
    pub kafka_refuses: Option<String>,
    /// Connections refused because all that were open were being answered, since the process started. An older issuer does not say.
    #[serde(default)]
    pub refused: u64,
}

/// Asks all of these pods that are ready, by UID. `None`: that one did not answer.
pub async fn ask(http: &PodClient, tokens: &ControlTokens, pods: &[Arc<Pod>]) -> Answers {
    let ready = pods.iter().filter(|pod| is_ready(pod));
    let answers = join_all(ready.map(async |pod| {
        let answer = async {
            let ip = pod.status.as_ref()?.pod_ip.as_deref()?;
            let request = http.get(control_url(ip, "pressure")).timeout(TIMEOUT);
            tokens.send(request).await.ok()?.error_for_status().ok()?.json::<Pressure>().await.ok()
        };
        Some((pod.uid()?, answer.await))
    }));
    answers.await.into_iter().flatten().collect()
}

/// What all of them report; `None` if one did not answer.
pub fn all_of(answers: &Answers) -> Option<BTreeMap<String, Pressure>> {
    answers.iter().map(|(uid, answer)| Some((uid.clone(), answer.clone()?))).collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The last counts of each pod, by UID, and when they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    at_ms: i64,
    pods: BTreeMap<String, Pressure>,
}

impl Counts {
    /// Takes in what the pods report at `at_ms`, in milliseconds of a clock that never jumps. Rates need two reports; the
    /// pods that were there both times count.
    pub fn see(&mut self, at_ms: i64, pods: BTreeMap<String, Pressure>) -> Option<Load> {
        let millis = at_ms - self.at_ms;
        if pods.is_empty() || (millis < CLOSEST_MS && !self.pods.is_empty()) {
            return None;
        }
        let before = std::mem::replace(self, Self { at_ms, pods });
        if before.pods.is_empty() || millis > STALE_MS {
            return None;
        }
        let mut load = Load::default();
        let per_second = |now: u64, before: u64| {
            #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
            let rate = now.saturating_sub(before) as f64 * 1000.0 / millis as f64;
            rate
        };
        for (uid, now) in &self.pods {
            if let Some(before) = before.pods.get(uid) {
                load.answered += per_second(now.answered, before.answered);
                load.rejected += per_second(now.rejected + now.refused, before.rejected + before.refused);
                load.delayed += per_second(now.delayed, before.delayed);
            }
            #[expect(clippy::cast_precision_loss, reason = "lengths of queues")]
            let fill = now.queue_depth as f64 / now.queue_capacity.max(1) as f64;
            load.fill = load.fill.max(fill);
        }
        Some(load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(queue_depth: u64, rejected: u64, answered: u64) -> Pressure {
        Pressure { queue_depth, queue_capacity: 100, rejected, delayed: 10 * rejected, answered, ..Pressure::default() }
    }

    fn pods(all: &[(&str, Pressure)]) -> BTreeMap<String, Pressure> {
        all.iter().map(|(uid, pressure)| ((*uid).to_owned(), pressure.clone())).collect()
    }

    #[test]
    fn a_connection_that_was_refused_is_a_request_that_was() {
        let mut counts = Counts::default();
        let report = |refused| pods(&[("a", Pressure { refused, ..pod(0, 0, 0) })]);
        counts.see(0, report(10));
        assert!((counts.see(1_000, report(30)).unwrap().rejected - 20.0).abs() < f64::EPSILON);
    }

    #[test]
    fn rates_are_the_difference_of_two_reports() {
        let mut counts = Counts::default();
        assert_eq!(counts.see(0, pods(&[("a", pod(0, 0, 100))])), None);
        let now = pods(&[("a", pod(10, 4, 300)), ("b", pod(60, 50, 9_000))]);
        let load = counts.see(2_000, now).unwrap();
        assert_eq!(
            load,
            Load { answered: 100.0, rejected: 2.0, delayed: 20.0, fill: 0.6 },
            "a pod that is new has no rate yet"
        );
        let load = counts.see(4_000, pods(&[("b", pod(0, 50, 9_400))])).unwrap();
        assert_eq!(
            load,
            Load { answered: 200.0, rejected: 0.0, delayed: 0.0, fill: 0.0 },
            "a pod that is gone has none any more"
        );
    }

    #[test]
    fn a_process_that_began_anew_counts_from_zero_and_a_long_silence_says_nothing() {
        let mut counts = Counts::default();
        counts.see(0, pods(&[("a", pod(0, 0, 100))]));
        assert_eq!(counts.see(2_000, pods(&[("a", pod(0, 0, 7))])).unwrap().answered, 0.0);
        assert_eq!(counts.see(60_000, pods(&[("a", pod(0, 0, 9))])), None);
        assert_eq!(counts.see(60_100, pods(&[("a", pod(0, 0, 9))])), None, "too close together");
    }
}
